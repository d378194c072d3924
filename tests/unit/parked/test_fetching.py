"""Records are fetched by place: what is far apart is sought, what is not there is told, nothing blocks the others."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CorruptRecordException, KafkaConnectionError, OffsetOutOfRangeError
from parked_world import SETTINGS

from worker.delivery import Place
from worker.parked import fetching
from worker.parked.fetching import Fetcher, Missing

TOPIC = SETTINGS.topics.dead_letter


class Read(NamedTuple):
    """A record as aiokafka gives it."""

    partition: int
    offset: int


class Broker:
    """A consumer over partitions with gaps, as aiokafka behaves with one partition assigned."""

    def __init__(self, **offsets: set[int]) -> None:
        self.offsets = {int(name[1:]): wanted for name, wanted in offsets.items()}
        self.ends = {partition: max(there, default=-1) + 1 for partition, there in self.offsets.items()}
        self.bad: dict[tuple[int, int], Exception] = {}
        self.down: Exception | None = None
        self.assigned: TopicPartition | None = None
        self.at = 0
        self.seeks: list[tuple[int, int]] = []
        self.given = 0
        self.paused: list[TopicPartition] = []

    def assign(self, places: list[TopicPartition]) -> None:
        (self.assigned,) = places

    def seek(self, place: TopicPartition, offset: int) -> None:
        assert place == self.assigned
        self.at = offset
        self.seeks.append((place.partition, offset))

    def pause(self, place: TopicPartition) -> None:
        self.paused.append(place)

    async def position(self, place: TopicPartition) -> int:
        assert place == self.assigned
        return self.at

    async def end_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {place: self.ends[place.partition] for place in places}

    async def getmany(self, place: TopicPartition, *, timeout_ms: int, max_records: int) -> dict[TopicPartition, Any]:
        assert place == self.assigned
        if self.down is not None:
            raise self.down
        if self.at > self.ends[place.partition]:
            raise OffsetOutOfRangeError({place: self.at})
        records: list[Read] = []
        while self.at < self.ends[place.partition] and len(records) < max_records:
            error = self.bad.get((place.partition, self.at))
            if error is not None:
                if records:
                    break
                raise error
            if self.at in self.offsets[place.partition]:
                records.append(Read(place.partition, self.at))
            self.at += 1
        self.given += len(records)
        return {place: records} if records else {}


class World:
    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.fetcher = Fetcher(SETTINGS)
        self.fetcher._consumer = broker
        self.found: dict[tuple[int, int], str] = {}
        self.enough = 10**9

    def got(self, place: Place, found: Any) -> bool:
        assert (place.partition, place.offset) not in self.found, "told twice"
        if not isinstance(found, Missing):
            assert (found.partition, found.offset) == (place.partition, place.offset)
        self.found[place.partition, place.offset] = found.value if isinstance(found, Missing) else "here"
        return len(self.found) < self.enough

    async def fetch(self, *places: tuple[int, int]) -> dict[tuple[int, int], str]:
        await self.fetcher.fetch([Place(*place) for place in places], self.got)
        return self.found


async def test_records_come_from_several_partitions_whatever_the_order_they_are_asked_in() -> None:
    world = World(Broker(p0=set(range(10)), p3=set(range(10))))
    assert await world.fetch((3, 7), (0, 4), (3, 2)) == {(0, 4): "here", (3, 2): "here", (3, 7): "here"}


async def test_what_lies_close_together_is_read_in_one_go_and_what_lies_far_apart_is_sought() -> None:
    world = World(Broker(p0=set(range(100_000))))
    places = [(0, n) for n in (5, 6, 20, 40_000, 40_010, 99_999)]
    assert set((await world.fetch(*places)).values()) == {"here"}
    assert world.broker.seeks == [(0, 5), (0, 40_000), (0, 99_999)]
    assert world.broker.given < 5 * fetching.BATCH_RECORDS


async def test_what_was_compacted_away_is_told_as_gone() -> None:
    world = World(Broker(p0={1, 5, 90}))
    assert await world.fetch((0, 1), (0, 3), (0, 5), (0, 6), (0, 90)) == {
        (0, 1): "here",
        (0, 3): "gone",
        (0, 5): "here",
        (0, 6): "gone",
        (0, 90): "here",
    }


async def test_a_place_behind_everything_that_was_compacted_away_is_gone() -> None:
    broker = Broker(p0={1})
    broker.ends[0] = 500  # the position moves on, but no record comes
    assert await World(broker).fetch((0, 1), (0, 400)) == {(0, 1): "here", (0, 400): "gone"}


async def test_a_log_that_lost_its_end_is_told_and_not_waited_for() -> None:
    for lost in (10, 11, 4_000):
        assert await World(Broker(p0=set(range(10)), p1={0})).fetch((0, lost), (1, 0)) == {
            (0, lost): "gone",
            (1, 0): "here",
        }


async def test_a_batch_that_cannot_be_taken_apart_costs_its_own_records_only() -> None:
    for error in (CorruptRecordException("crc"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x")):
        broker = Broker(p0=set(range(200)), p1={3})
        broker.bad = {(0, 60): error, (0, 100): error}
        assert await World(broker).fetch((0, 1), (0, 40), (0, 60), (0, 70), (0, 120), (1, 3)) == {
            (0, 1): "here",
            (0, 40): "here",
            (0, 60): "unreadable",
            (0, 70): "here",
            (0, 120): "here",
            (1, 3): "here",
        }


async def test_it_stops_when_there_is_enough_and_reads_nothing_afterwards() -> None:
    world = World(Broker(p0=set(range(10)), p1=set(range(10))))
    world.enough = 1
    assert await world.fetch((0, 1), (0, 2), (1, 1)) == {(0, 1): "here"}
    assert world.broker.paused == [TopicPartition(TOPIC, 0)]


async def test_a_broker_that_does_not_answer_raises() -> None:
    world = World(Broker(p0={1}))
    world.broker.down = KafkaConnectionError("down")
    with pytest.raises(KafkaConnectionError):
        await world.fetch((0, 1))
    assert world.found == {}
