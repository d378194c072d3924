"""Batches: order, places, what a failure takes with it, and what it does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, ProducerClosed
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.structs import RecordMetadata, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from worker.delivery import Place
from worker.kafka import partition_of
from worker.report.outbox import LINGER_S, Outbox


class Batch:
    """Takes two records."""

    def __init__(self) -> None:
        self.values: list[bytes | None] = []
        self.closed = False

    def append(self, *, timestamp: None, key: bytes | None, value: bytes | None, headers: object) -> object | None:
        if len(self.values) == 2:
            return None
        self.values.append(value)
        return self

    def close(self) -> None:
        self.closed = True


class Producer:
    """Notes the batches it is given; `land` acknowledges the oldest one of a partition."""

    def __init__(self) -> None:
        self.log: dict[int, list[bytes | None]] = {}
        self.waiting: dict[int, list[tuple[Batch, asyncio.Future[RecordMetadata]]]] = {}
        self.sent = 0
        self.count = 3
        self.refuses: Exception | None = None

    async def partitions_for(self, topic: str) -> set[int]:
        return set(range(self.count))

    def create_batch(self) -> Batch:
        return Batch()

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> asyncio.Future[RecordMetadata]:
        assert batch.closed
        if self.refuses is not None:
            raise self.refuses
        self.sent += 1
        answer: asyncio.Future[RecordMetadata] = asyncio.get_running_loop().create_future()
        self.waiting.setdefault(partition, []).append((batch, answer))
        assert len(self.waiting[partition]) == 1, "one batch of a partition at a time"
        return answer

    def land(self, partition: int = 0, error: Exception | None = None) -> None:
        batch, answer = self.waiting[partition].pop(0)
        if error is not None:
            answer.set_exception(error)
            return
        log = self.log.setdefault(partition, [])
        answer.set_result(RecordMetadata("t", partition, TopicPartition("t", partition), len(log), 0, 0, 0))
        log += batch.values


@pytest.fixture
async def producer() -> Producer:
    return Producer()


@pytest.fixture
async def outbox(producer: Producer) -> AsyncIterator[Outbox]:
    box = Outbox(producer, patience_s=5.0)
    yield box
    box.forget()


async def settled() -> None:
    """Let the outbox linger and hand over what it has."""
    for _ in range(10):  # each a turn of the loop, however late its timers are
        await asyncio.sleep(0.002)


def put(outbox: Outbox, value: bytes, partition: int = 0) -> asyncio.Future[Place]:
    return outbox.put("t", partition, b"k", value, [])


async def test_a_batch_is_acknowledged_record_by_record_while_the_next_one_gathers(
    outbox: Outbox, producer: Producer
) -> None:
    written = [put(outbox, value) for value in (b"a", b"b", b"c")]
    await settled()
    written.append(put(outbox, b"d"))
    producer.land()
    await settled()
    assert [one.done() for one in written] == [True, True, False, False]
    producer.land()
    await settled()
    assert [one.result() for one in written] == [Place(0, offset) for offset in range(4)]
    assert producer.log[0] == [b"a", b"b", b"c", b"d"]


@given(steps=st.lists(st.one_of(st.integers(0, 2), st.sampled_from(["land 0", "land 1", "land 2", "wait"]))))
def test_records_of_a_partition_keep_the_order_of_the_calls(steps: list[int | str]) -> None:
    async def run() -> None:
        producer = Producer()
        outbox = Outbox(producer, patience_s=60.0)
        puts: list[tuple[int, asyncio.Future[Place]]] = []
        for step in [*steps, *["wait", "land 0", "land 1", "land 2"] * (len(steps) + 1)]:
            if isinstance(step, int):
                puts.append((step, put(outbox, b"%d" % len(puts), step)))
            elif step == "wait":
                await asyncio.sleep(LINGER_S + 0.001)
            elif producer.waiting.get(int(step[-1])):
                producer.land(int(step[-1]))
                await asyncio.sleep(0)
        await asyncio.sleep(0)
        for number, (partition, written) in enumerate(puts):
            place = written.result()
            assert place.partition == partition
            assert producer.log[partition][place.offset] == b"%d" % number
        for log in producer.log.values():
            assert log == sorted(log, key=lambda value: int(value or b""))
        outbox.forget()

    asyncio.run(run())


async def test_after_a_failure_nothing_overtakes_what_has_to_be_written_again(
    outbox: Outbox, producer: Producer
) -> None:
    failed, behind, elsewhere = [put(outbox, b"a"), put(outbox, b"b")], put(outbox, b"c"), put(outbox, b"d", 1)
    await settled()
    producer.land(0, KafkaError("gone"))
    await settled()
    late = put(outbox, b"e", 2)
    for one in (*failed, behind, late):
        assert isinstance(one.exception(), KafkaError)
    assert producer.sent == 2
    # What is under way may still arrive: whoever waits for it need not write it twice.
    producer.land(1)
    await settled()
    assert elsewhere.result() == Place(1, 0)


async def test_a_batch_that_is_too_large_fails_alone(outbox: Outbox, producer: Producer) -> None:
    large, behind = [put(outbox, b"a"), put(outbox, b"b")], put(outbox, b"c")
    await settled()
    producer.land(0, MessageSizeTooLargeError("large"))
    await settled()
    producer.land()
    await settled()
    assert all(isinstance(one.exception(), MessageSizeTooLargeError) for one in large)
    assert behind.result() == Place(0, 0)


async def test_what_is_not_acknowledged_in_time_fails_and_so_does_all_behind_it(producer: Producer) -> None:
    outbox = Outbox(producer, patience_s=0.05)
    stuck, behind = [put(outbox, b"a"), put(outbox, b"b")], put(outbox, b"c")
    await asyncio.sleep(0.1)
    for one in (*stuck, behind):
        assert isinstance(one.exception(), TimeoutError)
    outbox.forget()


async def test_a_client_that_takes_no_batch_fails_what_waits(outbox: Outbox, producer: Producer) -> None:
    producer.refuses = ProducerClosed()
    written = put(outbox, b"a")
    await settled()
    assert isinstance(written.exception(), ProducerClosed)


async def test_nobody_else_is_touched_by_a_wait_that_is_given_up(outbox: Outbox, producer: Producer) -> None:
    given_up, other = put(outbox, b"a"), put(outbox, b"b")
    await settled()
    given_up.cancel()
    producer.land()
    await settled()
    assert other.result() == Place(0, 1)


async def test_flushing_waits_for_everything(outbox: Outbox, producer: Producer) -> None:
    written = [put(outbox, value) for value in (b"a", b"b", b"c")]

    async def broker() -> None:
        for _ in range(2):
            await settled()
            producer.land()

    helping = asyncio.create_task(broker())
    await outbox.flush(5.0)
    assert all(one.done() for one in written)
    await helping


async def test_records_without_a_key_take_turns_and_new_partitions_are_learnt(
    outbox: Outbox, producer: Producer
) -> None:
    assert outbox.partition_for("t", b"k") is None
    await outbox.learn("t")
    assert {outbox.partition_for("t", None) for _ in range(3)} == {0, 1, 2}
    producer.count = 6
    await outbox.learn("t")
    assert outbox.partition_for("t", b"k") == partition_of(b"k", 6)


@given(key=st.binary(max_size=64), count=st.integers(1, 60))
def test_a_key_goes_where_kafkas_default_partitioner_puts_it(key: bytes, count: int) -> None:
    all_partitions: list[Any] = list(range(count))
    assert partition_of(key, count) == DefaultPartitioner()(key, all_partitions, all_partitions)
