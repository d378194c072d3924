"""Traps of a real broker: the product's own intake, closed in, restarted, doubled, and with its broker gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from worker.delivery import Record
from worker.intake.consumer import Intake
from worker.kafka import close_consumer
from worker.oncall.snapshot import snapshot
from worker.sandbox.kafka import EmbeddedKafka, create_topics
from worker.settings import Settings, TopicSettings
from worker.telemetry.metrics import Metrics

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]


def settings_of(bootstrap: str, topics: TopicSettings, **kafka: Any) -> Settings:
    return Settings.model_validate(
        {
            "kafka": {
                "bootstrap_servers": bootstrap,
                "group_id": f"group-{topics.sync_result}",
                "session_timeout_seconds": 6,
                "rebalance_timeout_seconds": 10,
                "request_timeout_seconds": 2,
                **kafka,
            },
            "topics": topics.model_dump(),
            "accounts": {"main": {"client_id": "c", "client_secret": "s"}},
            "stores": {"us": {"account": "main"}},
        }
    )


class Reader:
    """An intake whose records are finished as soon as they are read."""

    def __init__(self, settings: Settings) -> None:
        self.taken: list[Record] = []
        self.held_back: set[int] = set()
        doors: Any = MagicMock()
        doors.accept = self._accept
        doors.has_room = lambda *_, **__: True
        doors.may_read = lambda partition: partition not in self.held_back
        doors.let_go = self._let_go
        self.intake = Intake(settings, Metrics(), doors)
        self.finish = self.intake.finished
        self.tasks: list[asyncio.Task[Any]] = []

    def _accept(self, record: Record, epoch: int) -> None:
        self.taken.append(record)
        self.finish(record, epoch)

    async def _let_go(self, budget_s: float) -> None:
        pass

    async def start(self) -> None:
        await self.intake.start()
        self.tasks = [
            asyncio.create_task(self.intake.run(), name="intake"),
            asyncio.create_task(self.intake.committer.run(), name="committer"),
        ]

    async def stop(self) -> None:
        closing = asyncio.create_task(self.intake.close())
        await asyncio.wait({closing})
        for task in self.tasks:
            task.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks)


@asynccontextmanager
async def reading(settings: Settings) -> AsyncIterator[Reader]:
    reader = Reader(settings)
    await reader.start()
    try:
        yield reader
    finally:
        await reader.stop()


async def until(happened: Callable[[], bool | Awaitable[bool]], within_s: float = 30) -> None:
    async with asyncio.timeout(within_s):
        while not (answer if isinstance(answer := happened(), bool) else await answer):
            await asyncio.sleep(0.05)


async def write(bootstrap: str, topic: str, *, partitions: int = 3, each: int = 5) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
    await producer.start()
    try:
        for partition in range(partitions):
            for number in range(each):
                await producer.send_and_wait(topic, b"%d" % number, key=b"k", partition=partition)
    finally:
        await producer.stop()


async def test_a_restart_of_a_static_member_moves_nothing(kafka: str, topics: TopicSettings) -> None:
    """Every rebalance of this client takes everything from everybody: restarts must not make one."""
    async with reading(settings_of(kafka, topics, group_instance_id="order-sync-0")) as stays:
        async with reading(settings_of(kafka, topics, group_instance_id="order-sync-1")) as goes:
            await until(lambda: goes.intake.joined and 0 < len(stays.intake.assigned) < 6)
            before, owned, epoch = stays.intake.assigned, goes.intake.assigned, stays.intake.epoch
        async with reading(settings_of(kafka, topics, group_instance_id="order-sync-1")) as back:
            await until(lambda: back.intake.joined and bool(back.intake.assigned))
            assert back.intake.assigned == owned
            await asyncio.sleep(1.5)
            assert (stays.intake.assigned, stays.intake.epoch) == (before, epoch)


async def test_an_expired_offset_goes_on_at_the_oldest_record_left(kafka: str, topics: TopicSettings) -> None:
    """Not at the end, which would skip all that is still there without a word."""
    settings = settings_of(kafka, topics)
    await write(kafka, topics.order_shipped, each=2)
    async with reading(settings) as reader:
        await until(lambda: len(reader.taken) == 6)
    await write(kafka, topics.order_shipped, each=8)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        gone = {TopicPartition(topics.order_shipped, number): RecordsToDelete(before_offset=5) for number in range(3)}
        await admin.delete_records(gone)
    finally:
        await admin.close()
    async with reading(settings) as reader:
        await until(lambda: len(reader.taken) >= 15)
        assert {(record.partition, record.offset) for record in reader.taken} == {
            (partition, offset) for partition in range(3) for offset in range(5, 10)
        }


async def test_a_partition_that_is_not_asked_for_does_not_stop_the_others(kafka: str, topics: TopicSettings) -> None:
    """What was fetched of it and not taken holds up fetches to its broker for a moment only, and is kept."""
    await write(kafka, topics.order_shipped, each=700)
    reader = Reader(settings_of(kafka, topics))
    reader.held_back = {0}
    await reader.start()
    try:
        await until(lambda: len(reader.taken) == 1_400)
        await write(kafka, topics.order_shipped, each=10)
        await until(lambda: len(reader.taken) == 1_420)
        assert {record.partition for record in reader.taken} == {1, 2}
        reader.held_back = set()
        await until(lambda: len(reader.taken) == 2_130)
        offsets = [record.offset for record in reader.taken if record.partition == 0]
        assert offsets == list(range(710))
    finally:
        await reader.stop()


@pytest.mark.faults
async def test_a_broker_that_does_not_answer_holds_up_neither_a_commit_nor_the_end(topics: TopicSettings) -> None:
    """The client's own commit and stop would wait for it as long as it takes."""
    async with EmbeddedKafka() as kafka:
        await create_topics(kafka.bootstrap_servers, topics)
        settings = settings_of(kafka.bootstrap_servers, topics)
        reader = Reader(settings)
        await reader.start()
        try:
            await until(lambda: len(reader.intake.assigned) == 6 and reader.intake.intents_known)
            kafka.pause()
            assert reader.intake.offsets.started(topics.order_shipped, 0, 0, 0, reader.intake.epoch)
            reader.intake.finished(Record(topics.order_shipped, 0, 0, 0, b"k", b"v", ()), reader.intake.epoch)
            bound_s = settings.kafka.request_timeout_seconds
            async with asyncio.timeout(bound_s * 3):
                assert await reader.intake.committer.commit() is False
            async with asyncio.timeout(bound_s * 6):
                await reader.stop()
        finally:
            kafka.resume()
        async with reading(settings) as again:
            await until(lambda: len(again.intake.assigned) == 6)


@pytest.mark.faults
async def test_closing_a_consumer_whose_broker_is_dead_raises_nothing() -> None:
    """The client leaks a CancelledError of its own then, which ended whole processes."""
    async with EmbeddedKafka() as kafka:
        names = TopicSettings()
        await create_topics(kafka.bootstrap_servers, names)
        reader = Reader(settings_of(kafka.bootstrap_servers, names, request_timeout_seconds=1))
        await reader.start()
        await until(lambda: len(reader.intake.assigned) == 6)
        kafka.kill()
        await asyncio.sleep(1)  # the client's tasks are amid their retries
        consumer = reader.intake.consumer
        assert consumer is not None
        async with asyncio.timeout(10):
            await close_consumer(consumer, 1)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        reader.intake.consumer = None
        await reader.stop()


async def test_an_empty_topic_is_read_to_its_end_at_once(kafka: str, topics: TopicSettings) -> None:
    """Bound by the end it had when reading began; nothing is waited for that is not there."""
    settings = settings_of(kafka, topics)
    async with asyncio.timeout(20):
        assert (await snapshot(settings)).letters == []


async def test_an_acknowledged_record_lies_before_the_end_the_broker_tells(tmp_path: Path) -> None:
    """What a cancellation is compared with: no shipment that was acknowledged before it may lie behind it.

    Two brokers: there the high-water mark of the latest fetch lags behind what is acknowledged.
    """
    async with EmbeddedKafka(nodes=2, data=tmp_path) as kafka:
        topics, bootstrap = TopicSettings(), kafka.bootstrap_servers
        await create_topics(bootstrap, topics, replication=2)
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
        async with reading(settings_of(bootstrap, topics)) as reader:
            await until(lambda: len(reader.intake.assigned) == 6 and reader.intake.intents_known)

            async def one_after_the_other(partition: int) -> None:
                for _ in range(8):
                    written = await producer.send_and_wait(topics.order_shipped, b"v", key=b"k", partition=partition)
                    end = await reader.intake.shipped_end(partition)
                    assert end is not None
                    assert end > written.offset

            await producer.start()
            try:
                await asyncio.gather(*(one_after_the_other(partition) for partition in range(3)))
            finally:
                await producer.stop()


async def test_lag_is_known_in_records_and_in_seconds(kafka: str, topics: TopicSettings) -> None:
    """Of what is not finished, not of what is not read: the client itself tells neither."""
    reader = Reader(settings_of(kafka, topics))
    unfinished: list[tuple[Record, int]] = []
    reader.finish = lambda record, epoch: unfinished.append((record, epoch))
    await write(kafka, topics.order_shipped, each=5)
    await reader.start()
    try:
        await until(lambda: len(reader.taken) == 15)
        await until(lambda: sum(reader.intake.lag().values()) == 15)
        first = min(record.timestamp_ms for record in reader.taken if record.partition == 1)
        assert reader.intake.offsets.oldest_ms(topics.order_shipped, 1) == first
        for record, epoch in unfinished:
            reader.intake.finished(record, epoch)
        await until(lambda: sum(reader.intake.lag().values()) == 0)
        assert reader.intake.offsets.oldest_ms(topics.order_shipped, 1) is None
    finally:
        await reader.stop()
