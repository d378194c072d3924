"""Doors of the waiting room, and what the guard is told of memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from schemas.carried import NOTHING
from schemas.cloudevents import CloudEvent, to_headers_binary, to_value
from schemas.deadletter import DeadLetterHeaders
from schemas.events import ORDER_SHIPPED_TYPE
from worker.app import Worker
from worker.delivery import Delivery, Place, Record
from worker.gatekeeper import account_gate, call_gate
from worker.parked.pump import TakenUp
from worker.parked.space import Space
from worker.settings import Settings

NOW = 1_795_000_000.0
SETTINGS = Settings.model_validate(
    {
        "accounts": {"main": {"client_id": "c", "client_secret": "s"}},
        "stores": {"us": {"account": "main"}},
        "limits": {"max_queued_events": 10, "max_queued_events_per_account": 4},
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


class World:
    def __init__(self) -> None:
        self.worker: Any = Worker(SETTINGS)
        self.arrivals = self.worker._arrivals
        self.arrivals._add = self.worker._lanes.add
        self.gates = self.worker._gates

    def accept(self, offset: int, order: str = "PO1", value: bytes | None = None) -> Delivery:
        data = {**DATA, "purchase_order_id": order}
        headers = tuple(to_headers_binary(CloudEvent(f"e{offset}", "/s", ORDER_SHIPPED_TYPE, None, data, "binary")))
        value = to_value(data) if value is None else value
        record = Record(SETTINGS.topics.order_shipped, 0, offset, int(NOW * 1000), order.encode(), value, headers)
        self.arrivals.accept(self.worker._intake, record, 0)
        delivery: Delivery = list(self.worker._lanes)[-1].item
        return delivery

    def allowed(self) -> int:
        allowed: int = self.arrivals.allowance(self.arrivals.room_group("us", True), NOW)
        return allowed


def test_an_account_may_take_up_what_is_left_of_its_share() -> None:
    world = World()
    assert world.allowed() == 4
    for offset in range(3):
        world.accept(offset, f"PO{offset}")
    assert world.allowed() == 1
    world.accept(3, "PO3")
    assert world.allowed() == 1, "a quarter of the share is for what comes out of the waiting room"


def test_a_window_full_of_what_stands_behind_parked_events_lets_those_come_up() -> None:
    """Else both would wait for each other for ever."""
    world = World()
    for offset in range(10):
        world.accept(offset, f"PO{offset}")
    assert world.worker._lanes.count == 10
    assert world.allowed() == 1
    world.arrivals._taken_up["main"] += 1
    assert world.allowed() == 0


def test_what_is_taken_up_is_bounded_over_all_accounts() -> None:
    world = World()
    assert world.arrivals.space() == Space(turns=10, overdue=1)
    for offset in range(9):
        world.accept(offset, f"PO{offset}")
    assert world.arrivals.space().turns == 2, "a quarter of the window is for what comes out of the waiting room"


def test_a_window_that_is_full_by_bytes_takes_up_a_few() -> None:
    """How large those are that come is not known: a quarter of the window's number could be many times its bytes."""
    world = World()
    world.worker._lanes.size = SETTINGS.limits.max_queued_bytes
    assert world.worker._lanes.count == 0
    assert world.arrivals.space() == Space(turns=4, overdue=4)
    assert world.allowed() == 4


def test_nothing_is_read_into_a_window_that_is_filled_from_the_waiting_room() -> None:
    world = World()
    assert world.worker._has_room()
    world.worker._room._pump.coming = 10
    assert not world.worker._has_room()


def test_nothing_is_taken_up_at_a_closed_gate_and_one_where_it_trickles() -> None:
    world = World()
    for gate in (account_gate("main"), call_gate("main", "ship")):
        world.gates.close(gate, "credentials_rejected", NOW + 15, NOW)
        assert world.allowed() == 0
        world.gates.open(gate)
    world.gates.close(account_gate("main"), "credentials_rejected", NOW - 1, NOW - 16)
    assert world.allowed() == 1, "its probe is due"


def test_what_is_taken_up_for_its_turn_stays_behind_an_event_that_leaves() -> None:
    world = World()
    lanes = world.worker._lanes
    leaving = world.accept(0)
    (entry,) = lanes
    lanes.take(NOW)
    lanes.evict(entry)
    about = DeadLetterHeaders(state="waiting", code="walmart_unavailable", first_seen=NOW, order="PO1", store="us")
    taken = TakenUp(leaving.record._replace(offset=1), about, Place(0, 9), "k", "turn")
    world.arrivals.take_up(taken, 0)
    world.accept(2)
    assert [entry.evicted for entry in lanes] == [True, False, True]


def test_a_shipment_of_the_order_is_seen_while_it_is_in_memory() -> None:
    world = World()
    asking = Record(SETTINGS.topics.order_cancelled, 0, 0, 0, b"PO1", b"{}", ())
    assert not world.arrivals.in_memory(asking, "PO1")
    world.accept(0)
    assert world.arrivals.in_memory(asking, "PO1")
    assert not world.arrivals.in_memory(asking, "PO2")
    world.worker._lanes.settle(next(iter(world.worker._lanes)))
    assert not world.arrivals.in_memory(asking, "PO1")


def test_only_cancellations_leave_shipments_the_reserve() -> None:
    """A window that is full of shipments is full."""
    world = World()
    for offset in range(10):
        world.accept(offset)
    assert not world.worker._has_room(world.arrivals.cancellations)
    record = Record(SETTINGS.topics.order_cancelled, 0, 10, int(NOW * 1000), b"PO2", b"{", ())
    world.arrivals.accept(world.worker._intake, record, 0)
    assert world.arrivals.cancellations == 1
    cancellation: Delivery = list(world.worker._lanes)[-1].item
    world.arrivals.forget(cancellation)
    assert world.arrivals.cancellations == 0
    world.arrivals.accept(world.worker._intake, record, 0)
    world.arrivals.forget_all()
    assert world.arrivals.cancellations == 0


def test_what_could_not_be_read_is_seen_by_its_key() -> None:
    """Its bytes named no order; its key is the order's, as commerce makes it."""
    world = World()
    asking = Record(SETTINGS.topics.order_cancelled, 0, 0, 0, b"PO1", b"{}", ())
    broken = world.accept(0, value=b"{")
    assert broken.refusal is not None
    assert world.arrivals.in_memory(asking, "PO1")
    world.arrivals.forget(broken)
    world.worker._lanes.settle(next(iter(world.worker._lanes)))
    assert not world.arrivals.in_memory(asking, "PO1")


def test_how_long_an_event_lay_in_kafka_and_whom_it_waits_behind_is_noted() -> None:
    world = World()
    world.worker.clock.now = lambda: NOW + 70
    first, second, other = world.accept(0), world.accept(1), world.accept(2, "PO2")
    assert [one.progress.waited.seconds for one in (first, second, other)] == [{"unread": 70}] * 3
    assert [one.progress.waited.reason for one in (first, second, other)] == ["slots", "order", "slots"]
    assert world.worker.metrics.value("event_waited_seconds_total", reason="unread") == 210


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("throttled", "budget"),
        ("paused", "shut"),
        ("credentials_rejected", "closed"),
        ("waiting_for_shipments", "shipments"),
        ("not_started", "order"),
        ("order_not_found", "retry"),
        (None, "retry"),
    ],
)
def test_the_time_it_was_parked_counts_for_what_it_was_parked_for(code: str | None, reason: str) -> None:
    world = World()
    world.worker.clock.now = lambda: NOW + 500
    record = world.accept(0).record
    about = DeadLetterHeaders(
        state="waiting", code=code, first_seen=NOW, order="PO9", store="us",
        progress=replace(NOTHING, parked_at=NOW + 100),
    )  # fmt: skip
    world.arrivals.take_up(TakenUp(record._replace(offset=1), about, Place(0, 9), "k", "turn"), 0)
    taken = list(world.worker._lanes)[-1].item
    assert taken.progress.waited.seconds == {reason: 400}, "and it was read long ago"
    assert world.worker.metrics.value("event_waited_seconds_total", reason=reason) == 400


def test_an_account_is_prepared_for_events_that_may_have_a_turn() -> None:
    world = World()
    prepared: list[str] = []
    world.arrivals._prepare = prepared.append
    world.accept(0)
    assert prepared == ["main"]
    world.accept(1, value=b"{")
    world.gates.shut(account_gate("main"), "paused")
    world.accept(2)
    assert prepared == ["main"], "what cannot be read has none, what is paused needs none"
