"""Time, passed in: one door to the wall clock, so that a simulation can turn it by hand."""

from __future__ import annotations

import time
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
