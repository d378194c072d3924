"""Time, passed in: one door to the wall clock, so that a simulation can turn it by hand."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol


class Clock(Protocol):
    """Where the time comes from. Sleeping and timeouts go through the event loop, which a simulation replaces too."""

    def now(self) -> float:
        """Epoch seconds, UTC."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        """Epoch seconds, UTC."""
        return time.time()


@lru_cache(maxsize=256)
def second_text(epoch_s: int) -> str:
    """A whole second in UTC, as RFC 3339 begins: `2026-11-20T15:04:07`. Most are asked for thousands of times."""
    return datetime.fromtimestamp(epoch_s, UTC).isoformat()[:19]


def time_text(epoch_s: float) -> str:
    """A time in UTC with microseconds: `2026-11-20T15:04:07.031000`, without a zone."""
    seconds, microseconds = divmod(round(epoch_s * 1_000_000), 1_000_000)
    return f"{second_text(seconds)}.{microseconds:06d}"
