"""Whose turn it is: one queue per lane, retry times, gates. Pure: the time is passed in, nothing here waits.

A lane is a name (an order); its entries have their turns one after another. A gate is a name, too (an account):
while it is closed no entry behind it is given a turn. What a lane or a gate means is not known here.

    add ──▶ queued ──take──▶ running ──settle──▶ gone
               ▲                │
               └──── retry ─────┘   (not before a time; may let some of those behind it pass)
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Entry(Generic[T]):
    """One item in its lane, and what the scheduling needs to know of it."""

    item: T
    lane: str
    gates: tuple[str, ...] = ()
    """A turn is given only while all of them are open."""
    size: int = 0
    """Bytes, for the window."""
    passes: bool = False
    """It may overtake entries of its lane that let others pass (a shipment, before a cancel that waits for it)."""
    ready_at: float = 0.0
    lets_pass: bool = False
    """Set while it waits for something that stands behind it."""
    running: bool = False
    gone: bool = False


@dataclass(slots=True, eq=False)
class _Lane(Generic[T]):
    entries: deque[Entry[T]] = field(default_factory=deque)
    running: Entry[T] | None = None
    listed: bool = False
    """Stands in the ready queue."""


class Lanes(Generic[T]):
    """All lanes of a worker. Every operation is O(1) or O(log n) in the number of entries, lanes and gates."""

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane[T]] = {}
        self._ready: deque[str] = deque()
        self._timers: list[tuple[float, int, Entry[T]]] = []
        self._sequence = itertools.count()
        self._closed: set[str] = set()
        self._held: dict[str, set[str]] = {}
        self.size = 0
        """Bytes of all entries."""
        self.count = 0
        """Entries in all lanes, the running ones included."""

    def __len__(self) -> int:
        return len(self._lanes)

    def __iter__(self) -> Iterator[Entry[T]]:
        for lane in self._lanes.values():
            yield from lane.entries

    def add(self, entry: Entry[T]) -> None:
        """Put an entry at the end of its lane."""
        lane = self._lanes.get(entry.lane)
        if lane is None:
            lane = self._lanes[entry.lane] = _Lane()
        lane.entries.append(entry)
        self.count += 1
        self.size += entry.size
        self._list(entry.lane, lane)

    def take(self, now: float) -> Entry[T] | None:
        """Give the next turn, or None when nobody is ready. The entry runs until `settle` or `retry`."""
        self._ring(now)
        while self._ready:
            name = self._ready.popleft()
            lane = self._lanes.get(name)
            if lane is None:
                continue
            lane.listed = False
            if lane.running is not None:
                continue
            entry = self._choose(name, lane, now)
            if entry is not None:
                entry.running = True
                lane.running = entry
                return entry
        return None

    def settle(self, entry: Entry[T]) -> None:
        """The entry is done: it leaves its lane, and whoever waited for it is looked at again at once."""
        lane = self._lanes.get(entry.lane)
        if lane is None or entry.gone:
            return
        self._remove(lane, entry)
        for waiting in lane.entries:
            if not waiting.lets_pass:
                break
            waiting.ready_at = 0.0
        self._after(entry.lane, lane)

    def retry(self, entry: Entry[T], *, at: float, lets_pass: bool = False) -> None:
        """The entry keeps its place in the lane and gets its next turn not before `at`."""
        lane = self._lanes.get(entry.lane)
        if lane is None or entry.gone:
            return
        entry.ready_at = at
        entry.lets_pass = lets_pass
        entry.running = False
        if lane.running is entry:
            lane.running = None
        heapq.heappush(self._timers, (at, next(self._sequence), entry))
        self._list(entry.lane, lane)

    def drop(self, wanted: Callable[[Entry[T]], bool]) -> list[Entry[T]]:
        """Forget every entry that is not running and that is `wanted`; return them."""
        dropped: list[Entry[T]] = []
        for name, lane in list(self._lanes.items()):
            for entry in [entry for entry in lane.entries if not entry.running and wanted(entry)]:
                self._remove(lane, entry)
                dropped.append(entry)
            self._after(name, lane)
        if dropped:
            # A timer would keep its entry in memory until it is due.
            self._timers = [timer for timer in self._timers if not timer[2].gone]
            heapq.heapify(self._timers)
        return dropped

    def close(self, gate: str) -> None:
        """Give no turn behind this gate until it opens."""
        self._closed.add(gate)

    def open(self, gate: str) -> None:
        """Open the gate: everything held by it is looked at again."""
        self._closed.discard(gate)
        for name in self._held.pop(gate, ()):
            lane = self._lanes.get(name)
            if lane is not None:
                self._list(name, lane)

    @property
    def closed_gates(self) -> frozenset[str]:
        """Names of the gates that are closed."""
        return frozenset(self._closed)

    def next_at(self) -> float | None:
        """When the earliest retry is due; None when none is pending. What is ready now is not counted."""
        while self._timers and (self._timers[0][2].gone or self._timers[0][2].running):
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def _ring(self, now: float) -> None:
        while self._timers and self._timers[0][0] <= now:
            _, _, entry = heapq.heappop(self._timers)
            lane = self._lanes.get(entry.lane)
            if lane is not None and not entry.gone:
                self._list(entry.lane, lane)

    def _choose(self, name: str, lane: _Lane[T], now: float) -> Entry[T] | None:
        overtaking = False
        for entry in lane.entries:
            if overtaking and not entry.passes:
                continue
            if entry.ready_at <= now:
                gate = next((gate for gate in entry.gates if gate in self._closed), None)
                if gate is None:
                    return entry
                self._held.setdefault(gate, set()).add(name)
                return None
            if not entry.lets_pass:
                return None
            overtaking = True
        return None

    def _remove(self, lane: _Lane[T], entry: Entry[T]) -> None:
        if lane.entries and lane.entries[0] is entry:
            lane.entries.popleft()
        else:
            lane.entries.remove(entry)
        if lane.running is entry:
            lane.running = None
        entry.running = False
        entry.gone = True
        self.count -= 1
        self.size -= entry.size

    def _after(self, name: str, lane: _Lane[T]) -> None:
        if lane.entries:
            self._list(name, lane)
        else:
            del self._lanes[name]
            for held in self._held.values():
                held.discard(name)

    def _list(self, name: str, lane: _Lane[T]) -> None:
        if not lane.listed and lane.running is None:
            lane.listed = True
            self._ready.append(name)
