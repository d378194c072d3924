"""Entries by time: the earliest first, those whose time does not count any more left out."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import Generic, TypeVar

from worker.lanes.lane import Entry

T = TypeVar("T")


class Timers(Generic[T]):
    """A heap of (epoch seconds, entry). `is_void` says of one whether it can be forgotten."""

    def __init__(self, is_void: Callable[[float, Entry[T]], bool]) -> None:
        self._heap: list[tuple[float, int, Entry[T]]] = []
        self._sequence = itertools.count()
        self._is_void = is_void

    def __len__(self) -> int:
        return len(self._heap)

    def push(self, at: float, entry: Entry[T]) -> None:
        """Note an entry for a time."""
        heapq.heappush(self._heap, (at, next(self._sequence), entry))

    def pop_until(self, now: float) -> Entry[T] | None:
        """Take out the earliest entry that is not void and whose time is not later than `now`."""
        while self._heap and self._heap[0][0] <= now:
            at, _, entry = heapq.heappop(self._heap)
            if not self._is_void(at, entry):
                return entry
        return None

    def next_at(self) -> float | None:
        """The earliest time that counts; None when there is none."""
        while self._heap and self._is_void(self._heap[0][0], self._heap[0][2]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def set_back(self, seconds: float) -> None:
        """All times are so much earlier."""
        self._heap = [(at - seconds, sequence, entry) for at, sequence, entry in self._heap]

    def sweep(self, above: int) -> None:
        """Forget what is void, if there are more than `above`: it would keep its entry in memory until its time."""
        if len(self._heap) > above:
            self._heap = [one for one in self._heap if not self._is_void(one[0], one[2])]
            heapq.heapify(self._heap)
