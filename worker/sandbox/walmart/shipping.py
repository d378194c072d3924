"""The rules of `POST /v3/orders/{purchaseOrderId}/shipping`: a first ship and the correction of a tracking number.

All or nothing: one bad line refuses the whole call.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Final

from worker.sandbox.walmart.answers import ApiError, bad_content
from worker.sandbox.walmart.faults import Quirks
from worker.sandbox.walmart.lines import Judged, check_lines, read_amount, unable
from worker.sandbox.walmart.orders import Line, LineEffect, Order

CORRECTION_WINDOW_MS: Final = 4 * 3_600_000
FUTURE_TOLERANCE_MS: Final = 60_000
BEFORE_ORDER_TOLERANCE_MS: Final = 24 * 3_600_000
MAX_SELLER_ORDER_ID: Final = 30

_TRACKING_NUMBER: Final = re.compile(r"[A-Za-z0-9]+")


def is_correction(body: dict[str, Any]) -> bool:
    """True for `processMode: PARTIAL_UPDATE`."""
    return body["orderShipment"].get("processMode") is not None


def judge_shipment(order: Order, body: dict[str, Any], clock_ms: int, customer_order_id: str, quirks: Quirks) -> Judged:
    """What a ship call does. `body` fits its schema already."""
    shipment = body["orderShipment"]
    if shipment.get("processMode") not in (None, "PARTIAL_UPDATE"):
        return bad_content("processMode", "Process mode is not supported")
    requested = shipment["orderLines"]["orderLine"]
    refusal = check_lines(order, requested, "shipped")
    if refusal is not None:
        return refusal
    effects: list[LineEffect] = []
    for wanted in requested:
        line = order.lines[wanted["lineNumber"]]
        judged = _read_line(order, line, wanted, clock_ms, customer_order_id)
        if isinstance(judged, ApiError):
            return judged
        refusal = (
            _check_correction(line, judged, clock_ms)
            if is_correction(body)
            else _check_ship(order, line, wanted, judged, quirks)
        )
        if refusal is not None:
            return refusal
        effects += judged
    return effects


def _read_line(
    order: Order, line: Line, wanted: dict[str, Any], clock_ms: int, customer_order_id: str
) -> ApiError | list[LineEffect]:
    number = line.line_number
    if len(wanted["sellerOrderId"]) > MAX_SELLER_ORDER_ID:
        return bad_content("sellerOrderId", f"sellerOrderId is longer than 30 characters in line number {number}")
    effects: list[LineEffect] = []
    for entry in wanted["orderLineStatuses"]["orderLineStatus"]:
        if entry["status"] != "Shipped":
            return bad_content("status", f"Status is not supported in line number {number}")
        quantity = read_amount(entry, number)
        if isinstance(quantity, ApiError):
            return quantity
        refusal = _check_tracking(order, number, entry["trackingInfo"], clock_ms, customer_order_id)
        if refusal is not None:
            return refusal
        effects.append(_effect(line, wanted, entry, quantity))
    return effects


def _check_tracking(
    order: Order, line_number: str, tracking: dict[str, Any], clock_ms: int, customer_order_id: str
) -> ApiError | None:
    carrier, other = tracking["carrierName"].get("carrier"), tracking["carrierName"].get("otherCarrier")
    if (carrier is None) == (other is None) or other == "":
        return bad_content(
            "carrierName", f"Exactly one of carrier and otherCarrier is needed in line number {line_number}"
        )
    if other is not None and not tracking.get("trackingURL"):
        return bad_content("trackingURL", f"trackingURL is required with otherCarrier in line number {line_number}")
    text = tracking["trackingNumber"]
    if not _TRACKING_NUMBER.fullmatch(text):
        return bad_content("trackingNumber", f"Tracking number is not valid in line number {line_number}")
    if text in (order.purchase_order_id, customer_order_id):
        return bad_content("trackingNumber", f"Tracking number equals the order number in line number {line_number}")
    if tracking["shipDateTime"] > clock_ms + FUTURE_TOLERANCE_MS:
        return bad_content("shipDateTime", f"Ship date is in the future in line number {line_number}")
    if tracking["shipDateTime"] < order.order_date_ms - BEFORE_ORDER_TOLERANCE_MS:
        return bad_content("shipDateTime", f"Ship date is before the order date in line number {line_number}")
    return None


def _effect(line: Line, wanted: dict[str, Any], entry: dict[str, Any], quantity: int) -> LineEffect:
    tracking = entry["trackingInfo"]
    effect = LineEffect(
        line_number=line.line_number,
        sku=line.sku,
        quantity=quantity,
        tracking_number=tracking["trackingNumber"],
        method_code=tracking["methodCode"],
        ship_date_ms=int(tracking["shipDateTime"]),
        seller_order_id=wanted["sellerOrderId"],
    )
    if "carrier" in tracking["carrierName"]:
        effect["carrier"] = tracking["carrierName"]["carrier"]
    else:
        effect["other_carrier"] = tracking["carrierName"]["otherCarrier"]
    if "trackingURL" in tracking:
        effect["tracking_url"] = tracking["trackingURL"]
    if "returnCenterAddress" in entry:
        effect["return_center_address"] = entry["returnCenterAddress"]
    if entry.get("currentTrackingInfo", {}).get("trackingNumber"):
        effect["replaces_tracking_number"] = entry["currentTrackingInfo"]["trackingNumber"]
    return effect


def _check_ship(
    order: Order, line: Line, wanted: dict[str, Any], effects: list[LineEffect], quirks: Quirks
) -> ApiError | None:
    asked = sum(effect["quantity"] for effect in effects)
    number = line.line_number
    if asked > line.open:
        return bad_content(
            "data",
            f"INVALID_REQUEST_CONTENT :: Failed when called shipConfirm API for {order.purchase_order_id}. "
            "Qty OverShipped : Some or All Line(s)/Qty cannot be Shipped due to invalid Lines Or invalid Qty "
            "Or Qty more than allowed",
        )
    if asked > line.units("Acknowledged"):
        return unable(order, number, "is in CREATED status")
    if line.intent_to_cancel and wanted.get("intentToCancelOverride") is not True:
        return bad_content(
            "intentToCancelOverride",
            f"The customer asked to cancel: intentToCancelOverride must be true in line number {number}",
        )
    several = len({effect["tracking_number"] for effect in effects}) > 1
    if several and quirks.take("two_packages_refused"):
        return bad_content("trackingNumber", f"Only one tracking number is allowed in line number {number}")
    return None


def _check_correction(line: Line, effects: list[LineEffect], clock_ms: int) -> ApiError | None:
    number, first = line.line_number, line.first_shipped_ms
    if first is None or not line.units("Shipped"):
        return bad_content("status", f"Tracking can only be updated for shipped lines: line number {number}")
    if clock_ms > first + CORRECTION_WINDOW_MS:
        return bad_content(
            "trackingInfo", f"Tracking can be updated within 4 hours of the shipment: line number {number}"
        )
    numbers = {p.tracking.number for p in line.portions if p.status == "Shipped" and p.tracking is not None}
    asked: Counter[str] = Counter()
    for effect in effects:
        if "replaces_tracking_number" not in effect:
            if len(numbers) > 1:
                return bad_content("currentTrackingInfo", f"currentTrackingInfo is required in line number {number}")
            effect["replaces_tracking_number"] = next(iter(numbers))
        old = effect["replaces_tracking_number"]
        asked[old] += effect["quantity"]
        if old not in numbers:
            return bad_content("currentTrackingInfo", f"Current tracking number is not found in line number {number}")
        if asked[old] > line.units("Shipped", tracking_number=old):
            return bad_content("amount", f"Quantity is more than shipped in line number {number}")
    return None
