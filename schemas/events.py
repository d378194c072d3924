"""The two events the worker reads: *order shipped* and *order cancelled* (their `data`).

The envelope (CloudEvents 1.0) is read in `schemas.cloudevents`. Quantities are units. `null` and absent mean the same.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, model_validator

from schemas.base import Model, Name, PurchaseOrderId, Quantity, Text, Time, Total, misplaced

ORDER_SHIPPED_TYPE: Final = "commerce.order.shipped.v1"
ORDER_CANCELLED_TYPE: Final = "commerce.order.cancelled.v1"

MAX_PACKAGES: Final = 200
MAX_ITEMS: Final = 500


def _one_address(line_number: str | None, sku: str | None) -> None:
    if (line_number is None) == (sku is None):
        raise ValueError("give exactly one of line_number (preferred) and sku")


class Carrier(Model):
    """Who carries a package, as the commerce system names it. At least one of the two."""

    code: Name | None = None
    """Commerce's carrier code, such as `ups`. Looked up without regard to case."""
    title: Name | None = None
    """Commerce's carrier title, such as `United Parcel Service`."""

    @model_validator(mode="after")
    def _named(self) -> Carrier:
        if self.code is None and self.title is None:
            raise ValueError("give code, title or both")
        return self


class ShippedItem(Model):
    """Units of one order line, or of one SKU, in a package or shipment."""

    line_number: Name | None = None
    """Walmart's line number. Preferred over `sku`."""
    sku: Name | None = None
    """The seller's SKU; its units go to the SKU's open lines, first line first."""
    quantity: Quantity
    """Units in this package of this shipment."""
    tracking_total: Quantity | None = None
    """Units of this line or SKU under this tracking number so far, this event's included. Makes repeats exact."""

    @model_validator(mode="after")
    def _addressed(self) -> ShippedItem:
        _one_address(self.line_number, self.sku)
        return self


class Package(Model):
    """One parcel: a carrier, a tracking number and what is in it."""

    carrier: Carrier
    service: Text | None = None
    """The carrier's service as commerce names it. Informational: Walmart's methodCode is the order's own."""
    tracking_number: Text | None = None
    """Absent, null or empty: this package ends as `tracking_number_missing`, its sisters still go."""
    tracking_url: Text | None = None
    """Where the package can be followed. Needed (here or by the store's template) for an unlisted carrier."""
    replaces_tracking_number: Text | None = None
    """Makes this package a correction: the number that Walmart shows today and that `tracking_number` replaces."""
    items: Annotated[tuple[ShippedItem, ...], Field(min_length=1, max_length=MAX_ITEMS)] | None = None
    """What is in the package; absent in all packages when `items` stands on the shipment."""


class Address(Model):
    """Where returns of this shipment go. Passed on to Walmart, never to logs or results."""

    name: Text | None = None
    address1: Name
    address2: Text | None = None
    city: Name
    state: Name
    postal_code: Name
    country: Name
    day_phone: Text | None = None
    email: Text | None = None


class OrderShipped(Model):
    """Data of `commerce.order.shipped.v1`: one shipment of an order, in one or more packages."""

    store: Name
    """The sales-channel store; selects the Walmart account."""
    purchase_order_id: PurchaseOrderId
    commerce_order_id: Name
    shipment_id: Name
    """Sent again with a tracking number, the same id closes the earlier dead letter."""
    shipped_at: Time
    packages: Annotated[tuple[Package, ...], Field(min_length=1, max_length=MAX_PACKAGES)]
    items: Annotated[tuple[ShippedItem, ...], Field(min_length=1, max_length=MAX_ITEMS)] | None = None
    """For the whole shipment, where the source cannot say which unit is in which package."""
    return_center_address: Address | None = None
    intent_to_cancel_override: bool = Field(default=False, strict=True)
    """Ship although the buyer asked to cancel."""

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: object) -> object:
        if isinstance(data, dict) and data.get("intent_to_cancel_override", False) is None:
            return {**data, "intent_to_cancel_override": False}
        return data

    @model_validator(mode="after")
    def _items_stand_in_one_place(self) -> OrderShipped:
        problems: dict[tuple[str | int, ...], str] = {}
        for index, package in enumerate(self.packages):
            place = ("packages", index, "items")
            if self.items is None and package.items is None:
                problems[place] = "missing; give items in every package, or once for the shipment"
            elif self.items is not None and package.items is not None:
                problems[place] = "must be absent where items stand on the shipment; give one or the other"
        for index, item in enumerate(self.items or ()):
            if item.tracking_total is not None:
                problems["items", index, "tracking_total"] = (
                    "must be absent on the shipment's own items: it is a total per tracking number"
                )
        if problems:
            raise misplaced("OrderShipped", problems)
        return self


class CancelReason(Model):
    """Why commerce cancelled. Mapped to one of Walmart's five codes."""

    code: Text | None = None
    text: Text | None = None


class CancelledItem(Model):
    """Totals so far in commerce for one line or SKU: not differences, so repeats and any order of events agree."""

    line_number: Name | None = None
    sku: Name | None = None
    cancelled_total: Total
    shipped_total: Total
    """Also announces shipments that Walmart has not been told of yet: those units are left alone."""

    @model_validator(mode="after")
    def _addressed(self) -> CancelledItem:
        _one_address(self.line_number, self.sku)
        return self


class InventoryLevel(Model):
    """Stock of one SKU after the cancellation: an absolute number."""

    sku: Name
    quantity: Total
    ship_node: Name | None = None
    as_of: Time
    """When the number was true. An old one is skipped as `stale`."""


class OrderCancelled(Model):
    """Data of `commerce.order.cancelled.v1`: some or all of what was not shipped is cancelled."""

    store: Name
    purchase_order_id: PurchaseOrderId
    commerce_order_id: Name
    cancelled_at: Time
    reason: CancelReason | None = None
    items: Annotated[tuple[CancelledItem, ...], Field(min_length=1, max_length=MAX_ITEMS)] | None = None
    """Totals per line or SKU. Absent: everything still open. An empty list is a mistake."""
    inventory: Annotated[tuple[InventoryLevel, ...], Field(max_length=MAX_ITEMS)] | None = None

    @model_validator(mode="after")
    def _each_once(self) -> OrderCancelled:
        seen: set[tuple[str | None, str | None]] = set()
        problems: dict[tuple[str | int, ...], str] = {}
        for index, item in enumerate(self.items or ()):
            address = (item.line_number, item.sku)
            if address in seen:
                field = "line_number" if item.sku is None else "sku"
                problems["items", index, field] = (
                    f"{item.line_number or item.sku} stands here twice; a total is given once"
                )
            seen.add(address)
        if problems:
            raise misplaced("OrderCancelled", problems)
        return self


EVENT_MODELS: Final[dict[str, type[OrderShipped | OrderCancelled]]] = {
    ORDER_SHIPPED_TYPE: OrderShipped,
    ORDER_CANCELLED_TYPE: OrderCancelled,
}
