"""What one honest commerce system does with one order, step by step, and the events it says about it. Pure, seeded.

Each step knows which units it moves, and how many commerce had told before under the same line and number: so that
whoever reads Walmart's journal can say whose units an effect moved, and whether any moved twice.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from tests.system.stage import cancelled, package, shipped
from worker.sandbox.walmart.specs import NewLine, NewOrder

Kind = Literal[
    "partial with total", "partial", "full", "number missing", "number added", "cancel", "cancel ahead", "cancel rest"
]


@dataclass(frozen=True, slots=True)
class Units:
    """Units of one line that a step moves."""

    line: str
    number: str | None
    """Tracking number; None: they are cancelled."""
    quantity: int
    before: int
    """Units of this line and number (or cancelled ones) that earlier steps moved."""


@dataclass(frozen=True, slots=True)
class Step:
    """One event of an order."""

    order: str
    event_id: str
    kind: Kind
    units: tuple[Units, ...]
    """Empty: it must fail (`number missing`)."""
    data: dict[str, Any]

    @property
    def is_cancel(self) -> bool:
        """Goes to the topic of cancellations."""
        return self.kind.startswith("cancel")

    @property
    def must_fail(self) -> bool:
        """A package without a tracking number."""
        return self.kind == "number missing"

    def event(self) -> dict[str, Any]:
        """The event, of now."""
        if self.is_cancel:
            return cancelled(self.order, 0, 0, event_id=self.event_id, **self.data)
        return shipped(self.order, event_id=self.event_id, **self.data)


@dataclass(frozen=True, slots=True)
class Mix:
    """Shares of what histories are made of."""

    rests: float = 0.15
    """Orders that end in a cancel without items."""
    plain: float = 0.4
    """Partial shipments without `tracking_total`."""
    ahead: float = 0.04
    """Orders whose cancel comes before its shipments, where Walmart takes no partial cancel."""


@dataclass(frozen=True, slots=True)
class Sketch:
    """An order as Walmart gets it, before anything happens."""

    spec: NewOrder
    ahead: bool
    """The cancel comes first, and Walmart refuses to cancel a part of a line."""


def sketch(chance: Random, mix: Mix) -> Sketch:
    """Make up an order."""
    ahead = chance.random() < mix.ahead
    lines = [
        NewLine(
            sku=sku,
            quantity=chance.randint(2 if ahead else 1, 5),
            status=chance.choice(("Created", "Acknowledged", "Acknowledged")),
        )
        for sku in ("MUG", "CUP")[: 1 if ahead else chance.choice((1, 1, 2))]
    ]
    return Sketch(NewOrder(lines=tuple(lines)), ahead)


def history(chance: Random, order: str, drawn: Sketch, mix: Mix) -> list[Step]:
    """All steps of an order, in commerce's order."""
    commerce = _Commerce(chance, order, drawn.spec)
    if drawn.ahead:
        commerce.cancel_ahead()
        return commerce.steps
    for _ in range(chance.randint(1, 4)):
        what = chance.random()
        if what < 0.25:
            commerce.cancel()
        elif what < 0.32:
            commerce.ship_without_number()
        else:
            commerce.ship(with_totals=chance.random() >= mix.plain)
    ending = chance.random()
    if ending < mix.rests:
        commerce.cancel_rest()
    elif ending < mix.rests + 0.4:
        commerce.ship_rest()
    return commerce.steps


@dataclass
class _Commerce:
    chance: Random
    order: str
    spec: NewOrder
    steps: list[Step] = field(default_factory=list)
    told: Counter[tuple[str, str | None]] = field(default_factory=Counter)
    boxes: list[str] = field(default_factory=list)
    """Numbers whose units are told with totals: more may go into such a box."""

    def __post_init__(self) -> None:
        self.ordered = {str(place): line.quantity for place, line in enumerate(self.spec.lines, start=1)}
        self._numbers = 0

    def left(self, line: str) -> int:
        return self.ordered[line] - sum(units for (of, _), units in self.told.items() if of == line)

    def shipped(self, line: str) -> int:
        return sum(units for (of, number), units in self.told.items() if of == line and number is not None)

    def ship(self, *, with_totals: bool) -> None:
        box = self.chance.choice(self.boxes) if with_totals and self.boxes and self.chance.random() < 0.4 else None
        wanted = {line: self.chance.randint(0, self.left(line)) for line in self.ordered}
        if not any(wanted.values()):
            return
        number = box or self._number()
        if with_totals and box is None:
            self.boxes.append(number)
        units = self._moved(wanted, number)
        packages = [self._package(units, number, with_totals=with_totals)]
        self._say("partial with total" if with_totals else "partial", units, packages=packages)

    def ship_rest(self) -> None:
        wanted = {line: self.left(line) for line in self.ordered}
        if any(wanted.values()):
            number = self._number()
            units = self._moved(wanted, number)
            self._say("full", units, packages=[self._package(units, number, with_totals=False)])

    def ship_without_number(self) -> None:
        """The number comes later, for the same shipment."""
        wanted = {line: min(1, self.left(line)) for line in self.ordered}
        if not any(wanted.values()):
            return
        number = self._number()
        units = self._moved(wanted, number)
        shipment = f"shipment-{len(self.steps)}"
        without = self._package(units, None, with_totals=False)
        self._say("number missing", (), packages=[without], shipment_id=shipment)
        known = self._package(units, number, with_totals=True)
        self._say("number added", units, packages=[known], shipment_id=shipment)

    def cancel(self) -> None:
        wanted = {line: self.chance.randint(0, self.left(line)) for line in self.ordered}
        if any(wanted.values()):
            self._cancel("cancel", self._moved(wanted, None))

    def cancel_rest(self) -> None:
        wanted = {line: self.left(line) for line in self.ordered}
        if any(wanted.values()):
            self._say("cancel rest", self._moved(wanted, None), items=None)

    def cancel_ahead(self) -> None:
        """Its totals announce what is shipped only afterwards, all of the line together."""
        ordered = self.ordered["1"]
        cancels = self.chance.randint(1, ordered - 1)
        units = self._moved({"1": cancels}, None)
        items = [{"line_number": "1", "cancelled_total": cancels, "shipped_total": ordered - cancels}]
        self._say("cancel ahead", units, items=items)
        while self.left("1"):
            number = self._number()
            units = self._moved({"1": self.chance.randint(1, self.left("1"))}, number)
            self._say("partial with total", units, packages=[self._package(units, number, with_totals=True)])

    def _cancel(self, kind: Kind, units: tuple[Units, ...]) -> None:
        items = [
            {"line_number": line, "cancelled_total": self.told[line, None], "shipped_total": self.shipped(line)}
            for line in self.ordered
        ]
        self._say(kind, units, items=items)

    def _moved(self, wanted: dict[str, int], number: str | None) -> tuple[Units, ...]:
        moved = []
        for line, quantity in wanted.items():
            if quantity:
                moved.append(Units(line, number, quantity, self.told[line, number]))
                self.told[line, number] += quantity
        return tuple(moved)

    def _package(self, units: tuple[Units, ...], number: str | None, *, with_totals: bool) -> dict[str, Any]:
        made = package(number)
        made["items"] = [
            {"line_number": one.line, "quantity": one.quantity}
            | ({"tracking_total": one.before + one.quantity} if with_totals else {})
            for one in units
        ]
        return made

    def _number(self) -> str:
        self._numbers += 1
        return f"1Z999AA1{self.order[-8:]}{self._numbers:02d}"

    def _say(self, kind: Kind, units: tuple[Units, ...], **data: Any) -> None:
        event_id = f"{self.order}-{len(self.steps)}"
        if "packages" in data:
            data.setdefault("shipment_id", event_id)
        self.steps.append(Step(self.order, event_id, kind, units, data))
