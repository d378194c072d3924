"""What is told about each request: when it begins, and once more what became of it. One call may be two requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from worker.walmart.answer import CallKind

Operation = Literal["get_order", "acknowledge", "ship", "cancel", "put_inventory", "token", "token_detail"]

Group = Literal["read", "ship", "cancel", "acknowledge", "inventory"]
"""Calls that Walmart counts together, each seller's on its own."""

_COUNTED: Final[dict[Operation, Group]] = {
    "get_order": "read",
    "ship": "ship",
    "cancel": "cancel",
    "acknowledge": "acknowledge",
    "put_inventory": "inventory",
}


def counted_as(operation: Operation) -> Group | None:
    """The group whose budget a call is counted against; None for the token's calls: Walmart publishes no limit."""
    return _COUNTED.get(operation)


Begun = Callable[[Operation, str], int]
"""Told right before a request goes out: operation and subject (as `CallReport.subject`). Gives a ticket, which comes
back in the one report about that request."""


class CallReport(NamedTuple):
    """One attempt, seen from outside."""

    account: str
    operation: Operation
    status: int | None
    """HTTP status; None where no answer came."""
    kind: CallKind | None
    """None: it worked."""
    seconds: float
    correlation_id: str
    budget_left: int | None = None
    """`X-Current-Token-Count`, where Walmart sends it."""
    replenish_at: float | None = None
    """Epoch seconds of Walmart's next replenishment."""
    subject: str = ""
    """Purchase order id or SKU it was about; empty for the token's own calls."""
    retry_after_s: float | None = None
    """What Walmart's headers say about the next try, capped; None where they say nothing, or it worked."""
    too_late: bool = False
    """NOT_SENT because the deadline for sending had passed: no sign that Walmart cannot be reached."""
    ticket: int = -1
    """What `begun` gave for this request; -1 where nobody was asked (the token's own requests)."""
    cancelled: bool = False
    """This process gave the request up before an answer came: no sign that anything is wrong with Walmart."""
