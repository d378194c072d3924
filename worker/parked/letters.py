"""The headers of the records this room writes for events. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from schemas.carried import Carried
from schemas.deadletter import Confirmed, DeadLetterHeaders, State
from worker.delivery import Delivery
from worker.errors import Failure
from worker.outcome import ConfirmedUnits, Verdict
from worker.parked.carried import UNREADABLE, carry, doubts


def dead(delivery: Delivery, verdict: Verdict) -> DeadLetterHeaders:
    """Of an event that failed."""
    assert verdict.failure is not None
    return _letter(
        delivery, "dead", verdict.failure, doubts(delivery.progress), verdict.confirmed or delivery.progress.confirmed
    )


def waiting(
    delivery: Delivery, failure: Failure, *, next_try: float, first_parked: int | None, now: float
) -> DeadLetterHeaders:
    """Of an event that waits; `first_parked` is None the first time."""
    return _letter(
        delivery,
        "waiting",
        failure,
        carry(delivery, now),
        delivery.progress.confirmed,
        # An event that could not be read has a lane of its own: it must not stand in its order's way here either.
        order=delivery.envelope.order if delivery.envelope.order == delivery.lane else None,
        next_try=next_try if next_try > 0 else None,
        first_parked=first_parked,
    )


def _letter(
    delivery: Delivery,
    state: State,
    failure: Failure,
    progress: Carried,
    confirmed: Iterable[ConfirmedUnits],
    *,
    order: str | None = "",
    next_try: float | None = None,
    first_parked: int | None = None,
) -> DeadLetterHeaders:
    record = delivery.record
    units: tuple[Confirmed, ...] | None = tuple(
        Confirmed(unit.line_number, unit.quantity, unit.tracking_number) for unit in confirmed
    )
    told: Carried | None = progress
    if delivery.refusal is not None and delivery.refusal.code == UNREADABLE:
        # Taken for absent, what cannot be read would let a later replay send again what Walmart has confirmed.
        units, told = (units, None) if units else (None, told)
    return DeadLetterHeaders(
        state=state,
        key=record.key,
        code=failure.code,
        reason=failure.message,
        store=delivery.envelope.store,
        order=delivery.envelope.order if order == "" else order,
        shipment=delivery.envelope.shipment,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp_ms,
        first_seen=delivery.first_seen,
        attempts=delivery.progress.attempts,
        confirmed=units,
        progress=told,
        next_try=next_try,
        first_parked=first_parked,
        paused_seconds=delivery.progress.paused_s,
        replay_number=delivery.replay_number,
        story=tuple(delivery.progress.story.steps()),
    )
