"""Walmart's order as the worker needs it, read leniently from what Walmart sends.

Source: Orders API, `GET /v3/orders/{purchaseOrderId}` and the 200 bodies of acknowledge, shipping and cancel
(`openapi/get_order_response.schema.json`). New fields appear without notice, `null` is common, amounts are text:
nothing here fails on what it does not know; only an order without id or lines is no order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from schemas.results import WalmartStatus

_SHIPPED: Final = frozenset({"shipped", "delivered", "refund", "refunded"})


class OrderUnreadableError(ValueError):
    """The body is JSON but not an order; the text names what is missing."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """Units of one line that Walmart shows as Shipped, Delivered or Refund under one tracking number."""

    tracking_number: str | None
    quantity: int
    carrier: str | None = None


@dataclass(frozen=True, slots=True)
class OrderLine:
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
        return sum(line.open for line in self.lines)

    @property
    def fulfilled_by_walmart(self) -> bool:
        """True for WFS orders, which a seller can neither ship nor cancel."""
        return (self.ship_node_type or "").casefold() == "wfsfulfilled"

    @property
    def status(self) -> WalmartStatus:
        """The order's state in one word, from its lines."""
        shipped = any(line.shipped for line in self.lines)
        if self.open:
            return "partially_shipped" if shipped else "open"
        return "shipped" if shipped else "cancelled"


def read_order(body: Any) -> Order:
    """Read a decoded JSON body, with or without the `order` wrapper.

    Raises OrderUnreadableError when there is no purchase order id or no usable line.
    """
    if not isinstance(body, dict):
        raise OrderUnreadableError(f"expected an object, got {type(body).__name__}")
    order = body.get("order")
    if not isinstance(order, dict):
        order = body
    number = order.get("purchaseOrderId")
    if number is None or number == "":
        raise OrderUnreadableError("purchaseOrderId is missing")
    lines = tuple(_read_line(line) for line in _many(order.get("orderLines"), "orderLine"))
    if not lines:
        raise OrderUnreadableError("orderLines.orderLine is missing or empty")
    shipping = order.get("shippingInfo")
    node = order.get("shipNode")
    return Order(
        purchase_order_id=str(number),
        lines=lines,
        order_date_ms=_milliseconds(order.get("orderDate")),
        method_code=_text(shipping.get("methodCode")) if isinstance(shipping, dict) else None,
        ship_node_type=_text(node.get("type")) if isinstance(node, dict) else None,
    )


def _read_line(line: Any) -> OrderLine:
    if not isinstance(line, dict) or line.get("lineNumber") in (None, ""):
        raise OrderUnreadableError("a line without lineNumber")
    created = acknowledged = cancelled = 0
    parcels: list[Parcel] = []
    for entry in _many(line.get("orderLineStatuses"), "orderLineStatus"):
        if not isinstance(entry, dict):
            continue
        quantity = _amount(entry.get("statusQuantity"))
        status = str(entry.get("status") or "").casefold()
        if status == "created":
            created += quantity
        elif status == "acknowledged":
            acknowledged += quantity
        elif status in ("cancelled", "canceled"):
            cancelled += quantity
        elif status in _SHIPPED:
            tracking = entry.get("trackingInfo")
            tracking = tracking if isinstance(tracking, dict) else {}
            carrier = tracking.get("carrierName")
            carrier = carrier if isinstance(carrier, dict) else {}
            parcels.append(
                Parcel(
                    tracking_number=_text(tracking.get("trackingNumber")),
                    quantity=quantity,
                    carrier=_text(carrier.get("carrier")) or _text(carrier.get("otherCarrier")),
                )
            )
    item = line.get("item")
    asked = line.get("intentToCancel")
    return OrderLine(
        line_number=str(line["lineNumber"]),
        sku=str(item.get("sku") or "") if isinstance(item, dict) else "",
        ordered=_amount(line.get("orderLineQuantity")),
        created=created,
        acknowledged=acknowledged,
        cancelled=cancelled,
        parcels=tuple(parcels),
        buyer_asked_to_cancel=asked is not None
        and str(asked).strip().casefold() not in ("", "false", "no", "0", "null"),
    )


def _many(holder: Any, name: str) -> list[Any]:
    """The list below `holder[name]`; one object instead of a list is a list of one (seen in XML-to-JSON answers)."""
    if isinstance(holder, list):
        return holder
    if not isinstance(holder, dict):
        return []
    value = holder.get(name)
    if isinstance(value, list):
        return value
    return [value] if isinstance(value, dict) else []


def _amount(quantity: Any) -> int:
    """`{"unitOfMeasurement": "EACH", "amount": "2"}` as a number of units; nonsense counts as 0."""
    amount = quantity.get("amount") if isinstance(quantity, dict) else quantity
    if amount is None:
        return 0
    try:
        return max(0, int(float(amount)))
    except (TypeError, ValueError, OverflowError):
        return 0


def _text(value: Any) -> str | None:
    return None if value is None or value == "" else str(value)


def _milliseconds(value: Any) -> int | None:
    """Epoch ms as a number or text, or an ISO 8601 time: the schema says one, the examples the other."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return int(value)
    text = str(value).strip()
    if text.isdigit():
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000)
