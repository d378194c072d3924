"""What the control endpoints show of an order, for tests to compare with."""

from __future__ import annotations

from typing import Any

from worker.sandbox.walmart.buyers import buyer_of
from worker.sandbox.walmart.orders import LEFT, Line, Order


def order_view(order: Order) -> dict[str, Any]:
    """The order's true state (never a lagging one)."""
    buyer = buyer_of(order.purchase_order_id)
    return {
        "purchase_order_id": order.purchase_order_id,
        "customer_order_id": buyer.customer_order_id,
        "seller": order.seller,
        "order_date_ms": order.order_date_ms,
        "personal_data": buyer.personal_data,
        "lines": [_line_view(line) for line in order.lines.values()],
    }


def _line_view(line: Line) -> dict[str, Any]:
    return {
        "line_number": line.line_number,
        "sku": line.sku,
        "ordered": line.ordered,
        "created": line.units("Created"),
        "acknowledged": line.units("Acknowledged"),
        "shipped": line.units("Shipped"),
        "delivered": line.units("Delivered"),
        "refunded": line.units("Refund"),
        "cancelled": line.units("Cancelled"),
        "charged": line.charged,
        "intent_to_cancel": line.intent_to_cancel,
        "seller_order_id": line.seller_order_id,
        "parcels": [
            {
                "tracking_number": portion.tracking.number,
                "carrier": portion.tracking.carrier,
                "other_carrier": portion.tracking.other_carrier,
                "tracking_url": portion.tracking.url,
                "method_code": portion.tracking.method_code,
                "ship_date_ms": portion.tracking.ship_date_ms,
                "quantity": portion.quantity,
                "status": portion.status,
            }
            for portion in line.portions
            if portion.status in LEFT and portion.tracking is not None
        ],
        "reasons": {
            portion.reason: portion.quantity
            for portion in line.portions
            if portion.status == "Cancelled" and portion.reason is not None
        },
    }
