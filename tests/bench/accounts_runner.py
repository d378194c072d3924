"""Our worker with thousands of accounts: they would not fit into an argument, so the task says how many there are."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from typing import Any, Final

from tests.bench.contract import Contender, Task, task_of_arguments
from tests.bench.worker_runner import run, settings_of
from worker.configuration import known_secrets
from worker.telemetry import logs

MANY: Final = "many"
"""The section of a task's settings that says how many; the worker has no such section."""

MANY_ACCOUNTS: Final = Contender("order-sync", "calls", (sys.executable, "-m", "tests.bench.accounts_runner"))


_BUDGET: Final = {"read_calls_per_minute": 1_000_000, "ship_calls_per_minute": 1_000_000}
"""This Walmart has none and tells none; how budgets are kept is measured elsewhere."""


def names_of(count: int) -> list[str]:
    """The accounts' names; their stores and keys are called the same."""
    return [f"merchant-{number:04d}" for number in range(count)]


def secret_of(name: str) -> str:
    """Each account has its own."""
    return f"client-secret-of-{name}"


def with_accounts(task: Task) -> Task:
    """The task with the settings of each account in it."""
    settings: dict[str, dict[str, Any]] = {name: given for name, given in task.settings.items() if name != MANY}
    names = names_of(task.settings[MANY]["count"])
    settings["accounts"] = {
        name: {"client_id": name, "client_secret": secret_of(name), "base_url": task.walmart} | _BUDGET
        for name in names
    }
    settings["stores"] = {name: {"account": name} for name in names}
    return replace(task, settings=settings)


if __name__ == "__main__":
    whole = with_accounts(task_of_arguments())
    logs.configure("info", secrets=known_secrets(settings_of(whole)))
    asyncio.run(run(whole))
