"""The tail over a scripted client: an error costs time, never what the table knows."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CorruptRecordException, KafkaError

from worker.parked import tail as tails
from worker.parked.tail import Tail
from worker.settings import Settings

SETTINGS = Settings.model_validate(
    {"accounts": {"main": {"client_id": "c", "client_secret": "s"}}, "stores": {"us": {"account": "main"}}}
)


class Read(NamedTuple):
    """A record as aiokafka gives it."""

    partition: int
    offset: int


class Log:
    """Partitions of some length; errors are raised after the first partition was drained."""

    def __init__(self, *lengths: int) -> None:
        self.lengths = list(lengths)
        self.positions: dict[TopicPartition, int] = {}
        self.errors: list[Exception] = []
        self.bad: dict[int, dict[int, Exception]] = {}
        """Partition -> offset -> what the client raises there, for ever."""

    def assign(self, places: list[TopicPartition]) -> None:
        self.positions = dict.fromkeys(places, 0)

    async def seek_to_beginning(self, *places: TopicPartition) -> None:
        self.positions.update(dict.fromkeys(places, 0))

    async def end_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {place: self.lengths[place.partition] for place in places}

    async def position(self, place: TopicPartition) -> int:
        return self.positions[place]

    def seek(self, place: TopicPartition, offset: int) -> None:
        self.positions[place] = offset

    async def getmany(self, *wanted: TopicPartition, timeout_ms: int, max_records: int) -> dict[TopicPartition, Any]:
        await asyncio.sleep(0)
        drained: dict[TopicPartition, Any] = {}
        for place in wanted or tuple(self.positions):
            position = self.positions[place]
            # As aiokafka does: what a broker refuses is raised alone, what cannot be taken apart also in the middle.
            if self.errors and (drained or not isinstance(self.errors[0], CorruptRecordException)):
                raise self.errors.pop()
            last = min(self.lengths[place.partition], position + max_records)
            records: list[Read] = []
            for offset in range(position, last):
                if offset in self.bad.get(place.partition, {}):
                    if records:
                        break
                    raise self.bad[place.partition][offset]
                records.append(Read(place.partition, offset))
                self.positions[place] = offset + 1
            if records:
                drained[place] = records
        return drained


class World:
    """A tail that follows two partitions."""

    def __init__(self, log: Log) -> None:
        self.began = 0
        self.read: list[tuple[int, int]] = []
        self.log = log
        self.tail = Tail(
            SETTINGS,
            read=lambda record: self.read.append((record.partition, record.offset)),
            began=self._began,
            caught_up=lambda _: None,
        )
        self.tail._consumer = log

    def _began(self, partitions: frozenset[int]) -> None:
        self.began += 1
        self.read.clear()

    async def until_read(self, count: int) -> None:
        async with asyncio.timeout(4):
            while len(self.read) < count:
                await asyncio.sleep(0.001)


async def test_an_error_while_it_follows_does_not_empty_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events run meanwhile: with an empty table a replay would run twice and a corrected number would be shipped."""
    monkeypatch.setattr(tails, "RETRY_S", 0.01)
    world = World(Log(3, 2))
    world.tail.follow(frozenset({0, 1}))
    running = asyncio.create_task(world.tail.run())
    await world.until_read(5)
    assert world.tail.is_ready(0)
    assert world.tail.is_ready(1)
    for error in (KafkaError("x"), CorruptRecordException("crc")):
        world.log.errors.append(error)
        world.log.lengths = [length + 1 for length in world.log.lengths]
        await world.until_read(len(world.read) + 2)
    running.cancel()
    assert world.began == 1
    assert sorted(world.read) == [(0, n) for n in range(5)] + [(1, n) for n in range(4)]


async def test_nothing_is_ready_between_hold_and_the_next_assignment() -> None:
    world = World(Log(1, 1))
    world.tail.follow(frozenset({0, 1}))
    running = asyncio.create_task(world.tail.run())
    await world.until_read(2)
    world.tail.hold()
    assert [world.tail.is_ready(0), world.tail.caught_up] == [False, False]
    world.tail.follow(frozenset({1}))
    async with asyncio.timeout(4):
        while not world.tail.caught_up:
            await asyncio.sleep(0.001)
    assert world.tail.is_ready(1)
    running.cancel()


async def test_a_record_that_the_client_cannot_take_apart_is_stepped_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """A header name that is not UTF-8, written by somebody else: the tables behind it must become whole."""
    monkeypatch.setattr(tails, "RETRY_S", 0.01)
    world = World(Log(4, 3))
    world.log.bad[0] = {1: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid")}
    world.tail.follow(frozenset({0, 1}))
    running = asyncio.create_task(world.tail.run())
    await world.until_read(6)
    async with asyncio.timeout(4):
        while not world.tail.caught_up:
            await asyncio.sleep(0.001)
    world.log.lengths = [6, 4]
    await world.until_read(9)
    running.cancel()
    assert sorted(world.read) == [(0, n) for n in (0, 2, 3, 4, 5)] + [(1, n) for n in range(4)]


async def test_a_corrupt_partition_does_not_keep_the_others_from_being_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tails, "RETRY_S", 0.01)
    world = World(Log(4, 3))
    world.log.bad[0] = {1: CorruptRecordException("crc")}
    world.tail.follow(frozenset({0, 1}))
    running = asyncio.create_task(world.tail.run())
    await world.until_read(4)
    async with asyncio.timeout(4):
        while not world.tail.is_ready(1):
            await asyncio.sleep(0.001)
    running.cancel()
    assert not world.tail.is_ready(0)
    assert sorted(world.read) == [(0, 0), (1, 0), (1, 1), (1, 2)]
