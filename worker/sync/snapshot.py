"""Walmart's order against what is known better: answers of our own writes, and units confirmed earlier.

Whether reads lag behind writes is not documented. Open units of a line only ever fall, so of two views of a line the
one with fewer open units is the later.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import replace

from schemas.walmart.order import Order, OrderLine, Parcel
from worker.outcome import ConfirmedUnits
from worker.sync.calls import Superseded
from worker.sync.tracking import canonical


def shows(order: Order, expected: Iterable[ConfirmedUnits]) -> bool:
    """True if the order shows at least these totals per line and number (no number: cancelled units)."""
    return all(
        _shown(order.by_number.get(units.line_number), units.tracking_number) >= units.quantity for units in expected
    )


def overlay(order: Order, confirmed: Iterable[ConfirmedUnits], superseded: Superseded) -> Order:
    """The order with at least the confirmed totals; what a line misses is taken from its open units, as far as they go.

    Numbers that were corrected away since are left out: their units are shown under another number.
    """
    lines = {line.line_number: line for line in order.lines}
    changed = False
    for units in confirmed:
        line = lines.get(units.line_number)
        form = units.tracking_number
        if line is None or (form is not None and superseded((units.line_number, canonical(form))) is not None):
            continue
        missing = min(units.quantity - _shown(line, form), line.open)
        if missing <= 0:
            continue
        changed = True
        from_acknowledged = min(missing, line.acknowledged)
        lines[line.line_number] = line._replace(
            acknowledged=line.acknowledged - from_acknowledged,
            created=line.created - (missing - from_acknowledged),
            cancelled=line.cancelled + (missing if form is None else 0),
            parcels=line.parcels if form is None else (*line.parcels, Parcel(form, missing)),
        )
    return replace(order, lines=tuple(lines.values())) if changed else order


def later(known: Order, read: Order) -> Order:
    """Line by line the later of two views; where they may be equally old, the known one (it answered a write)."""
    lines = []
    for line in read.lines:
        best = known.by_number.get(line.line_number)
        if best is None or line.open < best.open:
            best = line
        if line.buyer_asked_to_cancel and not best.buyer_asked_to_cancel:
            best = best._replace(buyer_asked_to_cancel=True)
        lines.append(best)
    return replace(read, lines=tuple(lines))


def merged(known: tuple[ConfirmedUnits, ...], more: Iterable[ConfirmedUnits]) -> tuple[ConfirmedUnits, ...]:
    """Totals by line and number, the larger of two."""
    totals = {(units.line_number, units.tracking_number): units.quantity for units in known}
    for units in more:
        key = (units.line_number, units.tracking_number)
        totals[key] = max(totals.get(key, 0), units.quantity)
    return tuple([ConfirmedUnits(line, quantity, number) for (line, number), quantity in totals.items()])


class OrderMemory:
    """The newest known view of orders this worker has written to, each for as long as a read may lag. Bounded."""

    def __init__(self, keep_seconds: float, capacity: int = 10_000) -> None:
        self.keep_seconds = keep_seconds
        self._capacity = capacity
        self._orders: OrderedDict[tuple[str, str], tuple[Order, float, bool]] = OrderedDict()

    def remember(self, account: str, order: Order, now: float, *, sure: bool = True) -> Order:
        """Keep a view that shows what was asked for; returns the newest known one. `now`: epoch seconds.

        `sure`: it answers a write of ours, or was read when no write of an earlier owner could be missing in it. One
        that is not sure is no newer than a read with as many open units: an earlier owner's correction may be missing.
        """
        key = (account, order.purchase_order_id)
        newest = self.newest(account, order, now, prefer_given=True)
        # What was read is given as `newest` made it: a line of it that is not the sure one's has fewer open units.
        sure = sure or (key in self._orders and self._orders[key][2])
        self._orders[key] = (newest, now + self.keep_seconds, sure)
        self._orders.move_to_end(key)
        while len(self._orders) > self._capacity:
            self._orders.popitem(last=False)
        return newest

    def newest(self, account: str, order: Order, asked_at: float, *, prefer_given: bool = False) -> Order:
        """The order as read, or as known where that is later. `asked_at`: epoch seconds when the read began."""
        key = (account, order.purchase_order_id)
        kept = self._orders.get(key)
        if kept is None:
            return order
        known, until, sure = kept
        if asked_at > until:
            del self._orders[key]
            return order
        return later(order, known) if prefer_given or not sure else later(known, order)

    def doubt(self) -> None:
        """Others may have changed the orders from now on: no view is newer than a read with as many open units."""
        for key, (order, until, _) in self._orders.items():
            self._orders[key] = (order, until, False)

    def __len__(self) -> int:
        return len(self._orders)


def _shown(line: OrderLine | None, number: str | None) -> int:
    """Units of a line under a number, or cancelled."""
    if line is None:
        return 0
    if number is None:
        return line.cancelled
    form = canonical(number)
    return sum(
        parcel.quantity
        for parcel in line.parcels
        if parcel.tracking_number is not None and canonical(parcel.tracking_number) == form
    )
