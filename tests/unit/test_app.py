"""The composition root's own bookkeeping: events in memory, late ones, the gate that a run of bugs closes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from worker import upkeep
from worker.app import Worker
from worker.delivery import Delivery, Record
from worker.errors import Failure
from worker.gatekeeper import WORKER
from worker.intake.decode import reused_identity
from worker.lanes.engine import Engine
from worker.lanes.gates import Hold
from worker.outcome import Again, Trouble
from worker.settings import Settings

SETTINGS = Settings.model_validate(
    {
        "accounts": {"main": {"client_id": "c", "client_secret": "s"}},
        "stores": {"us": {"account": "main"}},
        "limits": {"max_internal_errors": 3},
    }
)


def record(offset: int, value: bytes = b"{}") -> Record:
    named = (("ce_specversion", b"1.0"), ("ce_id", b"e1"), ("ce_source", b"/s"), ("ce_type", b"unknown"))
    return Record(SETTINGS.topics.order_shipped, 0, offset, 1_000, b"PO1", value, named)


class Driven:
    """A worker whose turns are given by hand."""

    def __init__(self) -> None:
        self.worker: Any = Worker(SETTINGS)

        async def never(*_: Any) -> Any:
            raise AssertionError("no turn is given")

        self.worker._engine = Engine(
            self.worker._lanes,
            attempt=never,
            conclude=never,
            failed=never,  # type: ignore[arg-type]
            clock=self.worker.clock,
            max_running=1,
        )

    def accept(self, read: Record) -> Delivery:
        self.worker._arrivals.accept(self.worker._intake, read, 0)
        return list(self.worker._lanes)[-1].item  # type: ignore[no-any-return]

    def finish(self, delivery: Delivery) -> None:
        (entry,) = [entry for entry in self.worker._lanes if entry.item is delivery]
        self.worker._finished(delivery)
        self.worker._lanes.settle(entry)


class NoWaits:
    def waited(self, delivery: Delivery, seconds: Mapping[Hold, float]) -> None:
        assert not any(seconds.values()), delivery


async def test_nothing_is_kept_of_finished_events() -> None:
    """Also when an event was named by its coordinates only after it was taken in."""
    driven = Driven()
    first, second = driven.accept(record(1)), driven.accept(record(2))
    assert first.key == second.key, "the same event twice"
    other = driven.accept(record(3, b"[]"))
    assert other.key == other.record.coordinates, "another event with this identity"
    reused_identity(second)
    for delivery in (first, second, other):
        driven.finish(delivery)
    assert driven.worker._arrivals._known == {}


async def test_late_is_not_told_of_what_was_settled_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """A `retrying` result after the final one would be the last word."""
    monkeypatch.setattr(upkeep, "LATE_CHECK_S", 0.01)
    driven = Driven()
    deliveries = [driven.accept(record(offset)) for offset in (1, 2, 3)]
    for delivery in deliveries:
        delivery.last_again = Again(Trouble.NOT_SENT, Failure("walmart_unavailable", "503"))
    told: list[Delivery] = []

    class Handling(NoWaits):
        async def still_retrying(self, delivery: Delivery) -> None:
            told.append(delivery)
            if delivery is deliveries[0]:
                driven.finish(deliveries[1])
            await asyncio.sleep(0)

    telling = asyncio.create_task(driven.worker._upkeep.tell_late(Handling()))
    async with asyncio.timeout(4):
        while deliveries[2] not in told:
            await asyncio.sleep(0.005)
    telling.cancel()
    assert told == [deliveries[0], deliveries[2]]


async def test_a_backlog_is_not_told_event_by_event_that_it_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is late when it is read and has just not had its turn yet would double the results of a backlog."""
    monkeypatch.setattr(upkeep, "LATE_CHECK_S", 0.01)
    driven = Driven()
    fresh, stale = driven.accept(record(1)), driven.accept(record(2))
    stale.waiting_since -= 60
    told: list[Delivery] = []

    class Handling(NoWaits):
        async def still_retrying(self, delivery: Delivery) -> None:
            told.append(delivery)

    telling = asyncio.create_task(driven.worker._upkeep.tell_late(Handling()))
    async with asyncio.timeout(4):
        while not told:
            await asyncio.sleep(0.005)
    telling.cancel()
    assert told == [stale]
    assert not fresh.told_retrying


async def test_what_a_gate_holds_is_told_how_long_before_it_is_told_to_be_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its turn has not come: else its `retrying` result would say that it waited for nothing."""
    monkeypatch.setattr(upkeep, "LATE_CHECK_S", 0.01)
    driven = Driven()
    waiting = driven.accept(record(1))
    (entry,) = driven.worker._lanes
    waiting.waiting_since -= 60
    entry.held_by, entry.held_since = "budget", driven.worker.clock.now() - 60
    told: list[object] = []

    class Handling:
        def waited(self, delivery: Delivery, seconds: Mapping[Hold, float]) -> None:
            told.append({why: passed // 10 for why, passed in seconds.items()})

        async def still_retrying(self, delivery: Delivery) -> None:
            told.append("late")

    telling = asyncio.create_task(driven.worker._upkeep.tell_late(Handling()))
    async with asyncio.timeout(4):
        while len(told) < 2:
            await asyncio.sleep(0.005)
    telling.cancel()
    assert told == [{"budget": 6}, "late"]


async def test_a_run_of_bugs_ends_when_something_comes_through() -> None:
    """Readiness, intake and the gate go together: green with a closed gate would be a silent standstill."""
    worker = Driven().worker
    worker._note_bugs(3)
    assert (worker._gates.state(WORKER).state, worker._has_room()) == ("shut", False)
    worker._note_bugs(0)
    assert (worker._gates.state(WORKER).state, worker._has_room()) == ("open", True)


async def test_nothing_is_read_while_the_waiting_room_is_full() -> None:
    """The backlog stays in Kafka."""
    worker = Driven().worker
    assert worker._has_room()
    worker._room._most_parked = 0
    assert not worker._has_room()
    assert not worker._has_room(cancellations=10)
