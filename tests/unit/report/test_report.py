"""The order of writes, from input and from the waiting room."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.parked.parked_world import NOW, FixedClock, delivery
from worker.delivery import Delivery, Place
from worker.errors import Failure
from worker.kafka import NotPublishedError
from worker.outcome import Again, Trouble, Verdict
from worker.report.report import Report
from worker.telemetry.metrics import Metrics


class Writes:
    """Publisher and room in one: notes what is written, in order; `fails` names the write that is not acknowledged."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.fails = ""
        self.letters: list[Verdict] = []

    async def send(self, topic: str, **_: Any) -> Place:
        return self._write("result")

    async def put_dead(self, delivery: Delivery, verdict: Verdict) -> Place:
        self.letters.append(verdict)
        return self._write("dead")

    async def settle(self, delivery: Delivery, *, own_only: bool = False) -> None:
        self._write("settle own" if own_only else "settle")

    def _write(self, what: str) -> Place:
        if what == self.fails:
            raise NotPublishedError(what)
        self.done.append(what)
        return Place(0, len(self.done))


class World:
    def __init__(self) -> None:
        self.writes = Writes()
        self.metrics = Metrics()
        writes: Any = self.writes
        self.report = Report(writes, writes, self.metrics, FixedClock(), results_topic="r", room_topic="d")


DONE = Verdict("ship", "applied")
FAILED = Verdict("ship", "partly_applied", Failure("carrier_unmapped", "no name"))
REPLAYED: dict[str, Any] = {"room_place": Place(2, 7), "replay_number": 1, "room_code": "carrier_unmapped"}


@pytest.mark.parametrize(
    ("verdict", "more", "order"),
    [
        (FAILED, {}, ["dead", "result"]),
        (DONE, {}, ["result", "settle"]),
        (FAILED, REPLAYED, ["result", "dead"]),
        (DONE, REPLAYED, ["result", "settle"]),
    ],
    ids=["input fails", "input succeeds", "replay fails", "replay succeeds"],
)
async def test_order_of_writes(verdict: Verdict, more: dict[str, Any], order: list[str]) -> None:
    """Each only after the one before is acknowledged: where one is not, nothing after it is written or counted."""
    world = World()
    await world.report.conclude(delivery(**more), verdict, account="main")
    assert world.writes.done == order
    for at, what in enumerate(order):
        world = World()
        world.writes.fails = what
        with pytest.raises(NotPublishedError):
            await world.report.conclude(delivery(**more), verdict, account="main")
        assert world.writes.done == order[:at]
        assert (
            world.metrics.value("slo_events_total", slo="bad") + world.metrics.value("slo_events_total", slo="good")
            == 0
        )


async def test_observe_mode_writes_no_dead_letter() -> None:
    world = World()
    observed = Verdict("ship", "none", FAILED.failure, observed=True)
    await world.report.conclude(delivery(), observed, account="main")
    assert world.writes.done == ["result"]


async def test_a_replay_in_observe_mode_goes_back_as_it_was() -> None:
    """Left as `replay` it would run at every rebalance, and for real once observe is switched off."""
    world = World()
    await world.report.conclude(delivery(**REPLAYED), Verdict("ship", "applied", observed=True), account="main")
    assert world.writes.done == ["result", "dead"]
    (letter,) = world.writes.letters
    assert letter.failure is not None
    assert letter.failure.code == "carrier_unmapped"


PARKED: dict[str, Any] = {"room_place": Place(2, 7), "room_state": "waiting", "room_code": "throttled"}


async def test_what_was_parked_in_observe_mode_leaves_no_dead_letter() -> None:
    """It was never dead; older dead letters of its shipment are none of its business either."""
    world = World()
    await world.report.conclude(delivery(**PARKED), Verdict("ship", "applied", observed=True), account="main")
    assert world.writes.done == ["result", "settle own"]


async def test_what_had_sent_something_before_observe_mode_is_not_forgotten() -> None:
    world, one = World(), delivery(**PARKED)
    one.progress.applied = True
    await world.report.conclude(one, Verdict("ship", "applied", observed=True), account="main")
    assert world.writes.done == ["result", "dead"]


@pytest.mark.parametrize(
    ("trouble", "code", "cause"),
    [
        (Trouble.BUDGET, "throttled", "budget"),
        (Trouble.THROTTLED, "throttled", "budget"),
        (Trouble.OURS, "credentials_rejected", "closed"),
        (Trouble.OURS, "paused", "shut"),
        (Trouble.OURS, "not_started", "slots"),
        (Trouble.UNKNOWN, "outcome_unknown", "retry"),
    ],
)
async def test_an_event_that_is_late_and_waits_on_is_late_for_what_holds_it(
    trouble: Trouble, code: str, cause: str
) -> None:
    world, one = World(), delivery()
    one.progress.waited.add("retry", 10)
    one.progress.waited.begin("slots", NOW - 290)
    await world.report.still_retrying(one, Again(trouble, Failure(code, "it waits")), account="main")
    assert world.metrics.value("slo_missed_total", cause=cause) == 1


async def test_an_event_that_was_late_is_late_for_what_it_waited_for() -> None:
    world, one = World(), delivery(at=NOW - 1_000)
    one.progress.waited.add("unread", 990)
    await world.report.conclude(one, DONE, account="main")
    assert world.metrics.value("slo_missed_total", cause="unread") == 1
    one.progress.waited_budget_s = 800
    await world.report.conclude(one, DONE, account="main")
    assert world.metrics.value("slo_missed_total", cause="budget") == 1
