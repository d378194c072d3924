"""The body of `POST /v3/orders/{purchaseOrderId}/cancel`. Source: `openapi/cancel_request.schema.json`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CancelLine:
    """Units of one line to cancel. Raises ValueError for a quantity below 1."""

    line_number: str
    quantity: int
    """Units, at least 1."""
    reason: str
    """One of Walmart's codes, such as SELLER_CANCEL_OUT_OF_STOCK."""

    def __post_init__(self) -> None:
        if self.quantity < 1:
            raise ValueError("a cancellation has at least one unit")

    def to_json(self) -> dict[str, object]:
        """One entry of `orderLineStatus`."""
        return {
            "status": "Cancelled",
            "cancellationReason": self.reason,
            "statusQuantity": {"unitOfMeasurement": "EACH", "amount": str(self.quantity)},
        }


def cancel_body(lines: Sequence[CancelLine]) -> dict[str, object]:
    """The whole body, one object per line number, in the order given. Raises ValueError without lines."""
    if not lines:
        raise ValueError("nothing to cancel")
    by_line: dict[str, list[dict[str, object]]] = {}
    for line in lines:
        by_line.setdefault(line.line_number, []).append(line.to_json())
    return {
        "orderCancellation": {
            "orderLines": {
                "orderLine": [
                    {"lineNumber": number, "orderLineStatuses": {"orderLineStatus": entries}}
                    for number, entries in by_line.items()
                ]
            }
        }
    }
