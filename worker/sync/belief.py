"""How far the end of a plan can be believed: what it rests on, and which views of the order could have led to it."""

from __future__ import annotations

from typing import Final

from schemas.events import OrderCancelled, OrderShipped
from worker.outcome import Progress, Refusal
from worker.sync.calls import Call, Cancel, Plan, Ship

_OF_STATE: Final = frozenset(
    {
        "shipped_otherwise",
        "quantity_exceeds_open",
        "correction_unmatched",
        "correction_refused",
        "partial_cancel_refused",
        "walmart_refused",
        "cancel_after_ship",
    }
)
"""Codes that an old read may be the cause of."""


def has_items(data: OrderShipped | OrderCancelled) -> bool:
    """False for a cancellation of everything that is still open."""
    return not isinstance(data, OrderCancelled) or data.items is not None


def corrects(data: OrderShipped | OrderCancelled) -> bool:
    """True if a package of the event replaces a tracking number."""
    return not isinstance(data, OrderCancelled) and data.corrects


def is_all(call: Call, step: Plan, data: OrderShipped | OrderCancelled) -> bool:
    """True if this call, once it has worked, leaves nothing of a plan: planning again would only say so.

    (Not of corrections: what they have to say of markers comes when the order shows the new number.)
    """
    whole = step.calls == (call,) and not step.problems and all(line.fate in ("shown", "send") for line in step.lines)
    return whole and isinstance(call, Ship | Cancel) and not corrects(data)


def succeeds(step: Plan) -> bool:
    """True if the order shows all that the event asks for: nothing is left to send, to refuse or to wait for."""
    return not step.problems and all(line.fate == "shown" for line in step.lines)


def rests_on_an_old_state(step: Plan, data: OrderShipped | OrderCancelled, exact: bool) -> bool:
    """True if an older view of the order than its true state could have led to this end.

    Units shown as shipped or cancelled stay so; what is missing may be there already, and a number may have been
    corrected since.
    """
    if any(problem.code in _OF_STATE for problem in step.problems):
        return True
    return corrects(data) and not exact


def pending(step: Plan, progress: Progress) -> list[Refusal]:
    """Refusals that the end of a plan still rests on."""
    failures = {id(problem.failure) for problem in step.problems if problem.failure is not None}
    return [refusal for refusal in progress.refused.values() if id(refusal.failure) in failures]
