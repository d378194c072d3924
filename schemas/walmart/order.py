"""Walmart's order as the worker needs it, read leniently from what Walmart sends.

Source: Orders API, `GET /v3/orders/{purchaseOrderId}` and the 200 bodies of acknowledge, shipping and cancel
(`openapi/get_order_response.schema.json`). New fields appear without notice, `null` is common, amounts are text:
nothing here fails on what it does not know; only an order without id or lines is no order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from schemas.results import WalmartStatus

_SHIPPED: Final = frozenset({"shipped", "delivered", "refund", "refunded"})
_CANCELLED: Final = frozenset({"cancelled", "canceled"})
_NO: Final = frozenset({"", "false", "no", "n", "0", "null", "none"})
_STATUSES: Final = {name: name.casefold() for name in ("Created", "Acknowledged", "Shipped", "Delivered", "Cancelled")}
_MAX_UNITS: Final = 1_000_000_000
_MAX_NUMBER: Final = 10**18


class OrderUnreadableError(ValueError):
    """The body is JSON but not an order; the text names what is missing."""


class Parcel(NamedTuple):
    """Units of one line that Walmart shows as Shipped, Delivered or Refund under one tracking number."""

    tracking_number: str | None
    quantity: int
    carrier: str | None = None


class OrderLine(NamedTuple):
    """One line: how many units were ordered and where they are now. All quantities are units."""

    line_number: str
    sku: str
    ordered: int
    created: int = 0
    acknowledged: int = 0
    cancelled: int = 0
    parcels: tuple[Parcel, ...] = ()
    buyer_asked_to_cancel: bool = False

    @property
    def open(self) -> int:
        """Units that can still be shipped or cancelled: Created + Acknowledged."""
        return self.created + self.acknowledged

    @property
    def shipped(self) -> int:
        """Units that have left: ordered - open - cancelled (Shipped, Delivered and Refund alike)."""
        return max(0, self.ordered - self.open - self.cancelled)


@dataclass(frozen=True, slots=True)
class Order:
    """One purchase order as Walmart shows it at one moment."""

    purchase_order_id: str
    lines: tuple[OrderLine, ...]
    order_date_ms: int | None = None
    method_code: str | None = None
    ship_node_type: str | None = None
    by_number: dict[str, OrderLine] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_number", {line.line_number: line for line in self.lines})

    @property
    def open(self) -> int:
        """Open units of all lines. It only ever falls, so of two snapshots the one with fewer is the later."""
        return sum([line.created + line.acknowledged for line in self.lines])

    @property
    def fulfilled_by_walmart(self) -> bool:
        """True for WFS orders, which a seller can neither ship nor cancel."""
        return (self.ship_node_type or "").casefold() == "wfsfulfilled"

    @property
    def status(self) -> WalmartStatus:
        """The order's state in one word, from its lines."""
        still_open = shipped = False
        for line in self.lines:
            left = line.created + line.acknowledged
            still_open = still_open or left > 0
            shipped = shipped or line.ordered - left - line.cancelled > 0
        if still_open:
            return "partially_shipped" if shipped else "open"
        return "shipped" if shipped else "cancelled"


def read_order(body: Any) -> Order:
    """Read a decoded JSON body, with or without the `order` wrapper.

    Raises OrderUnreadableError when there is no purchase order id or no line, or when a line does not say how many
    units it has or where they are: such a line would otherwise look shipped.
    """
    if not isinstance(body, dict):
        raise OrderUnreadableError(f"expected an object, got {type(body).__name__}")
    order = body.get("order")
    if not isinstance(order, dict):
        order = body
    number = _text(order.get("purchaseOrderId"))
    if number is None:
        raise OrderUnreadableError("purchaseOrderId is missing")
    lines = tuple([_plain_line(line) or _read_line(line) for line in _many(order.get("orderLines"), "orderLine")])
    if not lines:
        raise OrderUnreadableError("orderLines.orderLine is missing or empty")
    shipping = order.get("shippingInfo")
    node = order.get("shipNode")
    return Order(
        purchase_order_id=number,
        lines=_merged(lines) if len(lines) > 1 else lines,
        order_date_ms=_milliseconds(order.get("orderDate")),
        method_code=_text(shipping.get("methodCode")) if isinstance(shipping, dict) else None,
        ship_node_type=_text(node.get("type")) if isinstance(node, dict) else None,
    )


def _plain_line(line: Any) -> OrderLine | None:
    """A line exactly as documented, three times as fast as `_read_line`; None where anything is different."""
    try:
        number, sku, ordered = line["lineNumber"], line["item"]["sku"], line["orderLineQuantity"]["amount"]
        created = acknowledged = cancelled = 0
        parcels: list[Parcel] = []
        for entry in line["orderLineStatuses"]["orderLineStatus"]:
            amount, status = entry["statusQuantity"]["amount"], entry["status"]
            if not amount.isdecimal() or len(amount) > 9:
                return None
            if status == "Acknowledged":
                acknowledged += int(amount)
            elif status == "Shipped" or status == "Delivered":  # twice as fast as `in`
                parcels.append(_parcel(entry["trackingInfo"], int(amount)))
            elif status == "Created":
                created += int(amount)
            elif status == "Cancelled":
                cancelled += int(amount)
            else:
                return None
        if (
            type(number) is not str or not number or type(sku) is not str or not ordered.isdecimal() or len(ordered) > 9
            or line.get("intentToCancel") is not None or not (parcels or line["orderLineStatuses"]["orderLineStatus"])
        ):  # fmt: skip
            return None
    except (KeyError, TypeError, AttributeError):
        return None
    return OrderLine(number, sku, int(ordered), created, acknowledged, cancelled, tuple(parcels))


def _read_line(line: Any) -> OrderLine:
    number = _text(line.get("lineNumber")) if isinstance(line, dict) else None
    if number is None:
        raise OrderUnreadableError("a line without lineNumber")
    entries = [entry for entry in _many(line.get("orderLineStatuses"), "orderLineStatus") if isinstance(entry, dict)]
    if not entries:
        raise OrderUnreadableError(f"line {number[:20]} shows no status")
    quantities = [_amount(entry.get("statusQuantity")) for entry in entries]
    ordered = _amount(line.get("orderLineQuantity"))
    if ordered is None or None in quantities:
        ordered, quantities = _filled(number, ordered, quantities)
    created = acknowledged = cancelled = 0
    parcels: list[Parcel] = []
    for entry, quantity in zip(entries, quantities, strict=True):
        assert quantity is not None
        status = entry.get("status")
        if type(status) is not str or status not in _STATUSES:
            status = _text(status)
            if status is None:
                raise OrderUnreadableError(f"line {number[:20]} shows no status")
            status = status.strip().casefold()
        else:
            status = _STATUSES[status]
        if status == "created":
            created += quantity
        elif status == "acknowledged":
            acknowledged += quantity
        elif status in _SHIPPED:
            parcels.append(_parcel(entry.get("trackingInfo"), quantity))
        elif status in _CANCELLED:
            cancelled += quantity
    item = line.get("item")
    asked = line.get("intentToCancel")
    return OrderLine(
        line_number=number,
        sku=(_text(item.get("sku")) or "") if isinstance(item, dict) else "",
        ordered=ordered,
        created=created,
        acknowledged=acknowledged,
        cancelled=cancelled,
        parcels=tuple(parcels),
        buyer_asked_to_cancel=asked is not None and (_text(asked) or "").strip().casefold() not in _NO,
    )


def _filled(number: str, ordered: int | None, quantities: list[int | None]) -> tuple[int, list[int | None]]:
    """One missing quantity of a line follows from the others; two do not."""
    known = sum(quantity for quantity in quantities if quantity is not None)
    missing = len([quantity for quantity in quantities if quantity is None])
    if ordered is None and not missing:
        return known, quantities
    if ordered is None or missing > 1:
        raise OrderUnreadableError(f"line {number[:20]} does not say how many units it has")
    rest = max(0, ordered - known)
    return ordered, [rest if quantity is None else quantity for quantity in quantities]


def _parcel(tracking: Any, quantity: int) -> Parcel:
    if not isinstance(tracking, dict):
        return Parcel(None, quantity)
    carrier = tracking.get("carrierName")
    if isinstance(carrier, dict):
        carrier = _text(carrier.get("carrier")) or _text(carrier.get("otherCarrier"))
    return Parcel(_text(tracking.get("trackingNumber")), quantity, _text(carrier))


def _merged(lines: tuple[OrderLine, ...]) -> tuple[OrderLine, ...]:
    """Lines that carry the same number become one, so that `lines` and `by_number` always agree."""
    merged: dict[str, OrderLine] = {}
    for line in lines:
        first = merged.get(line.line_number)
        merged[line.line_number] = (
            line
            if first is None
            else first._replace(
                ordered=first.ordered + line.ordered,
                created=first.created + line.created,
                acknowledged=first.acknowledged + line.acknowledged,
                cancelled=first.cancelled + line.cancelled,
                parcels=first.parcels + line.parcels,
                buyer_asked_to_cancel=first.buyer_asked_to_cancel or line.buyer_asked_to_cancel,
            )
        )
    return lines if len(merged) == len(lines) else tuple(merged.values())


def _many(holder: Any, name: str) -> list[Any]:
    """The list below `holder[name]`; one object instead of a list is a list of one (seen in XML-to-JSON answers)."""
    if isinstance(holder, dict):
        holder = holder.get(name)
    if isinstance(holder, list):
        return holder
    return [holder] if isinstance(holder, dict) else []


def _amount(quantity: Any) -> int | None:
    """`{"unitOfMeasurement": "EACH", "amount": "2"}` as a number of units; None where it is missing or nonsense."""
    amount = quantity.get("amount") if isinstance(quantity, dict) else quantity
    if type(amount) is str and len(amount) < 10 and amount.isdecimal():
        return int(amount)
    if isinstance(amount, bool) or not isinstance(amount, str | int | float):
        return None
    try:
        units = int(float(amount))
    except (ValueError, OverflowError):
        return None
    return units if 0 <= units <= _MAX_UNITS else None


def _text(value: Any) -> str | None:
    """A text, or a number as text; None for everything else, the empty text included."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float) and -_MAX_NUMBER < value < _MAX_NUMBER:
        return str(int(value)) if value == int(value) else str(value)
    return None


def _milliseconds(value: Any) -> int | None:
    """Epoch ms as a number or text, or an ISO 8601 time: the schema says one, the examples the other."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return int(value) if 0 <= value < _MAX_NUMBER else None
    if not isinstance(value, str):
        return None
    text = value.strip()
    if text.isdecimal():
        return int(text) if len(text) < 18 else None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000)
