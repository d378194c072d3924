"""Walmart: the true order, the older view that a read may still show, and a call whose effect comes late or never."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

from schemas.walmart.order import Order, Parcel
from worker.errors import WalmartError
from worker.walmart.answer import CallError, CallKind


class Call(NamedTuple):
    """A write, as its request body asks for it."""

    kind: str
    """`ship` or `cancel`."""
    parts: tuple[tuple[str, str | None, int], ...]
    """Line, tracking number, units."""

    def __str__(self) -> str:
        units = ", ".join(
            f"{units} of line {line}" + (f" under {number}" if number else "") for line, number, units in self.parts
        )
        return f"{self.kind} {units}"


def call_of(kind: str, body: dict[str, Any]) -> Call:
    """Read a request body."""
    whole = body["orderShipment"] if kind == "ship" else body["orderCancellation"]
    assert whole.get("processMode") is None, "no scenario has corrections"
    parts: list[tuple[str, str | None, int]] = []
    for entry in whole["orderLines"]["orderLine"]:
        for status in entry["orderLineStatuses"]["orderLineStatus"]:
            tracking = status.get("trackingInfo") or {}
            units = int(status["statusQuantity"]["amount"])
            parts.append((entry["lineNumber"], tracking.get("trackingNumber"), units))
    return Call(kind, tuple(parts))


@cache
def done(order: Order, call: Call) -> Order | CallError:
    """The order after the call, or Walmart's refusal: all or nothing, and more than is open cannot be shipped."""
    lines = dict(order.by_number)
    for number, tracking, units in call.parts:
        line = lines[number]
        if units > line.acknowledged:
            word = "OverShipped" if call.kind == "ship" else "cannot be cancelled, already shipped or cancelled"
            error = WalmartError("INVALID_REQUEST_CONTENT", None, f"Qty {word}")
            return CallError(CallKind.REFUSED, f"Qty {word}", 400, (error,))
        line = line._replace(acknowledged=line.acknowledged - units)
        if call.kind == "ship":
            known = {parcel.tracking_number: parcel.quantity for parcel in line.parcels}
            known[tracking] = known.get(tracking, 0) + units
            line = line._replace(parcels=tuple(Parcel(name, known[name]) for name in sorted(known, key=str)))
        else:
            line = line._replace(cancelled=line.cancelled + units)
        lines[number] = line
    return replace(order, lines=tuple(lines.values()))


def charged(order: Order) -> dict[str, int]:
    """Tracking number -> units shipped."""
    units: dict[str, int] = {}
    for line in order.lines:
        for parcel in line.parcels:
            units[parcel.tracking_number or ""] = units.get(parcel.tracking_number or "", 0) + parcel.quantity
    return units


def cancelled(order: Order) -> int:
    """Units cancelled."""
    return sum(line.cancelled for line in order.lines)
