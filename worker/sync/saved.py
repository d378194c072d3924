"""Answers that save a read: what Walmart said to our own latest write to an order, for as long as it is fresh.

The answer to a ship, cancel or acknowledge call is the whole order, and exact at that moment; a read may lag. So the
next event of the order is planned from it. What somebody else changes meanwhile is turned away by Walmart, or seen at
the next read: nothing fails on the word of a saved answer (`worker/sync/attempt.py`).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from schemas.walmart.order import Order


class Saved(NamedTuple):
    """An answer, and when (epoch seconds) the call it answers began: what happened later it may not show."""

    order: Order
    asked_at: float


class SavedAnswers:
    """By account and order. Bounded: the least recent go first. Pure, the time is passed in."""

    def __init__(self, fresh_seconds: float, capacity: int = 10_000) -> None:
        """`fresh_seconds`: 0 saves nothing."""
        self.fresh_seconds = fresh_seconds
        self._capacity = capacity
        self._answers: OrderedDict[tuple[str, str], Saved] = OrderedDict()

    def keep(self, account: str, order: Order, asked_at: float) -> None:
        """Keep what answered a write of ours. `asked_at`: epoch seconds when that write began."""
        if not self.fresh_seconds:
            return
        key = (account, order.purchase_order_id)
        self._answers[key] = Saved(order, asked_at)
        self._answers.move_to_end(key)
        while len(self._answers) > self._capacity or not self._is_fresh(next(iter(self._answers.values())), asked_at):
            self._answers.popitem(last=False)

    def fresh(self, account: str, order_id: str, now: float) -> Saved | None:
        """The answer to the latest write, if nothing was heard of the order since and it is fresh."""
        saved = self._answers.get((account, order_id))
        return saved if saved is not None and self._is_fresh(saved, now) else None

    def drop(self, account: str, order_id: str) -> None:
        """Another call about the order goes out: whatever comes of it, it knows better."""
        self._answers.pop((account, order_id), None)

    def __len__(self) -> int:
        return len(self._answers)

    def _is_fresh(self, saved: Saved, now: float) -> bool:
        # Also of a clock that was set back: what seems to come from the future may be of any age.
        return 0 <= now - saved.asked_at <= self.fresh_seconds
