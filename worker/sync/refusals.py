"""What an event remembers of a write that Walmart refused on its merits."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from schemas.walmart.order import Order
from worker.errors import Failure
from worker.outcome import Progress, Refusal
from worker.sync.calls import Acknowledge, Cancel, Correct, Key, Plan, Write
from worker.sync.judge import refusal
from worker.walmart.answer import CallError, CallKind


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """A write that Walmart has refused while the order could not be read, which tells what to make of it."""

    call: Hashable
    """Its summary."""
    error: CallError
    planned_from: Order
    """The order as it was read before."""


def named(error: CallError) -> bool:
    """Refused with a cause of its own, and not because our request cannot be read."""
    return error.kind is CallKind.REFUSED and not error.malformed


def planned_again(call: Write, plan: Plan) -> bool:
    """True if the same would be sent once more."""
    wanted = summary(call)
    return any(summary(other) == wanted for other in plan.calls if not isinstance(other, Acknowledge))


def take_apart(progress: Progress, call: Write, final_at: float) -> None:
    """One bad line or package must not keep the others back: next time in smaller calls.

    A call that closes its lines would be refused piece by piece too, had it worked before. One that leaves units open
    would not: its pieces wait until an old read can be ruled out.
    """
    several = not isinstance(call, Cancel) and len({number for _, number in call.keys}) > 1
    progress.one_by_one = 1 if several and progress.one_by_one == 0 else 2
    if call.leaves_units_open:
        progress.hold_until = max(progress.hold_until, final_at)


def note_refusal(progress: Progress, call: Write, before: Order, error: CallError, final_at: float) -> None:
    """These units are not sent again. `final_at`: until then (epoch seconds) the order may be an old read.

    `before`: what the call was planned from. What was a part of the open units then may be all of them by now, where
    somebody else has shipped meanwhile, and is no part to be refused any more.
    """
    key = call.keys[0]
    failure = refusal(error, correction=isinstance(call, Correct))
    partial = named(error) and isinstance(call, Cancel) and call.lines[0].quantity < before.by_number[key[0]].open
    if partial:
        text = f"line {key[0]}: Walmart refused to cancel a part of what is open: {failure.message}"
        failure = Failure(
            "partial_cancel_refused", text, failure.http_status, failure.walmart_errors, failure.correlation_id
        )
    progress.refused[key] = Refusal(
        failure, final_at, partial, correction=isinstance(call, Correct), quantity=call.quantities[0]
    )


def summary(call: Write) -> tuple[type, frozenset[tuple[Key, int]]]:
    """What a call asks for: two with the same one are the same."""
    return type(call), frozenset(zip(call.keys, call.quantities, strict=True))
