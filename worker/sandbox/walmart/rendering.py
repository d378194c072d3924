"""An order in Walmart's own shape: epoch-millisecond numbers, text amounts, the buyer's personal data."""

from __future__ import annotations

from typing import Any

from worker.sandbox.walmart.buyers import buyer_of
from worker.sandbox.walmart.orders import Line, Order, Portion, Portions

_DAY_MS = 86_400_000


def order_json(order: Order, *, as_of: float | None = None, echo_ship_date: bool = True) -> dict[str, Any]:
    """`{"order": {…}}` as it is now, or as it was at `as_of` (epoch seconds)."""
    buyer = buyer_of(order.purchase_order_id)
    portions = order.as_of(as_of) if as_of is not None else [line.portions for line in order.lines.values()]
    return {
        "order": {
            "purchaseOrderId": order.purchase_order_id,
            "customerOrderId": buyer.customer_order_id,
            "customerEmailId": buyer.email,
            "orderDate": order.order_date_ms,
            "shippingInfo": {
                "phone": buyer.phone,
                "estimatedDeliveryDate": order.order_date_ms + 7 * _DAY_MS,
                "estimatedShipDate": order.order_date_ms + 2 * _DAY_MS,
                "methodCode": order.method_code,
                "postalAddress": {
                    "name": buyer.name,
                    "address1": buyer.address1,
                    "address2": buyer.address2,
                    "city": buyer.city,
                    "state": buyer.state,
                    "postalCode": buyer.postal_code,
                    "country": "USA",
                    "addressType": "RESIDENTIAL",
                },
            },
            "orderLines": {
                "orderLine": [
                    _line(order, line, its, echo_ship_date)
                    for line, its in zip(order.lines.values(), portions, strict=True)
                ]
            },
            "shipNode": {"type": order.ship_node_type, "name": "Main warehouse", "id": order.ship_node_id},
        }
    }


def _line(order: Order, line: Line, portions: Portions, echo_ship_date: bool) -> dict[str, Any]:
    rendered: dict[str, Any] = {
        "lineNumber": line.line_number,
        "item": {"productName": f"Sample product {line.sku}", "sku": line.sku, "condition": "New"},
        "charges": {
            "charge": [
                {
                    "chargeType": "PRODUCT",
                    "chargeName": "ItemPrice",
                    "chargeAmount": {"currency": "USD", "amount": 19.99},
                    "tax": {"taxName": "Tax1", "taxAmount": {"currency": "USD", "amount": 1.65}},
                }
            ]
        },
        "orderLineQuantity": _quantity(line.ordered),
        "statusDate": line.status_ms,
        "orderLineStatuses": {"orderLineStatus": [_status(portion, echo_ship_date) for portion in portions]},
        "refund": None,
        "fulfillment": {
            "fulfillmentOption": "S2H",
            "shipMethod": order.method_code.upper(),
            "storeId": None,
            "pickUpDateTime": order.order_date_ms + 7 * _DAY_MS,
        },
    }
    if line.intent_to_cancel:
        rendered["intentToCancel"] = "true"
    if line.seller_order_id is not None:
        rendered["sellerOrderId"] = line.seller_order_id
    return rendered


def _status(portion: Portion, echo_ship_date: bool) -> dict[str, Any]:
    rendered: dict[str, Any] = {
        "status": portion.status,
        "statusQuantity": _quantity(portion.quantity),
        "cancellationReason": None,
        "trackingInfo": None,
    }
    tracking = portion.tracking
    if tracking is not None:
        shown_ms = tracking.ship_date_ms if echo_ship_date else (portion.shipped_ms or 0) // 1000 * 1000
        rendered["trackingInfo"] = {
            "shipDateTime": shown_ms,
            "carrierName": {"otherCarrier": tracking.other_carrier, "carrier": tracking.carrier},
            "methodCode": tracking.method_code,
            "carrierMethodCode": None,
            "trackingNumber": tracking.number,
            "trackingURL": tracking.url,
        }
        if tracking.return_center_address is not None:
            rendered["returnCenterAddress"] = tracking.return_center_address
    return rendered


def _quantity(units: int) -> dict[str, str]:
    return {"unitOfMeasurement": "EACH", "amount": str(units)}
