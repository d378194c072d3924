"""The clock of the model: whole ticks. One is the longest call, the longest read lag, and the settle time."""

from __future__ import annotations

from typing import Final

from worker.settings import Settings

TICK_S: Final = 10.0
SESSION: Final = 2
"""Ticks: so long nobody else gets the partitions of a silent member."""
PARK_AFTER: Final = 4
"""Ticks: what would wait longer in memory is parked."""
BASE: Final = 1_800_000_000.0
STORE: Final = "main_store"
ACCOUNT: Final = "main"

SETTINGS: Final = Settings.model_validate(
    {
        "accounts": {ACCOUNT: {"client_id": "id", "client_secret_file": "secret"}},
        # Nobody else gets a silent member's partitions for two ticks; for one it may send without asking.
        "kafka": {"session_timeout_seconds": 2 * TICK_S, "rebalance_timeout_seconds": 2 * TICK_S},
        "stores": {STORE: {"account": ACCOUNT}},
        "timing": {
            "call_timeout_seconds": TICK_S,
            "connect_timeout_seconds": TICK_S / 2,
            "read_lag_seconds": TICK_S,
            "settle_seconds": TICK_S,
            "probe_seconds": TICK_S,
            # Nothing is given up or told late here: how long things may take is not what is searched.
            "slo_seconds": 86_400,
            "give_up_after_hours": 720,
        },
    }
)
SHIPPED: Final = SETTINGS.topics.order_shipped
CANCELLED: Final = SETTINGS.topics.order_cancelled
TOPICS: Final = (SHIPPED, CANCELLED)


def at(tick: int) -> float:
    """Epoch seconds of a tick."""
    return BASE + tick * TICK_S


def tick_of(epoch_s: float) -> int:
    """The tick at or after a time; very old times are one tick before the first."""
    return max(-1, -int((BASE - epoch_s) // TICK_S))


def until(epoch_s: float, now: int) -> float:
    """Seconds left; 0 where that time has come."""
    return max(0.0, epoch_s - at(now))


def since_or_until(epoch_s: float, now: int, least: int) -> float:
    """Seconds left, or as a negative number gone by; what is longer ago than so many ticks is all the same."""
    return max(-least * TICK_S, epoch_s - at(now))


class Hand:
    """A clock that is set by hand."""

    def __init__(self, now: int = 0) -> None:
        self.tick = now

    def now(self) -> float:
        """Epoch seconds."""
        return at(self.tick)
