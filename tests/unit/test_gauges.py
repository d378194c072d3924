"""What a scraper is told of gates and budgets: read off the gates, and nothing is changed by looking."""

from __future__ import annotations

from typing import Any

import pytest

from worker.app import Worker
from worker.lanes.lanes import Entry
from worker.settings import Settings
from worker.walmart.answer import CallKind
from worker.walmart.call_report import CallReport

SETTINGS = Settings.model_validate(
    {
        "accounts": {name: {"client_id": name, "client_secret": "s"} for name in ("a", "b")},
        "stores": {"sa": {"account": "a"}, "sb": {"account": "b"}},
    }
)


class Clock:
    def __init__(self) -> None:
        self.time = 1_795_000_000.0

    def now(self) -> float:
        return self.time


class World:
    def __init__(self) -> None:
        self.clock = Clock()
        self.worker: Any = Worker(SETTINGS, clock=self.clock)
        self.keeper = self.worker._gatekeeper

    def call(self, account: str, left: int | None, kind: CallKind | None = None) -> None:
        """One ship call and its answer."""
        ticket = self.keeper.begun(account, "ship", "PO1")
        self.worker._observe_call(
            CallReport(account, "ship", 200, kind, 0.1, "c", budget_left=left, subject="PO1", ticket=ticket)
        )

    def wait(self, order: str) -> None:
        """An order that stands behind account a's gates."""
        item: Any = None
        lanes = self.worker._lanes
        lanes.add(Entry(item, order, gates=self.keeper.names_of("sa", ships=True), group="a"))

    def told(self, name: str, **labels: str) -> float:
        self.worker.metrics.render()
        value: float = self.worker.metrics.value(name, **labels)
        return value


def test_left_used_and_share_of_each_budget() -> None:
    world = World()
    world.call("a", 41)
    world.call("a", 40)
    world.call("b", 7)
    assert world.told("budget_left", account="a", group="ship") == pytest.approx(40)
    assert world.told("budget_left", account="b", group="ship") == pytest.approx(7)
    assert world.told("budget_calls_total", account="a", group="ship") == 2
    assert world.told("budget_calls_per_minute", account="a", group="ship") == pytest.approx(60)
    world.keeper.set_share(0.25)
    assert world.told("budget_calls_per_minute", account="a", group="ship") == pytest.approx(15)


def test_what_is_left_grows_between_answers() -> None:
    world = World()
    world.call("a", 41)
    world.call("a", 20)
    world.clock.time += 10
    assert 21 <= world.told("budget_left", account="a", group="ship") <= 30
    world.clock.time += 600
    assert world.told("budget_left", account="a", group="ship") <= 60, "no more than it holds"


def test_a_scraper_does_not_keep_unused_budgets_in_memory() -> None:
    world = World()
    world.call("a", 41)
    for _ in range(10):
        world.clock.time += 60
        world.told("budget_left", account="a", group="ship")
    world.keeper.forget_idle({})
    assert world.told("budget_left", account="a", group="ship") == 0
    assert 'budget_left{account="a"' not in world.worker.metrics.render()[0].decode()


def test_orders_that_wait_for_a_budget_and_nothing_else() -> None:
    world = World()
    world.call("a", 41)
    world.call("a", 0)
    for order in ("PO1", "PO2", "PO3"):
        world.wait(order)
    assert world.worker._lanes.take(world.clock.time) is None
    assert world.told("budget_orders_waiting", account="a", group="ship") == 3
    assert world.told("budgets_used_up", group="ship") == 1
    assert world.told("budgets_used_up", group="cancel") == 0
    world.keeper.gates.slow("account:a/ship", world.clock.time + 60, "throttled", world.clock.time)
    assert world.told("budget_orders_waiting", account="a", group="ship") == 0, "after a 429 they wait for that"


def test_a_429_is_counted_and_uses_nothing() -> None:
    world = World()
    world.call("a", 0, CallKind.THROTTLED)
    assert world.told("walmart_throttled_total", account="a", operation="ship") == 1
    assert world.told("budget_calls_total", account="a", group="ship") == 0
    assert world.told("gates", state="slow") == 1


def test_gates_by_state() -> None:
    world = World()
    gates, now = world.keeper.gates, world.clock.time
    before = world.told("gates", state="open")
    gates.slow("account:a/ship", now + 5, "throttled", now)
    gates.close("account:a/cancel", "scope_missing", now + 5, now)
    gates.close("account:b", "credentials_rejected", now + 5, now)
    gates.shut("store:sa", "paused")
    assert {state: world.told("gates", state=state) for state in ("slow", "closed", "shut")} == {
        "slow": 1,
        "closed": 2,
        "shut": 1,
    }
    assert world.told("gates", state="open") == before - 4
