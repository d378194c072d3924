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

OURS_S: Final = 1.0
"""What is not ready on our side (the fence, a process that came too late) is tried again after this."""

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
    error: CallError, call: str, operation: Operation, status: WalmartStatus | None = None, *, write: bool
) -> Again | None:
    """Why to try again after a call that was not refused on its merits; None where it was.

    `call`: its name at the API (`get_order`, `acknowledge`, `ship`, `cancel`). `write`: it may have had an effect that
    must be known before anything else is sent.
    """
    meant = _meaning(error, write)
    if meant is None:
        return None
    trouble, code, least_s = meant
    return Again(trouble, _failure(code, error), error.retry_after_s or least_s, operation, status, call)


def _meaning(error: CallError, write: bool) -> tuple[Trouble, str, float | None] | None:
    """Class, code, and what to wait where Walmart does not say."""
    if error.locked:
        return Trouble.NOT_SENT, "order_locked", LOCKED_S
    if error.too_late:
        return Trouble.OURS, "not_ready", OURS_S
    if error.kind is CallKind.THROTTLED:
        return Trouble.THROTTLED, "throttled", None
    if error.kind is CallKind.UNAUTHORIZED:
        return Trouble.CREDENTIALS, "scope_missing" if error.scope_missing else "credentials_rejected", None
    if error.kind is CallKind.NOT_SENT:
        return Trouble.NOT_SENT, "walmart_unavailable", None
    if error.kind is CallKind.UNKNOWN and write:
        return Trouble.UNKNOWN, "outcome_unknown", None
    if error.kind is CallKind.UNKNOWN:
        unreadable = error.status is not None and error.status < 300
        return Trouble.NOT_SENT, "walmart_answer_unreadable" if unreadable else "walmart_unavailable", None
    return None


def no_cause(error: CallError, call: str, operation: Operation, status: WalmartStatus | None = None) -> Again:
    """Refused without a named cause: may be an outage."""
    return Again(Trouble.NO_CAUSE, refusal(error), error.retry_after_s, operation, status, call)


def no_budget(call: str, operation: Operation, status: WalmartStatus | None = None) -> Again:
    """The account's budget has no such call left now: nothing was sent."""
    failure = Failure("throttled", f"the account's budget of {call} calls is used up")
    return Again(Trouble.BUDGET, failure, None, operation, status, call)


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
