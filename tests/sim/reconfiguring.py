"""Settings that somebody changes while the workers run: each takes them by itself, a little earlier or later."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from tests.sim.virtual_loop import Process
from worker.settings import Settings

HOWS: Final = (
    "pause_store", "pause_store", "pause_account", "limits", "timing", "secret", "address", "observe_store",
    "observe_account", "remove_store", "remove_account",
)  # fmt: skip
LATEST_S: Final = 6.0
"""A worker looks at its file at least so often."""


def changed(settings: Settings, how: str, which: int) -> Settings:
    """Other settings, drawn from a number. What nobody can promise anything about stays: how long reads lag."""
    chance = random.Random(which)
    accounts, stores = dict(settings.accounts), dict(settings.stores)
    store, account = chance.choice(sorted(stores)), chance.choice(sorted(accounts))
    match how:
        case "pause_store":
            stores[store] = stores[store].model_copy(update={"paused": not stores[store].paused})
        case "pause_account":
            accounts[account] = accounts[account].model_copy(update={"paused": not accounts[account].paused})
        case "observe_store":
            stores[store] = stores[store].model_copy(update={"observe": not stores[store].observe})
        case "observe_account":
            accounts[account] = accounts[account].model_copy(update={"observe": not accounts[account].observe})
        case "remove_store" if len(stores) > 1:
            del stores[store]
        case "remove_account" if any(each.account != account for each in stores.values()):
            del accounts[account]
            stores = {name: each for name, each in stores.items() if each.account != account}
        case "address":
            # Another client with a token of its own; the simulated Walmart is reached at any.
            moved = accounts[account].base_url.rstrip("/") + "/"
            accounts[account] = accounts[account].model_copy(update={"base_url": moved})
        case "limits":
            limits = {
                "max_in_flight_events": chance.choice((1, 8, 64)),
                "max_in_flight_events_per_account": chance.choice((1, 4, 64)),
                "max_queued_events_per_account": chance.choice((1, 10, 100)),
            }
            return settings.model_copy(update={"limits": settings.limits.model_copy(update=limits)})
        case "timing":
            timing = {
                "slo_seconds": chance.choice((5.0, 60.0)),
                "retry_max_seconds": chance.choice((1.0, 16.0)),
                "park_after_seconds": chance.choice((1.0, 20.0)),
                "parked_retry_max_seconds": chance.choice((2.0, 40.0)),
                "probe_seconds": chance.choice((0.3, 6.0)),
            }
            return settings.model_copy(update={"timing": settings.timing.model_copy(update=timing)})
    return settings.model_copy(update={"accounts": accounts, "stores": stores})


class Silence:
    """Since when each process has known of a store that it may send nothing for it."""

    def __init__(self, settings: Settings, now: Callable[[], float]) -> None:
        """`settings`: those of the beginning. `now`: loop time."""
        self._original, self._now = settings, now
        self._since: dict[tuple[str, str], float] = {}
        self.loose: set[str] = set()
        """Stores that were observed or unknown for a while: some of their events are concluded and not done."""

    def taken(self, process: Process, settings: Settings) -> None:
        """The process works with these settings from now on."""
        for name in self._original.stores:
            store = settings.stores.get(name)
            account = settings.accounts[store.account] if store is not None else None
            if store is None or account is None or store.observe or account.observe:
                self.loose.add(name)
            elif not store.paused and not account.paused:
                self._since.pop((str(process), name), None)
                continue
            self._since.setdefault((str(process), name), self._now())

    def since(self, process: Process | None, store: str) -> float | None:
        """Loop time; None: it may send."""
        return self._since.get((str(process), store))
