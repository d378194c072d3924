"""Breadth first through all states: the shortest way to what is wrong, and whether every state can still end well."""

from __future__ import annotations

import time
from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tests.explore.judge import Judge
from tests.explore.keys import Keys
from tests.explore.moves import Moves
from tests.explore.stories import Story
from tests.explore.world import World

BOUND: Final = 10_000_000
"""States: at some 350 bytes each; the largest story has 4.4 million."""
_ROOT: Final = 0
_PROGRESS: Final = 100_000


@dataclass
class Found:
    """What a search came to."""

    story: str
    faults: int
    states: int = 0
    transitions: int = 0
    ends: int = 0
    depth: int = 0
    ticks: int = 0
    seconds: float = 0.0
    broken: str = ""
    """The promise that is not kept; empty: all are."""
    trace: list[str] = field(default_factory=list)
    is_complete: bool = False

    @property
    def ok(self) -> bool:
        """Everything was searched, and nothing is wrong."""
        return self.is_complete and not self.broken


class Search:
    """One story with so many faults."""

    def __init__(
        self,
        story: Story,
        *,
        faults: int,
        bound: int = BOUND,
        wrong: frozenset[str] = frozenset(),
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._moves = Moves(story, wrong)
        self._judge = Judge(story)
        self._keys = Keys(story, self._moves.ledger, self._moves.queues, self._moves.rooms)
        self._bound = bound
        self._tell = tell
        self._seen: dict[bytes, int] = {}
        self._parents = array("I")
        self._steps = array("B")
        """Which of its parent's moves led here."""
        self._edges_from = array("I")
        self._edges_to = array("I")
        self._good = array("I")
        self.found = Found(story.name, faults)

    def run(self) -> Found:
        """Search everything, or up to the first broken promise."""
        began = time.monotonic()
        try:
            self._search(self._moves.first(self.found.faults))
        finally:
            self._moves.ledger.close()
        self.found.states = len(self._parents)
        self.found.seconds = round(time.monotonic() - began, 1)
        return self.found

    def _search(self, first: World) -> None:
        found = self.found
        self._seen[self._keys.of(first)] = _ROOT
        self._parents.append(_ROOT)
        self._steps.append(0)
        todo = deque([(_ROOT, first, 0)])
        while todo:
            number, world, depth = todo.popleft()
            found.depth, found.ticks = depth, max(found.ticks, world.now)
            moves = self._moves.of(world)
            if all(move.fault for move in moves):
                unfinished = self._judge.unfinished(world)
                if unfinished:
                    self._break(f"nothing goes on: {unfinished}", number)
                    return
                found.ends += 1
                self._good.append(number)
            for step, move in enumerate(moves):
                found.transitions += 1
                key = self._keys.of(move.world)
                known = self._seen.get(key)
                is_new = known is None
                if known is None:
                    known = self._seen[key] = len(self._parents)
                    self._parents.append(number)
                    self._steps.append(step)
                if not move.fault:
                    self._edges_from.append(number)
                    self._edges_to.append(known)
                broken = move.broken or (self._judge.broken(move.world) if is_new else "")
                if broken:
                    self._break(broken, number, step)
                    return
                if is_new:
                    todo.append((known, move.world, depth + 1))
            if len(self._parents) > self._bound:
                return
            if found.transitions % _PROGRESS < len(moves):
                self._tell(f"{found.story}: {len(self._parents):,} states, {len(todo):,} to look at")
        found.is_complete = True
        self._seen.clear()
        stuck = self._stuck()
        if stuck is not None:
            self._break("from here nothing ends well any more, though nothing else goes wrong", stuck)

    def _stuck(self) -> int | None:
        """The first state from which no end is reached without another fault."""
        states = len(self._parents)
        starts = array("L", bytes(8 * (states + 1)))
        for to in self._edges_to:
            starts[to + 1] += 1
        for state in range(states):
            starts[state + 1] += starts[state]
        sources, filled = array("I", bytes(4 * len(self._edges_to))), array("L", starts)
        for source, to in zip(self._edges_from, self._edges_to, strict=True):
            sources[filled[to]] = source
            filled[to] += 1
        good, todo = bytearray(states), list(self._good)
        for state in todo:
            good[state] = 1
        while todo:
            state = todo.pop()
            for edge in range(starts[state], starts[state + 1]):
                source = sources[edge]
                if not good[source]:
                    good[source] = 1
                    todo.append(source)
        first_bad = good.find(0)
        return None if first_bad < 0 else first_bad

    def _break(self, what: str, number: int, step: int | None = None) -> None:
        self.found.broken = what
        steps = [] if step is None else [step]
        while number != _ROOT:
            steps.append(self._steps[number])
            number = self._parents[number]
        world = self._moves.first(self.found.faults)
        for taken in reversed(steps):
            move = self._moves.of(world)[taken]
            self.found.trace.append(str(move))
            world = move.world
