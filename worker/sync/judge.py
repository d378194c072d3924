"""What a failed call means for the event: try again and why, or a refusal and how far it can be believed."""

from __future__ import annotations

import re
from typing import Final

from schemas.results import Operation, WalmartStatus
from worker.errors import Failure
from worker.outcome import Again, Trouble
from worker.walmart.answer import CallError, CallKind

LOCKED_S: Final = 20.0
"""A locked order is tried again after this, where Walmart does not say when."""

_CONTENT: Final = frozenset(
    {
        "methodcode",
        "trackingnumber",
        "trackingurl",
        "carriername",
        "carrier",
        "othercarrier",
        "shipdatetime",
        "cancellationreason",
        "sellerorderid",
        "returncenteraddress",
    }
)
_STATE: Final = re.compile(
    r"qty|quantit|shipped|already|cancel|status|allowed|invalid lines|not enough|doesn.t have|eligible", re.IGNORECASE
)


def again_for(
    error: CallError, operation: Operation, status: WalmartStatus | None = None, *, write: bool
) -> Again | None:
    """Why to try again after a call that was not refused on its merits; None where it was."""
    if error.locked:
        return Again(
            Trouble.NOT_SENT, _failure("order_locked", error), error.retry_after_s or LOCKED_S, operation, status
        )
    if error.kind is CallKind.THROTTLED:
        return Again(Trouble.THROTTLED, _failure("throttled", error), error.retry_after_s, operation, status)
    if error.kind is CallKind.UNAUTHORIZED:
        code = "scope_missing" if error.scope_missing else "credentials_rejected"
        return Again(Trouble.CREDENTIALS, _failure(code, error), error.retry_after_s, operation, status)
    if error.kind is CallKind.NOT_SENT:
        return Again(Trouble.NOT_SENT, _failure("walmart_unavailable", error), error.retry_after_s, operation, status)
    if error.kind is CallKind.UNKNOWN:
        if write:
            return Again(Trouble.UNKNOWN, _failure("outcome_unknown", error), error.retry_after_s, operation, status)
        unreadable = error.status is not None and error.status < 300
        code = "walmart_answer_unreadable" if unreadable else "walmart_unavailable"
        return Again(Trouble.NOT_SENT, _failure(code, error), error.retry_after_s, operation, status)
    return None


def no_cause(error: CallError, operation: Operation, status: WalmartStatus | None = None) -> Again:
    """Refused without a named cause: may be an outage."""
    return Again(Trouble.NO_CAUSE, refusal(error), error.retry_after_s, operation, status)


def refusal(error: CallError, *, correction: bool = False) -> Failure:
    """A refusal as a failure."""
    if error.malformed:
        return _failure("request_rejected", error)
    if error.kind is CallKind.REFUSED_WITHOUT_CAUSE:
        return _failure("walmart_refused_without_cause", error)
    return _failure("correction_refused" if correction else "walmart_refused", error)


def about_state(error: CallError, *, correction: bool = False) -> bool:
    """True if the refusal speaks of quantities or states rather than of a field's content.

    Then an order that still shows the units open may be an old read: an earlier, unnoticed call may have done it.
    Walmart's codes do not tell these cases apart and the wording has changed over the years, so anything that is not
    plainly about content counts where a word of it fits. A refused correction always is: "not found" is what Walmart
    says of a number that is replaced already.
    """
    if not error.errors:
        return True
    for each in error.errors:
        field = (each.field or "").rsplit(".", 1)[-1].rsplit("/", 1)[-1].casefold()
        if field not in _CONTENT and (correction or _STATE.search(each.description or "")):
            return True
    return False


def _failure(code: str, error: CallError) -> Failure:
    return Failure(code, error.message, error.status, error.errors, error.correlation_id)
