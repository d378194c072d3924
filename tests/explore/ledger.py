"""Offsets and intents of one worker, written by the product's own committer and fence."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Literal, NamedTuple, cast

from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, KafkaError

from tests.explore.cells import Cells
from tests.explore.memory import Item
from tests.explore.stories import Story
from tests.explore.timing import CANCELLED, SESSION, SETTINGS, SHIPPED, TICK_S, TOPICS, Hand, at, since_or_until, until
from tests.explore.tries import METRICS
from worker.delivery import Envelope, Place, Record
from worker.intake.committer import Committer
from worker.intake.fence import IntakeFence
from worker.intake.intents import FoundIntent, Intents, read_intents
from worker.intake.offsets import Offsets
from worker.intake.pairing import pair
from worker.outcome import Progress, Unsettled

How = Literal["taken", "refused", "failed"]
"""What the client hears of a commit."""
Batch = tuple[tuple[int, int, str], ...]
"""What a commit asked for: topic, offset, metadata."""
PLACES = tuple((topic, 0) for topic in TOPICS)


@dataclass(frozen=True)
class Owner:
    """Stands for a delivery: who has an intent."""

    item: Item
    record: Record = field(compare=False)
    key: str = field(compare=False)
    lane: str = field(compare=False)
    room_place: Place | None = field(compare=False)
    received_at: float = field(compare=False)
    """Epoch seconds; only whether that was before the intents were read back matters."""
    epoch: int = field(default=1, compare=False)
    envelope: Envelope = field(default=Envelope(), compare=False)
    progress: Progress = field(default_factory=Progress, compare=False)
    """Of which only what is in doubt at the end matters."""

    def __deepcopy__(self, memo: object) -> Owner:
        return self


class Book:
    """Both, and what the committer remembers, as one thing that changes."""

    def __init__(self) -> None:
        self.offsets = Offsets()
        self.intents = Intents(keep_s=SETTINGS.timing.call_timeout_seconds + SETTINGS.timing.read_lag_seconds)
        self.taken_at = self.calm_at = -math.inf
        self.unanswered = False

    def lend(self, committer: Committer) -> None:
        """What a committer remembers besides."""
        committer.taken_at, committer._calm_at = self.taken_at, self.calm_at
        committer._unanswered = self.unanswered

    def take(self, committer: Committer) -> None:
        """And back."""
        self.taken_at, self.calm_at = committer.taken_at, committer._calm_at
        self.unanswered = committer._unanswered


class Answered(NamedTuple):
    """What became of a commit or an intent."""

    ok: bool
    batch: Batch | None
    """None: nothing was to be committed."""


class _Consumer:
    """Hears of a commit what it is told to."""

    def __init__(self, how: How, positions: tuple[int, int]) -> None:
        self.how, self.positions = how, positions
        self.asked: Batch | None = None

    async def commit(self, offsets: dict[TopicPartition, tuple[int, str]]) -> None:
        assert self.asked is None, "one commit at a time"
        self.asked = tuple(sorted((TOPICS.index(place.topic), *what) for place, what in offsets.items()))
        if self.how == "refused":
            raise CommitFailedError
        if self.how == "failed":
            raise KafkaError("no answer")

    async def position(self, place: TopicPartition) -> int:
        return self.positions[TOPICS.index(place.topic)]


class _Assignment:
    """Of an owner, as it sees itself."""

    epoch = 1
    pairing = pair(frozenset(PLACES), shipped=SHIPPED, cancelled=CANCELLED)

    def __init__(self, *, may_send: bool, taken_at: float = 0.0, inherited: bool = True) -> None:
        self.may_send, self.taken_at, self.inherited = may_send, taken_at, inherited


class Ledger:
    """The books of all workers."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._loop = asyncio.new_event_loop()
        self.cells: Cells[Book] = Cells(_whole)
        self.empty = self.cells.keep(Book())
        self._owners: dict[tuple[Item, bool], Owner] = {}

    def close(self) -> None:
        """Close the loop."""
        self._loop.close()

    def owner(self, item: Item, *, blind: bool = False) -> Owner:
        """Who an intent of this item belongs to. `blind`: in memory since before the intents were read back."""
        known = self._owners.get((item, blind))
        if known is None:
            known = self._owners[item, blind] = self._owner(item, blind=blind)
        return known

    def _owner(self, item: Item, *, blind: bool) -> Owner:
        delivery = self._story.decoded(item[0])
        place = None if item[1] < 0 else Place(0, item[1])
        return Owner(item, delivery.record, delivery.key, delivery.lane, place, -math.inf if blind else math.inf)

    def assigned(self) -> int:
        """A new owner's book: mirrors `Assignment._own`."""
        book = Book()
        book.offsets.assign(set(PLACES), 1)
        book.intents.assign(PLACES)
        return self.cells.keep(book)

    def read_back(self, cell: int, committed: tuple[tuple[int, str], tuple[int, str]], now: int) -> int:
        """What earlier owners left behind is read: mirrors `Assignment._note`."""

        def change(book: Book) -> None:
            for place, (offset, text) in zip(PLACES, committed, strict=True):
                if offset >= 0:
                    book.offsets.found(*place, offset)
                assert book.intents.read_back(place, text, at(now)) is None

        return self.cells.after(cell, change, "read_back", committed, now)[0]

    def started(self, cell: int, record: int) -> tuple[int, bool]:
        """A record was read."""
        read = self._story.records[record]
        return self.cells.after(
            cell,
            lambda book: book.offsets.started(read.topic, 0, read.offset, read.timestamp_ms, 1),
            "started",
            record,
        )

    def finished(self, cell: int, item: Item, now: int, *, in_doubt: bool = False) -> int:
        """An event is concluded: the fence is told, and mirrors `App._finished` (the offset, if it came from input).

        `in_doubt`: what came of its call is not known, and reads may be old.
        """
        record, owner = self._story.records[item[0]], self.owner(item)
        if in_doubt:
            owner = replace(owner, progress=Progress(unsettled=Unsettled((), at(now + 1), leaves_open=True)))

        async def end(book: Book) -> None:
            consumer = _Consumer("taken", (0, 0))
            self._fence(book, consumer, now, may_send=True).ended(cast("Any", owner))

        def change(book: Book) -> None:
            self._run(end(book))
            if item[1] < 0:
                book.offsets.finished(record.topic, 0, record.offset, 1)

        return self.cells.after(cell, change, "finished", item, now, in_doubt)[0]

    def has_due(self, cell: int, now: int) -> bool:
        """Something is to be committed. Asked of a copy: whoever looks for it forgets what has expired by then."""

        def asked(book: Book) -> bool:
            return bool(book.offsets.to_commit() or book.intents.unwritten(at(now)))

        return self.cells.after(cell, asked, "has_due", now)[1]

    def commit(self, cell: int, how: How, positions: tuple[int, int], now: int) -> tuple[int, Answered]:
        """One round of the committer."""

        def change(book: Book) -> Answered:
            consumer = _Consumer(how, positions)
            committer = self._committer(book, consumer, now)
            ok = self._run(committer.commit())
            book.take(committer)
            return Answered(ok, consumer.asked)

        return self.cells.after(cell, change, "commit", how, now)

    def intend(
        self,
        cell: int,
        item: Item,
        deadline: int,
        how: How,
        positions: tuple[int, int],
        now: int,
        *,
        may_send: bool,
        blind: bool,
    ) -> tuple[int, Answered]:
        """The fence before a write that leaves units open."""
        owner = self.owner(item, blind=blind)

        def change(book: Book) -> Answered:
            consumer = _Consumer(how, positions)
            fence = self._fence(book, consumer, now, may_send=may_send)
            ok = self._run(fence.intend(cast("Any", None), cast("Any", None), at(deadline), cast("Any", owner)))
            book.take(fence._committer)
            return Answered(ok, consumer.asked)

        return self.cells.after(cell, change, "intend", item, deadline, how, now, may_send, blind, positions)

    def found(self, cell: int, order: str, now: int) -> FoundIntent | None:
        """What an earlier owner may have sent for this order."""
        return self.cells.look(cell).intents.found(order, at(now))

    def believe_from(self, committed: tuple[tuple[int, str], tuple[int, str]], now: int) -> float:
        """Of an assignment that begins now."""
        inherited = any(offset >= 0 for offset, _ in committed)
        fence = self._fence(Book(), _Consumer("taken", (0, 0)), now, may_send=True, taken_at=now, inherited=inherited)
        return fence.believe_from

    def owned_until(self, cell: int, taken_at: int, now: int, *, may_send: bool) -> float:
        """Of the present assignment, which began at `taken_at`."""
        book = self.cells.look(cell)
        return self._fence(book, _Consumer("taken", (0, 0)), now, may_send=may_send, taken_at=taken_at).owned_until

    def silent_since(self, cell: int, taken_at: int) -> float:
        """Epoch seconds: from then on the group may not have heard of this worker."""
        return max(at(taken_at), self.cells.look(cell).taken_at)

    def calmed(self, cell: int, now: int) -> int:
        """Time has passed up to `now`: mirrors the timer that calls `Committer._tell_again`."""
        book = self.cells.look(cell)
        if not at(now - 1) < book.calm_at <= at(now):
            return cell
        return self.cells.after(cell, lambda book: book.intents.all_doubtful(), "calmed", now)[0]

    def _fence(
        self,
        book: Book,
        consumer: _Consumer,
        now: int,
        *,
        may_send: bool,
        taken_at: int = 0,
        inherited: bool = True,
    ) -> IntakeFence:
        assignment = _Assignment(may_send=may_send, taken_at=at(taken_at), inherited=inherited)
        return IntakeFence(
            cast("Any", assignment), self._committer(book, consumer, now), book.offsets, SETTINGS.topics, Hand(now),
            METRICS, consumer=lambda: cast("Any", consumer), session_s=SETTINGS.kafka.session_timeout_seconds,
        )  # fmt: skip

    @staticmethod
    def _committer(book: Book, consumer: _Consumer, now: int) -> Committer:
        committer = Committer(
            lambda: cast("Any", consumer), book.offsets, METRICS, 5.0, intents=book.intents, clock=Hand(now)
        )
        book.lend(committer)
        return committer

    def _run(self, coroutine: Any) -> Any:
        return self._loop.run_until_complete(coroutine)


def text_key(text: str, now: int) -> Hashable:
    """All that matters of commit metadata."""
    deadlines, problem = read_intents(text)
    assert problem is None
    return tuple(sorted((mark, _deadline(deadline, now)) for mark, deadline in deadlines.items()))


def _deadline(epoch_s: float, now: int) -> float:
    # Whoever finds it doubts old reads for as long again as a call may take (`Handling._heed_intent`).
    return since_or_until(epoch_s, now, 1)


def _whole(book: Book, now: int) -> Hashable:
    return (
        _plain(book.offsets._partitions, now),
        _plain(book.intents._partitions, now),
        until(book.taken_at, now),
        until(book.calm_at, now),
        book.unanswered,
    )


def live(book: Book, now: int) -> Hashable:
    """All of a book that anything asks from `now` on; what is left out says why nothing asks it."""
    return (
        tuple(
            (
                tuple(offset for offset, _ in one.started),
                tuple(sorted(one.done)),
                one.next_offset,
                # `to_commit` asks only whether it differs, and a commit that is taken makes both the same.
                one.next_offset not in (None, one.committed),
                # `resume_at` looks at it only where nothing is started or finished; `found` sets it only then, too.
                one.found if one.next_offset is None and not one.started else None,
            )
            for _, one in sorted(book.offsets._partitions.items())
        ),
        tuple(
            (
                tuple(
                    (cast("Owner", owner).item, _deadline(run.deadline, now), _maybe(run.written, now), run.is_written)
                    for owner, run in one.running.items()
                ),
                tuple(
                    (mark, _deadline(ended.deadline, now), until(ended.expires_at, now), ended.offset)
                    for mark, ended in sorted(one.ended.items())
                ),
                tuple((mark, found_key(found, now)) for mark, found in sorted(one.found.items())),
                # Only ended ones are compared with it, and what ends later lies behind it.
                one.resume_at if one.ended else None,
                None if one.written is None else text_key(one.written, now),
                one.known,
            )
            for _, one in sorted(book.intents._partitions.items())
        ),
        until(book.taken_at + SESSION * TICK_S, now),
        until(book.calm_at, now),
        book.unanswered,
    )


def found_key(found: FoundIntent | None, now: int) -> Hashable:
    """All that matters of what an earlier owner left behind: how long it is heeded, and has reads doubted.

    `Intents._expiry` and `Handling._heed_intent` say so. (Whether it was found after a delivery came into memory is
    part of the delivery: `Held.blind`.)
    """
    if found is None:
        return None
    timing = SETTINGS.timing
    expiry = max(found.deadline, found.found_at) + timing.call_timeout_seconds + timing.read_lag_seconds
    doubted = max(found.deadline + timing.call_timeout_seconds, found.found_at) + timing.read_lag_seconds
    # Its deadline is told on, to the next owner.
    return until(expiry, now), until(doubted, now), _deadline(found.deadline, now)


def _maybe(epoch_s: float | None, now: int) -> float | None:
    return None if epoch_s is None else _deadline(epoch_s, now)


def _plain(thing: Any, now: int) -> Hashable:
    """All that is in a thing, with times as seconds left."""
    if isinstance(thing, Owner):
        return thing.item
    if isinstance(thing, float):
        return until(thing, now)
    if isinstance(thing, str):
        return text_key(thing, now) if thing.startswith("order-sync-intents/") else thing
    if isinstance(thing, dict):
        return tuple(sorted((repr(_plain(key, now)), _plain(value, now)) for key, value in thing.items()))
    if isinstance(thing, set):
        return tuple(sorted(thing))
    if isinstance(thing, list | tuple | deque):
        return tuple(_plain(one, now) for one in thing)
    if is_dataclass(thing):
        return tuple(_plain(getattr(thing, one.name), now) for one in fields(thing))
    assert thing is None or isinstance(thing, int), thing
    return thing
