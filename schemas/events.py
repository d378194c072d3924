"""The two events the worker reads: *order shipped* and *order cancelled* (their `data`).

The envelope (CloudEvents 1.0) is read in `schemas.cloudevents`. Quantities are units. `null` and absent mean the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field, ModelWrapValidatorHandler, WithJsonSchema, model_validator

from schemas.base import (
    Misplaced,
    Model,
    Name,
    PurchaseOrderId,
    Quantity,
    Text,
    Time,
    Total,
    at_most,
    given,
    listed,
    misplaced,
    with_rule,
)
from schemas.jsonrules import EITHER_LINE_OR_SKU, ITEMS_IN_ONE_PLACE, NAMED_CARRIER

ORDER_SHIPPED_TYPE: Final = "commerce.order.shipped.v1"
ORDER_CANCELLED_TYPE: Final = "commerce.order.cancelled.v1"

MAX_PACKAGES: Final = 200
MAX_ITEMS: Final = 500
"""In one list."""
MAX_ITEMS_IN_ALL: Final = 2_000
"""In all packages of one event together."""


def _one_address(item: Any) -> Iterator[Misplaced]:
    line_number, sku = given(item, "line_number"), given(item, "sku")
    if line_number is None and sku is None:
        yield ("line_number",), "missing; give line_number (preferred) or sku"
    elif line_number is not None and sku is not None:
        yield ("sku",), "must be absent where line_number is given: exactly one of the two"


class Carrier(Model):
    """Who carries a package, as the commerce system names it. At least one of the two."""

    model_config = ConfigDict(json_schema_extra=NAMED_CARRIER)

    code: Name | None = None
    """Commerce's carrier code, such as `ups`. Looked up without regard to case."""
    title: Name | None = None
    """Commerce's carrier title, such as `United Parcel Service`."""

    @model_validator(mode="wrap")
    @classmethod
    def _named(cls, data: Any, handler: ModelWrapValidatorHandler[Carrier]) -> Carrier:
        def rule(carrier: Any) -> Iterator[Misplaced]:
            if given(carrier, "code") is None and given(carrier, "title") is None:
                yield (), "give code, title or both"

        return with_rule(data, handler, rule)


class ShippedItem(Model):
    """Units of one order line, or of one SKU, in a package or shipment."""

    model_config = ConfigDict(json_schema_extra=EITHER_LINE_OR_SKU)

    line_number: Name | None = None
    """Walmart's line number, as text. Preferred over `sku`; exactly one of the two."""
    sku: Name | None = None
    """The seller's SKU; its units go to the SKU's open lines, first line first."""
    quantity: Quantity
    """Units in this package of this shipment."""
    tracking_total: Quantity | None = None
    """Units of this line or SKU under this tracking number so far, this event's included. Makes repeats exact."""

    @model_validator(mode="wrap")
    @classmethod
    def _addressed(cls, data: Any, handler: ModelWrapValidatorHandler[ShippedItem]) -> ShippedItem:
        return with_rule(data, handler, _shipped_item)


def _shipped_item(item: Any) -> Iterator[Misplaced]:
    yield from _one_address(item)
    quantity, total = given(item, "quantity"), given(item, "tracking_total")
    if type(quantity) is int and type(total) is int and total < quantity:
        yield ("tracking_total",), f"must be at least the quantity ({quantity}), which it includes"


class Package(Model):
    """One parcel: a carrier, a tracking number and what is in it."""

    carrier: Carrier
    """Who carries it."""
    service: Text | None = None
    """The carrier's service as commerce names it. Informational: Walmart's methodCode is the order's own."""
    tracking_number: Text | None = None
    """Absent, null or empty: this package ends as `tracking_number_missing`, its sisters still go."""
    tracking_url: Text | None = None
    """Where the package can be followed. Needed (here or by the store's template) for an unlisted carrier."""
    replaces_tracking_number: Text | None = None
    """Makes this package a correction: the number that Walmart shows today and that `tracking_number` replaces."""
    items: Annotated[tuple[ShippedItem, ...], Field(min_length=1, max_length=MAX_ITEMS), at_most(MAX_ITEMS)] | None = (
        None
    )
    """What is in the package; absent in all packages when `items` stands on the shipment."""


class Address(Model):
    """Where returns of this shipment go. Passed on to Walmart, never to logs or results."""

    name: Text | None = None
    """Who receives."""
    address1: Name
    """Street and number."""
    address2: Text | None = None
    """More of the address."""
    city: Name
    """City."""
    state: Name
    """State or province, such as `CA`."""
    postal_code: Name
    """Postal code, as text."""
    country: Name
    """Country code, such as `USA`."""
    day_phone: Text | None = None
    """Phone number."""
    email: Text | None = None
    """E-mail address."""


class OrderShipped(Model):
    """Data of `commerce.order.shipped.v1`: one shipment of an order, in one or more packages."""

    model_config = ConfigDict(json_schema_extra=ITEMS_IN_ONE_PLACE)

    store: Name
    """The sales-channel store; selects the Walmart account."""
    purchase_order_id: PurchaseOrderId
    """Walmart's purchase order id, as text; also the record's key."""
    commerce_order_id: Name
    """The order's number in commerce. Becomes Walmart's sellerOrderId (its first 30 characters)."""
    shipment_id: Name
    """The shipment's number in commerce. The same id sent again with a tracking number closes the dead letter."""
    shipped_at: Time
    """When the parcels left. Not in the future, and not before the order."""
    packages: Annotated[tuple[Package, ...], Field(min_length=1, max_length=MAX_PACKAGES), at_most(MAX_PACKAGES)]
    """All packages of the shipment."""
    items: Annotated[tuple[ShippedItem, ...], Field(min_length=1, max_length=MAX_ITEMS), at_most(MAX_ITEMS)] | None = (
        None
    )
    """For the whole shipment, where the source cannot say which unit is in which package; without `tracking_total`."""
    return_center_address: Address | None = None
    """Where returns of this shipment go; absent: the account's own return center."""
    intent_to_cancel_override: Annotated[
        bool, Field(strict=True), WithJsonSchema({"type": ["boolean", "null"], "default": False})
    ] = False
    """Ship although the buyer asked to cancel."""

    @property
    def corrects(self) -> bool:
        """True if one of its packages replaces a tracking number."""
        return any(package.replaces_tracking_number for package in self.packages)

    @model_validator(mode="wrap")
    @classmethod
    def _items_stand_in_one_place(cls, data: Any, handler: ModelWrapValidatorHandler[OrderShipped]) -> OrderShipped:
        if isinstance(data, dict) and data.get("intent_to_cancel_override", False) is None:
            data = {**data, "intent_to_cancel_override": False}
        items = sum(
            len(listed(given(package, "items"), MAX_ITEMS)) for package in listed(given(data, "packages"), MAX_PACKAGES)
        )
        if items > MAX_ITEMS_IN_ALL:
            raise misplaced(data, [(("packages",), f"must have at most {MAX_ITEMS_IN_ALL} items in all, has {items}")])
        return with_rule(data, handler, _one_place)


def _one_place(shipped: Any) -> Iterator[Misplaced]:
    items = given(shipped, "items")
    for index, package in enumerate(listed(given(shipped, "packages"), MAX_PACKAGES)):
        told = given(package, "items")
        if items is None and told is None:
            yield ("packages", index, "items"), "missing; give items in every package, or once for the shipment"
        elif items is not None and told is not None:
            yield (
                ("packages", index, "items"),
                "must be absent where items stand on the shipment; give one or the other",
            )
    for index, item in enumerate(listed(items, MAX_ITEMS)):
        if given(item, "tracking_total") is not None:
            yield (
                ("items", index, "tracking_total"),
                "must be absent on the shipment's own items: it is a total per tracking number",
            )


class CancelReason(Model):
    """Why commerce cancelled. Mapped to one of Walmart's five codes."""

    code: Text | None = None
    """Commerce's reason code, or one of Walmart's five."""
    text: Text | None = None
    """Commerce's reason as people read it, such as `The item is out of stock`."""


class CancelledItem(Model):
    """Totals so far in commerce for one line or SKU: not differences, so repeats and any order of events agree."""

    model_config = ConfigDict(json_schema_extra=EITHER_LINE_OR_SKU)

    line_number: Name | None = None
    """Walmart's line number, as text. Preferred over `sku`; exactly one of the two."""
    sku: Name | None = None
    """The seller's SKU; the totals are those of all its lines together."""
    cancelled_total: Total
    """Units cancelled so far, this event's included."""
    shipped_total: Total
    """Units shipped so far. Also announces shipments Walmart has not been told of yet: those units are left alone."""

    @model_validator(mode="wrap")
    @classmethod
    def _addressed(cls, data: Any, handler: ModelWrapValidatorHandler[CancelledItem]) -> CancelledItem:
        return with_rule(data, handler, _one_address)


class InventoryLevel(Model):
    """Stock of one SKU after the cancellation: an absolute number."""

    sku: Name
    """The seller's SKU."""
    quantity: Total
    """Units on hand, an absolute number."""
    ship_node: Name | None = None
    """Walmart's ship node; absent: the account's default."""
    as_of: Time
    """When the number was true. An old one is skipped as `stale`."""


class OrderCancelled(Model):
    """Data of `commerce.order.cancelled.v1`: some or all of what was not shipped is cancelled."""

    store: Name
    """The sales-channel store; selects the Walmart account."""
    purchase_order_id: PurchaseOrderId
    """Walmart's purchase order id, as text; also the record's key."""
    commerce_order_id: Name
    """The order's number in commerce."""
    cancelled_at: Time
    """When commerce cancelled."""
    reason: CancelReason | None = None
    """Walmart requires one; absent or unknown: the store's policy `unknown_reason` decides."""
    items: (
        Annotated[tuple[CancelledItem, ...], Field(min_length=1, max_length=MAX_ITEMS), at_most(MAX_ITEMS)] | None
    ) = None
    """Totals per line or SKU, each once. Absent: everything still open. An empty list is a mistake."""
    inventory: Annotated[tuple[InventoryLevel, ...], Field(max_length=MAX_ITEMS), at_most(MAX_ITEMS)] | None = None
    """Stock after the cancellation, sent to Walmart when the cancel has worked."""

    @model_validator(mode="wrap")
    @classmethod
    def _each_once(cls, data: Any, handler: ModelWrapValidatorHandler[OrderCancelled]) -> OrderCancelled:
        return with_rule(data, handler, _no_address_twice)


def _no_address_twice(cancelled: Any) -> Iterator[Misplaced]:
    seen: set[tuple[str, str]] = set()
    for index, item in enumerate(listed(given(cancelled, "items"), MAX_ITEMS)):
        for field in ("line_number", "sku"):
            value = given(item, field)
            if not isinstance(value, str):
                continue
            if (field, value) in seen:
                yield ("items", index, field), "stands here twice; a total is given once"
            seen.add((field, value))


EVENT_MODELS: Final[dict[str, type[OrderShipped | OrderCancelled]]] = {
    ORDER_SHIPPED_TYPE: OrderShipped,
    ORDER_CANCELLED_TYPE: OrderCancelled,
}
