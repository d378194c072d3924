"""Settings that somebody changes while the workers run: each takes them by itself, a little earlier or later."""

from __future__ import annotations

import random
from typing import Final

from worker.settings import Settings

HOWS: Final = ("pause_store", "pause_store", "pause_account", "limits", "timing", "secret", "address")
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
