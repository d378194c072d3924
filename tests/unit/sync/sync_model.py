"""A tiny, strict Walmart for these tests: all or nothing per call, over-shipping refused, real request bodies."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from schemas.walmart.order import Order, OrderLine, Parcel

PO = "1796277083022"
ORDERED_AT = 1_795_000_000.0


class RefusedError(Exception):
    """The call as a whole; nothing was written."""


@dataclass
class Line:
    sku: str
    ordered: int
    created: int = 0
    acknowledged: int = 0
    cancelled: int = 0
    parcels: dict[str, int] = field(default_factory=dict)
    asked: bool = False

    @property
    def open(self) -> int:
        return self.created + self.acknowledged

    @property
    def shipped(self) -> int:
        return sum(self.parcels.values())


def line(sku: str = "A", ordered: int = 1, *, created: bool = False, asked: bool = False, **parcels: int) -> Line:
    """A line with `ordered` units open, less those in `parcels` (number=quantity)."""
    left = ordered - sum(parcels.values())
    return Line(sku, ordered, left if created else 0, 0 if created else left, 0, dict(parcels), asked)


class Walmart:
    """One purchase order."""

    def __init__(
        self,
        lines: dict[str, Line],
        *,
        partial_cancels: bool = True,
        one_number_per_line: bool = False,
        wfs: bool = False,
        method: str | None = "Standard",
    ) -> None:
        self.lines = lines
        self.partial_cancels = partial_cancels
        self.one_number_per_line = one_number_per_line
        self.wfs = wfs
        self.method = method
        self.log: list[tuple[str, Any]] = []

    def order(self) -> Order:
        return Order(
            PO,
            tuple(
                OrderLine(
                    number,
                    each.sku,
                    each.ordered,
                    each.created,
                    each.acknowledged,
                    each.cancelled,
                    tuple(Parcel(tracking, units) for tracking, units in each.parcels.items()),
                    each.asked,
                )
                for number, each in self.lines.items()
            ),
            int(ORDERED_AT * 1000),
            self.method,
            "WFSFulfilled" if self.wfs else "SellerFulfilled",
        )

    def copy(self) -> Walmart:
        return copy.deepcopy(self)

    def state(self) -> dict[str, tuple[int, int, tuple[tuple[str, int], ...]]]:
        """Per line: open, cancelled, units by number."""
        return {
            number: (each.open, each.cancelled, tuple(sorted(each.parcels.items())))
            for number, each in self.lines.items()
        }

    def group_state(self) -> dict[str, tuple[int, int, tuple[tuple[str, int], ...]]]:
        """The same per SKU."""
        groups: dict[str, tuple[int, int, dict[str, int]]] = {}
        for each in self.lines.values():
            left, cancelled, numbers = groups.get(each.sku, (0, 0, {}))
            for tracking, units in each.parcels.items():
                numbers[tracking] = numbers.get(tracking, 0) + units
            groups[each.sku] = (left + each.open, cancelled + each.cancelled, numbers)
        return {sku: (left, gone, tuple(sorted(numbers.items()))) for sku, (left, gone, numbers) in groups.items()}

    def acknowledge(self) -> None:
        if any(each.shipped or each.cancelled for each in self.lines.values()):
            raise RefusedError("Some or all qty in higher status")
        for each in self.lines.values():
            each.acknowledged, each.created = each.open, 0
        self.log.append(("acknowledge", None))

    def post(self, path: str, body: dict[str, Any] | None) -> None:
        """Run one request."""
        if path == "acknowledge":
            self.acknowledge()
        elif path == "cancel":
            assert body is not None
            self.cancel(body)
        else:
            assert body is not None
            self.ship(body)

    def ship(self, body: dict[str, Any]) -> None:
        shipment = body["orderShipment"]
        correction = shipment.get("processMode") == "PARTIAL_UPDATE"
        after = copy.deepcopy(self.lines)
        sent = []
        # Too late to acknowledge: then Created units are taken, else nothing could ever ship.
        late = any(each.shipped or each.cancelled for each in self.lines.values())
        for entry in shipment["orderLines"]["orderLine"]:
            each = after.get(entry["lineNumber"])
            if each is None:
                raise RefusedError(f"The Line: {entry['lineNumber']} of PO: {PO} does not exist")
            if each.asked and not correction and not entry.get("intentToCancelOverride"):
                raise RefusedError("the buyer asked to cancel")
            statuses = entry["orderLineStatuses"]["orderLineStatus"]
            if self.one_number_per_line and len(statuses) > 1:
                raise RefusedError("Invalid Qty: more than one status")
            for status in statuses:
                units = int(status["statusQuantity"]["amount"])
                tracking = status["trackingInfo"]["trackingNumber"]
                assert units > 0
                assert tracking.isalnum()
                if correction:
                    old = status["currentTrackingInfo"]["trackingNumber"]
                    if each.parcels.get(old, 0) < units:
                        raise RefusedError(f"nothing shipped under {old}")
                    each.parcels[old] -= units
                    if not each.parcels[old]:
                        del each.parcels[old]
                else:
                    if units > each.acknowledged + (each.created if late else 0):
                        raise RefusedError("Qty OverShipped : Some or All Line(s)/Qty cannot be Shipped")
                    from_acknowledged = min(units, each.acknowledged)
                    each.acknowledged -= from_acknowledged
                    each.created -= units - from_acknowledged
                each.parcels[tracking] = each.parcels.get(tracking, 0) + units
                sent.append((entry["lineNumber"], tracking, units))
        self.lines = after
        self.log.append(("correct" if correction else "ship", sent))

    def cancel(self, body: dict[str, Any]) -> None:
        after = copy.deepcopy(self.lines)
        sent = []
        for entry in body["orderCancellation"]["orderLines"]["orderLine"]:
            each = after[entry["lineNumber"]]
            for status in entry["orderLineStatuses"]["orderLineStatus"]:
                units = int(status["statusQuantity"]["amount"])
                assert units > 0
                if units > each.open:
                    raise RefusedError("Qty cannot be cancelled, already shipped or cancelled")
                if units < each.open and not self.partial_cancels:
                    raise RefusedError("partial Qty is not allowed")
                from_created = min(units, each.created)
                each.created -= from_created
                each.acknowledged -= units - from_created
                each.cancelled += units
                sent.append((entry["lineNumber"], status["cancellationReason"], units))
        self.lines = after
        self.log.append(("cancel", sent))

    def charged(self) -> dict[tuple[str, str], int]:
        """Units charged by (line, number) of every ship call that worked."""
        total: dict[tuple[str, str], int] = {}
        for kind, sent in self.log:
            if kind == "ship":
                for number, tracking, units in sent:
                    total[number, tracking] = total.get((number, tracking), 0) + units
        return total
