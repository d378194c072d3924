"""The intake over a scripted client: nothing is taken too early, nothing that was skipped is committed over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CorruptRecordException, KafkaConnectionError

from worker.delivery import Record
from worker.intake.consumer import Intake, IntakeDoors
from worker.settings import Settings
from worker.telemetry.metrics import Metrics

SETTINGS = Settings.model_validate(
    {"accounts": {"main": {"client_id": "c", "client_secret": "s"}}, "stores": {"us": {"account": "main"}}}
)
SHIPPED = SETTINGS.topics.order_shipped
NOW = 1_764_000_000.0
ONE, TWO = TopicPartition(SHIPPED, 0), TopicPartition(SHIPPED, 1)


class Read(NamedTuple):
    """A record as aiokafka gives it."""

    topic: str
    partition: int
    offset: int
    timestamp: int = 0
    key: bytes | None = b"k"
    value: bytes | None = b"v"
    headers: tuple[tuple[str, bytes | None], ...] = ()


class Poison(NamedTuple):
    """An offset at which reading raises."""

    error: Exception


class Log:
    """Partitions in memory, read the way aiokafka reads: what was drained before another partition raises is lost."""

    def __init__(self, **partitions: list[Exception | None]) -> None:
        self.records = {
            TopicPartition(SHIPPED, int(name[1:])): [
                Read(SHIPPED, int(name[1:]), offset) if error is None else Poison(error)
                for offset, error in enumerate(errors)
            ]
            for name, errors in partitions.items()
        }
        self.positions = dict.fromkeys(self.records, 0)
        self.before_answer: Callable[[], Any] = lambda: None

    async def getmany(self, *asked: TopicPartition, timeout_ms: int, max_records: int) -> dict[TopicPartition, Any]:
        await asyncio.sleep(0)
        await_this, self.before_answer = self.before_answer, lambda: None
        if (waiting := await_this()) is not None:
            await waiting
        drained = {}
        for partition in asked:
            records, position = [], self.positions.get(partition, 0)
            for record in self.records.get(partition, [])[position : position + max_records]:
                if isinstance(record, Poison):
                    raise record.error
                records.append(record)
            if records:
                self.positions[partition] = records[-1].offset + 1
                drained[partition] = records
        return drained

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.positions[partition] = offset

    async def position(self, partition: TopicPartition) -> int:
        return self.positions[partition]

    async def seek_to_committed(self, partition: TopicPartition) -> dict[TopicPartition, int | None]:
        return {partition: None}

    def partitions_for_topic(self, topic: str) -> set[int]:
        return {0, 1}

    async def seek_to_beginning(self, partition: TopicPartition) -> None:
        self.positions[partition] = 0


class Nothing:
    """A broker at which nothing was ever committed."""

    async def committed(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], tuple[int, str]]:
        return dict.fromkeys(places, (-1, ""))

    async def led(self, topics: Iterable[str]) -> frozenset[tuple[str, int]]:
        raise AssertionError(topics)


class Reluctant(Nothing):
    """A broker whose coordinator is not there yet."""

    willing = False
    asked = 0

    async def committed(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], tuple[int, str]]:
        self.asked += 1
        if not self.willing:
            raise KafkaConnectionError
        return await super().committed(places)


class FixedClock:
    def now(self) -> float:
        return NOW


class World:
    """An intake that owns what the log has."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.taken: list[tuple[int, int]] = []
        self.unreadable: list[tuple[int, int]] = []
        self.ready = True
        self.intake = Intake(
            SETTINGS,
            Metrics(),
            IntakeDoors(
                accept=lambda record, _: self.taken.append((record.partition, record.offset)),
                too_large=lambda *_: None,
                unreadable=self._unreadable,
                has_room=lambda: True,
                let_go=self._let_go,
                take_over=lambda *_: None,
                may_read=lambda _: self.ready,
            ),
            asks=Nothing(),
            clock=FixedClock(),
        )
        self.intake.consumer = log

    def _unreadable(self, record: Record, epoch: int) -> None:
        assert epoch == self.intake.epoch
        self.unreadable.append((record.partition, record.offset))

    async def _let_go(self, budget_s: float) -> None:
        pass

    async def assigned(self) -> None:
        await self.intake.given(set(self.log.records))
        async with asyncio.timeout(4):
            while not self.intake.intents_known:
                await asyncio.sleep(0)

    async def read(self, until: Callable[[], bool]) -> None:
        running = asyncio.create_task(self.intake.run())
        async with asyncio.timeout(4):
            while not until():
                await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait({running})


async def test_records_of_a_poll_that_a_rebalance_held_up_wait_for_the_table() -> None:
    """The poll was asked before the rebalance and answers after it: the dead letters are not read yet."""
    world = World(Log(p0=[None] * 3))
    await world.assigned()

    async def rebalance() -> None:
        await world.intake.revoked()
        world.ready = False
        await world.assigned()

    world.log.before_answer = rebalance
    await world.intake.reader.poll(world.log)
    assert world.taken == []
    world.ready = True
    await world.read(lambda: len(world.taken) == 3)
    assert world.taken == [(0, 0), (0, 1), (0, 2)]


@pytest.mark.parametrize("nothing_read_before", [True, False])
async def test_what_a_failing_poll_had_drained_is_read_again(nothing_read_before: bool) -> None:
    """Another partition's corrupt batch raises after this one was drained: its records must not be committed over."""
    world = World(Log(p0=[None] * 5, p1=[CorruptRecordException("crc")]))
    await world.assigned()
    if not nothing_read_before:
        world.log.records[ONE], later = world.log.records[ONE][:2], world.log.records[ONE]
        await world.intake.reader._poll_apart(world.log, [ONE])
        world.log.records[ONE] = later
    await world.read(lambda: len(world.taken) == 5)
    assert world.taken == [(0, offset) for offset in range(5)]


async def test_a_record_the_client_cannot_read_is_told_and_stepped_over() -> None:
    """A header name that is not UTF-8 makes aiokafka raise for ever; the records around it are all taken, in order."""
    broken = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
    world = World(Log(p0=[None] * 4, p1=[None, None, broken, None, broken, None]))
    await world.assigned()
    await world.read(lambda: len(world.taken) == 8 and len(world.unreadable) == 2)
    assert [offset for partition, offset in world.taken if partition == 0] == [0, 1, 2, 3]
    assert [offset for partition, offset in world.taken if partition == 1] == [0, 1, 3, 5]
    assert world.unreadable == [(1, 2), (1, 4)]
    for partition, offset in (*world.taken, *world.unreadable):
        world.intake.finished(Record(SHIPPED, partition, offset, 0, None, None, ()), world.intake.epoch)
    assert world.intake.offsets.to_commit() == {(SHIPPED, 0): 4, (SHIPPED, 1): 6}


async def test_what_must_be_read_again_is_not_read_past(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's position is ahead of what was taken: a cancel must not believe that its shipments are known."""
    world = World(Log(p0=[None] * 5, p1=[CorruptRecordException("crc")]))
    await world.assigned()
    monkeypatch.setattr(world.intake.reader, "wanted", lambda: [ONE, TWO])
    await world.intake.reader.poll(world.log)
    assert world.taken == []
    assert world.log.positions[ONE] == 5
    assert not await world.intake.read_past(0, 5)
    await world.read(lambda: len(world.taken) == 5)
    assert await world.intake.read_past(0, 5)
    assert not await world.intake.read_past(0, 6)


async def test_the_time_of_a_record_that_cannot_be_read_is_the_clocks() -> None:
    broken = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
    world = World(Log(p0=[broken, None]))
    seen: list[int] = []
    world.intake.reader._doors = replace(
        world.intake.reader._doors, unreadable=lambda record, _: seen.append(record.timestamp_ms)
    )
    await world.assigned()
    await world.read(lambda: bool(seen))
    assert seen == [int(NOW * 1000)]


async def test_a_cancel_partition_without_its_shipments_is_not_read() -> None:
    world = World(Log(p0=[None]))
    cancelled = TopicPartition(SETTINGS.topics.order_cancelled, 1)
    world.log.records[cancelled] = [Read(cancelled.topic, 1, 0)]
    world.log.positions[cancelled] = 0
    owned: list[frozenset[int]] = []
    world.intake._doors = replace(world.intake._doors, take_over=lambda numbers, _: owned.append(numbers))
    await world.assigned()
    assert world.intake.pairing_broken
    assert owned == [frozenset({0})]
    await world.read(lambda: bool(world.taken))
    assert world.log.positions[cancelled] == 0


async def test_nothing_is_read_before_the_intents_are_known_and_asking_goes_on_until_they_are() -> None:
    world = World(Log(p0=[None]))
    asks = Reluctant()
    world.intake.assignment._asks = asks
    await world.intake.given(set(world.log.records))
    await world.intake.reader.poll(world.log)
    assert world.taken == []
    assert not world.intake.assignment.may_send
    asks.willing = True
    await world.read(lambda: bool(world.taken))
    assert asks.asked > 1


async def test_an_answer_about_an_older_assignment_is_ignored() -> None:
    world = World(Log(p0=[None]))
    world.intake.assignment._asks = Reluctant()
    await world.intake.given(set(world.log.records))
    late = world.intake.assignment._read_back(world.intake.epoch)
    world.intake.assignment._asks = Nothing()
    await world.intake.revoked()
    await late
    assert not world.intake.intents_known


async def test_misplaced_shipments_are_remembered_and_misplaced_cancels_are_not() -> None:
    world = World(Log(p0=[None]))
    intake = world.intake
    intake.note_misplaced(Record(SETTINGS.topics.order_cancelled, 0, 0, 0, b"k", None, ()))
    assert not intake.misplaced_since(0)
    intake.note_misplaced(Record(SHIPPED, 0, 0, 0, b"k", None, ()))
    assert intake.misplaced_since(NOW - 3_600)
    assert not intake.misplaced_since(NOW + 1)
