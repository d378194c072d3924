"""The rules of parking, one test each: who waits, who comes up, in what order, and what is never run twice."""

from __future__ import annotations

import pytest
from parked_world import (
    CANCELLED,
    DOWN,
    NOW,
    PAUSED,
    SETTINGS,
    SHIPMENTS,
    SHIPPED,
    World,
    ask_replay,
    back,
    delivery,
)

from schemas import deadletter
from worker.delivery import Delivery, Place
from worker.errors import Failure
from worker.kafka import NotPublishedError
from worker.outcome import Verdict
from worker.parked.waiting import AGAIN_S

SLO_S = SETTINGS.timing.slo_seconds
GIVE_UP_S = SETTINGS.timing.give_up_after_hours * 3600
FAILED = Verdict("ship", "none", Failure("carrier_unmapped", "no name"))


def cancel(name: str, offset: int = 7, **more: object) -> Delivery:
    return delivery(name, topic=CANCELLED, offset=offset, **more)  # type: ignore[arg-type]


def ship(name: str, offset: int = 7, **more: object) -> Delivery:
    return delivery(name, offset=offset, **more)  # type: ignore[arg-type]


def names(keys: list[str]) -> list[str]:
    return [key.rpartition("|")[2] for key in keys]


@pytest.fixture
def world() -> World:
    made = World()
    made.restore()
    return made


# -- order within an order


async def test_a_later_event_of_the_order_queues_behind_a_waiting_one(world: World) -> None:
    await world.room.put_waiting(ship("first", 7), DOWN, 0)
    assert world.room.blocked(ship("second", 8))
    assert world.room.blocked(cancel("third", 3))
    assert not world.room.blocked(ship("other", 9, order="PO2"))


async def test_a_later_event_of_the_order_passes_a_dead_one(world: World) -> None:
    await world.room.put_dead(ship("first", 7), FAILED)
    assert not world.room.blocked(ship("second", 8))


async def test_a_later_event_of_the_order_passes_a_replay_and_a_marker(world: World) -> None:
    await world.room.put_dead(ship("first", 7), FAILED)
    await ask_replay(world, f"{SHIPPED}|/s|first")
    await world.room.mark("PO1", "OLD", NOW, ship("first", 7))
    world.follow()
    assert not world.room.blocked(ship("second", 8))


async def test_events_of_a_topic_leave_in_the_order_of_their_offsets(world: World) -> None:
    await world.room.put_waiting(ship("later", 8), DOWN, 0)
    await world.room.put_waiting(ship("earlier", 7), DOWN, 0)
    assert names(await world.keys()) == ["earlier"]


async def test_across_topics_the_one_parked_first_leaves_first(world: World) -> None:
    await world.room.put_waiting(cancel("parked-first", 900), DOWN, 0)
    await world.room.put_waiting(ship("parked-second", 7), DOWN, 0)
    assert names(await world.keys()) == ["parked-first"]


async def test_parking_again_keeps_the_place_among_its_order(world: World) -> None:
    await world.room.put_waiting(cancel("first", 900), DOWN, 0)
    await world.room.put_waiting(ship("second", 7), DOWN, 0)
    (taken,) = await world.come_up()
    await world.room.put_waiting(back(taken, world), DOWN, 0)
    assert names(await world.keys()) == ["first"], "written anew behind the other, it is older all the same"


async def test_parking_again_keeps_the_place_also_for_the_next_owner_and_after_compaction(world: World) -> None:
    await world.room.put_waiting(cancel("first", 900), DOWN, 0)
    await world.room.put_waiting(ship("second", 7), DOWN, 0)
    (taken,) = await world.come_up()
    await world.room.put_waiting(back(taken, world), DOWN, 0)
    world.log.compact()
    again = World(world.log)
    again.restore()
    assert names(await again.keys()) == ["first"]


async def test_the_next_one_comes_up_only_once_the_one_before_it_is_gone(world: World) -> None:
    await world.room.put_waiting(ship("first", 7), DOWN, 0)
    await world.room.put_waiting(ship("second", 8), DOWN, 0)
    (taken,) = await world.come_up()
    assert await world.come_up() == []
    await world.room.settle(back(taken, world))
    assert names(await world.keys()) == ["second"]


async def test_one_that_became_dead_lets_the_next_one_come_up(world: World) -> None:
    await world.room.put_waiting(ship("first", 7), DOWN, 0)
    await world.room.put_waiting(ship("second", 8), DOWN, 0)
    (taken,) = await world.come_up()
    await world.room.put_dead(back(taken, world), FAILED)
    assert names(await world.keys()) == ["second"]


async def test_an_earlier_event_parked_later_stands_before_one_that_was_taken_up(world: World) -> None:
    """After a crash an earlier offset is read once more: the later one, in memory by then, must not run first."""
    await world.room.put_waiting(ship("later", 8), DOWN, 0)
    (taken,) = await world.come_up()
    later = back(taken, world)
    assert world.room.may_run(later)
    await world.room.put_waiting(ship("earlier", 7), DOWN, 0)
    assert not world.room.may_run(later)
    assert world.room.holds(later)
    assert world.room.blocked(later)
    world.room.untake(later)
    (taken,) = await world.come_up()
    assert names([taken.key]) == ["earlier"]
    await world.room.settle(back(taken, world))
    world.clock.time += AGAIN_S
    assert names(await world.keys()) == ["later"], "given back, it is offered again"


async def test_an_event_that_could_not_be_read_waits_behind_nobody_and_nobody_behind_it(world: World) -> None:
    await world.room.put_waiting(ship("first", 7), DOWN, 0)
    broken = ship("broken", 8)
    broken.lane, broken.refusal = broken.record.coordinates, Failure("event_invalid", "x")
    assert not world.room.blocked(broken)
    await world.room.put_waiting(broken, PAUSED, 0)
    assert names(await world.keys()) == ["first", "broken"]
    assert not world.room.blocked(ship("other", 9, order=None))


# -- who passes whom


async def test_shipments_pass_a_cancel_that_waits_for_them(world: World) -> None:
    await world.room.put_waiting(cancel("cancel"), SHIPMENTS, NOW + 900)
    assert not world.room.blocked(ship("shipment"))
    assert world.room.blocked(cancel("second-cancel", 8))


async def test_shipments_pass_every_cancel_behind_one_that_waits_for_them(world: World) -> None:
    await world.room.put_waiting(cancel("cancel", 7), SHIPMENTS, NOW + 900)
    await world.room.put_waiting(cancel("behind", 8), DOWN, 0)
    assert not world.room.blocked(ship("shipment"))


async def test_shipments_do_not_pass_a_cancel_that_waits_for_something_else(world: World) -> None:
    await world.room.put_waiting(cancel("cancel", 7), DOWN, 0)
    await world.room.put_waiting(cancel("behind", 8), SHIPMENTS, NOW + 900)
    assert world.room.blocked(ship("shipment"))


async def test_a_shipment_never_passes_a_shipment(world: World) -> None:
    await world.room.put_waiting(cancel("cancel", 7), SHIPMENTS, NOW + 900)
    await world.room.put_waiting(ship("first", 7), DOWN, 0)
    assert world.room.blocked(ship("second", 8))


async def test_a_parked_shipment_passes_a_parked_cancel_that_waits_for_it(world: World) -> None:
    await world.room.put_waiting(cancel("cancel"), SHIPMENTS, NOW + 900)
    await world.room.put_waiting(ship("shipment"), DOWN, 0)
    (taken,) = await world.come_up()
    assert names([taken.key]) == ["shipment"]
    assert world.room.may_run(back(taken, world))


async def test_a_parked_shipment_does_not_pass_a_parked_cancel_that_waits_for_something_else(world: World) -> None:
    await world.room.put_waiting(cancel("cancel"), DOWN, NOW + 900)
    await world.room.put_waiting(ship("shipment"), DOWN, 0)
    assert await world.come_up() == []


async def test_a_cancel_that_waits_for_shipments_comes_up_once_one_is_settled(world: World) -> None:
    await world.room.put_waiting(cancel("cancel"), SHIPMENTS, NOW + 900)
    assert await world.come_up() == []
    world.room.wake_order("PO1")
    assert names(await world.keys()) == ["cancel"]


async def test_waking_an_order_leaves_what_waits_for_something_else(world: World) -> None:
    await world.room.put_waiting(cancel("cancel"), DOWN, NOW + 900)
    world.room.wake_order("PO1")
    assert await world.come_up() == []


# -- when they come up


async def test_nothing_comes_up_before_its_next_time(world: World) -> None:
    await world.room.put_waiting(ship("e"), DOWN, NOW + 60)
    assert await world.come_up() == []
    world.clock.time = NOW + 60
    assert names(await world.keys()) == ["e"]


async def test_nothing_comes_up_while_its_account_has_no_room(world: World) -> None:
    await world.room.put_waiting(ship("e"), DOWN, 0)
    world.allowed["account-of-us"] = 0
    assert await world.come_up() == []
    world.allowed["account-of-us"] = 1
    assert names(await world.keys()) == ["e"]


async def test_only_as_many_as_the_account_allows_come_up(world: World) -> None:
    for n in range(5):
        await world.room.put_waiting(ship(f"e{n}", n, order=f"PO{n}"), DOWN, 0)
    world.allowed["account-of-us"] = 2
    world.taken.clear()
    await world.room._pump.once()
    assert names([taken.key for taken in world.taken]) == ["e0", "e1"]


async def test_the_oldest_come_up_first(world: World) -> None:
    for n, age in ((0, 10), (1, 3_000), (2, 500)):
        event = ship(f"e{n}", n, order=f"PO{n}", first_seen=NOW - age, told_retrying=True)
        await world.room.put_waiting(event, DOWN, 0)
    world.allowed["account-of-us"] = 1
    assert names(await world.keys()) == ["e1", "e2", "e0"]


async def test_one_account_without_room_does_not_keep_the_others_back(world: World) -> None:
    await world.room.put_waiting(ship("stuck", 1, order="PO1", first_seen=NOW - 900), DOWN, 0)
    await world.room.put_waiting(ship("free", 2, order="PO2", store="eu"), DOWN, 0)
    world.allowed["account-of-us"] = 0
    assert names(await world.keys()) == ["free"]


async def test_an_event_of_an_unknown_store_stands_behind_no_gate_but_needs_room(world: World) -> None:
    """A removed store with a backlog of a hundred thousand must not fill the memory."""
    await world.room.put_waiting(ship("e", store="unknown"), DOWN, 0)
    world.allowed[""] = 0
    assert names(await world.keys()) == []
    world.allowed[""] = 1
    world.room.wake()
    assert names(await world.keys()) == ["e"]


async def test_nothing_comes_up_before_the_table_is_whole() -> None:
    world = World()
    await world.room.put_waiting(ship("e"), DOWN, 0)
    assert await world.come_up() == []
    world.restore()
    assert names(await world.keys()) == ["e"]


# -- late and given up


async def test_a_late_event_comes_up_to_be_told_whatever_its_account_says(world: World) -> None:
    await world.room.put_waiting(ship("e"), DOWN, NOW + 9_000)
    world.allowed["account-of-us"] = 0
    world.clock.time = NOW + SLO_S
    (taken,) = await world.come_up()
    assert taken.why == "late"
    assert not back(taken, world).told_retrying


async def test_a_late_event_is_told_once(world: World) -> None:
    await world.room.put_waiting(ship("e"), DOWN, NOW + 900)
    world.clock.time = NOW + SLO_S
    (taken,) = await world.come_up()
    told = back(taken, world)
    told.told_retrying = True
    await world.room.put_waiting(told, DOWN, told.next_try)
    assert await world.come_up() == []
    again = World(world.log)
    again.restore()
    assert await again.come_up() == []
    world.clock.time = NOW + 900
    (taken,) = await world.come_up()
    assert taken.why == "turn"
    assert back(taken, world).told_retrying


async def test_lateness_counts_from_the_events_own_time(world: World) -> None:
    old = ship("e")
    old.envelope = old.envelope._replace(time=NOW - SLO_S)
    await world.room.put_waiting(old, DOWN, NOW + 900)
    (taken,) = await world.come_up()
    assert taken.why == "late"


async def test_a_late_event_is_told_also_behind_others_of_its_order(world: World) -> None:
    await world.room.put_waiting(ship("first", 7, told_retrying=True), DOWN, NOW + 900)
    await world.room.put_waiting(ship("second", 8), DOWN, NOW + 900)
    world.clock.time = NOW + SLO_S
    (taken,) = await world.come_up()
    late = back(taken, world)
    assert (names([taken.key]), taken.why) == (["second"], "late")
    assert world.room.holds(late)
    assert not world.room.may_run(late), "it is told, not tried"


async def test_an_event_over_its_time_comes_up_whatever_its_account_says(world: World) -> None:
    await world.room.put_waiting(ship("e", told_retrying=True), DOWN, NOW + 2 * GIVE_UP_S)
    world.allowed["account-of-us"] = 0
    world.clock.time = NOW + GIVE_UP_S - 1
    assert await world.come_up() == []
    world.clock.time = NOW + GIVE_UP_S
    (taken,) = await world.come_up()
    assert taken.why == "expired"


async def test_what_is_over_its_time_but_parked_again_does_not_come_up_at_once(world: World) -> None:
    """It has not been tried often enough: the account's probes count, at their own pace."""
    await world.room.put_waiting(ship("e", told_retrying=True), DOWN, 0)
    world.allowed["account-of-us"] = 0
    world.clock.time = NOW + GIVE_UP_S
    (taken,) = await world.come_up()
    await world.room.put_waiting(back(taken, world), DOWN, 0)
    assert await world.come_up() == []
    world.clock.time += SETTINGS.timing.probe_seconds
    (taken,) = await world.come_up()
    assert taken.why == "expired"


async def test_only_the_first_of_an_order_is_given_up(world: World) -> None:
    await world.room.put_waiting(ship("first", 7, told_retrying=True), DOWN, NOW + 2 * GIVE_UP_S)
    await world.room.put_waiting(ship("second", 8, told_retrying=True), DOWN, NOW + 2 * GIVE_UP_S)
    world.clock.time = NOW + GIVE_UP_S
    (taken,) = await world.come_up()
    assert names([taken.key]) == ["first"]
    await world.room.put_dead(back(taken, world), FAILED)
    (taken,) = await world.come_up()
    assert (names([taken.key]), taken.why) == (["second"], "expired")


async def test_paused_time_is_not_counted(world: World) -> None:
    await world.room.put_waiting(ship("e", told_retrying=True), PAUSED, 0)
    world.allowed["account-of-us"] = 0
    world.clock.time = NOW + 3 * GIVE_UP_S
    assert await world.come_up() == [], "a paused event is never given up"
    world.allowed["account-of-us"] = 1
    (taken,) = await world.come_up()
    resumed = back(taken, world)
    assert resumed.progress.paused_s == 3 * GIVE_UP_S
    assert resumed.first_seen == NOW
    world.allowed["account-of-us"] = 0
    await world.room.put_waiting(resumed, DOWN, 0)
    world.clock.time += GIVE_UP_S - 1
    assert await world.come_up() == []
    world.clock.time += 1
    assert [taken.why for taken in await world.come_up()] == ["expired"]


async def test_a_restart_does_not_reset_the_time_to_give_up(world: World) -> None:
    await world.room.put_waiting(ship("e", told_retrying=True, first_seen=NOW - GIVE_UP_S), DOWN, NOW + 900)
    world.clock.time += 900
    again = World(world.log)
    again.restore()
    assert [taken.why for taken in await again.come_up()] == ["expired"]


# -- identities


async def test_what_waits_is_not_run_from_input(world: World) -> None:
    await world.room.put_waiting(ship("e"), DOWN, 0)
    assert world.room.settled_elsewhere(ship("e"))
    assert not world.room.settled_elsewhere(ship("e", value=b"[]")), "the same identity with other bytes"
    assert world.room.other_event_with_this_identity(ship("e", value=b"[]"))


async def test_one_parked_under_its_coordinates_is_not_run_from_input_either(world: World) -> None:
    """Its identity belonged to another event; read once more, it comes with its identity again."""
    other = ship("e")
    other.key = other.record.coordinates
    await world.room.put_waiting(other, DOWN, 0)
    assert world.room.settled_elsewhere(ship("e"))


async def test_what_was_taken_up_and_settled_meanwhile_is_not_run(world: World) -> None:
    await world.room.put_waiting(ship("e"), DOWN, 0)
    (taken,) = await world.come_up()
    first, second = back(taken, world), back(taken, world)
    await world.room.settle(first)
    assert world.room.settled_elsewhere(second)
    assert not world.room.may_run(second)
    world.room.untake(second)
    world.clock.time += AGAIN_S
    assert await world.come_up() == []


async def test_a_parked_event_given_back_is_offered_again_after_a_moment(world: World) -> None:
    await world.room.put_waiting(ship("e"), DOWN, 0)
    (taken,) = await world.come_up()
    world.room.untake(back(taken, world))
    assert await world.come_up() == []
    world.clock.time += AGAIN_S
    assert names(await world.keys()) == ["e"]


async def test_parking_that_is_not_acknowledged_raises_and_may_be_repeated(world: World) -> None:
    world.log.lost_answers = 1
    with pytest.raises(NotPublishedError):
        await world.room.put_waiting(cancel("first"), DOWN, 0)
    assert world.room.parked_count == 0
    await world.room.put_waiting(cancel("first"), DOWN, 0)
    await world.room.put_waiting(ship("second"), DOWN, 0)
    world.follow()
    assert names(await world.keys()) == ["first"]


async def test_parking_whose_answer_was_lost_keeps_its_age_also_for_the_next_owner(world: World) -> None:
    """It was written twice: the first record, read by us, tells its age; the next owner sees the second one only."""
    world.log.lost_answers = 1
    with pytest.raises(NotPublishedError):
        await world.room.put_waiting(cancel("first"), DOWN, 0)
    await world.room.put_waiting(ship("second"), DOWN, 0)
    world.follow()
    await world.room.put_waiting(cancel("first"), DOWN, 0)
    world.log.compact()
    again = World(world.log)
    again.restore()
    assert names(await again.keys()) == ["first"]


# -- replays


async def test_a_replay_comes_up_with_everything_that_is_known(world: World) -> None:
    event = ship("e", first_seen=NOW - 7_200)
    event.progress.attempts = 6
    event.progress.restore([("1", 2, "1Z")])
    event.progress.story.add(NOW, "received")
    await world.room.put_dead(event, FAILED)
    await ask_replay(world, event.key, number=3)
    world.follow()
    (taken,) = await world.come_up()
    again = back(taken, world)
    assert (taken.why, again.room_state, again.replay_number, again.room_code) == (
        "replay",
        "replay",
        3,
        "carrier_unmapped",
    )
    assert (again.first_seen, again.progress.attempts) == (NOW - 7_200, 6)
    assert again.progress.confirmed == event.progress.confirmed
    assert again.progress.story.steps() == [(NOW, "received")]
    assert world.room.may_run(again)


async def test_a_replay_that_waits_long_is_parked_with_its_number_and_its_own_time(world: World) -> None:
    event = ship("e", first_seen=NOW - 5 * GIVE_UP_S, told_retrying=True)
    await world.room.put_dead(event, FAILED)
    await ask_replay(world, event.key)
    world.follow()
    (taken,) = await world.come_up()
    replayed = back(taken, world)
    replayed.told_retrying = True
    await world.room.put_waiting(replayed, DOWN, NOW + 60)
    assert await world.come_up() == [], "its time to give up counts from when it was taken up"
    world.clock.time += 60
    (taken,) = await world.come_up()
    parked = back(taken, world)
    assert (taken.why, parked.replay_number, parked.replayed_at) == ("turn", 1, NOW)
    await world.room.put_waiting(parked, DOWN, NOW + 9 * GIVE_UP_S)
    world.clock.time = NOW + GIVE_UP_S
    assert [taken.why for taken in await world.come_up()] == ["expired"]


async def test_a_replay_queues_behind_waiting_events_that_came_before_it(world: World) -> None:
    await world.room.put_dead(ship("replayed", 7), FAILED)
    await world.room.put_waiting(ship("before", 6), DOWN, NOW + 900)
    await ask_replay(world, f"{SHIPPED}|/s|replayed")
    world.follow()
    (taken,) = await world.come_up()
    assert world.room.blocked(back(taken, world))


async def test_a_replay_does_not_queue_behind_waiting_events_of_its_topic_that_came_after_it(world: World) -> None:
    await world.room.put_dead(ship("replayed", 7), FAILED)
    await world.room.put_waiting(ship("after", 8), DOWN, NOW + 900)
    await ask_replay(world, f"{SHIPPED}|/s|replayed")
    world.follow()
    (taken,) = await world.come_up()
    assert not world.room.blocked(back(taken, world))


async def test_a_replay_waits_for_its_accounts_gate_without_being_in_memory(world: World) -> None:
    await world.room.put_dead(ship("e"), FAILED)
    await ask_replay(world, f"{SHIPPED}|/s|e")
    world.allowed["account-of-us"] = 0
    world.follow()
    assert await world.come_up() == []
    world.allowed["account-of-us"] = 1
    assert [taken.why for taken in await world.come_up()] == ["replay"]


async def test_time_paused_before_a_replay_has_no_part_in_the_replays_own_time(world: World) -> None:
    event = ship("e")
    event.progress.paused_s = 9 * GIVE_UP_S
    await world.room.put_dead(event, FAILED)
    await ask_replay(world, event.key)
    world.follow()
    (taken,) = await world.come_up()
    assert taken.about.paused_seconds == 9 * GIVE_UP_S
    assert back(taken, world).progress.paused_s == 0.0


async def test_a_replay_that_waits_for_days_still_comes_up_as_one(world: World) -> None:
    await world.room.put_dead(ship("e"), FAILED)
    await ask_replay(world, f"{SHIPPED}|/s|e")
    world.allowed["account-of-us"] = 0
    world.follow()
    for _ in range(3):
        world.clock.time += 2 * GIVE_UP_S
        assert await world.come_up() == []
    world.allowed["account-of-us"] = 1
    assert [taken.why for taken in await world.come_up()] == ["replay"]


# -- what is written


async def test_a_parked_event_is_kept_byte_for_byte(world: World) -> None:
    place = await world.room.put_waiting(ship("e", value=b"\xff\x00"), DOWN, NOW + 60)
    assert place == Place(2, 0)
    (record,) = world.log.records
    letter = deadletter.read(record.value, record.headers)
    assert (letter.value, letter.key, letter.headers) == (
        b"\xff\x00",
        b"PO1",
        (("x", b"y"), ("order-sync-code", b"theirs")),
    )
    about = letter.about
    assert (about.state, about.code, about.reason) == ("waiting", "walmart_unavailable", "503")
    assert (about.next_try, about.first_parked, about.first_seen) == (NOW + 60, None, NOW)
    assert letter.problems == ()


async def test_what_is_restored_is_what_was_parked(world: World) -> None:
    await world.room.put_waiting(ship("e"), DOWN, NOW + 60)
    again = World(world.log)
    again.restore()
    assert list(world.room.table) == list(again.room.table)


async def test_success_closes_the_parked_record_and_older_dead_letters_of_the_shipment(world: World) -> None:
    await world.room.put_dead(ship("first", 7), FAILED)
    await world.room.put_waiting(ship("second", 8), DOWN, 0)
    (taken,) = await world.come_up()
    await world.room.settle(back(taken, world))
    assert list(world.room.table) == []
    assert [record.key for record in world.log.records if record.value is None] == [
        f"{SHIPPED}|/s|second".encode(),
        f"{SHIPPED}|/s|first".encode(),
    ]


async def test_success_leaves_a_waiting_event_of_the_same_shipment(world: World) -> None:
    """It runs by itself, and is done at once if nothing is left of it."""
    await world.room.put_waiting(ship("waits", 7), DOWN, NOW + 900)
    await world.room.settle(ship("succeeds", 8))
    assert world.room.parked_count == 1


# -- bounds


async def test_the_room_is_full_above_its_limit(world: World) -> None:
    small = SETTINGS.limits.model_copy(update={"max_parked_events": 2})
    world.room._most_parked = small.max_parked_events
    for n in range(2):
        assert not world.room.is_full
        await world.room.put_waiting(ship(f"e{n}", n, order=f"PO{n}"), PAUSED, 0)
    assert (world.room.is_full, world.room.parked_count) == (True, 2)
    await world.room.put_dead(ship("e0", 0, order="PO0"), FAILED)
    assert not world.room.is_full


# -- others who write


async def test_the_record_of_a_zombie_does_not_make_an_event_younger(world: World) -> None:
    """It parks once more what we have read already, without knowing how long it lies there."""
    await world.room.put_waiting(cancel("first"), DOWN, 0)
    await world.room.put_waiting(ship("second"), DOWN, 0)
    zombie = World(world.log)
    await zombie.room.put_waiting(cancel("first"), DOWN, 0)
    world.follow()
    world.clock.time += 60
    assert names(await world.keys()) == ["first"]


async def test_what_a_zombie_parks_is_not_tried_before_a_read_shows_our_own_calls(world: World) -> None:
    await world.room.put_waiting(ship("e"), DOWN, 0)
    zombie = World(world.log)
    await zombie.room.put_waiting(ship("e"), DOWN, 0)
    world.follow()
    assert await world.come_up() == []
    world.clock.time += SETTINGS.timing.read_lag_seconds + SETTINGS.timing.call_timeout_seconds
    assert names(await world.keys()) == ["e"]


async def test_what_a_zombie_overwrites_while_it_runs_is_not_run_twice_at_once(world: World) -> None:
    await world.room.put_waiting(ship("e"), DOWN, 0)
    (taken,) = await world.come_up()
    zombie = World(world.log)
    await zombie.room.put_waiting(ship("e"), DOWN, 0)
    world.follow()
    assert not world.room.may_run(back(taken, world)), "the newer record counts"


async def test_what_was_compacted_away_is_skipped_and_stays_known(world: World) -> None:
    await world.room.put_waiting(ship("gone", 7, order="PO1"), DOWN, 0)
    await world.room.put_waiting(ship("there", 8, order="PO2"), DOWN, 0)
    world.log.records = world.log.records[1:]
    assert names(await world.keys()) == ["there"]
    assert world.room.parked_count == 2


async def test_a_broker_that_does_not_answer_costs_time_and_nothing_else(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.parked.pump.RETRY_S", 0.0)
    await world.room.put_waiting(ship("e"), DOWN, 0)
    world.fetcher.error = TimeoutError("no answer")
    await world.room._pump.once()
    assert (world.taken, world.fetcher.closed) == ([], 1)
    world.fetcher.error = None
    assert names(await world.keys()) == ["e"]
