"""The product's own objects as parts of a state: never changed once they are kept, and changed copies are remembered.

A cell is the number of an object. What an operation makes of it, and answers, is computed once on a deep copy.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Numbers:
    """A number for each different thing: what is equal has the same one."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}

    def of(self, thing: Hashable) -> int:
        """Its number."""
        return self._numbers.setdefault(thing, len(self._numbers))

    def __len__(self) -> int:
        return len(self._numbers)


class Cells(Generic[T]):
    """Objects of one kind. `seen_from`: all that matters of one, at a tick, with times as seconds left."""

    def __init__(self, seen_from: Callable[[T, int], Hashable]) -> None:
        self._seen_from = seen_from
        self._objects: list[T] = []
        self._known: dict[Hashable, int] = {}
        self._after: dict[Hashable, tuple[int, Any]] = {}
        self._keys: dict[tuple[int, int], int] = {}
        self._numbers = Numbers()

    def keep(self, thing: T) -> int:
        """Its cell. It must not be changed any more."""
        # Seen from the first tick: no time is left out, as long as it lies ahead of that.
        key = self._seen_from(thing, _LONG_AGO)
        cell = self._known.get(key)
        if cell is None:
            cell = self._known[key] = len(self._objects)
            self._objects.append(thing)
        return cell

    def look(self, cell: int) -> T:
        """The object, to be looked at only."""
        return self._objects[cell]

    def after(self, cell: int, change: Callable[[T], R], *named: Hashable) -> tuple[int, R]:
        """The cell after a change, and what the change returned. `named`: whatever tells this change from others."""
        key = (cell, named)
        known = self._after.get(key)
        if known is None:
            thing = copy.deepcopy(self._objects[cell])
            answer = change(thing)
            known = self._after[key] = (self.keep(thing), answer)
        return known

    def key(self, cell: int, now: int) -> int:
        """The same number for all that cannot be told apart from `now` on."""
        known = self._keys.get((cell, now))
        if known is None:
            known = self._keys[cell, now] = self._numbers.of(self._seen_from(self._objects[cell], now))
        return known

    def __len__(self) -> int:
        return len(self._objects)


_LONG_AGO = -10
