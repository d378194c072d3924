"""The body of `PUT /v3/inventory`. Source: `openapi/inventory_put_request.schema.json`."""

from __future__ import annotations


def inventory_body(sku: str, quantity: int) -> dict[str, object]:
    """An absolute number of units; `amount` is a number here, unlike in orders. Raises ValueError below 0."""
    if quantity < 0:
        raise ValueError("stock is never below 0")
    return {"sku": sku, "quantity": {"unit": "EACH", "amount": quantity}}
