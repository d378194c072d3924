"""A heap of rows by time that forgives rows which are gone. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from worker.parked.unfinished import Stage, Unfinished


class Timers:
    """Rows by a time. A row may stand here more than once, and stays until it is met or swept out."""

    __slots__ = ("_heap",)

    def __init__(self) -> None:
        # Of two rows with one time the older place comes first (`Unfinished.__lt__`).
        self._heap: list[tuple[float, Unfinished]] = []

    def __len__(self) -> int:
        return len(self._heap)

    def push(self, at: float, row: Unfinished) -> None:
        """Note a row. O(log n)."""
        heapq.heappush(self._heap, (at, row))

    def first(self, wanted: Callable[[Unfinished], bool]) -> tuple[float, Unfinished] | None:
        """The earliest row that is still `wanted`, left where it is; those before it are dropped."""
        heap = self._heap
        while heap and not wanted(heap[0][1]):
            heapq.heappop(heap)
        return heap[0] if heap else None

    def pop(self) -> Unfinished:
        """Take the earliest one out. O(log n)."""
        return heapq.heappop(self._heap)[1]

    def sweep(self) -> None:
        """Forget the rows that are gone: they would be kept in memory until their time."""
        self._heap = [entry for entry in self._heap if entry[1].stage is not Stage.GONE]
        heapq.heapify(self._heap)
