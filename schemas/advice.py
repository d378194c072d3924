"""What is legal in an event but likely to disappoint its sender."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from schemas.cloudevents import CloudEvent
from schemas.events import OrderCancelled, OrderShipped
from schemas.problems import Problem, shown

_CLOCKS_DIFFER: Final = timedelta(minutes=10)


def advice_on(event: CloudEvent, data: OrderShipped | OrderCancelled) -> Iterator[Problem]:
    """Advice on a valid event."""
    if event.time is None:
        yield Problem("time", "absent: latency will count from the record's own time")
    if isinstance(data, OrderShipped):
        yield from _late("data.shipped_at", data.shipped_at, event.time)
        yield from _on_shipment(data)
    else:
        yield from _late("data.cancelled_at", data.cancelled_at, event.time)
        yield from _on_cancellation(data)


def _late(field: str, time: datetime, sent: datetime | None) -> Iterator[Problem]:
    if sent is not None and time - sent > _CLOCKS_DIFFER:
        yield Problem(field, "later than the event's own time; look at clocks and zones", shown(time.isoformat()))


def _on_shipment(data: OrderShipped) -> Iterator[Problem]:
    numbers: set[str] = set()
    for index, package in enumerate(data.packages):
        field = f"data.packages.{index}"
        if not (package.tracking_number or "").strip():
            yield Problem(
                f"{field}.tracking_number",
                "absent: this package fails as tracking_number_missing; send the same shipment_id again with it",
            )
        elif package.tracking_number in numbers:
            yield Problem(f"{field}.tracking_number", "stands on two packages", shown(package.tracking_number))
        numbers.add(package.tracking_number or "")
        if package.replaces_tracking_number == package.tracking_number and package.tracking_number:
            yield Problem(f"{field}.replaces_tracking_number", "is the number itself: nothing would be corrected")
        if any(item.tracking_total is None for item in package.items or ()):
            yield Problem(
                f"{field}.items",
                "without tracking_total a second shipment in the same box cannot be told from a repeat and is left out",
            )
    units = sum(item.quantity for item in data.items or ())
    if data.items is not None and units < len(data.packages):
        yield Problem("data.items", f"{units} units for {len(data.packages)} packages: some numbers cannot be placed")


def _on_cancellation(data: OrderCancelled) -> Iterator[Problem]:
    if data.items is None:
        yield Problem("data.items", "absent: everything open is cancelled, or nothing, as the store's policy says")
    elif not any(item.cancelled_total for item in data.items):
        yield Problem("data.items", "no cancelled_total above 0: nothing would be cancelled")
    if data.reason is None or not (data.reason.code or data.reason.text):
        yield Problem("data.reason", "absent: refused unless the store's policy names a reason")
