"""Which units an event speaks of: its items as demands, and the order's lines with what is left of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from schemas.events import OrderShipped, Package, ShippedItem
from schemas.walmart.order import Order, OrderLine
from worker.sync.tracking import TrackingNumber, canonical, read_number


class Box(NamedTuple):
    """A package of the event, its number read."""

    package: Package
    number: TrackingNumber
    replaces: str | None
    """Canonical number this one replaces, if it is a correction."""


@dataclass(slots=True)
class Demand:
    """Units of one line or SKU that the event says are under one tracking number, summed over its packages."""

    line_number: str | None
    sku: str | None
    box: Box
    """The first package that carries the number."""
    quantity: int
    total: int | None
    """Units under this number so far, this event's included; None: not told."""

    @property
    def name(self) -> str:
        """For messages."""
        return f"line {self.line_number}" if self.line_number is not None else f"SKU {self.sku}"


def read_boxes(data: OrderShipped) -> list[Box]:
    """Every package with its number cleaned and checked."""
    boxes = []
    for package in data.packages:
        number = read_number(package.tracking_number, data.purchase_order_id, data.commerce_order_id)
        old = canonical(package.replaces_tracking_number) if package.replaces_tracking_number else ""
        boxes.append(Box(package, number, old if old and old != number.canonical else None))
    return boxes


def demands_of(data: OrderShipped, boxes: list[Box]) -> list[Demand]:
    """The event's items, summed by (line or SKU, number).

    Depends on the event alone. The order of the packages makes no difference where they have items of their own;
    items addressed by line come first, since they have no other line to go to.
    """
    summed: dict[tuple[str | None, str | None, str | int, str | None], Demand] = {}
    for index, (box, items) in enumerate(zip(boxes, _items(data), strict=True)):
        # A package without a usable number is nobody's sister: it keeps its own place.
        number: str | int = box.number.canonical if box.number.problem is None else index
        for item, quantity in items:
            key = (item.line_number, item.sku, number, box.replaces)
            demand = summed.get(key)
            if demand is None:
                summed[key] = Demand(item.line_number, item.sku, box, quantity, item.tracking_total)
                continue
            demand.quantity += quantity
            if item.tracking_total is not None:
                demand.total = max(demand.total or 0, item.tracking_total)
    demands = list(summed.values())
    if len(demands) > 1:
        demands.sort(key=_place)
    return demands


def boxes_without_units(data: OrderShipped, boxes: list[Box]) -> list[Box]:
    """Packages a shipment's items do not suffice for."""
    if data.items is None:
        return []
    units = sum(item.quantity for item in data.items)
    return boxes[units:]


def lines_of(order: Order, line_number: str | None, sku: str | None) -> tuple[OrderLine, ...]:
    """The lines an item addresses: that line alone, or all lines of the SKU in Walmart's order."""
    if line_number is not None:
        line = order.by_number.get(line_number)
        return () if line is None else (line,)
    return tuple([line for line in order.lines if line.sku == sku])


class Ledger:
    """What is left of each line while a plan deals it out. Quantities are units."""

    __slots__ = ("cancelled", "open", "shown", "shown_otherwise", "totals")

    def __init__(self, order: Order, own_numbers: Iterable[str] = ()) -> None:
        own = set(own_numbers)
        self.open: dict[str, int] = {}
        self.cancelled: dict[str, int] = {}
        self.shown: dict[tuple[str, str], int] = {}
        """(line, canonical number) -> units not yet claimed by a demand."""
        self.shown_otherwise: dict[str, int] = {}
        """Line -> shipped units under none of the event's numbers."""
        for line in order.lines:
            number = line.line_number
            self.open[number] = line.open
            self.cancelled[number] = line.cancelled
            otherwise = line.shipped
            if not line.parcels:
                self.shown_otherwise[number] = otherwise
                continue
            for parcel in line.parcels:
                form = canonical(parcel.tracking_number) if parcel.tracking_number else ""
                self.shown[number, form] = self.shown.get((number, form), 0) + parcel.quantity
                if form in own:
                    otherwise -= parcel.quantity
            self.shown_otherwise[number] = max(0, otherwise)
        self.totals = dict(self.shown)
        """The same before any claim."""

    def take(self, line: OrderLine, quantity: int) -> int:
        """Take up to `quantity` open units of a line; returns how many there were."""
        taken = min(quantity, self.open[line.line_number])
        self.open[line.line_number] -= taken
        return taken

    def claim(self, line: OrderLine, form: str, quantity: int) -> int:
        """Count up to `quantity` units shown under a number for one demand, so that no other counts them too."""
        shown = self.shown.get((line.line_number, form), 0)
        claimed = min(quantity, shown)
        if claimed:
            self.shown[line.line_number, form] = shown - claimed
        return claimed


def _items(data: OrderShipped) -> list[list[tuple[ShippedItem, int]]]:
    """Per package its items and units; a shipment's own items are dealt to the packages in turn, unit by unit."""
    if data.items is None:
        return [[(item, item.quantity) for item in package.items] if package.items else [] for package in data.packages]
    count = len(data.packages)
    dealt: list[list[tuple[ShippedItem, int]]] = [[] for _ in range(count)]
    turn = 0
    for item in data.items:
        each, rest = divmod(item.quantity, count)
        for index in range(count):
            units = each + (1 if (index - turn) % count < rest else 0)
            if units:
                dealt[index].append((item, units))
        turn = (turn + item.quantity) % count
    return dealt


def _place(demand: Demand) -> tuple[bool, str, str, str]:
    return (
        demand.line_number is None,
        demand.box.number.canonical,
        demand.line_number or demand.sku or "",
        demand.box.replaces or "",
    )
