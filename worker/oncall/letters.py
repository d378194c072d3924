"""One unfinished event as on-call people see it: a record of the dead-letter topic, read. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal, NamedTuple, get_args

from schemas import deadletter
from schemas.deadletter import DeadLetter, DeadLetterHeaders
from schemas.results import Category, Owner
from worker.delivery import Place
from worker.errors import ERRORS, ErrorKind

LetterState = Literal["dead", "waiting", "replay", "corrected", "broken"]
"""`broken`: the record's own headers are missing or foreign, so its state is not known."""

STATES: Final[tuple[LetterState, ...]] = get_args(LetterState)
UNFINISHED: Final[frozenset[LetterState]] = frozenset({"dead", "waiting", "replay", "broken"})
"""What is shown unless asked otherwise: `corrected` markers are no events."""


class RawRecord(NamedTuple):
    """A record of the dead-letter topic, as it lies in Kafka."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class Letter:
    """The newest record of one key."""

    key: str
    """Identity `topic|source|id`, or coordinates."""
    raw_key: bytes
    place: Place
    written_ms: int
    """Epoch milliseconds of the record."""
    size: int
    """Bytes of the original value."""
    content: DeadLetter
    has_bytes: bool = True
    """False where the original value and headers were dropped to save memory."""

    @property
    def about(self) -> DeadLetterHeaders:
        """Our headers."""
        return self.content.about

    @property
    def state(self) -> LetterState:
        """What it waits for."""
        state = self.about.state
        return state if state in ("dead", "waiting", "replay", "corrected") else "broken"

    @property
    def kind(self) -> ErrorKind | None:
        """The row of the error table; None for a code this version does not know."""
        return ERRORS.get(self.about.code or "")

    @property
    def category(self) -> Category | None:
        """Of its error code."""
        return None if self.kind is None else self.kind.category

    @property
    def owner(self) -> Owner | None:
        """Who can do something about it."""
        return None if self.kind is None else self.kind.owner

    @property
    def action(self) -> str | None:
        """What to do, with the store filled in."""
        return None if self.kind is None else self.kind.action.replace("{store}", self.about.store or "<store>")

    @property
    def first_seen(self) -> float:
        """Epoch seconds when a worker first read it; where that is not known, when this record was written."""
        return self.about.first_seen if self.about.first_seen is not None else self.written_ms / 1000

    @property
    def obstacle(self) -> str | None:
        """Why it cannot be replayed as it is; None if it can. Says nothing about its state."""
        about = self.about
        if self.content.problems:
            return "; ".join(str(problem) for problem in self.content.problems[:3])
        missing = [name for name in ("topic", "partition", "offset") if getattr(about, name) is None]
        if missing:
            return "missing: " + ", ".join(deadletter.PREFIX + name for name in missing)
        if about.partition != self.place.partition:
            return f"lies in partition {self.place.partition}, but its event came from partition {about.partition}"
        if about.confirmed is None:
            return "what Walmart confirmed for it cannot be read"
        if about.code == "event_too_large":
            return "the event itself could never be fetched, so there is nothing to run"
        return None

    def without_bytes(self) -> Letter:
        """The same without the original value and headers: a list of a hundred thousand must fit into memory."""
        content = DeadLetter(replace(self.about, key=None), None, (), self.content.problems)
        return replace(self, content=content, has_bytes=False)


def read_letter(record: RawRecord) -> Letter | None:
    """The letter in a record; None where there is none (tombstones, heartbeats)."""
    content = deadletter.read(record.value, record.headers)
    if record.value is None or content.about.state in ("settled", "heartbeat"):
        return None
    return Letter(
        key=key_text(record.key),
        raw_key=record.key or b"",
        place=Place(record.partition, record.offset),
        written_ms=record.timestamp_ms,
        size=len(content.value or b""),
        content=content,
    )


def key_text(key: bytes | None) -> str:
    """A record key as text."""
    return (key or b"").decode("utf-8", "replace")
