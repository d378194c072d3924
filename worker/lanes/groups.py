"""How much of the window each group of entries uses, and which of its lanes came last."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Group:
    staying: int = 0
    lanes: OrderedDict[str, None] = field(default_factory=OrderedDict)
    """Lanes that may hold something to evict, the newest last."""


class Groups:
    """Counts per group, kept up at each step; a group without entries takes no memory."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.sizes: dict[str, int] = {}
        self._groups: dict[str, _Group] = {}

    def staying(self, group: str) -> int:
        """Entries of the group that are not evicted."""
        known = self._groups.get(group)
        return 0 if known is None else known.staying

    def joined(self, group: str, lane: str, size: int) -> None:
        """An entry came; it stays."""
        self.counts[group] = self.counts.get(group, 0) + 1
        self.sizes[group] = self.sizes.get(group, 0) + size
        if group not in self._groups:
            self._groups[group] = _Group()
        self.kept(group, lane)

    def kept(self, group: str, lane: str) -> None:
        """An entry stays: it is new, or not evicted any more."""
        known = self._groups[group]
        known.staying += 1
        known.lanes.setdefault(lane)

    def evicted(self, group: str) -> None:
        """An entry does not stay."""
        self._groups[group].staying -= 1

    def went(self, group: str, size: int, *, evicted: bool) -> None:
        """An entry is gone."""
        if self.counts[group] == 1:
            del self.counts[group], self.sizes[group], self._groups[group]
            return
        self.counts[group] -= 1
        self.sizes[group] -= size
        self._groups[group].staying -= not evicted

    def forget(self, group: str, lane: str) -> None:
        """The lane holds nothing of the group that could be evicted."""
        known = self._groups.get(group)
        if known is not None:
            known.lanes.pop(lane, None)

    def newest(self, group: str) -> Iterator[str]:
        """Lanes of the group, the newest first. Not to be changed meanwhile."""
        known = self._groups.get(group)
        return iter(()) if known is None else reversed(known.lanes)
