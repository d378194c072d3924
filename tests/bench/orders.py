"""The orders of the benchmarks: their ids, and what is sent to ship one. Needs nothing but Python, as peers do."""

from __future__ import annotations

from typing import Any, Final

QUANTITIES: Final = (1, 2)
"""Units of each line."""
_FIRST_ORDER: Final = 1_815_000_000_000


def order_id(number: int) -> str:
    """The purchase order id of the n-th order."""
    return str(_FIRST_ORDER + number)


def tracking_number(number: int) -> str:
    """The tracking number of the n-th order's package."""
    return f"1Z999AA1{number:010d}"


def ship_body(number: int, shipped_at_ms: int) -> dict[str, Any]:
    """What the worker sends for the n-th order (a test compares them)."""
    statuses = [
        {
            "lineNumber": str(place),
            "sellerOrderId": f"{number:09d}",
            "orderLineStatuses": {
                "orderLineStatus": [
                    {
                        "status": "Shipped",
                        "statusQuantity": {"unitOfMeasurement": "EACH", "amount": str(quantity)},
                        "trackingInfo": {
                            "shipDateTime": shipped_at_ms,
                            "carrierName": {"carrier": "UPS"},
                            "methodCode": "Value",
                            "trackingNumber": tracking_number(number),
                        },
                    }
                ]
            },
        }
        for place, quantity in enumerate(QUANTITIES, start=1)
    ]
    return {"orderShipment": {"orderLines": {"orderLine": statuses}}}
