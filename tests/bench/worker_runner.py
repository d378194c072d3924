"""Our worker as a contender: the real one, or (but for the work `calls`) with the mission replaced by a handler."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import Any, Final

import worker.app
from schemas.events import OrderShipped
from tests.bench.contract import CLIENT_ID, CLIENT_SECRET, PLENTY, PLENTY_PER_MINUTE, STORE, Task, task_of_arguments
from tests.bench.handlers import Handle, handler_of, number_of
from worker.delivery import Delivery, Event
from worker.gatekeeper import Gatekeeper
from worker.outcome import LineOutcome, Progress, Verdict
from worker.settings import AccountSettings, Settings
from worker.telemetry import logs
from worker.walmart.call_report import CallReport, Operation

ACCOUNT: Final = "main"
"""Where the task names none."""
_CALLED: Final[tuple[Operation, ...]] = ("get_order", "ship")
_TELL_EVERY_S: Final = 5.0
"""A level heard 15 s ago is no more believed."""


class HandlerSync:
    """In place of `worker.sync.apply.Sync`: every event is handled, and then has shipped what it says.

    Nobody is called, so nobody tells how many calls are left, and the worker would go carefully, one event at a time.
    So now and then it hears an answer that was never given.
    """

    handle: Handle

    def __init__(self, *doors: object) -> None:
        gatekeeper = doors[-1]
        assert isinstance(gatekeeper, Gatekeeper)
        self._gatekeeper = gatekeeper
        self._told_at = 0.0

    async def attempt(self, event: Event, progress: Progress, delivery: Delivery | None = None) -> Verdict:
        assert isinstance(event.data, OrderShipped)
        if time.time() - self._told_at > _TELL_EVERY_S:
            self._tell_budgets(event.data.purchase_order_id)
        await self.handle(number_of(event.id))
        lines = tuple(
            LineOutcome(item.line_number, item.sku, item.quantity, package.tracking_number, "confirmed")
            for package in event.data.packages
            for item in package.items or ()
        )
        return Verdict("ship", "applied", walmart_status="shipped", lines=lines)

    def _tell_budgets(self, order: str) -> None:
        self._told_at = now = time.time()
        for operation in _CALLED:
            ticket = self._gatekeeper.begun(ACCOUNT, operation, order)
            told = CallReport(ACCOUNT, operation, 200, None, 0.05, "", PLENTY, now + 0.001, order, ticket=ticket)
            self._gatekeeper.observe(told, now)


def settings_of(task: Task) -> Settings:
    """Defaults, but for where everything is, and these two.

    The SLO time: a backlog is old, and must not be told twice. Walmart's budgets: plenty, unless the task tells them.
    """
    account = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "base_url": task.walmart or "http://127.0.0.1:9"}
    plenty = {name: PLENTY_PER_MINUTE for name in AccountSettings.model_fields if name.endswith("_calls_per_minute")}
    sections: dict[str, Any] = {
        "kafka": {"bootstrap_servers": task.bootstrap, "group_id": task.group},
        "topics": task.topics,
        "accounts": {ACCOUNT: account},
        "stores": {STORE: {"account": ACCOUNT}},
        "timing": {"slo_seconds": 86_400},
        "limits": {"max_in_flight_events": task.in_flight},
        "http": {"host": "127.0.0.1", "port": 0},
    }
    for name, changes in task.settings.items():
        sections[name] = changes if name in ("accounts", "stores") else sections[name] | changes
    sections["accounts"] = {name: plenty | account for name, account in sections["accounts"].items()}
    return Settings.model_validate(sections)


async def run(task: Task) -> None:
    """Until SIGTERM."""
    if task.work != "calls":
        HandlerSync.handle = staticmethod(handler_of(task))
        worker.app.Sync = HandlerSync  # type: ignore[assignment,attr-defined]
    machine = worker.app.Worker(settings_of(task))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, machine.stop)
    await machine.run()


if __name__ == "__main__":
    logs.configure("info")
    asyncio.run(run(task_of_arguments()))
