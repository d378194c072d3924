"""What is known when everything is quiet again: the events, the results, the dead letters, Walmart's journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from schemas import deadletter
from tests.chaos.history import Step

Headers = tuple[tuple[str, bytes | None], ...]


class Place(NamedTuple):
    """Where a record lies."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Published:
    """A record of an input topic."""

    place: Place
    at: float
    """Epoch seconds."""
    key: bytes | None
    value: bytes | None
    headers: Headers
    step: Step | None = None
    """None: garbage."""
    repeat: bool = False
    """The same bytes stand earlier in the topic."""


@dataclass(frozen=True, slots=True)
class Told:
    """A sync result."""

    place: Place
    """Of the event it tells of."""
    event_id: str | None
    at: float
    final: bool
    status: str
    effect: str
    code: str | None
    """Of its error."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A record of the dead-letter topic; `state` None: a tombstone, or not ours."""

    at: Place
    key: str
    state: deadletter.State | None
    code: str | None = None
    origin: Place | None = None
    """The event it keeps."""
    kept: tuple[bytes | None, bytes | None, Headers] = (None, None, ())
    """Key, value and headers of the event."""


class Moved(NamedTuple):
    """Units of one line; number None: cancelled."""

    line: str
    number: str | None
    quantity: int


@dataclass(frozen=True, slots=True)
class Effect:
    """An entry of the journal that moved units."""

    n: int
    at: float
    order: str
    units: tuple[Moved, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """All of it."""

    published: Sequence[Published]
    """In the order of each partition."""
    told: Sequence[Told]
    """In the order of each partition of the results topic."""
    letters: Sequence[Letter]
    """In the order of each partition."""
    effects: Sequence[Effect]
    """In the journal's order."""
    ordered: Mapping[str, Mapping[str, int]]
    """Order -> line -> units."""
    uncommitted: Sequence[str] = field(default_factory=list)
    """Partitions whose committed offset is not their end, in words."""
