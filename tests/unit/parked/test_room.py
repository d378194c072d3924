"""The room: what is written for what, and what is taken back out of it."""

from __future__ import annotations

import pytest
from parked_world import NOW, SETTINGS, Read, World, ask_replay, delivery

from schemas import deadletter
from schemas.deadletter import DeadLetterHeaders
from worker.delivery import Place
from worker.errors import Failure
from worker.kafka import NotPublishedError
from worker.outcome import ConfirmedUnits, Verdict
from worker.parked.housekeeping import HEARTBEAT_S
from worker.parked.unfinished import MARKER_DAYS

T = SETTINGS.topics.order_shipped
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
    assert (about.topic, about.partition, about.offset) == (T, 2, 7)
    assert about.confirmed == (("1", 2, "1Z"),)
    assert place == Place(2, 0), "in the partition number it came from"
    row = world.room.table.get(2, f"{T}|/s|e1")
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
    await world.room.put_dead(delivery("first"), FAILED)
    await world.room.put_dead(delivery("other-shipment", shipment="S2"), FAILED)
    await world.room.settle(delivery("second", offset=8))
    assert [row.key for row in world.room.table] == [f"{T}|/s|other-shipment"]
    assert world.log.records[-1].value is None
    assert world.log.records[-1].key == f"{T}|/s|first".encode()


async def test_the_success_of_an_older_event_leaves_a_newer_dead_letter_of_its_shipment() -> None:
    """Both are dead, the first is replayed: the packages that only the second one names are still to be shipped."""
    world = World()
    await world.room.put_dead(delivery("first", offset=7), FAILED)
    await world.room.put_dead(delivery("second", offset=8), FAILED)
    await world.room.settle(delivery("first", offset=7))
    assert [row.key for row in world.room.table] == [f"{T}|/s|second"]


async def test_nothing_comes_up_once_the_partitions_are_being_given_back() -> None:
    """The next owner runs it; what is concluded meanwhile still finds its rows in the table."""
    world = World()
    world.restore()
    await world.room.put_dead(delivery(), FAILED)
    await ask_replay(world, f"{T}|/s|e1")
    world.room.hold()
    world.follow()
    assert await world.come_up() == []
    assert world.room.table.get(2, f"{T}|/s|e1") is not None


async def test_a_success_without_a_dead_letter_writes_nothing() -> None:
    world = World()
    await world.room.settle(delivery())
    assert world.log.records == []


async def test_a_replay_is_taken_once_the_table_has_caught_up() -> None:
    """A later record of the same key overrules it: nothing settled is run again."""
    world = World()
    for name, offset in (("open", 7), ("settled", 8)):
        await world.room.put_dead(delivery(name, offset=offset), FAILED)
        await ask_replay(world, f"{T}|/s|{name}")
    world.log.append(f"{T}|/s|settled".encode(), None, (), 2)
    world.restore()
    (taken,) = await world.come_up()
    assert (taken.key, taken.why) == (f"{T}|/s|open", "replay")
    assert (taken.original.offset, taken.original.value) == (7, b"{}")
    assert taken.original.headers == (("x", b"y"), ("order-sync-code", b"theirs"))
    again = delivery("open", room_place=taken.place, room_state="replay", replay_number=1)
    assert not world.room.settled_elsewhere(again)
    await world.room.put_dead(again, FAILED)
    assert world.room.settled_elsewhere(again), "it is done: a second take of the same record does nothing"


async def test_what_waits_for_a_replay_is_not_run_from_input() -> None:
    world = World()
    await world.room.put_dead(delivery(), FAILED)
    await ask_replay(world, f"{T}|/s|e1")
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


CORRECTS = b'{"packages": [{"tracking_number": "N 2", "replaces_tracking_number": "N1"}, {"tracking_number": "X"}]}'


@pytest.mark.parametrize("value", [CORRECTS, b'{"data": ' + CORRECTS + b"}"], ids=["binary", "structured"])
async def test_an_unsettled_correction_is_known_to_what_came_after_it(value: bytes) -> None:
    world = World()
    await world.room.put_dead(delivery("ships", offset=6), FAILED)
    await world.room.put_dead(delivery("corrects", offset=7, value=value), FAILED)
    again = World(world.log)
    again.restore()
    for room in (world.room, again.room):
        assert list(room.unsettled("PO1", delivery("third", offset=8))) == ["N 2"]
        assert not list(room.unsettled("PO1", delivery("ships", offset=6))), "it came before"
        assert not list(room.unsettled("PO1", delivery("corrects", offset=7))), "itself"
        assert not list(room.unsettled("PO2", delivery("third", offset=8, order="PO2")))
    await ask_replay(again, f"{T}|/s|corrects")
    again.restore()
    assert list(again.room.unsettled("PO1", delivery("third", offset=8))), "asked for, not settled"
    await again.room.settle(delivery("corrects", offset=7, value=value))
    assert not list(again.room.unsettled("PO1", delivery("third", offset=8)))


@pytest.mark.parametrize("value", [b"[]", b'"x"', b"{", b'{"packages": 1}', b'{"packages": ["x"]}', b'{"data": null}'])
async def test_a_dead_letter_whose_bytes_are_no_correction_leads_nowhere(value: bytes) -> None:
    world = World()
    await world.room.put_dead(delivery("broken", value=value + b" /* replaces_tracking_number */"), FAILED)
    await world.room.put_dead(delivery("other", value=value.replace(b"x", b"replaces_tracking_number")), FAILED)
    assert not list(world.room.unsettled("PO1", delivery("third", offset=8)))


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
    assert await world.come_up() == []


async def test_a_parked_record_that_does_not_say_where_it_came_from_is_counted_as_dead() -> None:
    world = World()
    for number, about in enumerate(
        (
            DeadLetterHeaders(state="waiting", topic=T, partition=0),
            DeadLetterHeaders(state="replay", partition=0, offset=1),
            DeadLetterHeaders(state="waiting", topic=T, partition=1, offset=1),
        )
    ):
        world.log.append(f"k{number}".encode(), *deadletter.write(about, b"x", ()), partition=0)
    world.restore()
    assert world.room.table.counts == {("dead", "dead_letter_unreadable"): 3}
    assert await world.come_up() == []


async def test_the_same_key_in_two_partitions_is_two_rows() -> None:
    """A tombstone of the one leaves the other."""
    world = World()
    await world.room.put_dead(delivery(partition=1), FAILED)
    await world.room.put_dead(delivery(partition=2), FAILED)
    await world.room.settle(delivery(partition=1))
    assert [row.partition for row in world.room.table] == [2]
    again = World(world.log)
    again.restore()
    assert [row.partition for row in again.room.table] == [2]


async def test_a_dead_letter_never_forgets_what_was_confirmed_before() -> None:
    """A replay that fails before it asks Walmart (its store is gone) keeps what an earlier try had confirmed."""
    world, again = World(), delivery()
    again.progress.restore([("1", 2, "1Z")])
    await world.room.put_dead(again, Verdict("ship", "none", Failure("store_unknown", "no store")))
    letter = deadletter.read(world.log.records[0].value, world.log.records[0].headers)
    assert letter.about.confirmed == (("1", 2, "1Z"),)
