"""An event's progress into the headers of its record, and back out of them. Pure.

What matters most on the way back: a write whose outcome is unknown stays unknown until an old read can be ruled out,
counted anew from when the event was taken up; and what cannot be read is never taken for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final, cast, get_args

from schemas.carried import MAX_PROGRESS_BYTES, Carried, Intent, Refused, write_carried
from schemas.deadletter import Confirmed, DeadLetterHeaders
from schemas.results import Operation, WalmartStatus
from schemas.scrub import one_line
from worker.delivery import Delivery
from worker.errors import ERRORS, Failure
from worker.outcome import Again, ConfirmedUnits, Progress, Refusal, Trouble, Unsettled, Warned
from worker.parked.unfinished import PAUSED

MAX_WARNED: Final = 10
_MAX_MESSAGE: Final = 300
UNREADABLE: Final = "dead_letter_unreadable"


def doubts(progress: Progress) -> Carried:
    """What a dead letter carries: what is in doubt, so that a replay, however soon, sends nothing twice."""
    unsettled = progress.unsettled
    return _bounded(
        Carried(
            unsettled=None
            if unsettled is None
            else Intent(
                expected=_told(unsettled.expected),
                believe_at=max(0.0, unsettled.believe_at),
                leaves_open=unsettled.leaves_open,
                correction=unsettled.correction,
            ),
            doubted=_told(progress.doubted),
            hold_until=max(0.0, progress.hold_until),
            read_twice=progress.read_twice,
            applied=progress.applied,
            one_by_one=progress.one_by_one,
        )
    )


def carry(delivery: Delivery, now: float) -> Carried:
    """Everything a waiting event needs to go on. `now` is when it is parked."""
    progress, again = delivery.progress, delivery.last_again
    warned = [(warning.code, one_line(warning.message, _MAX_MESSAGE)) for warning in progress.warned[:MAX_WARNED]]
    return _bounded(
        replace(
            doubts(progress),
            counts_from=delivery.replayed_at if delivery.replay_number else 0.0,
            happened_at=max(0.0, delivery.happened_at),
            told_retrying=delivery.told_retrying,
            parked_at=now,
            refused=_refused(progress),
            failed_tries=progress.failed_tries,
            waits=progress.waits,
            calls=progress.calls,
            waited_budget_s=round(progress.waited_budget_s, 3),
            waited_retry_s=round(progress.waited_retry_s, 3),
            trouble="" if again is None else again.trouble.value,
            operation=(again.operation or "") if again is not None else "",
            walmart_status=(again.walmart_status or "") if again is not None else "",
            warned=tuple(warned),
        )
    )


def restore(delivery: Delivery, about: DeadLetterHeaders, now: float, read_lag_seconds: float) -> None:
    """Fill a delivery decoded from the original record with what its headers carry.

    `now` is when it is taken up. What cannot be read makes it a refusal: it must not be run without a person.
    """
    assert about.state in ("waiting", "replay")
    delivery.room_state = about.state
    delivery.room_code = about.code if about.code in ERRORS else "internal"
    delivery.replay_number = about.replay_number
    delivery.replayed_at = now if about.replay_number else 0.0
    delivery.first_seen = about.first_seen if about.first_seen is not None else delivery.first_seen
    delivery.first_parked = about.first_parked if about.state == "waiting" else None
    delivery.next_try = about.next_try or 0.0
    delivery.progress.attempts = about.attempts
    # A replay has its own time; what was paused before it began has no part in that.
    delivery.progress.paused_s = about.paused_seconds if about.state == "waiting" else 0.0
    if about.story:
        delivery.progress.story.restore(list(about.story))
    if about.confirmed is not None:
        delivery.progress.restore(about.confirmed)
    if about.progress is not None:
        _restore_doubts(delivery.progress, about.progress, now, read_lag_seconds)
        if about.state == "waiting":
            _restore_wait(delivery, about, about.progress, now)
    broken = [name for name in ("confirmed", "progress") if getattr(about, name) is None]
    if broken:
        names = " and ".join(f"order-sync-{name}" for name in broken)
        delivery.event = None
        delivery.refusal = Failure(UNREADABLE, f"{names} of the dead letter {delivery.key} cannot be read")


def _restore_doubts(progress: Progress, carried: Carried, now: float, read_lag_s: float) -> None:
    not_before = now + read_lag_s
    if carried.unsettled is not None:
        progress.unsettled = Unsettled(
            _units(carried.unsettled.expected),
            max(carried.unsettled.believe_at, not_before),
            carried.unsettled.leaves_open,
            carried.unsettled.correction,
        )
    progress.doubted = _units(carried.doubted)
    progress.read_twice = carried.read_twice
    progress.hold_until = max(carried.hold_until, not_before) if carried.read_twice else carried.hold_until
    progress.applied = progress.applied or carried.applied
    progress.one_by_one = carried.one_by_one


def _restore_wait(delivery: Delivery, about: DeadLetterHeaders, carried: Carried, now: float) -> None:
    progress = delivery.progress
    if about.code == PAUSED and carried.parked_at:
        progress.paused_s += max(0.0, now - carried.parked_at)
    if about.replay_number and carried.counts_from:
        delivery.replayed_at = carried.counts_from
    delivery.told_retrying = carried.told_retrying
    progress.refused = {
        (each.line_number, each.tracking_number): Refusal(
            Failure(each.code, each.message, each.http_status),
            each.final_at,
            each.partial,
            each.correction,
            each.quantity,
        )
        for each in carried.refused
        if each.code in ERRORS
    }
    progress.failed_tries = carried.failed_tries
    progress.waits = carried.waits
    progress.calls = carried.calls
    progress.waited_budget_s = carried.waited_budget_s
    if about.code == _THROTTLED and carried.parked_at:
        progress.waited_budget_s += max(0.0, now - carried.parked_at)
    progress.waited_retry_s = carried.waited_retry_s
    known = {warning.code: warning for warning in progress.warned}
    progress.warned = (
        *progress.warned,
        *(Warned(code, message) for code, message in carried.warned if code not in known),
    )
    if carried.trouble in _TROUBLES:
        delivery.last_again = Again(
            Trouble(carried.trouble),
            Failure(delivery.room_code, about.reason or ""),
            operation=cast("Operation | None", _one_of(carried.operation, Operation)),
            walmart_status=cast("WalmartStatus | None", _one_of(carried.walmart_status, WalmartStatus)),
        )


def _bounded(carried: Carried) -> Carried:
    """The same in fewer words where it would not fit: units in doubt become a time before which nothing is risked."""
    if len(write_carried(carried)) <= MAX_PROGRESS_BYTES:
        return carried
    if carried.refused:
        return _bounded(replace(carried, refused=()))  # Walmart will refuse them again
    unsettled = carried.unsettled
    hold_until = max(carried.hold_until, unsettled.believe_at if unsettled is not None else 0.0)
    return replace(
        carried,
        unsettled=None,
        doubted=(),
        hold_until=hold_until,
        read_twice=carried.read_twice or unsettled is not None,
        applied=carried.applied,
    )


def _told(units: Iterable[ConfirmedUnits]) -> tuple[Confirmed, ...]:
    return tuple(Confirmed(unit.line_number, unit.quantity, unit.tracking_number) for unit in units)


def _refused(progress: Progress) -> tuple[Refused, ...]:
    return tuple(
        Refused(
            line,
            number,
            refusal.quantity,
            refusal.failure.code,
            one_line(refusal.failure.message, _MAX_MESSAGE),
            refusal.failure.http_status,
            max(0.0, refusal.final_at),
            refusal.partial,
            refusal.correction,
        )
        for (line, number), refusal in progress.refused.items()
    )


def _units(told: Iterable[Confirmed]) -> tuple[ConfirmedUnits, ...]:
    return tuple(ConfirmedUnits(*unit) for unit in told)


def _one_of(value: str, literal: Any) -> str | None:
    return value if value in get_args(literal) else None


_THROTTLED: Final = "throttled"
"""Parked for want of budget: Walmart's, not ours, is the time it took."""
_TROUBLES: Final = frozenset(trouble.value for trouble in Trouble)
