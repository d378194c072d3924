"""The room: what is written for what, and what is taken back out of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from schemas import deadletter
from schemas.deadletter import DeadLetterHeaders
from worker.delivery import Delivery, Envelope, Place, Record
from worker.errors import Failure
from worker.kafka import NotPublishedError
from worker.outcome import ConfirmedUnits, Verdict
from worker.parked.room import HEARTBEAT_S, MARKER_DAYS, Replay, Room
from worker.settings import Settings
from worker.telemetry.metrics import Metrics

NOW = 1_795_000_000.0
SETTINGS = Settings.model_validate(
    {"accounts": {"main": {"client_id": "c", "client_secret": "s"}}, "stores": {"us": {"account": "main"}}}
)


class Read(NamedTuple):
    """A record as aiokafka gives it."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp: int


class Log:
    """A topic in memory: a publisher whose records can be read back."""

    def __init__(self) -> None:
        self.records: list[Read] = []
        self.down = False

    async def send(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: list[tuple[str, bytes | None]],
        partition: int | None = None,
    ) -> Place:
        if self.down:
            raise NotPublishedError("down")
        assert topic == SETTINGS.topics.dead_letter
        assert partition is not None
        offset = sum(record.partition == partition for record in self.records)
        self.records.append(Read(partition, offset, key, value, tuple(headers), int(NOW * 1000)))
        return Place(partition, offset)


class FixedClock:
    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> float:
        return self.time


class World:
    """A room over a log, as the owner of partitions 0 to 3."""

    def __init__(self, log: Log | None = None) -> None:
        self.log = log or Log()
        self.clock = FixedClock()
        self.replays: list[Replay] = []
        self.room = Room(SETTINGS, self.log, Metrics(), self.clock, replay=self.replays.append)

    def restore(self, up_to: int | None = None) -> None:
        """Read the log from the beginning, as after an assignment."""
        room: Any = self.room
        room._partitions = frozenset(range(4))
        room._began(frozenset(range(4)))
        for record in self.log.records[:up_to]:
            room._read(record)
        room.tail._ready = frozenset(range(4))
        for partition in range(4):
            room._caught_up(partition)


def delivery(
    key: str = "t|/s|e1", *, shipment: str | None = "S1", value: bytes = b"{}", offset: int = 7, **more: Any
) -> Delivery:
    record = Record("t", 2, offset, int(NOW * 1000), b"PO1", value, (("x", b"y"), ("order-sync-code", b"theirs")))
    envelope = Envelope("/s", "e1", "ty", NOW, "us", "PO1", "100", shipment)
    return Delivery(record, None, envelope, None, key, "PO1", NOW, first_seen=NOW, **more)


FAILED = Verdict(
    "ship", "partly_applied", Failure("carrier_unmapped", "no name"), confirmed=(ConfirmedUnits("1", 2, "1Z"),)
)


async def test_a_dead_letter_keeps_the_event_and_what_was_confirmed() -> None:
    world = World()
    place = await world.room.put_dead(delivery(), FAILED)
    (record,) = world.log.records
    letter = deadletter.read(record.value, record.headers)
    assert (letter.value, letter.key) == (b"{}", b"PO1")
    assert letter.headers == (("x", b"y"), ("order-sync-code", b"theirs"))
    about = letter.about
    assert (about.state, about.code, about.store, about.order) == ("dead", "carrier_unmapped", "us", "PO1")
    assert (about.topic, about.partition, about.offset) == ("t", 2, 7)
    assert about.confirmed == (("1", 2, "1Z"),)
    assert place == Place(2, 0), "in the partition number it came from"
    row = world.room.table.get("t|/s|e1")
    assert row is not None, "seen at once"
    assert row.state == "dead"


async def test_what_is_restored_is_what_was_written() -> None:
    world = World()
    await world.room.put_dead(delivery(), FAILED)
    again = World(world.log)
    again.restore()
    (before,), (after,) = list(world.room.table), list(again.room.table)
    assert before == after


async def test_success_closes_its_own_dead_letter_and_older_ones_of_the_shipment() -> None:
    world = World()
    await world.room.put_dead(delivery("t|/s|first"), FAILED)
    await world.room.put_dead(delivery("t|/s|other-shipment", shipment="S2"), FAILED)
    await world.room.settle(delivery("t|/s|second", offset=8))
    assert [row.key for row in world.room.table] == ["t|/s|other-shipment"]
    assert world.log.records[-1].value is None
    assert world.log.records[-1].key == b"t|/s|first"


async def test_the_success_of_an_older_event_leaves_a_newer_dead_letter_of_its_shipment() -> None:
    """Both are dead, the first is replayed: the packages that only the second one names are still to be shipped."""
    world = World()
    await world.room.put_dead(delivery("t|/s|first", offset=7), FAILED)
    await world.room.put_dead(delivery("t|/s|second", offset=8), FAILED)
    await world.room.settle(delivery("t|/s|first", offset=7))
    assert [row.key for row in world.room.table] == ["t|/s|second"]


async def test_no_replay_begins_once_the_partitions_are_being_given_back() -> None:
    """The next owner runs it; what is concluded meanwhile still finds its rows in the table."""
    world = World()
    world.restore()
    await world.room.put_dead(delivery(), FAILED)
    world.room.hold()
    about = DeadLetterHeaders(state="replay", key=b"PO1", topic="t", partition=2, offset=7, replay_number=1)
    value, headers = deadletter.write(about, b"{}", ())
    await world.log.send(SETTINGS.topics.dead_letter, key=b"t|/s|e1", value=value, headers=headers, partition=2)
    world.room._read(world.log.records[-1])
    assert world.replays == []
    assert world.room.table.get("t|/s|e1") is not None


async def test_a_success_without_a_dead_letter_writes_nothing() -> None:
    world = World()
    await world.room.settle(delivery())
    assert world.log.records == []


async def test_a_replay_is_taken_once_the_table_has_caught_up() -> None:
    """A later record of the same key overrules it: nothing settled is run again."""
    world = World()
    about = DeadLetterHeaders(state="replay", key=b"PO1", topic="t", partition=2, offset=7, replay_number=1)
    value, headers = deadletter.write(about, b"{}", ())
    for key in ("open", "settled"):
        await world.log.send(SETTINGS.topics.dead_letter, key=key.encode(), value=value, headers=headers, partition=2)
    await world.log.send(SETTINGS.topics.dead_letter, key=b"settled", value=None, headers=[], partition=2)
    world.restore()
    (replay,) = world.replays
    assert (replay.key, replay.original.offset, replay.original.value) == ("open", 7, b"{}")
    taken = delivery("open", room_place=replay.place, replay_number=1)
    assert not world.room.settled_elsewhere(taken)
    await world.room.put_dead(taken, FAILED)
    assert world.room.settled_elsewhere(taken), "it is done: a second take of the same record does nothing"


async def test_what_waits_for_a_replay_is_not_run_from_input() -> None:
    world = World()
    about = DeadLetterHeaders(state="replay", topic="t", partition=2, offset=7, replay_number=1)
    value, headers = deadletter.write(about, b"{}", ())
    await world.log.send(SETTINGS.topics.dead_letter, key=b"t|/s|e1", value=value, headers=headers, partition=2)
    world.restore()
    assert world.room.settled_elsewhere(delivery())
    other = delivery(value=b"[]")
    assert not world.room.settled_elsewhere(other), "other bytes are another event"
    assert world.room.other_event_with_this_identity(other)


async def test_a_dead_one_is_run_again_from_input() -> None:
    world = World()
    await world.room.put_dead(delivery(), FAILED)
    assert not world.room.settled_elsewhere(delivery())
    assert not world.room.other_event_with_this_identity(delivery())


async def test_markers_survive_a_restart_and_are_freed() -> None:
    world = World()
    assert await world.room.mark("PO1", "OLD", NOW - 5, delivery())
    again = World(world.log)
    again.restore()
    assert again.room.superseded_at("PO1", "OLD") == NOW - 5
    assert again.room.superseded_at("PO2", "OLD") is None
    assert await again.room.free("PO1", "OLD", delivery())
    assert again.room.superseded_at("PO1", "OLD") is None


async def test_a_marker_that_cannot_be_written_says_so() -> None:
    world = World()
    world.log.down = True
    assert not await world.room.mark("PO1", "OLD", NOW, delivery())
    assert world.room.superseded_at("PO1", "OLD") is None


async def test_a_dead_letter_that_cannot_be_written_raises() -> None:
    world = World()
    world.log.down = True
    with pytest.raises(NotPublishedError):
        await world.room.put_dead(delivery(), FAILED)
    assert list(world.room.table) == []


async def test_housekeeping_drops_old_markers_and_beats_in_quiet_partitions() -> None:
    world = World()
    await world.room.mark("PO1", "OLD", NOW, delivery())
    world.restore()
    await world.room.keep_house()
    quiet = [record for record in world.log.records if record.key == b"heartbeat"]
    assert {record.partition for record in quiet} == {0, 1, 3}, "partition 2 was written to just now"
    world.clock.time += MARKER_DAYS * 86_400 + HEARTBEAT_S
    await world.room.keep_house()
    assert world.room.superseded_at("PO1", "OLD") is None


async def test_foreign_and_broken_records_are_survived() -> None:
    world = World()
    for key, value, headers in (
        (None, b"x", ()),
        (b"\xff", b"x", (("order-sync-state", b"dead"),)),
        (b"k1", b"x", (("order-sync-state", b"nonsense"),)),
        (b"k2", b"", ()),
    ):
        world.log.records.append(Read(0, len(world.log.records), key, value, headers, 0))
    world.restore()
    assert [row.state for row in world.room.table] == ["dead"]


async def test_a_dead_letter_never_forgets_what_was_confirmed_before() -> None:
    """A replay that fails before it asks Walmart (its store is gone) keeps what an earlier try had confirmed."""
    world, again = World(), delivery()
    again.progress.restore([("1", 2, "1Z")])
    await world.room.put_dead(again, Verdict("ship", "none", Failure("store_unknown", "no store")))
    letter = deadletter.read(world.log.records[0].value, world.log.records[0].headers)
    assert letter.about.confirmed == (("1", 2, "1Z"),)
