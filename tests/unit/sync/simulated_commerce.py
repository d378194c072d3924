"""What one honest commerce system does with one order over time, and the events it says about it."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from schemas.events import ORDER_CANCELLED_TYPE, ORDER_SHIPPED_TYPE, OrderCancelled, OrderShipped
from worker.delivery import Event
from worker.sandbox.walmart.specs import NewLine, NewOrder

PO = "1815367000777"
STORE = "main_store"
Totals = Literal["always", "never", "never_same_box"]


@dataclass(frozen=True)
class Said:
    """One event, when it was said, and what it means."""

    event: Event
    at: float

    @property
    def is_cancel(self) -> bool:
        return isinstance(self.event.data, OrderCancelled)


@dataclass
class Commerce:
    """Makes up an order and a history. Places are line numbers or `sku:…`, one way per SKU."""

    chance: random.Random
    start: float
    totals: Totals = "always"
    corrections: bool = True
    partial_corrections: bool = False
    bad_carriers: bool = False
    override: bool = False
    without_items: float = 0.0
    """How many of the cancellations have no items: all that has not left is meant."""
    spec: NewOrder = field(init=False)
    said: list[Said] = field(default_factory=list)
    shipped: Counter[str] = field(default_factory=Counter)
    """Place -> units that have left."""
    cancelled: Counter[str] = field(default_factory=Counter)
    boxes: dict[str, Counter[str]] = field(default_factory=dict)
    """Number as it is called now -> place -> units."""
    told: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(Place, number) -> units ever said to be under it."""

    def __post_init__(self) -> None:
        chance = self.chance
        lines = [
            NewLine(
                sku=chance.choice("AB"),
                quantity=chance.randint(1, 4),
                status=chance.choice(("Created", "Acknowledged")),
            )
            for _ in range(chance.randint(1, 4))
        ]
        self.spec = NewOrder(lines=tuple(lines), purchase_order_id=PO, order_date_ms=int((self.start - 3600) * 1000))
        by_sku = {sku: chance.random() < 0.4 for sku in "AB"}
        self.place = {
            str(number): f"sku:{each.sku}" if by_sku[each.sku] else str(number)
            for number, each in enumerate(lines, start=1)
        }
        self.ordered: Counter[str] = Counter()
        for number, each in enumerate(lines, start=1):
            self.ordered[self.place[str(number)]] += each.quantity
        self.counter = 0
        self.gone: list[str] = []
        """Numbers corrected away."""
        self.away: dict[tuple[str, str], str] = {}
        """(Place, number) of them -> what it was corrected to: nothing is shipped so again."""
        for step in range(chance.randint(1, 7)):
            at = self.start + 60 * step + chance.random()
            what = chance.random()
            if what < 0.2:
                self._cancel(at)
            elif what < 0.45 and self.corrections and self.boxes:
                self._correct(at)
            else:
                self._ship(at)

    def left(self, place: str) -> int:
        return self.ordered[place] - self.shipped[place] - self.cancelled[place]

    def _number(self) -> str:
        self.counter += 1
        return self.chance.choice((f"1Z 999-AA1 {self.counter:04d}", f"pkg{self.counter}", f"PKG{self.counter}"))

    def _carrier(self) -> dict[str, str]:
        bad = self.bad_carriers and self.chance.random() < 0.25
        return {"title": "Speedy Bikes"} if bad else {"code": "ups"}

    def _ship(self, at: float) -> None:
        chance = self.chance
        open_places = [place for place in sorted(self.ordered) if self.left(place)]
        if not open_places:
            return
        if self.totals == "never" and chance.random() < 0.25:
            self._ship_flat(at, open_places)
            return
        packages: dict[str, Counter[str]] = {}
        for _ in range(chance.randint(1, 3)):
            reuse = [number for number in self.boxes if number not in packages] if self.totals != "never" else []
            number = chance.choice(reuse) if reuse and chance.random() < 0.4 else self._number()
            for place in chance.sample(open_places, chance.randint(1, len(open_places))):
                units = 0 if (place, number) in self.away else chance.randint(0, self.left(place))
                if units:
                    self.shipped[place] += units
                    packages.setdefault(number, Counter())[place] += units
        said = []
        for number, units_of in packages.items():
            box = self.boxes.setdefault(number, Counter())
            box.update(units_of)
            items = []
            for place, units in units_of.items():
                self.told[place, _form(number)] += units
                total = box[place] if self.totals == "always" else None
                parts = [units]
                if units > 1 and chance.random() < 0.2:
                    parts = [1, units - 1]
                items += [self._item(place, part, total) for part in parts]
            said.append({"carrier": self._carrier(), "tracking_number": number, "items": items})
            if len(items) > 1 and chance.random() < 0.2:  # one number, two packages of the event
                said[-1]["items"] = items[:1]
                said.append({**said[-1], "items": items[1:]})
        if said:
            chance.shuffle(said)
            self._say_shipped(at, said)

    def _ship_flat(self, at: float, open_places: list[str]) -> None:
        chance = self.chance
        units_of = {place: chance.randint(1, self.left(place)) for place in chance.sample(open_places, 1)}
        numbers = [self._number() for _ in range(chance.randint(1, 3))]
        items = [self._item(place, units, None) for place, units in units_of.items()]
        turn = 0
        for place, units in units_of.items():
            self.shipped[place] += units
            for _ in range(units):
                number = numbers[turn % len(numbers)]
                turn += 1
                self.boxes.setdefault(number, Counter())[place] += 1
                self.told[place, _form(number)] += 1
        packages = [{"carrier": {"code": "ups"}, "tracking_number": number} for number in numbers]
        self._say_shipped(at, packages, items=items)

    def _correct(self, at: float) -> None:
        chance = self.chance
        old = chance.choice(sorted(self.boxes))
        back = [number for number in self.gone if number not in self.boxes]
        back = [number for number in back if all(self._may_become(place, old, number) for place in self.boxes[old])]
        new = chance.choice(back) if back and chance.random() < 0.7 else self._number()
        units_of = self.boxes.pop(old)
        stay: Counter[str] = Counter()
        if self.partial_corrections:
            stay = Counter({place: chance.randint(0, units) for place, units in units_of.items()})
            units_of = units_of - stay
            if not units_of:
                self.boxes[old] = stay
                return
        self.gone.append(old)
        box = self.boxes.setdefault(new, Counter())
        box.update(units_of)
        items = []
        for place, units in units_of.items():
            self.away[place, old] = new
            self.away.pop((place, new), None)
            self.told[place, _form(new)] += units
            items.append(self._item(place, units, box[place] if self.totals == "always" else None))
        package = {
            "carrier": self._carrier(),
            "tracking_number": new,
            "replaces_tracking_number": old,
            "items": items,
        }
        self._say_shipped(at, [package])

    def _may_become(self, place: str, old: str, number: str) -> bool:
        """A number of the same line is not given to another package, only back to its own."""
        later: str | None = number
        for _ in range(20):
            later = self.away.get((place, later or ""))
            if later is None or later == old:
                break
        return later == old or (place, number) not in self.away

    def _cancel(self, at: float) -> None:
        chance = self.chance
        if self.without_items and chance.random() < self.without_items and any(map(self.left, self.ordered)):
            for place in self.ordered:
                self.cancelled[place] += self.left(place)
            self._say_cancelled(at, None)
            return
        for place in chance.sample(sorted(self.ordered), chance.randint(1, len(self.ordered))):
            self.cancelled[place] += chance.randint(0, self.left(place))
        items = [
            {**_address(place), "cancelled_total": self.cancelled[place], "shipped_total": self.shipped[place]}
            for place in sorted(self.ordered)
        ]
        self._say_cancelled(at, items)

    def _say_cancelled(self, at: float, items: list[dict[str, Any]] | None) -> None:
        data = {"store": STORE, "purchase_order_id": PO, "commerce_order_id": "000000123", "cancelled_at": _iso(at),
                "reason": {"text": "Price or other listing errors"}, "items": items}  # fmt: skip
        self._say(at, ORDER_CANCELLED_TYPE, OrderCancelled.model_validate(data))

    def _item(self, place: str, units: int, total: int | None) -> dict[str, Any]:
        return {**_address(place), "quantity": units, "tracking_total": total}

    def _say_shipped(self, at: float, packages: list[dict[str, Any]], **more: Any) -> None:
        data = {"store": STORE, "purchase_order_id": PO, "commerce_order_id": "000000123", "packages": packages,
                "shipment_id": str(len(self.said)), "shipped_at": _iso(at - 30),
                "intent_to_cancel_override": self.override, **more}  # fmt: skip
        self._say(at, ORDER_SHIPPED_TYPE, OrderShipped.model_validate(data))

    def _say(self, at: float, kind: str, data: OrderShipped | OrderCancelled) -> None:
        self.said.append(Said(Event("/commerce", f"event-{len(self.said)}", kind, at, data), at))


def _form(number: str) -> str:
    return "".join(c for c in number if c.isalnum()).upper()


def _address(place: str) -> dict[str, str]:
    return {"sku": place[4:]} if place.startswith("sku:") else {"line_number": place}


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
