"""The state of one order: units of each line, where they are, and what it looked like a while ago.

State changes only through `Order.apply`, with what stands in the journal: live and when it is rebuilt alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, NotRequired, TypedDict

from worker.sandbox.walmart.specs import NewOrder

Status = Literal["Created", "Acknowledged", "Shipped", "Delivered", "Cancelled", "Refund"]

EffectKind = Literal["acknowledged", "shipped", "corrected", "cancelled", "delivered", "refunded", "intent_to_cancel"]

OPEN: Final[frozenset[Status]] = frozenset({"Created", "Acknowledged"})
LEFT: Final[frozenset[Status]] = frozenset({"Shipped", "Delivered", "Refund"})

_VERSIONS_KEPT: Final = 64


class LineEffect(TypedDict):
    """Units of one line that an effect moves; stands in the journal."""

    line_number: str
    sku: str
    quantity: int
    tracking_number: NotRequired[str]
    replaces_tracking_number: NotRequired[str]
    carrier: NotRequired[str]
    other_carrier: NotRequired[str]
    tracking_url: NotRequired[str]
    method_code: NotRequired[str]
    ship_date_ms: NotRequired[int]
    seller_order_id: NotRequired[str]
    return_center_address: NotRequired[dict[str, Any]]
    reason: NotRequired[str]


@dataclass(frozen=True, slots=True)
class Tracking:
    """One package."""

    number: str
    carrier: str | None
    other_carrier: str | None
    url: str | None
    method_code: str
    ship_date_ms: int
    return_center_address: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Portion:
    """Units of a line that share a status (and a package)."""

    status: Status
    quantity: int
    tracking: Tracking | None = None
    shipped_ms: int | None = None
    """When the ship call came, on the clock of the rules."""
    reason: str | None = None


Portions = tuple[Portion, ...]


@dataclass(slots=True)
class Line:
    """One line."""

    line_number: str
    sku: str
    ordered: int
    portions: Portions
    intent_to_cancel: bool
    status_ms: int
    seller_order_id: str | None = None
    charged: int = 0
    """Units the buyer was charged for, ever. More than `ordered` is the mistake everybody fears."""

    def units(self, *statuses: Status, tracking_number: str | None = None) -> int:
        """Units in these statuses (and under this number)."""
        return sum(
            portion.quantity
            for portion in self.portions
            if portion.status in statuses
            and (tracking_number is None or (portion.tracking and portion.tracking.number == tracking_number))
        )

    @property
    def open(self) -> int:
        """Units that can still be shipped or cancelled."""
        return self.units("Created", "Acknowledged")

    @property
    def first_shipped_ms(self) -> int | None:
        """When the first ship call for this line came."""
        return min((portion.shipped_ms for portion in self.portions if portion.shipped_ms is not None), default=None)


@dataclass(slots=True)
class Order:
    """One purchase order."""

    purchase_order_id: str
    seller: str
    order_date_ms: int
    method_code: str
    ship_node_type: str
    ship_node_id: str
    lines: dict[str, Line]
    versions: list[tuple[float, tuple[Portions, ...]]] = field(default_factory=list)
    """(Epoch seconds, the portions of all lines), newest last."""

    @classmethod
    def of(cls, spec: NewOrder, purchase_order_id: str, seller: str, now: float, clock_ms: int) -> Order:
        """A fresh order."""
        numbered = [(line.line_number or str(place), line) for place, line in enumerate(spec.lines, start=1)]
        order = cls(
            purchase_order_id=purchase_order_id,
            seller=seller,
            order_date_ms=spec.order_date_ms if spec.order_date_ms is not None else clock_ms - 3_600_000,
            method_code=spec.method_code,
            ship_node_type=spec.ship_node_type,
            ship_node_id=spec.ship_node_id,
            lines={
                number: Line(
                    line_number=number,
                    sku=line.sku,
                    ordered=line.quantity,
                    portions=(Portion(line.status, line.quantity),),
                    intent_to_cancel=line.intent_to_cancel,
                    status_ms=clock_ms,
                )
                for number, line in numbered
            },
        )
        order._remember(now)
        return order

    @property
    def fulfilled_by_walmart(self) -> bool:
        """WFS."""
        return self.ship_node_type == "WFSFulfilled"

    def as_of(self, moment: float) -> tuple[Portions, ...]:
        """The portions of all lines as they were at `moment` (epoch seconds), at the earliest the first known."""
        for since, portions in reversed(self.versions):
            if since <= moment:
                return portions
        return self.versions[0][1]

    def apply(self, kind: EffectKind, effects: Sequence[LineEffect], now: float, clock_ms: int) -> None:
        """Carry out an effect that the rules have allowed. Raises ValueError if units are missing (a bug of ours)."""
        for effect in effects:
            line = self.lines[effect["line_number"]]
            line.status_ms = clock_ms
            _APPLY[kind](line, effect, clock_ms)
        self._remember(now)

    def _remember(self, now: float) -> None:
        self.versions.append((now, tuple(line.portions for line in self.lines.values())))
        if len(self.versions) > _VERSIONS_KEPT:
            del self.versions[0]


def _move(line: Line, quantity: int, matches: Callable[[Portion], bool], turned: Callable[[Portion], Portion]) -> None:
    kept: list[Portion] = []
    moved: list[Portion] = []
    missing = quantity
    for portion in line.portions:
        taken = min(missing, portion.quantity) if matches(portion) else 0
        missing -= taken
        if taken < portion.quantity:
            kept.append(replace(portion, quantity=portion.quantity - taken))
        if taken:
            moved.append(replace(turned(portion), quantity=taken))
    if missing:
        raise ValueError(f"line {line.line_number}: {missing} of {quantity} units are missing")
    line.portions = tuple(_merged(kept + moved))


def _merged(portions: list[Portion]) -> list[Portion]:
    """Units without a package melt together by status; packages stay apart."""
    result: list[Portion] = []
    for portion in portions:
        same = next((i for i, other in enumerate(result) if replace(other, quantity=portion.quantity) == portion), None)
        if same is None or portion.tracking is not None:
            result.append(portion)
        else:
            result[same] = replace(result[same], quantity=result[same].quantity + portion.quantity)
    return result


def _tracking(effect: LineEffect) -> Tracking:
    return Tracking(
        number=effect["tracking_number"],
        carrier=effect.get("carrier"),
        other_carrier=effect.get("other_carrier"),
        url=effect.get("tracking_url"),
        method_code=effect.get("method_code", "Standard"),
        ship_date_ms=effect.get("ship_date_ms", 0),
        return_center_address=effect.get("return_center_address"),
    )


def _acknowledge(line: Line, effect: LineEffect, clock_ms: int) -> None:
    _move(line, effect["quantity"], lambda p: p.status == "Created", lambda p: replace(p, status="Acknowledged"))


def _ship(line: Line, effect: LineEffect, clock_ms: int) -> None:
    shipped = Portion("Shipped", effect["quantity"], tracking=_tracking(effect), shipped_ms=clock_ms)
    acknowledged = min(effect["quantity"], line.units("Acknowledged"))
    _move(line, acknowledged, lambda p: p.status == "Acknowledged", lambda _: shipped)
    _move(line, effect["quantity"] - acknowledged, lambda p: p.status in OPEN, lambda _: shipped)
    line.charged += effect["quantity"]
    line.seller_order_id = effect.get("seller_order_id", line.seller_order_id)


def _correct(line: Line, effect: LineEffect, clock_ms: int) -> None:
    old, tracking = effect["replaces_tracking_number"], _tracking(effect)
    _move(
        line,
        effect["quantity"],
        lambda p: p.status == "Shipped" and p.tracking is not None and p.tracking.number == old,
        lambda p: replace(p, tracking=tracking),
    )


def _cancel(line: Line, effect: LineEffect, clock_ms: int) -> None:
    cancelled = Portion("Cancelled", effect["quantity"], reason=effect.get("reason"))
    _move(line, effect["quantity"], lambda p: p.status in OPEN, lambda _: cancelled)


def _turn_package(sources: frozenset[Status], status: Status) -> Callable[[Line, LineEffect, int], None]:
    def turn(line: Line, effect: LineEffect, clock_ms: int) -> None:
        number = effect.get("tracking_number")
        _move(
            line,
            effect["quantity"],
            lambda p: (
                p.status in sources and (number is None or (p.tracking is not None and p.tracking.number == number))
            ),
            lambda p: replace(p, status=status),
        )

    return turn


def _ask_to_cancel(line: Line, effect: LineEffect, clock_ms: int) -> None:
    line.intent_to_cancel = True


_APPLY: Final[dict[EffectKind, Callable[[Line, LineEffect, int], None]]] = {
    "acknowledged": _acknowledge,
    "shipped": _ship,
    "corrected": _correct,
    "cancelled": _cancel,
    "delivered": _turn_package(frozenset({"Shipped"}), "Delivered"),
    "refunded": _turn_package(frozenset({"Shipped", "Delivered"}), "Refund"),
    "intent_to_cancel": _ask_to_cancel,
}
