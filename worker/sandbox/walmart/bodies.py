"""Request bodies against Walmart's own JSON Schemas (`schemas/walmart/openapi/`), worded as Walmart words refusals."""

from __future__ import annotations

from copy import deepcopy
from importlib import resources
from typing import Any, Final

import orjson

from worker.sandbox.walmart.answers import ApiError, bad_content
from worker.sandbox.walmart.schema import Check, Mismatch, compile_schema
from worker.sandbox.walmart.specs import Market

REASONS: Final[dict[Market, tuple[str, ...]]] = {
    "us": (
        "CUSTOMER_REQUESTED_SELLER_TO_CANCEL",
        "SELLER_CANCEL_PRICING_ERROR",
        "SELLER_CANCEL_OUT_OF_STOCK",
        "SELLER_CANCEL_FRAUD_STOP_SHIPMENT",
        "SELLER_CANCEL_ADDRESS_NOT_SERVICEABLE",
    ),
    "ca": ("CUSTOMER_REQUESTED_SELLER_TO_CANCEL", "CANCEL_BY_SELLER"),
    "mx": ("MIRAKL_REFUND_45", "MIRAKL_REFUND_15", "SELLER_REJECTION"),
    "cl": ("ERROR_DE_PRECIO", "AGOTADO", "RECHAZAR"),
}
"""Closed lists of `cancellationReason`. Source: Walmart's reference pages of cancelorderlines, US and global."""


def load_schema(name: str) -> dict[str, Any]:
    """One of the OpenAPI schemas, by file name without `.schema.json`."""
    path = resources.files("schemas").joinpath("walmart", "openapi", f"{name}.schema.json")
    schema: dict[str, Any] = orjson.loads(path.read_bytes())
    return schema


def _cancel_schema(market: Market) -> dict[str, Any]:
    schema = deepcopy(load_schema("cancel_request"))
    lines = schema["properties"]["orderCancellation"]["properties"]["orderLines"]["properties"]["orderLine"]
    status = lines["items"]["properties"]["orderLineStatuses"]["properties"]["orderLineStatus"]["items"]
    status["properties"]["cancellationReason"]["enum"] = list(REASONS[market])
    return schema


class BodyChecks:
    """The compiled schemas. `enabled` False (benchmarks): everything passes."""

    def __init__(self, *, enabled: bool = True) -> None:
        self._enabled = enabled
        if enabled:
            self._ship = compile_schema(load_schema("ship_request"))
            self._cancel: dict[Market, Check] = {market: compile_schema(_cancel_schema(market)) for market in REASONS}
            self._inventory = compile_schema(load_schema("inventory_put_request"))
            self._inventories = compile_schema(load_schema("inventories_put_request"))

    def ship(self, body: Any) -> ApiError | None:
        """`POST …/shipping`."""
        return self._wrapped("orderShipment", self._ship(body), body) if self._enabled else None

    def cancel(self, body: Any, market: Market) -> ApiError | None:
        """`POST …/cancel`."""
        return self._wrapped("orderCancellation", self._cancel[market](body), body) if self._enabled else None

    def inventory(self, body: Any) -> ApiError | None:
        """`PUT /v3/inventory`."""
        return _inventory_error(self._inventory(body)) if self._enabled else None

    def inventories(self, body: Any) -> ApiError | None:
        """`PUT /v3/inventories/{sku}`."""
        return _inventory_error(self._inventories(body)) if self._enabled else None

    def _wrapped(self, wrapper: str, mismatch: Mismatch | None, body: Any) -> ApiError | None:
        if mismatch is not None:
            return _orders_error(mismatch, body)
        if wrapper not in body:
            # Walmart's own schema does not require the wrapper; the service does (partnerapi_sdk_dotnet issue 13).
            found = next(iter(body), "")
            return bad_content("data", f'unexpected element (uri:"", local:"{found}"). Expected elements are {wrapper}')
        if not body[wrapper]["orderLines"]["orderLine"]:
            return bad_content("orderLine", "At least one order line is required")
        return None


def _orders_error(mismatch: Mismatch, body: Any) -> ApiError:
    field, line = mismatch.field, _line_number(mismatch, body)
    if mismatch.kind == "enum" and field == "methodCode":
        return bad_content(field, f"Method code is not supported in line number {line}")
    if mismatch.kind == "enum" and field == "carrier":
        return bad_content(field, f"Carrier name is not supported in line number {line}")
    if mismatch.kind == "enum" and field == "cancellationReason":
        return bad_content(field, f"Cancellation reason is not supported in line number {line}")
    place = f" in line number {line}" if line is not None else ""
    return bad_content(field, f"{field} {mismatch.problem}{place}")


def _line_number(mismatch: Mismatch, body: Any) -> str | None:
    """The `lineNumber` of the order line that the mismatch is in."""
    value = body
    for index, step in enumerate(mismatch.path):
        if index and mismatch.path[index - 1] == "orderLine" and isinstance(step, int):
            line = value[step]
            return str(line.get("lineNumber")) if isinstance(line, dict) else str(step + 1)
        value = value.get(step) if isinstance(value, dict) and isinstance(step, str) else None
        if value is None:
            return None
    return None


def _inventory_error(mismatch: Mismatch | None) -> ApiError | None:
    if mismatch is None:
        return None
    return ApiError(
        code="INVALID_REQUEST_CONTENT.GMP_INVENTORY_API",
        field=mismatch.field,
        description=f"{mismatch.field} {mismatch.problem}",
    )
