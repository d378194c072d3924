"""The rules of `POST /v3/orders/{purchaseOrderId}/cancel` and `…/acknowledge`. All or nothing."""

from __future__ import annotations

from typing import Any

from worker.sandbox.walmart.answers import ApiError, bad_content
from worker.sandbox.walmart.faults import Quirks
from worker.sandbox.walmart.lines import Judged, check_lines, read_amount, unable
from worker.sandbox.walmart.orders import Line, LineEffect, Order


def judge_cancel(order: Order, body: dict[str, Any], quirks: Quirks, *, customer_reason_needs_intent: bool) -> Judged:
    """What a cancel call does. `body` fits its schema already."""
    requested = body["orderCancellation"]["orderLines"]["orderLine"]
    refusal = check_lines(order, requested, "cancelled")
    if refusal is not None:
        return refusal
    effects: list[LineEffect] = []
    for wanted in requested:
        line = order.lines[wanted["lineNumber"]]
        judged = _read_line(line, wanted, customer_reason_needs_intent)
        if isinstance(judged, ApiError):
            return judged
        refusal = _check_quantity(order, line, sum(effect["quantity"] for effect in judged), quirks)
        if refusal is not None:
            return refusal
        effects += judged
    return effects


def _read_line(line: Line, wanted: dict[str, Any], customer_reason_needs_intent: bool) -> ApiError | list[LineEffect]:
    effects: list[LineEffect] = []
    for entry in wanted["orderLineStatuses"]["orderLineStatus"]:
        reason = entry["cancellationReason"]
        if entry["status"] != "Cancelled":
            return bad_content("status", f"Status is not supported in line number {line.line_number}")
        quantity = read_amount(entry, line.line_number)
        if isinstance(quantity, ApiError):
            return quantity
        asked_by_customer = reason == "CUSTOMER_REQUESTED_SELLER_TO_CANCEL"
        if customer_reason_needs_intent and asked_by_customer and not line.intent_to_cancel:
            return bad_content(
                "cancellationReason", f"Reason is for intent to cancel orders only: line number {line.line_number}"
            )
        effects.append(LineEffect(line_number=line.line_number, sku=line.sku, quantity=quantity, reason=reason))
    return effects


def _check_quantity(order: Order, line: Line, asked: int, quirks: Quirks) -> ApiError | None:
    if not line.open:
        shipped = line.units("Shipped", "Delivered", "Refund") > 0
        return unable(order, line.line_number, f"is in {'SHIPPED' if shipped else 'CANCELLED'} status")
    if asked > line.open:
        return bad_content(
            "data",
            f"INVALID_REQUEST_CONTENT :: Failed when called cancel API for {order.purchase_order_id}. Some or All "
            "Line(s)/Qty cannot be Cancelled due to invalid Lines Or invalid Qty Or Qty more than allowed",
        )
    if asked < line.open and quirks.take("partial_cancel_refused"):
        return bad_content("amount", f"Partial quantity cannot be cancelled in line number {line.line_number}")
    return None


def judge_acknowledge(order: Order) -> Judged:
    """What an acknowledgement does; nothing (an empty list) when everything is acknowledged already."""
    lines = order.lines.values()
    if order.fulfilled_by_walmart:
        return bad_content("data", f"WFS order {order.purchase_order_id} cannot be acknowledged by the seller")
    if any(line.open < line.ordered for line in lines):
        return bad_content(
            "data",
            f"INVALID_REQUEST_CONTENT :: Failed when called acknowledge API for '{order.purchase_order_id}'.  "
            "Some or all qty in higher status",
        )
    return [
        LineEffect(line_number=line.line_number, sku=line.sku, quantity=line.units("Created"))
        for line in lines
        if line.units("Created")
    ]
