"""How far a refusal can be believed."""

from __future__ import annotations

import pytest

from worker.errors import WalmartError
from worker.sync.judge import about_state
from worker.walmart.answer import CallError, CallKind


@pytest.mark.parametrize(
    ("field", "text", "state"),
    [
        (
            "data",
            "Qty OverShipped : Some or All Line(s)/Qty cannot be Shipped due to invalid Lines Or invalid Qty",
            True,
        ),
        (None, "The Line: 4 of PO: 4576930294354 is in SHIPPED status", True),
        (None, "doesn't have enough quantity to ship requested quantity", True),
        ("methodCode", "Method code is not supported in line number 1", False),
        ("orderLines.trackingInfo.trackingNumber", "tracking number was already used", False),
        ("cancellationReason", "not an allowed cancellation reason", False),
        ("data", "Request body is odd", False),
    ],
)
def test_a_refusal_about_quantities_or_states_may_come_from_an_old_read(
    field: str | None, text: str, state: bool
) -> None:
    error = CallError(CallKind.REFUSED, text, 400, (WalmartError("X", field, text),))
    assert about_state(error) is state


def test_a_refusal_that_says_nothing_may_be_about_anything() -> None:
    assert about_state(CallError(CallKind.REFUSED, "400", 400))
