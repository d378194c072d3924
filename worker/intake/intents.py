"""What is about to be sent to Walmart, written down in the metadata of offset commits. Pure.

Before a call that leaves units open, the order and the call's deadline are committed with its partition's offset. A
worker that takes the partition over reads them back, and knows of which orders its reads may show too little: a call
whose answer nobody has seen, or one that has worked a moment ago (its event, if its offset was not committed yet, and
any repeat of it would find the units open in an old read). So an intent outlives its event until reads can be believed
again. One text of at most 4,096 bytes (Kafka's default `offset.metadata.max.bytes`) per partition::

    order-sync-intents/1 Wm9vLWJhci1iYXot:1764000012 c29tZS1vdGhlci1r:1764000013
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

Place = tuple[str, int]
"""Topic and partition."""

MAX_BYTES: Final = 4_096
"""Kafka's own limit of one partition's commit metadata."""
MAX_AHEAD_S: Final = 600.0
"""A deadline further ahead of the moment it was found is a clock that is wrong: no call may take longer than half."""
_HEAD: Final = "order-sync-intents/"
_VERSION: Final = 1
_ENTRY: Final = re.compile(r"([A-Za-z0-9_-]{16}):(\d{1,12})", re.ASCII)
_SHOWN: Final = 40
_ENTRY_BYTES: Final = 30
"""At most, with its space."""
_HEAD_BYTES: Final = 32


def mark_of(order: str) -> str:
    """The short name of an order in the text: 96 bits of its id's hash."""
    return base64.urlsafe_b64encode(hashlib.sha256(order.encode(errors="surrogatepass")).digest()[:12]).decode()


def write_intents(deadlines: Mapping[str, float]) -> str:
    """The text for these marks and deadlines (epoch seconds, rounded up). Empty for none."""
    if not deadlines:
        return ""
    return " ".join([f"{_HEAD}{_VERSION}", *(f"{mark}:{math.ceil(at)}" for mark, at in deadlines.items())])


def read_intents(text: str | None) -> tuple[dict[str, float], str | None]:
    """Marks and deadlines of a text, and what is wrong with it (None: nothing). Never raises.

    Whatever can be used is returned: of an unknown version, or of a broken text, the entries that look right.
    """
    if not text:
        return {}, None
    head, *entries = text.split(" ")
    if not head.startswith(_HEAD):
        return {}, f"not written by order-sync: {text[:_SHOWN]!r}"
    found: dict[str, float] = {}
    broken = 0
    for entry in entries:
        read = _ENTRY.fullmatch(entry)
        if read is None:
            broken += 1
            continue
        mark, at = read.group(1), float(read.group(2))
        found[mark] = max(at, found.get(mark, at))
    if head != f"{_HEAD}{_VERSION}":
        return found, f"of another version: {head[:_SHOWN]!r}"
    return found, f"{broken} of {len(entries)} entries cannot be read" if broken else None


@dataclass(frozen=True, slots=True)
class FoundIntent:
    """A call that an earlier owner of the partition may have sent. Times are epoch seconds."""

    deadline: float
    """After it the call was not written any more."""
    found_at: float
    """When it was read back: from here on old reads are doubted, whatever the other clock said."""


@dataclass(slots=True)
class _Running:
    mark: str
    deadline: float
    written: float | None = None
    """The deadline that a successful commit carried."""

    @property
    def is_written(self) -> bool:
        """A commit that carried the present deadline was taken."""
        return self.written is not None and self.written >= self.deadline


@dataclass(frozen=True, slots=True)
class _Ended:
    """Of an event that is concluded, while reads may still show the order as it was before its call."""

    deadline: float
    expires_at: float
    offset: int | None
    """Of its record, which is read again unless it is committed; None: it lies in the waiting room."""


@dataclass(slots=True)
class _Partition:
    running: dict[Hashable, _Running] = field(default_factory=dict)
    ended: dict[str, _Ended] = field(default_factory=dict)
    found: dict[str, FoundIntent] = field(default_factory=dict)
    resume_at: int | None = None
    """The offset that the latest commit carries: what lies before it is not read again."""
    written: str | None = None
    """The text at the broker; None where that is not known."""
    known: bool = False
    """Read back: before that nothing may be written over it."""

    def required(self) -> dict[str, float]:
        """What the text must tell; what matters most comes first."""
        every: dict[str, float] = {}
        for one in sorted(self.running.values(), key=lambda one: one.written is None):
            every[one.mark] = max(one.deadline, every.get(one.mark, one.deadline))
        for mark, ended in self.ended.items():
            if self._is_read_again(ended):
                every[mark] = max(ended.deadline, every.get(mark, ended.deadline))
        for mark, found in self.found.items():
            every[mark] = max(found.deadline, every.get(mark, found.deadline))
        return every

    def welcome(self) -> list[tuple[str, float]]:
        """What it should tell where there is room, the latest first: repeats of events that are committed."""
        ended = [(mark, one.deadline) for mark, one in self.ended.items() if not self._is_read_again(one)]
        return sorted(ended, key=lambda one: one[1], reverse=True)

    def _is_read_again(self, ended: _Ended) -> bool:
        return ended.offset is not None and (self.resume_at is None or ended.offset >= self.resume_at)


class Intents:
    """The running and the found intents of every partition that is ours. The time is passed in, epoch seconds."""

    def __init__(self, *, keep_s: float, max_bytes: int = MAX_BYTES) -> None:
        """An empty book.

        Args:
            keep_s: How long after its deadline (or after it was found, if that is later) a found intent matters: the
                longest call plus the time Walmart's reads may lag behind.
            max_bytes: Limit of one partition's text; lowered when the broker turns out to take less.
        """
        self.max_bytes = max_bytes
        self.assignment = 0
        """Counts the assignments: the answer to a commit belongs to the one it was sent under."""
        self.keep_s = keep_s
        self._partitions: dict[Place, _Partition] = {}

    def configure(self, keep_s: float) -> None:
        """Take a new time; never a shorter one: calls that began under the longer one may still be on their way."""
        self.keep_s = max(self.keep_s, keep_s)

    def assign(self, places: Iterable[Place]) -> None:
        """Start afresh with these partitions, and these only."""
        self.assignment += 1
        self._partitions = {place: _Partition() for place in places}

    # -- running ones

    def add(self, place: Place, owner: Hashable, mark: str, deadline: float, now: float) -> bool:
        """The owner is about to send. False when the text has no room for it, or the partition is not read back."""
        state = self._partitions.get(place)
        if state is None or not state.known:
            return False
        self._expire(state, now)
        before = state.running.get(owner)
        state.running[owner] = _Running(mark, deadline, before.written if before is not None else None)
        most = len(state.running) + len(state.ended) + len(state.found)
        if _HEAD_BYTES + most * _ENTRY_BYTES <= self.max_bytes or _size(state.required()) <= self.max_bytes:
            return True
        self._put_back(state, owner, before)
        return False

    def is_written(self, place: Place, owner: Hashable) -> bool:
        """True once a commit that carried the owner's present deadline was taken."""
        state = self._partitions.get(place)
        one = state.running.get(owner) if state is not None else None
        return one is not None and one.is_written

    def withdraw(self, place: Place, owner: Hashable) -> None:
        """The owner's latest intent was not taken, and nothing is sent: an earlier one that was taken still stands."""
        state = self._partitions.get(place)
        one = state.running.get(owner) if state is not None else None
        if state is None or one is None:
            return
        if one.written is None:
            del state.running[owner]
        else:
            one.deadline = one.written

    def end(self, owner: Hashable, now: float, offset: int | None = None, *, in_doubt: bool = False) -> bool:
        """The owner's event is concluded. True when it had an intent.

        It is still told for a while, in any case until the `offset` of its record is committed (None: it is not read
        again). `in_doubt`: nobody knows what came of its call. Then the order's next event meets it like an intent of
        an earlier owner.
        """
        had = False
        for state in self._partitions.values():
            if not state.running:
                continue
            one = state.running.pop(owner, None)
            if one is not None:
                had = True
                if in_doubt:
                    known = state.found.get(one.mark, FoundIntent(0.0, 0.0))
                    # It is this process' own: all that begins from here on is told of it.
                    deadline = min(one.deadline, now + MAX_AHEAD_S)
                    state.found[one.mark] = FoundIntent(max(deadline, known.deadline), known.found_at)
                    continue
                state.ended[one.mark] = _Ended(one.deadline, min(one.deadline, now) + self.keep_s, offset)
        return had

    def has(self, owner: Hashable) -> bool:
        """True while an intent of this owner is running."""
        for state in self._partitions.values():  # noqa: SIM110  # asked for every event
            if owner in state.running:
                return True
        return False

    def running(self) -> int:
        """How many intents are running."""
        return sum(len(state.running) for state in self._partitions.values())

    # -- found ones

    def read_back(self, place: Place, text: str | None, now: float) -> str | None:
        """Note what an earlier owner left behind; returns what is wrong with the text."""
        state = self._partitions.get(place)
        if state is None:
            return None
        deadlines, problem = read_intents(text)
        for mark, deadline in deadlines.items():
            state.found[mark] = FoundIntent(min(deadline, now + MAX_AHEAD_S), now)
        state.written = text or ""
        state.known = True
        return problem

    def is_known(self, place: Place) -> bool:
        """True once what an earlier owner left in this partition was read."""
        state = self._partitions.get(place)
        return state is not None and state.known

    def found(self, order: str, now: float) -> FoundIntent | None:
        """The intent an earlier owner left for this order, if it still matters."""
        if not self._any_found():
            return None
        mark = mark_of(order)
        every = [one for state in self._partitions.values() if (one := state.found.get(mark)) is not None]
        alive = [one for one in every if not self._expired(one, now)]
        return max(alive, key=lambda one: (one.deadline, one.found_at), default=None)

    def _any_found(self) -> bool:
        for state in self._partitions.values():  # noqa: SIM110  # asked at every turn; a generator takes twice as long
            if state.found:
                return True
        return False

    def found_count(self) -> int:
        """How many were found and not forgotten yet."""
        return sum(len(state.found) for state in self._partitions.values())

    def next_expiry(self) -> float | None:
        """When the next found or ended intent ceases to matter."""
        every = [self._expiry(one) for state in self._partitions.values() for one in state.found.values()]
        every += [one.expires_at for state in self._partitions.values() for one in state.ended.values()]
        return min(every, default=None)

    # -- commits

    def text(self, place: Place, now: float, resume_at: int | None = None) -> str:
        """What the next commit of the partition carries, with this offset (None: the one before)."""
        state = self._partitions.get(place)
        if state is None:
            return ""
        if resume_at is not None:
            state.resume_at = resume_at
        self._expire(state, now)
        deadlines = state.required()
        size = _size(deadlines)
        while size > self.max_bytes:
            # Only where the broker takes less than it did: offsets must go on all the same.
            deadlines.popitem()
            size = _size(deadlines)
        for mark, deadline in state.welcome():
            size = max(size, _HEAD_BYTES) + _ENTRY_BYTES
            if size > self.max_bytes:
                break
            deadlines[mark] = max(deadline, deadlines.get(mark, deadline))
        return write_intents(deadlines)

    def unwritten(self, now: float) -> list[Place]:
        """Partitions that are read back, and whose text at the broker is not what it should be, or not known to be."""
        return [
            place for place, state in self._partitions.items() if state.known and not self._is_told(place, state, now)
        ]

    def carried(self, place: Place, text: str) -> None:
        """The broker took a commit with this text."""
        state = self._partitions.get(place)
        if state is None:
            return
        state.written = text
        deadlines, _ = read_intents(text)
        for one in state.running.values():
            if deadlines.get(one.mark, 0.0) >= one.deadline:
                one.written = one.deadline

    def doubtful(self, place: Place) -> None:
        """A commit of the partition got no answer: the broker may have taken it or not."""
        state = self._partitions.get(place)
        if state is not None:
            state.written = None

    def all_doubtful(self) -> None:
        """What the broker has of any partition is not known for sure."""
        for place in self._partitions:
            self.doubtful(place)

    # --

    def _is_told(self, place: Place, state: _Partition, now: float) -> bool:
        # Two deliveries of one event make one text; each needs an answer of its own.
        return state.written == self.text(place, now) and all(one.is_written for one in state.running.values())

    def _expire(self, state: _Partition, now: float) -> None:
        for mark in [mark for mark, one in state.found.items() if self._expired(one, now)]:
            del state.found[mark]
        for mark in [mark for mark, ended in state.ended.items() if now >= ended.expires_at]:
            del state.ended[mark]

    def _expired(self, one: FoundIntent, now: float) -> bool:
        return now >= self._expiry(one)

    def _expiry(self, one: FoundIntent) -> float:
        return max(one.deadline, one.found_at) + self.keep_s

    @staticmethod
    def _put_back(state: _Partition, owner: Hashable, before: _Running | None) -> None:
        if before is None:
            del state.running[owner]
        else:
            state.running[owner] = before


def _size(deadlines: Mapping[str, float]) -> int:
    return len(write_intents(deadlines).encode())
