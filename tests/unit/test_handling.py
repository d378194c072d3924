"""The policy between lanes and sync: what is tried again and how long, what ends it, what a bug means."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from schemas.cloudevents import CloudEvent, to_headers_binary, to_value
from schemas.events import ORDER_SHIPPED_TYPE
from worker.delivery import Delivery, Event, Record
from worker.errors import Failure
from worker.handling import Elsewhere, Handling
from worker.intake.decode import Decoder
from worker.kafka import NotPublishedError
from worker.lanes.engine import Retry
from worker.outcome import Again, ConfirmedUnits, Outcome, Progress, Trouble, Unsettled, Verdict
from worker.settings import Settings
from worker.telemetry.metrics import Metrics

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
        self.handling = Handling(
            SETTINGS,
            rooms,
            rooms,
            rooms,
            self.metrics,
            self.clock,
            finished=self.finished.append,
            bugs=self.bugs.append,
            random_source=random.Random(1),
        )

    async def turn(self, delivery: Delivery) -> Retry | None:
        return await self.handling.conclude(delivery, await self.handling.attempt(delivery))


def delivery(raw: bytes | None = None) -> Delivery:
    event = CloudEvent("e1", "/s", ORDER_SHIPPED_TYPE, None, DATA, "binary")
    headers = tuple(to_headers_binary(event))
    record = Record("commerce.order-shipped.v1", 0, 1, int(NOW * 1000), b"PO1", raw or to_value(DATA), headers)
    return Decoder(SETTINGS.topics).decode(record, now=NOW)


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
    assert waits[Trouble.SHIPMENTS][:2] == (15, True), "shipments may pass it"
    assert 20 <= waits[Trouble.THROTTLED][0] <= 20.1, "never before Walmart said"
    assert waits[Trouble.THROTTLED][2].waited_budget_s >= 20
    assert waits[Trouble.UNKNOWN][0] == pytest.approx(3)
    assert waits[Trouble.UNKNOWN][2].waited_retry_s == pytest.approx(3)


async def test_a_replay_of_an_old_event_has_its_own_time() -> None:
    """First seen days ago and tried often: it is not given up at the first hiccup."""
    world, one = World(), delivery()
    one.replay_number, one.first_seen, one.progress.attempts = 1, NOW - 5 * 86_400, 9
    world.rooms.outcome = again(Trouble.NOT_SENT)
    assert isinstance(await world.turn(one), Retry)
    world.clock.time += 3_601
    assert await world.turn(one) is None
    assert len(world.rooms.concluded) == 1


async def test_it_is_given_up_after_the_time_and_the_tries_under_its_own_code() -> None:
    world, one = World(), delivery()
    world.rooms.outcome = again(Trouble.NOT_SENT)
    world.clock.time += 2 * 3600
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
