"""What is looked up when a scraper asks."""

from __future__ import annotations

from typing import Any

import pytest

from worker.app import Worker
from worker.delivery import Delivery, Record
from worker.gatekeeper import account_gate, call_gate
from worker.lanes.budget import Budget
from worker.lanes.lanes import Entry
from worker.outcome import Progress
from worker.settings import Settings

NOW = 1_795_000_000.0


class World:
    def __init__(self, accounts: int) -> None:
        names = [f"m{number}" for number in range(accounts)]
        settings = Settings.model_validate(
            {
                "accounts": {name: {"client_id": "c", "client_secret": "s"} for name in names},
                "stores": {name: {"account": name} for name in names},
            }
        )
        self.worker: Any = Worker(settings)
        self.worker.clock.now = lambda: NOW

    def add(self, lane: str, *gates: str) -> Entry[Delivery]:
        record = Record("t", 0, 0, 0, None, None, ())
        delivery = Delivery(record, None, None, None, "k", lane, NOW, progress=Progress())  # type: ignore[arg-type]
        entry = Entry(delivery, lane, gates=gates, group="m0", since=NOW)
        self.worker._lanes.add(entry)
        return entry

    def page(self) -> str:
        page: bytes = self.worker.metrics.render()[0]
        return page.decode()

    def value(self, name: str, **labels: str) -> float:
        found: float = self.worker.metrics.value(name, **labels)
        return found


def test_events_that_wait_are_told_by_what_holds_them() -> None:
    world = World(2)
    lanes, gates = world.worker._lanes, world.worker._gates
    gates.close(account_gate("m0"), "credentials_rejected", NOW + 15, NOW)
    gates.slow(account_gate("m1"), NOW + 60, "not_started", NOW, starting=True)
    gates.rations.give(call_gate("m1", "ship"), budget := Budget(1.0, 1.0, NOW))
    budget.reserve("somebody")
    world.add("a", account_gate("m0"))
    world.add("a", account_gate("m0"))
    world.add("b", account_gate("m1"))
    world.add("c", call_gate("m1", "ship"))
    running = world.add("d")
    assert lanes.take(NOW) is running
    world.add("e").item.progress.waited.begin("retry", NOW)
    world.page()
    waiting = {reason: world.value("events_waiting", reason=reason)
               for reason in ("closed", "order", "starting", "budget", "retry", "slots", "shut")}  # fmt: skip
    assert waiting == {"closed": 1, "order": 1, "starting": 1, "budget": 1, "retry": 1, "slots": 0, "shut": 0}
    assert world.value("account_events_queued", account="m0") == 6


@pytest.mark.parametrize(("accounts", "label"), [(2, "m0"), (51, "other")])
def test_budgets_are_told_as_they_are_by_now_and_a_look_is_no_use(accounts: int, label: str) -> None:
    world = World(accounts)
    budget = Budget(1.0, 60.0, NOW - 100, share=0.5)
    world.worker._gates.rations.give(call_gate("m0", "ship"), budget)
    budget.ended(budget.begun("PO1", NOW - 100), NOW - 100, 12, None)
    world.page()
    assert world.value("budget_left", account=label, group="ship") == pytest.approx(60, abs=50)
    assert world.value("budget_calls_per_minute", account=label, group="ship") == 30
    forgettable = budget.is_forgettable(NOW + 30)
    for _ in range(3):
        world.page()
    assert budget.is_forgettable(NOW + 30) is forgettable is True


def test_accounts_are_counted_and_no_gate_is_made_for_them() -> None:
    world = World(51)
    page = world.page()
    assert (world.value("accounts"), world.value("accounts_in_memory"), world.value("token_requests")) == (51, 0, 0)
    assert world.value("gates", state="open") >= 51 * 4
    assert 'account="m0"' not in page
