"""Lanes that gates hold: one queue per gate, the oldest entry first."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Mapping
from typing import Generic, TypeVar

from worker.lanes.lane import Lane

T = TypeVar("T")


class _Queue(Generic[T]):
    """A heap of (age, in turn, lane). What left meanwhile is forgotten when it comes up, or when it is half of all."""

    __slots__ = ("heap", "places")

    def __init__(self) -> None:
        self.heap: list[tuple[float, int, Lane[T]]] = []
        self.places: dict[str, int] = {}
        """Lane -> its present place."""

    def put(self, lane: Lane[T], age: float, place: int) -> None:
        self.places[lane.name] = place
        heapq.heappush(self.heap, (age, place, lane))

    def remove(self, name: str) -> None:
        del self.places[name]
        if len(self.heap) > 2 * len(self.places) + 16:
            self.heap = [one for one in self.heap if self.places.get(one[2].name) == one[1]]
            heapq.heapify(self.heap)

    def first(self) -> Lane[T]:
        while self.places.get(self.heap[0][2].name) != self.heap[0][1]:
            heapq.heappop(self.heap)
        return self.heap[0][2]


class Held(Generic[T]):
    """A lane may stand in several queues: its first entry in one, one that may pass that in another."""

    def __init__(self) -> None:
        self._queues: dict[str, _Queue[T]] = {}
        self._turns = itertools.count()

    def __len__(self) -> int:
        return len(self._queues)

    def __contains__(self, gate: str) -> bool:
        return gate in self._queues

    def put(self, lane: Lane[T], ages: Mapping[str, float]) -> None:
        """Let the lane stand in the queues of exactly these gates; where it stands already it keeps its place.

        `ages`: gate -> since when (epoch seconds) the entry it holds is awaited; the oldest comes first, and of equally
        old ones whoever came there first.
        """
        for name in lane.held:
            if name not in ages:
                self._remove(lane, name)
        for name, age in ages.items():
            if name not in lane.held:
                self._queues.setdefault(name, _Queue()).put(lane, age, next(self._turns))
        lane.held = tuple(ages)

    def pop(self, gate: str) -> Lane[T]:
        """Take the lane with the oldest entry out of the gate's queue."""
        lane = self._queues[gate].first()
        self._remove(lane, gate)
        lane.held = tuple(name for name in lane.held if name != gate)
        return lane

    def waiting(self, gate: str) -> int:
        """Lanes in a gate's queue."""
        queue = self._queues.get(gate)
        return 0 if queue is None else len(queue.places)

    def _remove(self, lane: Lane[T], gate: str) -> None:
        queue = self._queues[gate]
        queue.remove(lane.name)
        if not queue.places:
            del self._queues[gate]
