"""Lanes that gates hold: one queue per gate, in the order in which they came there."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

from worker.lanes.lane import Lane

T = TypeVar("T")


class Held(Generic[T]):
    """A lane may stand in several queues: its first entry in one, one that may pass that in another."""

    def __init__(self) -> None:
        self._queues: dict[str, OrderedDict[str, Lane[T]]] = {}

    def __len__(self) -> int:
        return len(self._queues)

    def __contains__(self, gate: str) -> bool:
        return gate in self._queues

    def put(self, lane: Lane[T], gates: tuple[str, ...]) -> None:
        """Let the lane stand in the queues of exactly these gates; where it stands already it keeps its place."""
        for name in lane.held:
            if name not in gates:
                queue = self._queues[name]
                del queue[lane.name]
                if not queue:
                    del self._queues[name]
        for name in gates:
            if name not in lane.held:
                self._queues.setdefault(name, OrderedDict())[lane.name] = lane
        lane.held = gates

    def pop(self, gate: str) -> Lane[T]:
        """Take the lane that waits longest out of the gate's queue."""
        lane = next(iter(self._queues[gate].values()))
        self.put(lane, tuple(name for name in lane.held if name != gate))
        return lane
