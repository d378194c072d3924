"""The table of unfinished events a worker owns: what lies in its partitions of the dead-letter topic. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from worker.delivery import Place

State = Literal["dead", "waiting", "replay", "corrected"]


@dataclass(frozen=True, slots=True)
class Unfinished:
    """One row: an event that is not settled, or a marker of a number corrected away."""

    key: str
    state: State
    place: Place
    code: str
    order: str
    store: str
    shipment: str | None
    digest: int
    """Of the value's bytes; compared only within this process."""
    replay_number: int
    event_time: float
    """Markers: epoch seconds of the correcting event."""
    written_at: float
    """Epoch seconds of the record."""
    source: tuple[str, int, int] = ("", 0, 0)
    """Topic, partition and offset the event came from."""


def marker_key(order: str, number: str) -> str:
    """Key of the marker that a tracking number of an order was corrected away."""
    return f"corrected|{order}|{number}"


class Table:
    """Rows by key, and indexes for what is asked of them."""

    def __init__(self) -> None:
        self._rows: dict[str, Unfinished] = {}
        self._by_order: dict[str, set[str]] = {}
        self._own: dict[str, int] = {}
        self.counts: Counter[tuple[str, str]] = Counter()
        """Rows by (state, code)."""

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Unfinished]:
        return iter(list(self._rows.values()))

    def get(self, key: str) -> Unfinished | None:
        """The row of an identity."""
        return self._rows.get(key)

    def of_order(self, order: str) -> list[Unfinished]:
        """All rows of an order, oldest place first."""
        rows = [self._rows[key] for key in self._by_order.get(order, ())]
        return sorted(rows, key=lambda row: (row.place.partition, row.place.offset))

    def read(self, key: str, row: Unfinished | None, place: Place) -> bool:
        """Apply what the tail read (None: a tombstone). False when a newer write of our own is known already."""
        own = self._own.get(key)
        if own is not None:
            if place.offset < own:
                return False
            del self._own[key]
        known = self._rows.get(key)
        if known is not None and known.place.partition == place.partition and known.place.offset > place.offset:
            return False
        self._put(key, row)
        return True

    def wrote(self, key: str, row: Unfinished | None, place: Place) -> None:
        """Apply a write of our own at once, before the tail has read it."""
        known = self._rows.get(key)
        if known is not None and known.place.partition == place.partition and known.place.offset > place.offset:
            return
        self._own[key] = place.offset
        self._put(key, row)

    def forget(self, partitions: frozenset[int]) -> None:
        """Drop the rows of partitions that are no longer ours, or are about to be read afresh."""
        for row in [row for row in self._rows.values() if row.place.partition in partitions]:
            self._put(row.key, None)
        # Which partition an own write went to is not kept: after a move everything is read afresh.
        self._own.clear()

    def _put(self, key: str, row: Unfinished | None) -> None:
        old = self._rows.pop(key, None)
        if old is not None:
            self.counts[old.state, old.code] -= 1
            keys = self._by_order.get(old.order)
            if keys is not None:
                keys.discard(key)
                if not keys:
                    del self._by_order[old.order]
        if row is not None:
            self._rows[key] = row
            self._by_order.setdefault(row.order, set()).add(key)
            self.counts[row.state, row.code] += 1
