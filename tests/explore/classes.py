"""Are states that are taken for the same the same? Whole small searches, once without any such doubt.

There two states are one only if everything in them is equal: workers have names, times are absolute, and nothing is
left out. Of these states the classes are found that no sequence of steps could ever tell apart (bisimulation: begin
with what is visible, and split until all states of a class have steps to the same classes). `Keys` may give the same
key only to states of one class: then the search over keys meets every promise broken and every end that the other one
meets, at the same distance.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import NamedTuple

from tests.explore.judge import Judge
from tests.explore.keys import Keys
from tests.explore.moves import Moves
from tests.explore.stories import Story
from tests.explore.world import World


class Compared(NamedTuple):
    """What a comparison came to."""

    exact: int
    """States where only equal ones are the same."""
    keys: int
    """And by `Keys`."""
    mistaken: int
    """States whose key is that of a state that can be told apart from them."""
    ends: frozenset[str]
    """What is wrong where nothing goes on, and what breaks, of all exact states; the empty one is a good end."""


def compare(story: Story, *, faults: int, wrong: frozenset[str] = frozenset()) -> Compared:
    """Search without keys, then look at what keys would have made of it."""
    moves, judge = Moves(story, wrong), Judge(story)
    try:
        worlds, steps = _searched(moves, moves.first(faults))
        keys = Keys(story, moves.ledger, moves.queues, moves.rooms)
        seen = [keys.of(world) for world in worlds]
    finally:
        moves.ledger.close()
    ended = [all(fault for _, fault, _ in step) for step in steps]
    verdicts = [
        judge.broken(world) or (judge.unfinished(world) if end else "going on")
        for world, end in zip(worlds, ended, strict=True)
    ]
    classes = _classes([(world.order, verdict) for world, verdict in zip(worlds, verdicts, strict=True)], steps)
    first = {key: number for number, key in reversed(list(zip(classes, seen, strict=True)))}
    mistaken = sum(first[key] != number for number, key in zip(classes, seen, strict=True))
    return Compared(len(worlds), len(first), mistaken, frozenset(verdicts) - {"going on"})


def outcomes(moves: Moves, story: Story, *, faults: int) -> tuple[int, frozenset[Hashable]]:
    """How many states there are, and all that may come of it: every end as people see it, and every broken promise."""
    judge = Judge(story)
    try:
        keys = Keys(story, moves.ledger, moves.queues, moves.rooms)
        first = moves.first(faults)
        seen, todo, found = {keys.of(first)}, [first], set[Hashable]()
        for world in todo:
            every = moves.of(world)
            broken = judge.broken(world)
            if broken:
                found.add(broken)
            if all(move.fault for move in every):
                offsets = tuple(offset for offset, _ in world.committed)
                found.add((world.order, world.results, offsets, judge.unfinished(world)))
            for move in every:
                if move.broken:
                    found.add(move.broken)
                key = keys.of(move.world)
                if key not in seen:
                    seen.add(key)
                    todo.append(move.world)
    finally:
        moves.ledger.close()
    return len(seen), frozenset(found)


Steps = frozenset[tuple[int, bool, str]]
"""Of one state: where each leads, whether it is a fault, and what it breaks."""


def _searched(moves: Moves, first: World) -> tuple[list[World], list[Steps]]:
    numbers, worlds, steps = {first: 0}, [first], list[Steps]()
    for world in worlds:
        every = moves.of(world)
        for move in every:
            if move.world not in numbers:
                numbers[move.world] = len(worlds)
                worlds.append(move.world)
        steps.append(frozenset((numbers[move.world], move.fault, move.broken) for move in every))
    return worlds, steps


def _classes(visible: Iterable[Hashable], steps: list[Steps]) -> list[int]:
    """The class of each state."""
    classes = _numbered(visible)
    count = len(set(classes))
    while True:
        classes = _numbered(
            (classes[state], frozenset((classes[to], fault, broken) for to, fault, broken in step))
            for state, step in enumerate(steps)
        )
        if len(set(classes)) == count:
            return classes
        count = len(set(classes))


def _numbered(things: Iterable[Hashable]) -> list[int]:
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(thing, len(numbers)) for thing in things]
