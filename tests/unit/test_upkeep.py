"""Making room in memory: what an account may keep, what has waited long enough, and a waiting room that is full."""

from __future__ import annotations

import random
from typing import Any

import pytest

from schemas.events import ORDER_SHIPPED_TYPE
from worker.delivery import Delivery, Envelope, Event, Record
from worker.gatekeeper import Gatekeeper, account_gate
from worker.lanes.gates import Gates
from worker.lanes.lanes import Entry, Lanes
from worker.settings import Settings
from worker.upkeep import Upkeep
from worker.window import PATIENCE_S, Window

NOW = 1_795_000_000.0
SETTINGS = Settings.model_validate(
    {
        "accounts": {name: {"client_id": name, "client_secret": "s"} for name in ("a", "b")},
        "stores": {name: {"account": name} for name in ("a", "b")},
        "limits": {"max_queued_events": 10, "max_queued_events_per_account": 3},
        "timing": {"park_after_seconds": 60},
    }
)


class World:
    def __init__(self) -> None:
        self.time = NOW
        self.is_full = False
        self.parked_count = 0
        self.gates = Gates()
        self.gatekeeper = Gatekeeper(self.gates, SETTINGS, random.Random(1), self)
        self.lanes: Lanes[Delivery] = Lanes(self.gates)
        rooms: Any = self
        window = Window(SETTINGS.limits, SETTINGS.timing)
        self.window = window
        self.forgotten = 0
        self.upkeep = Upkeep(SETTINGS, self.lanes, self.gatekeeper, rooms, window, rooms, rooms)

    def forget_idle(self) -> list[str]:
        """Of the accounts."""
        self.forgotten += 1
        return []

    def now(self) -> float:
        return self.time

    def add(self, store: str, count: int) -> None:
        for _ in range(count):
            order = f"PO{self.lanes.count}"
            record = Record(SETTINGS.topics.order_shipped, 0, self.lanes.count, 0, order.encode(), b"{}", ())
            data: Any = None
            event = Event("/s", order, ORDER_SHIPPED_TYPE, NOW, data)
            envelope = Envelope("/s", order, ORDER_SHIPPED_TYPE, NOW, store, order, "100", "S1")
            delivery = Delivery(record, event, envelope, None, order, order, NOW)
            gates = self.gatekeeper.names(delivery)
            self.lanes.add(Entry(delivery, order, gates=gates, group=store, size=1, passes=True, since=self.time))

    def relieved(self) -> list[int]:
        """Offsets of what is to leave after one round."""
        self.lanes.take(self.time)
        self.upkeep.relieve_now()
        return [entry.item.record.offset for entry in self.lanes if entry.evicted]


def test_behind_a_closed_gate_an_account_keeps_its_share_and_its_newest_leave() -> None:
    world = World()
    world.gates.close(account_gate("a"), "credentials_rejected", NOW + 15, NOW)
    world.add("a", 5)
    assert world.relieved() == [3, 4]


def test_an_open_account_keeps_what_it_has_while_there_is_room() -> None:
    world = World()
    world.add("b", 5)
    assert world.relieved() == []


def test_a_full_window_is_shared_after_a_little_patience() -> None:
    world = World()
    world.add("b", 11)
    assert world.relieved() == []
    world.time += PATIENCE_S
    world.upkeep.relieve_now()
    assert world.lanes.staying("b") <= SETTINGS.limits.max_queued_events_per_account + 1, "and the running one"


@pytest.mark.parametrize(("waited", "leaves"), [(59.0, []), (60.0, [0])])
def test_what_waits_at_a_gate_for_a_minute_leaves(waited: float, leaves: list[int]) -> None:
    world = World()
    world.gates.close(account_gate("a"), "credentials_rejected", NOW + 3_600, NOW)
    world.add("a", 1)
    world.lanes.take(NOW)
    world.time += waited
    assert world.relieved() == leaves


def test_where_nothing_more_may_be_parked_everything_stays() -> None:
    world = World()
    world.is_full = True
    world.gates.close(account_gate("a"), "credentials_rejected", NOW + 3_600, NOW)
    world.add("a", 5)
    world.lanes.take(NOW)
    world.time += 61
    assert world.relieved() == []
    world.is_full = False
    assert world.relieved() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("name", "makes_room"), [("ship", True), ("read", True), ("inventory", False), ("token", False)]
)
def test_only_gates_that_events_stand_behind_make_room(name: str, makes_room: bool) -> None:
    """A 429 on inventory holds no event: the backlog flows."""
    world = World()
    world.add("b", 8)
    world.gates.slow(f"account:b/{name}", NOW + 60, "throttled", NOW)
    assert bool(world.relieved()) is makes_room


def test_a_gate_that_is_slow_for_a_moment_makes_nobody_leave() -> None:
    world = World()
    world.add("b", 8)
    world.gates.slow("account:b/ship", NOW + 1, "throttled", NOW)
    assert world.relieved() == []


def test_an_account_that_waits_for_its_token_makes_no_room() -> None:
    """It flows in a moment: a start with a backlog must not park what it has just read."""
    world = World()
    world.add("a", 40)
    world.gatekeeper.token_awaited("a", NOW)
    assert world.relieved() == []
    world.gatekeeper.token_settled("a")
    assert world.gates.views() == []


def test_idle_accounts_are_forgotten_each_minute() -> None:
    world = World()
    world.add("a", 1)
    world.window.concluded("a", NOW)
    world.window.concluded("b", NOW)
    for _ in range(3):
        world.upkeep.relieve_now()
    assert world.forgotten == 1
    world.time += 60
    world.upkeep.relieve_now()
    assert world.forgotten == 2
    assert set(world.window._flows) == {"a"}, "it has an event here"
