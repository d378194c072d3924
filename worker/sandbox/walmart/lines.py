"""Rules that ship and cancel calls share: which line, how many units."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from worker.sandbox.walmart.answers import ApiError, bad_content
from worker.sandbox.walmart.orders import LineEffect, Order

_AMOUNT: Final = re.compile(r"[1-9][0-9]{0,8}")

Judged = ApiError | Sequence[LineEffect]
"""What the rules make of a call: a refusal of the whole call, or what to move."""


def check_lines(order: Order, requested: list[dict[str, Any]], verb: str) -> ApiError | None:
    """Every line exists, is named once, and the order is the seller's to change."""
    if order.fulfilled_by_walmart:
        return bad_content("data", f"WFS order {order.purchase_order_id} cannot be {verb} by the seller")
    seen: set[str] = set()
    for line in requested:
        number = line["lineNumber"]
        if number not in order.lines:
            return unable(order, number, "does not exist")
        if number in seen:
            return bad_content("lineNumber", f"Line number {number} occurs more than once")
        seen.add(number)
        if not line["orderLineStatuses"]["orderLineStatus"]:
            return bad_content("orderLineStatus", f"orderLineStatus is required in line number {number}")
    return None


def unable(order: Order, line_number: str, state: str) -> ApiError:
    """The Orders service's older wording, seen in production."""
    return bad_content(
        "data",
        f"Unable to process this request. The Line: {line_number} of PO: {order.purchase_order_id} {state}",
    )


def read_amount(entry: dict[str, Any], line_number: str) -> int | ApiError:
    """`statusQuantity.amount`: a text, a whole number of units from 1."""
    amount = entry["statusQuantity"]["amount"]
    if not _AMOUNT.fullmatch(amount):
        return bad_content("amount", f"Quantity is not valid in line number {line_number}")
    return int(amount)
