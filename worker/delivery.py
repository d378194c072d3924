"""One event on its way through the worker: the record as it lay in Kafka, the event read from it, its identity."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from schemas.events import OrderCancelled, OrderShipped
from worker.errors import Failure
from worker.outcome import Again, Progress


class Record(NamedTuple):
    """A Kafka record, untouched: what a dead letter must keep byte for byte."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]

    @property
    def coordinates(self) -> str:
        """`topic/partition/offset`: the name of an event that has no readable identity."""
        return f"{self.topic}/{self.partition}/{self.offset}"

    @property
    def size(self) -> int:
        """Bytes held in memory, roughly: key, value and headers."""
        size = len(self.key or b"") + len(self.value or b"")
        for name, value in self.headers:
            size += len(name) + len(value or b"")
        return size


class Event(NamedTuple):
    """A CloudEvent of ours, read and valid. `time` is epoch seconds, or None where the envelope has none."""

    source: str
    id: str
    type: str
    time: float | None
    data: OrderShipped | OrderCancelled


class Envelope(NamedTuple):
    """What could be read of the envelope, also where the event is refused: for results and logs."""

    source: str | None = None
    id: str | None = None
    type: str | None = None
    time: float | None = None
    store: str | None = None
    order: str | None = None
    commerce_order: str | None = None
    shipment: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where an unfinished event lies in the dead-letter topic."""

    partition: int
    offset: int


@dataclass(slots=True, eq=False)
class Delivery:
    """One event being handled. Compared by identity: two deliveries of one event are two deliveries."""

    record: Record
    event: Event | None
    envelope: Envelope
    refusal: Failure | None
    """Why the record is no event; exactly one of `event` and `refusal` is set."""
    key: str
    """Identity `topic|source|id`, or the coordinates: also the key of its dead letter. May still become the latter."""
    lane: str
    """The order id; where that cannot be read the record's key; else the coordinates."""
    received_at: float
    """Epoch seconds."""
    epoch: int = 0
    """The assignment under which it was read."""
    replay_number: int = 0
    room_code: str = "internal"
    """Replays: the error code it lay in the room with."""
    room_place: Place | None = None
    """Set when it was taken out of the waiting room instead of an input topic."""
    room_state: Literal["replay", "waiting"] | None = None
    """The state it lay in there."""
    first_parked: int | None = None
    """Offset of its first `waiting` record in the dead-letter partition: its age among its order's parked events."""
    next_try: float = 0.0
    """Epoch seconds it waits for when parked; 0: whenever its gate is open."""
    first_seen: float = 0.0
    replayed_at: float = 0.0
    """Replays: epoch seconds when it was asked for; its time to be given up counts from there."""
    waiting_since: float = 0.0
    """Epoch seconds since when it is in memory without being settled."""
    only_tell: bool = False
    """Taken out of the waiting room only to be told late; then it is parked again."""
    barrier: int | None = None
    """Guarded cancellations: the end of the shipped topic's partition that must be read first."""
    progress: Progress = field(default_factory=Progress)
    known_as: str = ""
    """The key under which it is counted among the events in memory."""
    group: str = ""
    """Whose share of the window it is counted under: its account; empty: nobody's."""
    tried_with: str | None = None
    """The account of its latest try: its store may be another's by the time that ends."""
    told_retrying: bool = False
    last_again: Again | None = None
    """Why it waits, after a try that did not settle it."""

    @property
    def happened_at(self) -> float:
        """Epoch seconds of the event itself: `ce_time`, else the record's time. Latency counts from here."""
        time = self.envelope.time
        return time if time is not None else self.record.timestamp_ms / 1000
