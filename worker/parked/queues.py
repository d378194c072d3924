"""The order among the parked events of one order. Pure.

Shipments stand in one queue and cancels in another, each by source offset; across them the older front (by its first
parking) goes first. A cancel that waits for shipments lets shipments pass, and with it every cancel behind it.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence

from worker.parked.unfinished import Unfinished

_NOBODY: Sequence[Unfinished] = ()


class _Queue:
    """The rows of an order that has more than one."""

    __slots__ = ("cancels", "ships")

    def __init__(self) -> None:
        self.ships: list[Unfinished] = []
        self.cancels: list[Unfinished] = []

    def of(self, row: Unfinished) -> list[Unfinished]:
        return self.ships if row.ships else self.cancels


class Queues:
    """Waiting rows of all orders. What asks costs O(1); what changes costs a search and one move in a list."""

    def __init__(self) -> None:
        self._orders: dict[str, Unfinished | _Queue] = {}

    def add(self, row: Unfinished) -> None:
        """Put a row in its place."""
        held = self._orders.get(row.order)
        if held is None:
            self._orders[row.order] = row
            return
        row.order = held.order if isinstance(held, Unfinished) else next(iter(held.ships or held.cancels)).order
        if isinstance(held, Unfinished):
            queue = self._orders[row.order] = _Queue()
            queue.of(held).append(held)
            held = queue
        bisect.insort(held.of(row), row, key=_position)

    def remove(self, row: Unfinished) -> None:
        """Take a row out."""
        held = self._orders.get(row.order)
        if held is row:
            del self._orders[row.order]
        if not isinstance(held, _Queue):
            return
        queue = held.of(row)
        at = bisect.bisect_left(queue, _position(row), key=_position)
        while at < len(queue) and queue[at] is not row:
            at += 1
        if at < len(queue):
            del queue[at]
        if len(held.ships) + len(held.cancels) == 1:
            self._orders[row.order] = (held.ships or held.cancels)[0]

    def any_of(self, order: str) -> bool:
        """True if anything of the order waits."""
        return order in self._orders

    def of(self, order: str) -> Iterator[Unfinished]:
        """All of an order, shipments first."""
        ships, cancels = self._both(order)
        yield from ships
        yield from cancels

    def shipment(self, order: str) -> Unfinished | None:
        """The first shipment that waits."""
        ships, _ = self._both(order)
        return ships[0] if ships else None

    def fronts(self, order: str) -> tuple[Unfinished, ...]:
        """Those that nobody stands before whom they may not pass: one, or two where a cancel lets shipments pass."""
        ships, cancels = self._both(order)
        if not ships or not cancels:
            return tuple(ships[:1]) + tuple(cancels[:1])
        if cancels[0].age < ships[0].age:
            return (cancels[0], ships[0]) if cancels[0].lets_pass else (cancels[0],)
        return (ships[0],)

    def is_front(self, row: Unfinished) -> bool:
        """Nobody stands before it whom it may not pass."""
        held = self._orders.get(row.order)
        return held is row or any(front is row for front in self.fronts(row.order))

    def before(self, order: str, *, ships: bool, own: frozenset[str], offset: int | None = None) -> Unfinished | None:
        """Who stands before a newcomer that it may not pass; None: nobody.

        `own`: keys of the newcomer itself. `offset`: it comes before those of its own kind with a later source offset.
        """
        shipments, cancels = self._both(order)
        shipment = self._first(shipments, own, offset if ships else None)
        cancel = self._first(cancels, own, None if ships else offset)
        if ships:
            return shipment or (None if cancel is None or cancel.lets_pass else cancel)
        return shipment or cancel

    @staticmethod
    def _first(queue: Sequence[Unfinished], own: frozenset[str], offset: int | None) -> Unfinished | None:
        # At most a few rows have a key of `own`.
        row = next((row for row in queue if row.key not in own), None)
        return None if row is None or (offset is not None and row.source_offset > offset) else row

    def _both(self, order: str) -> tuple[Sequence[Unfinished], Sequence[Unfinished]]:
        held = self._orders.get(order)
        if held is None:
            return _NOBODY, _NOBODY
        if isinstance(held, _Queue):
            return held.ships, held.cancels
        return ((held,), _NOBODY) if held.ships else (_NOBODY, (held,))


def _position(row: Unfinished) -> tuple[str, int, int, int]:
    return row.topic, row.source_offset, row.partition, row.offset
