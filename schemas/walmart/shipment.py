"""The body of `POST /v3/orders/{purchaseOrderId}/shipping`: units of lines that left under a tracking number.

Source: `openapi/ship_request.schema.json`. A first shipment has no `processMode`; a tracking number is changed
afterwards with `PARTIAL_UPDATE` and the number to be replaced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

SELLER_ORDER_ID_LENGTH: Final = 30
"""Longest `sellerOrderId`, in characters: it is printed on the return label."""


@dataclass(slots=True)  # not frozen: that makes it five times as slow to make, two for every shipment
class ShipStatus:
    """Units of one line in one package.

    Raises ValueError for what Walmart's schema rules out: not exactly one of the two carriers, another carrier
    without a tracking URL, a quantity below 1, an empty tracking number.
    """

    line_number: str
    quantity: int
    """Units, at least 1."""
    tracking_number: str
    ship_date_time_ms: int
    """Epoch milliseconds, UTC."""
    method_code: str
    """One of `carriers.METHOD_CODES`."""
    carrier: str | None
    """One of `carriers.CARRIERS`, exact spelling."""
    other_carrier: str | None
    """Free name of a carrier that is not listed; then `tracking_url` is mandatory."""
    tracking_url: str | None
    current_tracking_number: str | None = None
    """The number Walmart shows today, to be replaced by `tracking_number` (`PARTIAL_UPDATE` only)."""

    def __post_init__(self) -> None:
        if (self.carrier is None) == (self.other_carrier is None):
            raise ValueError("give exactly one of carrier and other_carrier")
        if self.other_carrier is not None and not self.tracking_url:
            raise ValueError("other_carrier needs a tracking_url")
        if self.quantity < 1 or not self.tracking_number:
            raise ValueError("a package has at least one unit and a tracking number")

    def to_json(self) -> dict[str, object]:
        """One entry of `orderLineStatus`, without the return address."""
        name = {"carrier": self.carrier} if self.carrier is not None else {"otherCarrier": self.other_carrier}
        tracking: dict[str, object] = {
            "shipDateTime": self.ship_date_time_ms,
            "carrierName": name,
            "methodCode": self.method_code,
            "trackingNumber": self.tracking_number,
        }
        if self.tracking_url:
            tracking["trackingURL"] = self.tracking_url
        status: dict[str, object] = {
            "status": "Shipped",
            "statusQuantity": {"unitOfMeasurement": "EACH", "amount": str(self.quantity)},
            "trackingInfo": tracking,
        }
        if self.current_tracking_number is not None:
            status["currentTrackingInfo"] = {"trackingNumber": self.current_tracking_number}
        return status


def ship_body(
    statuses: Sequence[ShipStatus],
    *,
    seller_order_id: str | None,
    intent_to_cancel_override: bool,
    return_center_address: Mapping[str, str] | None,
    partial_update: bool = False,
) -> dict[str, object]:
    """The whole body; packages of one line stand together under one `lineNumber`, in the order given.

    `seller_order_id` is cut to 30 characters and left out when None (required in the schema, optional in practice).
    `return_center_address` uses Walmart's own field names (`address1`, `postalCode`, `emailId`, …).
    Raises ValueError without statuses.
    """
    if not statuses:
        raise ValueError("nothing to ship")
    by_line: dict[str, list[dict[str, object]]] = {}
    for status in statuses:
        entry = status.to_json()
        if return_center_address:
            entry["returnCenterAddress"] = dict(return_center_address)
        by_line.setdefault(status.line_number, []).append(entry)
    common: dict[str, object] = {}
    if intent_to_cancel_override:
        common["intentToCancelOverride"] = True
    if seller_order_id:
        common["sellerOrderId"] = seller_order_id[:SELLER_ORDER_ID_LENGTH]
    shipment: dict[str, object] = {"processMode": "PARTIAL_UPDATE"} if partial_update else {}
    shipment["orderLines"] = {
        "orderLine": [
            {"lineNumber": number, **common, "orderLineStatuses": {"orderLineStatus": entries}}
            for number, entries in by_line.items()
        ]
    }
    return {"orderShipment": shipment}
