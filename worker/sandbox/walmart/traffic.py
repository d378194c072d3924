"""What was asked of this Walmart: counts per seller, operation and status, and the latest calls."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from worker.sandbox.walmart.specs import Operation

DROPPED: Final = 0
"""Stands for the status of a call that got no answer."""

_LATEST_KEPT: Final = 5_000


@dataclass(frozen=True, slots=True)
class Request:
    """One call that was answered (or dropped)."""

    time: float
    seller: str | None
    operation: Operation
    purchase_order_id: str | None
    status: int
    correlation_id: str


class Traffic:
    """Counters. They start at nothing with the process and with every reset."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str | None, Operation, int]] = Counter()
        self.latest: deque[Request] = deque(maxlen=_LATEST_KEPT)
        self.internal_errors = 0
        self.most_at_once_per_order = 0
        """Calls about one order that were waited for at the same moment, at most. More than 1: lanes do not hold."""
        self.most_at_once: Counter[Operation] = Counter()
        """Calls that were being answered at the same moment, at most, of all sellers together."""
        self._answering: Counter[Operation] = Counter()
        self._running: dict[str, list[Callable[[], bool]]] = {}

    def begin(self, operation: Operation, purchase_order_id: str | None, waited_for: Callable[[], bool]) -> None:
        """A call came in. `waited_for` turns False when its caller hangs up: such a call does not count as running."""
        self._answering[operation] += 1
        self.most_at_once[operation] = max(self.most_at_once[operation], self._answering[operation])
        if purchase_order_id is not None:
            running = self._running.setdefault(purchase_order_id, [])
            running.append(waited_for)
            at_once = 1 if len(running) == 1 else sum(waited() for waited in running)
            self.most_at_once_per_order = max(self.most_at_once_per_order, at_once)

    def end(self, request: Request, waited_for: Callable[[], bool]) -> None:
        """It was answered."""
        self._answering[request.operation] -= 1
        self.counts[request.seller, request.operation, request.status] += 1
        self.latest.append(request)
        order = request.purchase_order_id
        if order is not None:
            self._running[order].remove(waited_for)
            if not self._running[order]:
                del self._running[order]

    def as_json(self) -> dict[str, Any]:
        """All counters."""
        return {
            "counts": [
                {"seller": seller, "operation": operation, "status": status, "count": count}
                for (seller, operation, status), count in self.counts.items()
            ],
            "internal_errors": self.internal_errors,
            "most_at_once_per_order": self.most_at_once_per_order,
            "most_at_once": dict(self.most_at_once),
        }
