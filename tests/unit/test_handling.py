"""The policy between lanes and sync: what is tried again and how long, what ends it, what a bug means."""

from __future__ import annotations

import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from schemas.cloudevents import CloudEvent, to_headers_binary, to_value
from schemas.events import ORDER_SHIPPED_TYPE
from worker.delivery import Delivery, Event, Place, Record
from worker.errors import Failure
from worker.gatekeeper import Gatekeeper, account_gate
from worker.handling import _HOLDS, Elsewhere, Handling, Park
from worker.intake.decode import Decoder
from worker.intake.intents import FoundIntent
from worker.kafka import NotPublishedError
from worker.lanes.engine import Retry
from worker.lanes.gates import Gates, Hold
from worker.outcome import Again, ConfirmedUnits, Outcome, Progress, Trouble, Unsettled, Verdict
from worker.retries import Retries
from worker.settings import Settings
from worker.telemetry.metrics import Metrics
from worker.waits import MEANINGS

NOW = 1_795_000_000.0
SETTINGS = Settings.model_validate(
    {
        "accounts": {"main": {"client_id": "c", "client_secret": "s"}},
        "stores": {"us": {"account": "main"}},
        "limits": {"min_tries": 3, "max_internal_errors": 3},
        "timing": {"give_up_after_hours": 1, "probe_seconds": 15, "retry_base_seconds": 0.01, "retry_max_seconds": 0.1},
    }
)
DATA = {
    "store": "us",
    "purchase_order_id": "PO1",
    "commerce_order_id": "100",
    "shipment_id": "S1",
    "shipped_at": "2026-11-20T15:03:58Z",
    "packages": [{"carrier": {"code": "ups"}, "tracking_number": "1Z", "items": [{"line_number": "1", "quantity": 1}]}],
}


class FixedClock:
    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> float:
        return self.time


class Rooms:
    """Sync, report and waiting room, scripted."""

    def __init__(self) -> None:
        self.outcome: Outcome | Exception | Callable[[], Outcome] = Verdict("ship", "applied")
        self.concluded: list[Verdict] = []
        self.unpublished = 0
        self.elsewhere = False
        self.reused = False
        self.before = ""
        """Code of the event of its order that stands before it."""
        self.runs = True
        self.holding = True
        self.full = False
        self.parked: list[tuple[Failure, float]] = []
        self.untaken: list[Delivery] = []
        self.woken: list[str] = []
        self.late: list[Again] = []
        self.ended_intents: list[Delivery] = []
        self.intent: FoundIntent | None = None
        self.settled: list[Delivery] = []

    async def attempt(self, event: Event, progress: Progress, delivery: Delivery) -> Outcome:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome() if callable(self.outcome) else self.outcome

    async def conclude(self, delivery: Delivery, verdict: Verdict, *, account: str | None) -> None:
        if self.unpublished:
            self.unpublished -= 1
            raise NotPublishedError("broker away")
        assert account == "main"
        self.concluded.append(verdict)

    async def still_retrying(self, delivery: Delivery, again: Again, *, account: str | None) -> None:
        if self.unpublished:
            self.unpublished -= 1
            raise NotPublishedError("broker away")
        self.late.append(again)

    async def put_waiting(self, delivery: Delivery, failure: Failure, next_at: float) -> Place:
        if self.unpublished:
            self.unpublished -= 1
            raise NotPublishedError("broker away")
        self.parked.append((failure, next_at))
        return Place(0, 1)

    @property
    def is_full(self) -> bool:
        return self.full

    def blocked_by(self, delivery: Delivery) -> Any:
        return SimpleNamespace(code=self.before) if self.before else None

    def may_run(self, delivery: Delivery) -> bool:
        return self.runs

    def holds(self, delivery: Delivery) -> bool:
        return self.holding

    def untake(self, delivery: Delivery) -> None:
        self.untaken.append(delivery)

    def wake_order(self, order: str) -> None:
        self.woken.append(order)

    def ended(self, delivery: Delivery) -> None:
        self.ended_intents.append(delivery)

    def found_intent(self, key: str) -> FoundIntent | None:
        return self.intent

    def settled_elsewhere(self, delivery: Delivery) -> bool:
        return self.elsewhere

    def other_event_with_this_identity(self, delivery: Delivery) -> bool:
        return self.reused


class World:
    def __init__(self) -> None:
        self.rooms = Rooms()
        self.clock = FixedClock()
        self.metrics = Metrics(accounts=("main",))
        self.finished: list[Delivery] = []
        self.bugs: list[int] = []
        rooms: Any = self.rooms
        source = random.Random(1)
        self.gates = Gates()
        self.gatekeeper = Gatekeeper(self.gates, SETTINGS, source, self.clock)
        self.handling = Handling(
            SETTINGS,
            rooms,
            rooms,
            rooms,
            rooms,
            self.gatekeeper,
            Retries(SETTINGS.timing, SETTINGS.limits, source),
            self.metrics,
            self.clock,
            finished=self.finished.append,
            settled=self.rooms.settled.append,
            bugs=self.bugs.append,
        )

    async def turn(self, delivery: Delivery) -> Retry | None:
        return await self.handling.conclude(delivery, await self.handling.attempt(delivery))


def delivery(raw: bytes | None = None) -> Delivery:
    event = CloudEvent("e1", "/s", ORDER_SHIPPED_TYPE, None, DATA, "binary")
    headers = tuple(to_headers_binary(event))
    record = Record("commerce.order-shipped.v1", 0, 1, int(NOW * 1000), b"PO1", raw or to_value(DATA), headers)
    one = Decoder(SETTINGS.topics).decode(record, now=NOW)
    one.waiting_since = NOW
    return one


def again(trouble: Trouble, after_s: float | None = None) -> Again:
    return Again(trouble, Failure("walmart_unavailable", "503"), after_s, "ship")


async def test_a_verdict_is_concluded_then_finished() -> None:
    world, one = World(), delivery()
    assert await world.turn(one) is None
    assert (len(world.rooms.concluded), world.finished) == (1, [one])


async def test_nothing_is_finished_before_kafka_has_the_result() -> None:
    world = World()
    world.rooms.unpublished = 4
    assert await world.turn(delivery()) is None
    assert (world.rooms.unpublished, len(world.rooms.concluded), len(world.finished)) == (0, 1, 1)


async def test_what_waits_is_not_finished() -> None:
    world = World()
    world.rooms.outcome = again(Trouble.NOT_SENT)
    retry = await world.turn(delivery())
    assert retry is not None
    assert NOW < retry.at <= NOW + 0.1
    assert (world.finished, world.rooms.concluded) == ([], [])


async def test_each_trouble_waits_in_its_own_way() -> None:
    world = World()
    waits = {}
    for trouble, after_s in [
        (Trouble.CREDENTIALS, None),
        (Trouble.SHIPMENTS, None),
        (Trouble.THROTTLED, 20.0),
        (Trouble.UNKNOWN, 3.0),
    ]:
        one = delivery()
        world.rooms.outcome = again(trouble, after_s)
        retry = await world.turn(one)
        assert retry is not None
        waits[trouble] = (retry.at - NOW, retry.lets_pass, one.progress)
    assert 12 <= waits[Trouble.CREDENTIALS][0] <= 18, "probes are spread"
    assert 12 <= waits[Trouble.SHIPMENTS][0] <= 18
    assert waits[Trouble.SHIPMENTS][1], "shipments may pass it"
    assert 20 <= waits[Trouble.THROTTLED][0] <= 20.1, "never before Walmart said"
    assert waits[Trouble.THROTTLED][2].waited_budget_s >= 20
    assert waits[Trouble.UNKNOWN][0] == pytest.approx(3)
    assert waits[Trouble.UNKNOWN][2].waited_retry_s == pytest.approx(3)
    reasons = {trouble: progress.waited.reason for trouble, (_, _, progress) in waits.items()}
    assert reasons == {
        Trouble.CREDENTIALS: "retry", Trouble.SHIPMENTS: "shipments",
        Trouble.THROTTLED: "slow", Trouble.UNKNOWN: "retry",
    }  # fmt: skip


async def test_a_429_that_parks_is_not_counted_twice() -> None:
    """How long it was parked is counted when it is taken up."""
    world, one = World(), delivery()
    world.rooms.outcome = again(Trouble.THROTTLED, 90.0)
    assert await world.turn(one) is None
    assert world.rooms.parked
    assert one.progress.waited_budget_s == 0
    assert world.metrics.value("event_waited_seconds_total", reason="slow") == 0


async def test_what_waited_for_the_budget_within_its_turn_is_counted() -> None:
    world, one = World(), delivery()

    def stock() -> Outcome:
        one.progress.waited_budget_s += 1.5
        return Verdict("ship", "applied")

    world.rooms.outcome = stock
    await world.turn(one)
    assert world.metrics.value("event_waited_seconds_total", reason="budget") == 1.5


async def test_without_budget_it_goes_on_when_its_gate_says_and_that_is_no_failed_try() -> None:
    world, one = World(), delivery()
    world.rooms.outcome = Again(Trouble.BUDGET, Failure("throttled", "used up"), operation="ship", call="ship")
    assert await world.turn(one) == Retry(at=NOW, behind=("account:main/ship",))
    assert one.progress.failed_tries == 0
    assert b'retries_total{trouble="budget"} 1.0' in world.metrics.render()[0]
    assert one.progress.story.steps()[-1][1] == "waits for its account's budget"
    world.handling.waited(one, {"budget": 12.0, "slots": 3.0})
    await world.turn(one)
    assert (one.progress.waited_budget_s, one.progress.waited_retry_s) == (12.0, 0.0)
    world.handling.waited(one, {"slow": 6.0, "starting": 2.0})
    world.rooms.outcome = Verdict("ship", "applied")
    await world.turn(one)
    assert one.progress.waited_budget_s == 18.0
    assert world.metrics.value("event_waited_seconds_total", reason="budget") == 12
    assert world.metrics.value("event_waited_seconds_total", reason="slots") == 3
    assert world.metrics.value("event_waited_seconds_total", reason="slow") == 6
    told = [text for _, text in one.progress.story.steps()]
    assert "waited 12.0 s: the account's call budget" in told


async def test_without_budget_for_a_minute_it_is_parked_until_its_gate_opens() -> None:
    world, one = World(), delivery()
    world.rooms.outcome = Again(Trouble.BUDGET, Failure("throttled", "used up"), operation="ship", call="ship")
    await world.turn(one)
    world.clock.time += 61
    assert await world.turn(one) is None
    assert [failure.code for failure, _ in world.rooms.parked] == ["throttled"]
    assert one.next_try == 0.0


async def test_a_replay_of_an_old_event_has_its_own_time() -> None:
    """First seen days ago and tried often: it is not given up at the first hiccup."""
    world, one = World(), delivery()
    one.replay_number, one.first_seen, one.progress.attempts = 1, NOW - 5 * 86_400, 9
    one.replayed_at = NOW
    world.rooms.outcome = again(Trouble.NOT_SENT)
    assert isinstance(await world.turn(one), Retry)
    world.clock.time += 3_601
    assert await world.turn(one) is None
    assert len(world.rooms.concluded) == 1


async def test_it_is_given_up_after_the_time_and_the_tries_under_its_own_code() -> None:
    world, one = World(), delivery()
    world.rooms.outcome = again(Trouble.NOT_SENT)
    world.clock.time += 2 * 3600
    one.waiting_since = world.clock.time
    assert await world.turn(one) is not None, "the time is over, but it was tried only once"
    assert await world.turn(one) is not None
    one.progress.confirmed = (ConfirmedUnits("1", 1, "1Z"),)
    one.progress.applied = True
    one.progress.unsettled = Unsettled((ConfirmedUnits("1", 3, "1Z"),), believe_at=0.0, leaves_open=True)
    assert await world.turn(one) is None
    (verdict,) = world.rooms.concluded
    assert verdict.failure is not None
    assert (verdict.failure.code, verdict.effect) == ("walmart_unavailable", "partly_applied")
    assert verdict.confirmed == one.progress.confirmed, "a replay never sends these again"
    assert [(line.quantity, line.state) for line in verdict.lines] == [(1, "confirmed"), (2, "unknown")]


async def test_an_unexpected_exception_is_an_internal_failure_without_its_text() -> None:
    """The text of an exception may hold anything, a buyer's address for one."""
    world, one = World(), delivery()
    world.rooms.outcome = RuntimeError("Jane Doe, 1 Main Street")
    assert await world.turn(one) is None
    (verdict,) = world.rooms.concluded
    assert verdict.failure is not None
    assert verdict.failure.code == "internal"
    assert "RuntimeError" in verdict.failure.message
    assert "Jane" not in verdict.failure.message


async def test_a_run_of_bugs_is_told_and_a_success_ends_it() -> None:
    world = World()
    world.rooms.outcome = RuntimeError()
    for _ in range(3):
        await world.turn(delivery())
    world.rooms.outcome = Verdict("ship", "applied")
    await world.turn(delivery())
    assert world.bugs == [1, 2, 3, 0]


async def test_a_refused_record_is_told_without_asking_walmart() -> None:
    world = World()
    world.rooms.outcome = RuntimeError("must not be asked")
    one = delivery(b"{")
    world.rooms.conclude = lambda _, verdict, **__: _append(world.rooms.concluded, verdict)  # type: ignore[method-assign]
    assert await world.turn(one) is None
    (verdict,) = world.rooms.concluded
    assert verdict.failure is not None
    assert verdict.failure.code == "event_undecodable"
    assert one.lane == one.record.coordinates, "it waits for nobody"


async def _append(verdicts: list[Verdict], verdict: Verdict) -> None:
    verdicts.append(verdict)


async def test_what_is_settled_elsewhere_only_lets_the_offset_go() -> None:
    world, one = World(), delivery()
    world.rooms.elsewhere = True
    assert isinstance(await world.handling.attempt(one), Elsewhere)
    assert await world.turn(one) is None
    assert (world.rooms.concluded, world.finished) == ([], [one])


async def test_a_reused_identity_is_named_by_its_coordinates() -> None:
    world, one = World(), delivery()
    world.rooms.reused = True
    await world.turn(one)
    assert one.key == one.record.coordinates
    assert [warning.code for warning in one.progress.warned] == ["identity_reused"]


async def test_what_waits_too_long_is_parked_then_finished() -> None:
    world, one = World(), delivery()
    world.rooms.outcome = again(Trouble.NOT_SENT, 61.0)
    assert await world.turn(one) is None
    assert [failure.code for failure, _ in world.rooms.parked] == ["walmart_unavailable"]
    assert world.finished == [one]
    assert world.rooms.ended_intents == [one], "the record carries what is in doubt from now on"
    assert world.rooms.settled == [], "a parked event is no sign that its account flows"


async def test_nothing_is_finished_before_kafka_has_the_parked_event() -> None:
    world, one = World(), delivery()
    world.rooms.outcome, world.rooms.unpublished = again(Trouble.NOT_SENT, 61.0), 3
    assert await world.turn(one) is None
    assert (len(world.rooms.parked), world.finished) == (1, [one])


async def test_behind_a_closed_gate_the_gate_decides_when_it_comes_back() -> None:
    world, one = World(), delivery()
    world.gates.close(account_gate("main"), "walmart_unavailable", NOW + 15, NOW)
    world.rooms.outcome = again(Trouble.NOT_SENT, 61.0)
    await world.turn(one)
    assert world.rooms.parked[0][1] == NOW + 1.0, "after a moment's rest"


async def test_a_cancel_that_waits_for_shipments_keeps_its_word_when_it_is_evicted_at_a_gate() -> None:
    """Under the gate's reason no shipment could pass it any more."""
    world, one = World(), delivery()
    world.gates.close(account_gate("main"), "credentials_rejected", NOW + 15, NOW)
    one.last_again = Again(Trouble.SHIPMENTS, Failure("waiting_for_shipments", "1 unit"), None, "cancel")
    outcome = world.handling.evicted(one)
    assert isinstance(outcome, Park)
    assert outcome.why.code == "waiting_for_shipments"


async def test_an_evicted_event_is_parked_under_the_reason_of_its_gate() -> None:
    world, one = World(), delivery()
    world.gates.close(account_gate("main"), "credentials_rejected", NOW + 15, NOW)
    outcome = world.handling.evicted(one)
    assert outcome == Park(outcome.why, 0.0)  # type: ignore[union-attr]
    assert outcome.why.code == "credentials_rejected"  # type: ignore[union-attr]
    assert one.progress.attempts == 0


async def test_an_event_whose_time_is_over_ends_at_a_closed_gate_after_enough_probes() -> None:
    world, one = World(), delivery()
    name = account_gate("main")
    world.gates.close(name, "credentials_rejected", NOW + 15, NOW)
    world.clock.time += 2 * 3600
    assert isinstance(world.handling.evicted(one), Park), "its account was not probed often enough"
    for probe in range(3):
        world.gates.took((name,))
        world.gates.close(name, "credentials_rejected", world.clock.time + 15 * (probe + 1), world.clock.time)
        world.gates.left((name,))
    verdict = world.handling.evicted(one)
    assert isinstance(verdict, Verdict)
    assert verdict.failure is not None
    assert verdict.failure.code == "credentials_rejected"


async def test_a_paused_event_is_never_given_up() -> None:
    world, one = World(), delivery()
    world.gates.shut(account_gate("main"), "paused")
    world.clock.time += 100 * 3600
    one.progress.attempts = 50
    outcome = world.handling.evicted(one)
    assert isinstance(outcome, Park)
    assert outcome.why.code == "paused"


async def test_what_cannot_be_read_is_told_at_once_whatever_is_paused() -> None:
    world, one = World(), delivery(b"{")
    assert isinstance(world.handling.evicted(one), Verdict)


async def test_behind_a_waiting_event_of_its_order_it_is_parked_without_an_attempt() -> None:
    world, one = World(), delivery()
    world.rooms.before = "throttled"
    world.rooms.outcome = RuntimeError("must not be asked")
    assert await world.turn(one) is None
    world.rooms.before = "paused"
    assert await world.turn(delivery()) is None
    assert [failure.code for failure, _ in world.rooms.parked] == ["not_started", "paused"]


async def test_when_nothing_more_may_be_parked_it_stays_in_memory() -> None:
    world, one = World(), delivery()
    world.rooms.full = True
    world.rooms.outcome = again(Trouble.NOT_SENT, 61.0)
    assert isinstance(await world.turn(one), Retry)
    assert world.finished == []


async def test_one_behind_a_parked_event_joins_it_even_in_a_full_room() -> None:
    """In the lane it would stand before that one for ever."""
    world, one = World(), delivery()
    world.rooms.full, world.rooms.before = True, "throttled"
    assert await world.turn(one) is None
    assert world.finished == [one]


async def test_what_lies_in_the_room_already_may_always_be_written_again() -> None:
    world, one = World(), delivery()
    world.rooms.full = True
    one.room_place = Place(0, 7)
    world.rooms.outcome = again(Trouble.NOT_SENT, 61.0)
    assert await world.turn(one) is None
    assert len(world.rooms.parked) == 1


async def test_a_late_event_is_told_before_it_is_parked_and_once() -> None:
    """A crash between the two tells it twice under one id; the other way round it would never be told."""
    world, one = World(), delivery()
    world.clock.time += 400
    one.waiting_since = world.clock.time
    world.rooms.outcome = again(Trouble.NOT_SENT, 61.0)
    await world.turn(one)
    await world.turn(one)
    assert (len(world.rooms.late), len(world.rooms.parked), one.told_retrying) == (1, 2, True)


@pytest.mark.parametrize(
    ("waited", "code"),
    [
        ({"budget": 9.0, "slots": 1.0}, "throttled"),
        ({"budget": 1.0, "closed": 9.0}, "not_started"),
        ({}, "not_started"),
    ],
)
async def test_what_is_late_for_the_budget_says_so_though_a_call_is_left_just_now(
    waited: dict[Hold, float], code: str
) -> None:
    """Its gate lets the next in turn through at this very moment, and 149 others wait on."""
    world, one = World(), delivery()
    world.handling.waited(one, waited)
    await world.handling.still_retrying(one)
    (told,) = world.rooms.late
    assert told.failure.code == code
    assert (told.trouble is Trouble.BUDGET) == (code == "throttled")


async def test_one_taken_out_only_to_be_told_is_parked_again_as_it_was() -> None:
    world, one = World(), delivery()
    one.room_place, one.only_tell, one.next_try = Place(0, 7), True, NOW + 500
    one.last_again = again(Trouble.UNKNOWN)
    outcome = world.handling.evicted(one)
    assert outcome == Park(one.last_again.failure, NOW + 500)
    world.rooms.holding = False
    assert isinstance(world.handling.evicted(one), Elsewhere)


async def test_one_taken_up_before_its_turn_goes_back() -> None:
    world, one = World(), delivery()
    one.room_place, world.rooms.runs = Place(0, 7), False
    assert await world.turn(one) is None
    assert (world.rooms.untaken, world.rooms.concluded, world.finished) == ([one], [], [one])


async def test_a_settled_shipment_wakes_the_parked_cancels_of_its_order() -> None:
    world = World()
    await world.turn(delivery())
    assert world.rooms.woken == ["PO1"]


async def test_an_intent_of_an_earlier_owner_is_heeded() -> None:
    """Its call may have run until the call's time was over; a read may be old for a while after that."""
    world, one = World(), delivery()
    world.rooms.intent = FoundIntent(deadline=NOW - 2, found_at=NOW)
    await world.turn(one)
    timing = SETTINGS.timing
    assert one.progress.hold_until == NOW - 2 + timing.call_timeout_seconds + timing.read_lag_seconds
    assert one.progress.read_twice


async def test_the_story_tells_the_way_of_an_event() -> None:
    world, one = World(), delivery()
    world.rooms.outcome = again(Trouble.NOT_SENT)
    await world.turn(one)
    world.rooms.outcome = Verdict("ship", "applied")
    await world.turn(one)
    told = [what for _, what in one.progress.story.steps()]
    assert told[0].startswith("waits 0.0")
    assert "applied" in told[-1]


async def test_each_wait_is_counted_by_its_reason_when_it_is_over() -> None:
    world, one = World(), delivery()
    one.progress.waited.begin("slots", NOW)
    world.clock.time = NOW + 10
    world.handling.waited(one, {"budget": 4.0, "slow": 1.0, "closed": 2.0})
    world.rooms.outcome = again(Trouble.NOT_SENT)
    assert await world.turn(one) is not None
    world.clock.time = NOW + 40
    world.rooms.outcome = again(Trouble.SHIPMENTS)
    assert await world.turn(one) is not None
    world.clock.time = NOW + 55
    assert isinstance(world.handling.evicted(one), Park)
    counted = {reason: world.metrics.value("event_waited_seconds_total", reason=reason) for reason in MEANINGS}
    assert {reason: seconds for reason, seconds in counted.items() if seconds} == {
        "slots": 3, "budget": 4, "slow": 1, "closed": 2, "retry": 30, "shipments": 15,
    }  # fmt: skip
    assert one.progress.waited_budget_s == 5


def test_reasons_are_known_for_whatever_a_gate_holds() -> None:
    assert set(_HOLDS) == set(get_args(Hold))
