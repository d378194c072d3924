"""One row of the table: an event that is not settled, or the marker of a number corrected away. Pure.

A hundred thousand of them must fit into memory beside everything else: no bytes of the event, shared strings, and
only the times that are asked for.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Literal

import orjson

from schemas.deadletter import DeadLetterHeaders
from worker.delivery import Place
from worker.settings import Settings

State = Literal["dead", "waiting", "replay", "corrected"]

PAUSED: Final = "paused"
"""Error code of what waits because a person has paused its account or store: such time does not count."""
WAITS_FOR_SHIPMENTS: Final = "waiting_for_shipments"
NEVER: Final = math.inf
MARKER_DAYS: Final = 30
"""How long a number stays known as corrected away."""
_DIGEST_BITS: Final = (1 << 60) - 1


class Stage(Enum):
    """How far a row has come on its way back into memory."""

    IDLE = "idle"
    """Its time has not come, or others of its order stand before it."""
    READY = "ready"
    """It comes up as soon as its account has room."""
    TAKEN = "taken"
    """It is being fetched, or is in memory."""
    GONE = "gone"
    """Overruled by a newer record."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings that decide when a row comes up."""

    shipped_topic: str
    slo_s: float
    give_up_s: float
    again_s: float
    """How long what is given up, but has not been tried often enough, waits before it is looked at once more."""

    @classmethod
    def of(cls, settings: Settings) -> Rules:
        """From the settings tree."""
        timing = settings.timing
        return cls(
            settings.topics.order_shipped, timing.slo_seconds, timing.give_up_after_hours * 3600, timing.probe_seconds
        )


@dataclass(slots=True, kw_only=True)
class Unfinished:
    """One row. Only its times, `first_parked` and `stage` ever change."""

    key: str
    state: State
    partition: int
    offset: int
    code: str
    order: str
    """Empty: the event names none that could be read; it waits behind nobody."""
    store: str
    shipment: str | None
    """Dead letters: a later success of this shipment closes them."""
    ships: bool
    """A shipment: it may pass cancels that wait for shipments."""
    leads_to: tuple[str, ...]
    """The tracking numbers, as told, that it puts in the place of others."""
    digest: int
    """Of the value's bytes; compared only within this process."""
    replay_number: int
    topic: str
    """Topic the event came from (its partition is the row's)."""
    source_offset: int
    record_key: bytes | None = None
    """The original key; kept only where the order is not known."""
    event_time: float = 0.0
    """Epoch seconds: dead letters: of the event's record; markers: of the correcting event."""
    first_parked: int = 0
    """Offset of the first `waiting` record of the event: its age among its order's."""
    next_try: float = 0.0
    """Epoch seconds before which it is not taken up to be tried."""
    late_at: float = NEVER
    """Epoch seconds when it is to be told that it is late."""
    expires_at: float = NEVER
    """Epoch seconds when it is given up (markers: forgotten); who has the least time left comes up first."""
    stage: Stage = field(default=Stage.IDLE, compare=False, repr=False)

    @property
    def place(self) -> Place:
        """Where it lies in the dead-letter topic."""
        return Place(self.partition, self.offset)

    @property
    def lets_pass(self) -> bool:
        """A cancel that waits for shipments, which may pass it."""
        return not self.ships and self.code == WAITS_FOR_SHIPMENTS

    @property
    def age(self) -> tuple[int, int]:
        """Its age among the fronts of its order's topics."""
        return self.first_parked, self.partition

    @property
    def given_up_at(self) -> float:
        """Epoch seconds when it comes up whatever its account says. Never while it is paused."""
        return NEVER if self.code == PAUSED or self.state != "waiting" else self.expires_at

    @property
    def due_at(self) -> float:
        """Epoch seconds when it comes up once it stands at the front of its order."""
        return min(self.next_try, self.given_up_at)

    def __lt__(self, other: Unfinished) -> bool:
        return (self.offset, self.partition) < (other.offset, other.partition)

    def is_expired(self, now: float) -> bool:
        """Its time to give up has come."""
        return now >= self.given_up_at


def digest_of(value: bytes | None) -> int:
    """What tells two values apart within this process."""
    return hash(value) & _DIGEST_BITS


def row_of(
    key: str, about: DeadLetterHeaders, place: Place, value: bytes | None, *, written_at: float, rules: Rules
) -> Unfinished:
    """The row of a record. What is broken in its headers counts as absent; `restore` looks at it once it comes up."""
    assert about.state in ("dead", "waiting", "replay", "corrected")
    ships = about.topic == rules.shipped_topic or about.shipment is not None
    row = Unfinished(
        key=key,
        state=about.state,
        partition=place.partition,
        offset=place.offset,
        code=sys.intern(about.code or ""),
        order=about.order or "",
        store=sys.intern(about.store or ""),
        shipment=about.shipment if about.state == "dead" else None,
        ships=ships,
        leads_to=_leads_to(value),
        digest=digest_of(value),
        replay_number=about.replay_number,
        topic=sys.intern(about.topic or ""),
        source_offset=about.offset or 0,
        record_key=None if about.order else about.key,
        first_parked=place.offset,
    )
    if about.state in ("dead", "corrected"):
        row.event_time = (about.timestamp_ms or 0) / 1000
        if about.state == "corrected":
            row.expires_at = written_at + MARKER_DAYS * 86_400
    elif about.state == "replay":
        row.expires_at = written_at + rules.give_up_s
    else:
        _times(row, about, written_at, rules)
    return row


def _leads_to(value: bytes | None) -> tuple[str, ...]:
    """Told by the event's own bytes: whoever wrote the record, and whatever has become of its headers."""
    if not value or b"replaces_tracking_number" not in value:
        return ()
    try:
        told = orjson.loads(value)
        packages = told.get("data", told)["packages"]
        numbers = [package.get("tracking_number") for package in packages if package.get("replaces_tracking_number")]
    except (ValueError, LookupError, TypeError, AttributeError):
        return ()
    return tuple([number for number in numbers if isinstance(number, str)])


def _times(row: Unfinished, about: DeadLetterHeaders, written_at: float, rules: Rules) -> None:
    carried = about.progress
    recorded = written_at if about.timestamp_ms is None else about.timestamp_ms / 1000
    row.first_parked = row.offset if about.first_parked is None else min(about.first_parked, row.offset)
    row.next_try = about.next_try or 0.0
    since = recorded if about.first_seen is None else about.first_seen
    if about.replay_number and carried is not None and carried.counts_from:
        since = carried.counts_from
    row.expires_at = since + about.paused_seconds + rules.give_up_s
    if written_at >= row.expires_at:
        # Not tried often enough yet: not again at once, whatever its next time is.
        row.expires_at = max(row.next_try, written_at + rules.again_s)
    if carried is None or not carried.told_retrying:
        row.late_at = (carried.happened_at if carried is not None and carried.happened_at else recorded) + rules.slo_s


def is_whole(about: DeadLetterHeaders, place: Place) -> bool:
    """The record says where its event came from, and lies where that event's worker looks for it."""
    return about.topic is not None and about.offset is not None and about.partition == place.partition
