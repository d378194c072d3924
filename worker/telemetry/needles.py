"""Whether a text holds one of many secrets: with thousands of accounts, looking for one after another takes too long.

Of each secret all pieces of eight characters that begin in its first four places are kept in a set. Wherever in a text
a secret stands, one of its pieces begins at a multiple of four there: looking up each fourth piece of the text finds
it, in time that depends on the text alone.
"""

from __future__ import annotations

from typing import AnyStr, Final, Generic

_FEW: Final = 16
"""So many are looked for one after another: that is faster then."""
_PIECE: Final = 8
_STRIDE: Final = 4
_SHORTEST: Final = _PIECE + _STRIDE - 1
"""A shorter one may lie between the pieces that are looked up."""


class Needles(Generic[AnyStr]):
    """Texts (or bytes) to be found in others. Each costs about half a kilobyte once there are many."""

    def __init__(self) -> None:
        self._all: set[AnyStr] = set()
        self._one_by_one: tuple[AnyStr, ...] = ()
        self._pieces: set[AnyStr] = set()
        self._longest_first: tuple[AnyStr, ...] | None = ()

    def __len__(self) -> int:
        return len(self._all)

    def add(self, needle: AnyStr) -> None:
        """Find this one, too, from now on. An empty one is found nowhere."""
        if not needle or needle in self._all:
            return
        self._all.add(needle)
        self._longest_first = None
        if len(self._all) <= _FEW:
            self._one_by_one += (needle,)
        elif len(self._all) == _FEW + 1:
            self._one_by_one = ()
            for each in self._all:
                self._keep(each)
        else:
            self._keep(needle)

    def _keep(self, needle: AnyStr) -> None:
        if len(needle) < _SHORTEST:
            self._one_by_one += (needle,)
        else:
            self._pieces.update(needle[at : at + _PIECE] for at in range(_STRIDE))

    def are_in(self, text: AnyStr) -> bool:
        """True if at least one of them is part of the text."""
        for needle in self._one_by_one:
            if needle in text:
                return True
        if not self._pieces:
            return False
        last = len(text) - _PIECE + 1
        if self._pieces.isdisjoint([text[at : at + _PIECE] for at in range(0, last, _STRIDE)]):
            return False
        return any(needle in text for needle in self._all)

    @property
    def longest_first(self) -> tuple[AnyStr, ...]:
        """All of them: one may contain another."""
        if self._longest_first is None:
            self._longest_first = tuple(sorted(self._all, key=len, reverse=True))
        return self._longest_first
