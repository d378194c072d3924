"""Which states are the same: times are what is left of them, and the two workers have no names.

Left out is what is dead: what no step from here on asks, whatever comes next. Each omission says why. States that
differ only in what is dead have the same steps, to states that again differ only in what is dead, so one of them speaks
for all. `classes.py` checks that on whole small searches: nothing that is taken for the same could ever be told apart.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any, Final

from tests.explore.cells import Numbers
from tests.explore.ledger import Batch, Ledger, found_key, live, text_key
from tests.explore.memory import Held, Remembered
from tests.explore.queues import Queues
from tests.explore.stories import PO, Story
from tests.explore.timing import PARK_AFTER, SESSION, SETTINGS, at, since_or_until, until
from tests.explore.waiting_room import Letter, Letters, Rooms, newest
from tests.explore.world import NOBODY, Late, Turn, Worker, World
from worker.handling import Park, Result

_OLD: Final = 6
"""Ticks: nothing of a turn lies further ahead of its begin."""
_MOST: Final = 100_000


class _Known:
    """Numbers of parts of states, by the identity of the part: states share most of their parts."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, str], tuple[object, int]] = {}

    def of(self, part: object, now: int, kind: str, number: Callable[[], int]) -> int:
        """Its number. `kind`: what it is, and what else its number depends on."""
        key = (id(part), now, kind)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _MOST:
                self._known.clear()
            # The part is kept, too: its identity must not become another's.
            known = self._known[key] = (part, number())
        return known[1]


class Keys:
    """Keys of the states of one search."""

    def __init__(self, story: Story, ledger: Ledger, queues: Queues, rooms: Rooms) -> None:
        self._ledger, self._queues, self._rooms = ledger, queues, rooms
        self._numbers = Numbers()
        self._workers, self._parts = _Known(), _Known()
        self._guards = story.guards
        self._books: dict[tuple[int, int], int] = {}

    def of(self, world: World) -> bytes:
        """The same for states that cannot be told apart."""
        now, owner, part = world.now, world.owner, self._parts.of
        stays = _stays(world)
        one, other = (self._of_worker(world, who, stays=stays) for who in (0, 1))
        if one > other:
            one, other = other, one
            owner = owner if owner == NOBODY else 1 - owner
        elif one == other and owner != NOBODY:
            owner = 0
        if stays:
            letters = self._letters_of_last_owner(world)
            # Offsets are judged; what a new owner would read back with them is read by nobody.
            committed = self._numbers.of(tuple(offset for offset, _ in world.committed))
            commits = self._numbers.of(tuple((who, *((one[:2]) for one in batch)) for who, batch in world.commits))
        else:
            letters = part(world.letters, now, "letters", lambda: self._letters(world.letters, now))
            committed = part(world.committed, now, "committed", lambda: self._committed(world.committed, now))
            commits = part(world.commits, now, "commits", lambda: self._commits(world.commits, now))
        numbers = (
            one,
            other,
            committed,
            letters,
            part(world.results, 0, "results", lambda: self._numbers.of(world.results)),
            part(world.order, 0, "order", lambda: self._numbers.of(world.order)),
            part(world.views, 0, "views", lambda: self._numbers.of(world.views)),
            part(world.late, now, "late", lambda: self._late(world.late, now)),
            commits,
            world.published[0],
            world.published[1],
            world.faults,
            world.parks,
            owner + 1,
            stays,
            # Before that a guarded cancel only waits, and what is late is published and read; nothing else is as old.
            min(now, 2) if self._guards else 0,
        )
        return hashlib.blake2b(array("L", numbers).tobytes(), digest_size=16).digest()

    def _of_worker(self, world: World, who: int, *, stays: bool) -> int:
        worker, now = world.workers[who], world.now
        is_zombie = world.owner != who and worker.role == "own"
        if stays and worker.role == "idle":
            # It takes over nothing any more.
            return self._numbers.of("out")
        return self._workers.of(
            worker,
            now,
            "zombie" if is_zombie else "owner",
            lambda: self._numbers.of(self._worker(worker, now, is_zombie=is_zombie)),
        )

    def _worker(self, worker: Worker, now: int, *, is_zombie: bool) -> Hashable:
        # None of its commits is taken any more: of its book only what it found matters.
        book: Any = (
            found_key(self._ledger.found(worker.book, PO, now), now) if is_zombie else self._book(worker.book, now)
        )
        # Compared with when something was read, which may be as long ago as the turn's begin.
        asked = now if worker.turn is None else worker.turn.begun
        # A zombie reads nothing more and does nothing in the background; only a guarded cancel asks how far it read.
        return (
            worker.role,
            worker.blind,
            worker.stalled,
            until(at(worker.taken_at + SESSION), now),
            None if is_zombie and not self._guards else worker.positions,
            book,
            self._queues.cells.key(worker.lanes, now),
            self._rooms.cells.key(worker.table, now),
            worker.tail,
            self._all_held(worker, now),
            None if worker.turn is None else self._turn(worker.turn, now),
            self._memory(worker.memory, now),
            since_or_until(worker.believe_from, asked, _OLD),
            worker.news and not is_zombie,
        )

    def _book(self, book: int, now: int) -> int:
        known = self._books.get((book, now))
        if known is None:
            known = self._books[book, now] = self._numbers.of(live(self._ledger.cells.look(book), now))
        return known

    def _all_held(self, worker: Worker, now: int) -> Hashable:
        # What a turn began with is part of the turn, and it leaves something new, or nothing, behind.
        running = None if worker.turn is None else worker.turn.item
        return tuple(
            [(item, item != running and self._of_held(held, now, running=False)) for item, held in worker.held]
        )

    def _turn(self, turn: Turn, now: int) -> Hashable:
        # Times of a turn are told from its begin; its age only as long as any of them may lie ahead.
        number, begun = self._numbers.of, turn.begun
        return (
            turn.item,
            turn.is_concluding,
            # A conclusion does not ask how the attempt began.
            turn.evicted and not turn.is_concluding,
            min(now - begun, _OLD),
            self._of_held(turn.held, begun, running=not turn.is_concluding),
            self._memory(turn.memory, begun),
            tuple([(number(answer), tick - begun) for answer, tick in turn.history]),
            self._result(turn.result, begun),
        )

    def _letters_of_last_owner(self, world: World) -> int:
        """Nobody else reads the topic from its begin: of what the owner has read only its rows come up again."""
        worker, now = world.workers[world.owner], world.now
        rows = self._rooms.places(worker.table)
        kept = {offset for offset, _ in newest(world.letters).values()}
        each: list[Hashable] = []
        for offset, letter in enumerate(world.letters):
            if offset >= worker.tail or offset in rows:
                each.append(self._letter(letter, now))
            elif offset in kept:
                # Judged are its key, and whether it waits.
                each.append((letter.key, self._rooms.about(letter).state))
            else:
                each.append(None)
        return self._numbers.of(("last owner's", *each))

    def _result(self, result: Result | None, now: int) -> Hashable:
        if isinstance(result, Park):
            return result.why, until(result.until, now)
        return None if result is None else self._parts.of(result, 0, "result", lambda: self._numbers.of(result))

    def _committed(self, committed: tuple[tuple[int, str], tuple[int, str]], now: int) -> int:
        return self._numbers.of(("committed", *((offset, text_key(text, now)) for offset, text in committed)))

    def _letters(self, letters: Letters, now: int) -> int:
        return self._numbers.of(("letters", *[self._letter(letter, now) for letter in letters]))

    def _letter(self, letter: Letter, now: int) -> int:
        return self._parts.of(letter, now, "letter", lambda: self._numbers.of(self._rooms.letter_key(letter, now)))

    def _late(self, late: tuple[Late, ...], now: int) -> int:
        return self._numbers.of(("late", *((one.item, one.call, one.limit - now) for one in late)))

    def _commits(self, commits: tuple[tuple[int, Batch], ...], now: int) -> int:
        each = [
            (who, *((topic, offset, text_key(text, now)) for topic, offset, text in batch)) for who, batch in commits
        ]
        return self._numbers.of(("commits", *each))

    def _memory(self, memory: Remembered | None, now: int) -> Hashable:
        if memory is None:
            return None
        return self._parts.of(memory, now, "memory", lambda: self._numbers.of(_memory(memory, now)))

    def _of_held(self, held: Held, now: int, *, running: bool) -> int:
        return self._parts.of(
            held, now, "running" if running else "held", lambda: self._numbers.of(_held(held, now, running=running))
        )


def _stays(world: World) -> bool:
    """The owner cannot lose its partitions any more: nothing goes wrong from here on, and it neither stalls nor leaves.

    So nobody takes over again, nor reads back what was committed: it has done that itself.
    """
    if world.faults or world.owner == NOBODY:
        return False
    worker = world.workers[world.owner]
    return worker.role == "own" and not worker.stalled and not worker.blind


def _memory(memory: Remembered, now: int) -> Hashable:
    view = (memory.order, memory.until - at(now)) if memory.until >= at(now) else None
    saved = memory.saved
    fresh = saved is not None and at(now) - saved.asked_at <= SETTINGS.timing.order_fresh_seconds
    return "memory", view, (saved.order, saved.asked_at - at(now)) if saved is not None and fresh else None


def _held(held: Held, now: int, *, running: bool) -> Hashable:
    progress, unsettled = held.progress, held.progress.unsettled

    def left(time: float) -> float:
        # A running attempt compares these with when it asked; one to come asks later than now.
        return (time - at(now) if time else 0.0) if running else until(time, now)

    return (
        held.first_parked,
        until(held.next_try, now),
        held.barrier,
        held.blind,
        min(now - held.since, PARK_AFTER),
        held.again and (held.again.trouble, held.again.failure),
        progress.confirmed,
        unsettled and replace(unsettled, believe_at=left(unsettled.believe_at)),
        progress.doubted,
        progress.applied,
        tuple([(key, replace(refusal, final_at=left(refusal.final_at))) for key, refusal in progress.refused]),
        progress.one_by_one,
        # That there was one at all is a doubt that stays.
        progress.hold_until > 0,
        left(progress.hold_until),
        progress.read_twice,
    )
