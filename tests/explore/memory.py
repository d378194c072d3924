"""Of the product's deliveries what decides anything, as values: they are kept in states."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from schemas.walmart.order import Order
from tests.explore.timing import BASE, tick_of
from worker.delivery import Delivery
from worker.errors import Failure
from worker.outcome import Again, ConfirmedUnits, Progress, Refusal, Unsettled
from worker.sync.saved import Saved

Ask = tuple[Any, ...]
"""A question: its name, and the particulars."""
Item = tuple[int, int]
"""A record, and the offset of the waiting record it was taken up from (-1: from input)."""


class Progressed(NamedTuple):
    """Of a `Progress` what decides anything here. Times are epoch seconds."""

    confirmed: tuple[ConfirmedUnits, ...] = ()
    unsettled: Unsettled | None = None
    doubted: tuple[ConfirmedUnits, ...] = ()
    applied: bool = False
    refused: tuple[tuple[tuple[str, str | None], Refusal], ...] = ()
    one_by_one: int = 0
    hold_until: float = 0.0
    read_twice: bool = False


class Held(NamedTuple):
    """Of a `Delivery` in memory what decides anything here."""

    first_parked: int | None = None
    next_try: float = 0.0
    barrier: int | None = None
    blind: bool = False
    """In memory since before the intents of earlier owners were read back."""
    since: int = 0
    """Tick at which it came into memory."""
    again: Again | None = None
    progress: Progressed = Progressed()


class Remembered(NamedTuple):
    """What this process knows of the order.

    Whether that view is sure is left out: it matters where two views differ that have as many open units, which only a
    correction brings about, and none is searched.
    """

    order: Order
    """The newest view."""
    until: float
    """Epoch seconds: so long that view is kept."""
    saved: Saved | None = None
    """The answer to the latest write, while it may stand for a read."""


History = tuple[tuple[Any, int], ...]
"""Answers, each with its tick."""


def held_of(delivery: Delivery) -> Held:
    """Of a delivery what decides anything here."""
    again = delivery.last_again
    return Held(
        delivery.first_parked,
        delivery.next_try,
        delivery.barrier,
        delivery.received_at < BASE,
        tick_of(delivery.waiting_since),
        None if again is None else trimmed(again),
        frozen(delivery.progress),
    )


def frozen(progress: Progress) -> Progressed:
    """Of a progress what decides anything here."""
    return Progressed(
        progress.confirmed,
        progress.unsettled,
        progress.doubted,
        progress.applied,
        tuple(sorted(progress.refused.items(), key=str)),
        progress.one_by_one,
        progress.hold_until,
        progress.read_twice,
    )


def thawed(progressed: Progressed) -> Progress:
    """And back."""
    return Progress(**{**progressed._asdict(), "refused": dict(progressed.refused)})


def trimmed(again: Again) -> Again:
    """Without what is only told."""
    return replace(again, failure=Failure(again.failure.code, ""), call=None)
