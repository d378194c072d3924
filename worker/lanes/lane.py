"""One lane: entries that have their turns one after another, linked so that any of them is taken out at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from worker.lanes.gates import Hold

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Entry(Generic[T]):
    """One item in its lane, and what the scheduling needs to know of it."""

    item: T
    lane: str
    gates: tuple[str, ...] = ()
    """A turn is given only when all of them admit it."""
    group: str = ""
    """Whose share of the window it uses."""
    size: int = 0
    """Bytes, for the window."""
    passes: bool = False
    """It may overtake entries of its lane that let others pass (a shipment, before a cancel that waits for it)."""
    may_stay: bool = False
    """It is not to leave only because it was put behind one that is leaving."""
    since: float = 0.0
    """Epoch seconds when it began to wait in memory."""
    age: float = 0.0
    """Epoch seconds when what it is about happened: of those that a gate holds the oldest comes first."""
    held_by: Hold | None = None
    """Why its gate did not admit it when that was looked at last, since `held_since`."""
    held_since: float = 0.0
    waited: dict[Hold, float] = field(default_factory=dict)
    """Seconds it waited at gates, by why."""
    ready_at: float = 0.0
    lets_pass: bool = False
    """Set while it waits for something that stands behind it."""
    evicted: bool = False
    """It is to leave: its next turn comes regardless of gates and times."""
    evicted_turn: bool = False
    """Its present turn was given because it is evicted: no gate was asked."""
    running: bool = False
    gone: bool = False
    took: tuple[str, ...] = ()
    """Gates that count its present turn."""
    watched: bool = False
    """Stands in the queue of those that may be stuck."""
    before: Entry[T] | None = None
    behind: Entry[T] | None = None


@dataclass(slots=True, eq=False)
class Lane(Generic[T]):
    """The queue of one name, and where it stands in the queues of lanes."""

    name: str
    first: Entry[T] | None = None
    last: Entry[T] | None = None
    running: Entry[T] | None = None
    listed: bool = False
    """Stands in the queue of lanes to look at."""
    leaving: bool = False
    """Stands in the queue of lanes with something evicted to look at."""
    held: tuple[str, ...] = ()
    """Gates in whose queues it stands."""
    groups: tuple[str, ...] = ()
    """Groups its entries were of."""
    evicted: int = 0
    evicted_passing: int = 0
    _passing: deque[Entry[T]] | None = None
    """Those that may pass the first one, once it lets them."""

    def __iter__(self) -> Iterator[Entry[T]]:
        entry = self.first
        while entry is not None:
            behind = entry.behind
            yield entry
            entry = behind

    def append(self, entry: Entry[T]) -> None:
        """Put an entry at the end."""
        entry.before = self.last
        if self.last is None:
            self.first = entry
        else:
            self.last.behind = entry
        self.last = entry
        if entry.passes and self._passing is not None:
            self._passing.append(entry)

    def remove(self, entry: Entry[T]) -> None:
        """Take an entry out. Whoever becomes the first and lets pass is ready at once: what it waited for may be it."""
        before, behind = entry.before, entry.behind
        entry.before = entry.behind = None
        if before is None:
            self.first = behind
            self._passing = None
        else:
            before.behind = behind
        if behind is None:
            self.last = before
        else:
            behind.before = before
        if self.running is entry:
            self.running = None
        self._count_evicted(entry, -entry.evicted)
        entry.running = False
        entry.gone = True
        if self.first is not None and self.first.lets_pass:
            self.first.ready_at = 0.0

    def candidates(self) -> Iterator[Entry[T]]:
        """Who may have the next turn, in this order: the first one, and whoever may pass the ones before it."""
        first = self.first
        if first is None:
            return
        yield first
        if not first.lets_pass:
            return
        if self._passing is None:
            self._passing = deque(entry for entry in self if entry.passes and entry is not first)
        while self._passing and self._passing[0].gone:
            self._passing.popleft()
        for entry in self._passing:
            if not entry.gone:
                yield entry
                if not entry.lets_pass:
                    return

    def evict(self, entry: Entry[T]) -> list[Entry[T]]:
        """Mark an entry, and all behind it that may not pass it, as evicted; returns those that were not yet."""
        marked: list[Entry[T]] = []
        stays = self.first is not None and self.first.lets_pass
        one: Entry[T] | None = entry
        while one is not None:
            if one is entry or not (one.passes and stays):
                # What passes the first one is not passed itself, unless it lets pass, too.
                stays = stays and (one is self.first or not one.passes or one.lets_pass)
                if not one.evicted:
                    one.evicted = True
                    self._count_evicted(one, 1)
                    marked.append(one)
            one = one.behind
        return marked

    def stands_behind_evicted(self, entry: Entry[T]) -> bool:
        """True if an entry at the end of the lane may not pass one that is evicted."""
        if entry.passes and self.first is not None and self.first.lets_pass:
            return self.evicted_passing > (self.first.evicted and self.first.passes)
        return self.evicted > 0

    def keep(self, entry: Entry[T]) -> None:
        """It is not evicted any more."""
        self._count_evicted(entry, -entry.evicted)
        entry.evicted = False

    def _count_evicted(self, entry: Entry[T], more: int) -> None:
        self.evicted += more
        if entry.passes:
            self.evicted_passing += more
