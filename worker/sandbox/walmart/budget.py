"""Budgets: one token bucket per seller and endpoint, refilled gradually.

Source of the rates: Walmart's throttling page (60/min ship, cancel, acknowledge; 5,000/min one order; 200/min
inventory). The size of the bucket is not published: one minute's worth here.
"""

from __future__ import annotations

import time
from typing import Final

from worker.sandbox.walmart.specs import Operation, Rate

PUBLISHED_PER_MINUTE: Final[dict[Operation, float]] = {
    "get_order": 5000,
    "acknowledge": 60,
    "ship": 60,
    "cancel": 60,
    "put_inventory": 200,
    "get_inventory": 200,
    "put_inventories": 200,
    "get_inventories": 200,
}
"""The token endpoints' limits are not published; they have none here."""


class Bucket:
    """One token bucket. Times are monotonic seconds."""

    __slots__ = ("_at", "_level", "_per_second", "_size", "taken")

    def __init__(self, rate: Rate, speed_up: float, now: float) -> None:
        self._per_second = rate.per_minute * speed_up / 60
        self._size = float(rate.burst if rate.burst is not None else max(1, int(rate.per_minute * speed_up)))
        self._level = self._size
        self._at = now
        self.taken = 0
        """Tokens so far."""

    def take(self, now: float) -> bool:
        """Take one token; False if there is none."""
        if self.left(now) < 1:
            return False
        self._level -= 1
        self.taken += 1
        return True

    def left(self, now: float) -> float:
        """Tokens, and the part of one that has flown in."""
        self._level = min(self._size, self._level + (now - self._at) * self._per_second)
        self._at = now
        return self._level

    def headers(self) -> dict[str, str]:
        """What Walmart tells: tokens left and when the next one comes (epoch ms)."""
        missing = 0.0 if self._level >= self._size else 1 - self._level % 1
        next_ms = int((time.time() + missing / self._per_second) * 1000) + 1
        return {"X-Current-Token-Count": str(int(self._level)), "X-Next-Replenishment-Time": str(next_ms)}
