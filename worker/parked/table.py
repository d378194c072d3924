"""The table of unfinished events a worker owns: what lies in its partitions of the dead-letter topic. Pure.

The newest record of a key within its partition counts. Writes of our own are seen at once; what the tail reads late
never undoes them, and what it has read already is never undone by a late acknowledgement.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from worker.delivery import Place
from worker.parked.unfinished import Stage, Unfinished
from worker.parked.waiting import Waiting


def marker_key(order: str, number: str) -> str:
    """Key of the marker that a tracking number of an order was corrected away."""
    return f"corrected|{order}|{number}"


class _Partition:
    """One partition of the topic."""

    __slots__ = ("own", "read_to", "rows")

    def __init__(self) -> None:
        self.rows: dict[str, Unfinished] = {}
        self.own: dict[str, int] = {}
        """Key -> offset of our newest write the tail has not read yet."""
        self.read_to = 0
        """Offset behind the last record that was read."""


class Table:
    """Rows by partition and key, and indexes for what is asked of them."""

    def __init__(self) -> None:
        self.waiting = Waiting()
        self._partitions: dict[int, _Partition] = {}
        self._by_order: dict[str, dict[tuple[int, int], Unfinished]] = {}
        self._by_key: dict[bytes, dict[tuple[int, int], Unfinished]] = {}
        """Rows that name no order, by the original record's key."""
        self.counts: Counter[tuple[str, str]] = Counter()
        """Rows by (state, code)."""
        self._markers = 0

    def __len__(self) -> int:
        return sum(len(one.rows) for one in self._partitions.values())

    def __iter__(self) -> Iterator[Unfinished]:
        for one in list(self._partitions.values()):
            yield from list(one.rows.values())

    def get(self, partition: int, key: str) -> Unfinished | None:
        """The row of an identity."""
        one = self._partitions.get(partition)
        return None if one is None else one.rows.get(key)

    def is_empty(self, partition: int) -> bool:
        """True if there is no row of the partition."""
        one = self._partitions.get(partition)
        return one is None or not one.rows

    def marker(self, order: str, number: str) -> Unfinished | None:
        """The marker of a number corrected away, in whichever partition."""
        if not self._markers:
            return None
        key = marker_key(order, number)
        rows = (one.rows.get(key) for one in self._partitions.values())
        return next((row for row in rows if row is not None and row.state == "corrected"), None)

    def markers(self, partitions: frozenset[int]) -> list[Unfinished]:
        """The markers that lie in these partitions."""
        if not self._markers:
            return []
        return [row for row in self if row.state == "corrected" and row.partition in partitions]

    def rows_to_run(self, partition: int) -> Iterable[Unfinished]:
        """Rows of a partition that come up some day."""
        one = self._partitions.get(partition)
        return () if one is None else [row for row in one.rows.values() if row.state in ("waiting", "replay")]

    def of_order(self, order: str) -> list[Unfinished]:
        """All rows of an order, oldest place first."""
        rows = [*self._by_order.get(order, {}).values(), *self.waiting.queues.of(order)]
        return sorted(rows, key=lambda row: (row.partition, row.offset))

    def dead_of_order(self, order: str) -> list[Unfinished]:
        """Its rows that do not wait: dead letters, replays, markers. In no particular order."""
        return list(self._by_order.get(order, {}).values())

    def unfinished_shipment(self, order: str, record_key: bytes | None) -> Unfinished | None:
        """A shipment of the order that is not settled; where a row names no order, the record's key tells."""
        waits = self.waiting.queues.shipment(order)
        if waits is not None:
            return waits
        rows: list[Unfinished] = list(self._by_order.get(order, {}).values())
        for key in {record_key, order.encode()}:
            rows += self._by_key.get(key, {}).values() if key else ()
        return next((row for row in rows if row.ships and row.state in ("dead", "waiting", "replay")), None)

    # -- changes

    def read(self, key: str, row: Unfinished | None, place: Place, now: float) -> bool:
        """Apply what the tail read (None: a tombstone). False when it is known already, or overruled by then."""
        one = self._one(place.partition)
        if place.offset < one.read_to:
            return False
        one.read_to = place.offset + 1
        own = one.own.get(key)
        if own is not None:
            if place.offset < own:
                return False
            del one.own[key]
            if place.offset == own:
                return False
        self._put(one, key, row, now)
        return True

    def passed(self, place: Place) -> None:
        """The tail read a record that is no row."""
        one = self._one(place.partition)
        one.read_to = max(one.read_to, place.offset + 1)

    def wrote(self, key: str, row: Unfinished | None, place: Place, now: float) -> None:
        """Apply a write of our own at once, before the tail has read it."""
        one = self._one(place.partition)
        # An acknowledgement may come after the tail has read the record, and newer ones.
        if place.offset < max(one.read_to, one.own.get(key, 0)):
            return
        one.own[key] = place.offset
        self._put(one, key, row, now)

    def is_own(self, key: str, place: Place) -> bool:
        """The record there is a write of ours that the tail has not read yet."""
        return self._one(place.partition).own.get(key) == place.offset

    def move_times(self, late_s: float, give_up_s: float, now: float) -> None:
        """Tell every row late, and give it up, so many seconds later than before (negative: earlier). O(n log n)."""
        rows = [row for partition in self._partitions for row in self.rows_to_run(partition)]
        for row in rows:
            row.late_at += late_s
            row.expires_at += give_up_s
        self.waiting.look_again(rows, now)

    def clear(self) -> None:
        """Everything is about to be read afresh."""
        for row in self:
            row.stage = Stage.GONE
        self.waiting.clear()
        self._partitions.clear()
        self._by_order.clear()
        self._by_key.clear()
        self.counts.clear()
        self._markers = 0

    def _one(self, partition: int) -> _Partition:
        one = self._partitions.get(partition)
        if one is None:
            one = self._partitions[partition] = _Partition()
        return one

    def _put(self, one: _Partition, key: str, row: Unfinished | None, now: float) -> None:
        old = one.rows.pop(key, None)
        if old is not None:
            self._unlist(old)
        if row is not None:
            one.rows[key] = row
            self._list(row)
            if old is not None and _same_wait(old, row):
                # Whoever wrote it did not know how old it is (a zombie, or a write that was not acknowledged).
                row.first_parked = min(row.first_parked, old.first_parked)
        # The newcomer first: whoever stands behind both must not come up in between.
        if row is not None and row.state in ("waiting", "replay"):
            self.waiting.add(row, now)
        if old is not None and old.state in ("waiting", "replay"):
            self.waiting.remove(old, now)
        elif old is not None:
            old.stage = Stage.GONE

    def _list(self, row: Unfinished) -> None:
        self.counts[row.state, row.code] += 1
        self._markers += row.state == "corrected"
        if row.order and row.state != "waiting":
            self._by_order.setdefault(row.order, {})[row.partition, row.offset] = row
        elif not row.order and row.record_key:
            self._by_key.setdefault(row.record_key, {})[row.partition, row.offset] = row

    def _unlist(self, row: Unfinished) -> None:
        self.counts[row.state, row.code] -= 1
        if not self.counts[row.state, row.code]:
            del self.counts[row.state, row.code]
        self._markers -= row.state == "corrected"
        rows = self._by_order.get(row.order) if row.order else self._by_key.get(row.record_key or b"")
        if rows is not None:
            rows.pop((row.partition, row.offset), None)
        if row.order and not rows:
            self._by_order.pop(row.order, None)
        elif row.record_key and not rows:
            self._by_key.pop(row.record_key, None)


def _same_wait(old: Unfinished, new: Unfinished) -> bool:
    same = (old.topic, old.source_offset) == (new.topic, new.source_offset)
    return same and old.state == new.state == "waiting"
