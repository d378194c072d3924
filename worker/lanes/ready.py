"""Which lane is looked at next: those where something changed, and those whose gate may admit a turn again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Generic, TypeVar

from worker.lanes.gates import Gates
from worker.lanes.held import Held
from worker.lanes.lane import Lane

T = TypeVar("T")

_NONE: Final[Mapping[str, float]] = MappingProxyType({})


class Ready(Generic[T]):
    """Lanes to look at, in the order in which they were put; those that are held wait until their gate is heard of."""

    def __init__(self, gates: Gates) -> None:
        self._gates = gates
        self._lanes: deque[Lane[T] | str] = deque()
        """A gate's name stands for the lanes it holds."""
        self._leaving: deque[Lane[T]] = deque()
        self._held: Held[T] = Held()
        self._admitting: set[str] = set()
        """Gates that stand in `_lanes`."""
        self.wake: Callable[[], None] = lambda: None
        """Called when there may be a lane to look at."""
        gates.listen(self._may_admit, every_turn=True)
        gates.sooner = lambda: self.wake()

    @property
    def anything_held(self) -> bool:
        """True while a gate holds a lane."""
        return len(self._held) > 0

    def put(self, lane: Lane[T]) -> None:
        """The lane is to be looked at, unless one of its entries runs: then it is put when that turn ends."""
        if lane.running is not None:
            return
        if not lane.listed:
            lane.listed = True
            self._lanes.append(lane)
        if lane.evicted and not lane.leaving:
            lane.leaving = True
            self._leaving.append(lane)
        self.wake()

    def hold(self, lane: Lane[T], ages: Mapping[str, float] = _NONE) -> None:
        """Exactly these gates hold the lane: it is looked at when one of them may admit a turn, the oldest first.

        `ages`: gate -> since when (epoch seconds) the entry that it holds is awaited.
        """
        self._held.put(lane, ages)

    def held_at(self, gate: str) -> int:
        """Lanes that a gate holds."""
        return self._held.waiting(gate)

    def next(self, now: float) -> Lane[T] | None:
        """The next lane to look at."""
        while self._lanes:
            lane = self._lanes.popleft()
            if isinstance(lane, str):
                self._admit(lane, now)
            else:
                lane.listed = False
                if lane.running is None:
                    return lane
        return None

    def next_leaving(self) -> Lane[T] | None:
        """The next lane to look at for something evicted."""
        while self._leaving:
            lane = self._leaving.popleft()
            lane.leaving = False
            if lane.running is None:
                return lane
        return None

    def _may_admit(self, gate: str) -> None:
        if gate in self._held and gate not in self._admitting:
            self._admitting.add(gate)
            # In front: what it holds waits longest, and where it is one turn at a time it delays nobody.
            self._lanes.appendleft(gate)
            self.wake()

    def _admit(self, gate: str, now: float) -> None:
        self._admitting.discard(gate)
        if gate not in self._held or self._gates.admits((gate,), now) is not None:
            # Whatever makes it admit a turn again is told.
            self._gates.rations.await_turn(gate, now)
            return
        if not self._gates.is_one_by_one(gate):
            while gate in self._held:
                self.put(self._held.pop(gate))
            return
        lane = self._held.pop(gate)
        # If another gate holds that one, the turn is the next one's.
        self._may_admit(gate)
        if not lane.listed:
            lane.listed = True
            self._lanes.appendleft(lane)
