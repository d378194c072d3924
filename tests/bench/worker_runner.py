"""Our worker as a contender: the real one, or (but for the work `calls`) with the mission replaced by a handler."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import worker.app
from schemas.events import OrderShipped
from tests.bench.contract import CLIENT_ID, CLIENT_SECRET, STORE, Task, task_of_arguments
from tests.bench.handlers import Handle, handler_of, number_of
from worker.delivery import Delivery, Event
from worker.outcome import LineOutcome, Progress, Verdict
from worker.settings import Settings
from worker.telemetry import logs


class HandlerSync:
    """In place of `worker.sync.apply.Sync`: every event is handled, and then has shipped what it says."""

    handle: Handle

    def __init__(self, *_: object) -> None:
        pass

    async def attempt(self, event: Event, progress: Progress, delivery: Delivery | None = None) -> Verdict:
        assert isinstance(event.data, OrderShipped)
        await self.handle(number_of(event.id))
        lines = tuple(
            LineOutcome(item.line_number, item.sku, item.quantity, package.tracking_number, "confirmed")
            for package in event.data.packages
            for item in package.items or ()
        )
        return Verdict("ship", "applied", walmart_status="shipped", lines=lines)


def settings_of(task: Task) -> Settings:
    """Defaults, but for where everything is and the SLO time: a backlog is old, and must not be told twice."""
    account = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "base_url": task.walmart or "http://127.0.0.1:9"}
    sections: dict[str, Any] = {
        "kafka": {"bootstrap_servers": task.bootstrap, "group_id": task.group},
        "topics": task.topics,
        "accounts": {"main": account},
        "stores": {STORE: {"account": "main"}},
        "timing": {"slo_seconds": 86_400},
        "limits": {"max_in_flight_events": task.in_flight},
        "http": {"host": "127.0.0.1", "port": 0},
    }
    for name, changes in task.settings.items():
        sections[name] = changes if name in ("accounts", "stores") else sections[name] | changes
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
