"""Which offsets may be committed: the contiguous prefix of finished records, per partition. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Partition:
    epoch: int
    started: deque[tuple[int, int]] = field(default_factory=deque)
    """(offset, timestamp in ms), in order."""
    done: set[int] = field(default_factory=set)
    next_offset: int | None = None
    committed: int | None = None
    found: int | None = None
    """What was committed, or the position, before anything was read."""


class Offsets:
    """Tracks records from reading to finishing. Keys are (topic, partition).

    An offset is committable only when every record read before it is finished; gaps in the offsets themselves
    (compaction, transactions) do not matter. What belongs to an older assignment (epoch) is ignored.
    """

    def __init__(self) -> None:
        self._partitions: dict[tuple[str, int], _Partition] = {}

    def assign(self, partitions: set[tuple[str, int]], epoch: int) -> None:
        """Start afresh with these partitions, and these only."""
        self._partitions = {partition: _Partition(epoch) for partition in partitions}

    def started(self, topic: str, partition: int, offset: int, timestamp_ms: int, epoch: int) -> bool:
        """A record was read. False when it is not of the present assignment, or was read already."""
        state = self._partitions.get((topic, partition))
        if state is None or state.epoch != epoch:
            return False
        if state.next_offset is not None and offset < state.next_offset:
            return False
        if state.started and offset <= state.started[-1][0]:
            return False
        state.started.append((offset, timestamp_ms))
        return True

    def finished(self, topic: str, partition: int, offset: int, epoch: int) -> bool:
        """A record is settled, durably. True when the committable prefix grew."""
        state = self._partitions.get((topic, partition))
        if state is None or state.epoch != epoch or not state.started or offset < state.started[0][0]:
            return False
        state.done.add(offset)
        grew = False
        while state.started and state.started[0][0] in state.done:
            first, _ = state.started.popleft()
            state.done.discard(first)
            state.next_offset = first + 1
            grew = True
        return grew

    def found(self, topic: str, partition: int, offset: int) -> None:
        """Reading begins here: the offset that was found committed, or the position where none was."""
        state = self._partitions.get((topic, partition))
        if state is not None and state.found is None:
            state.found = offset

    def resume_at(self, topic: str, partition: int) -> int | None:
        """The offset to commit when there is nothing new to commit: never beyond an unfinished record."""
        state = self._partitions.get((topic, partition))
        if state is None:
            return None
        if state.next_offset is not None:
            return state.next_offset
        return state.started[0][0] if state.started else state.found

    def furthest_finished(self) -> dict[tuple[str, int], int]:
        """Per partition the highest finished offset that cannot be committed yet, for want of one before it."""
        return {partition: max(state.done) for partition, state in self._partitions.items() if state.done}

    def next_to_read(self, topic: str, partition: int) -> int | None:
        """The offset after the last record that was read; None when none was read under this assignment."""
        state = self._partitions.get((topic, partition))
        if state is None:
            return None
        return state.started[-1][0] + 1 if state.started else state.next_offset

    def to_commit(self) -> dict[tuple[str, int], int]:
        """Next offset to read per partition, where it differs from what was committed."""
        return {
            partition: state.next_offset
            for partition, state in self._partitions.items()
            if state.next_offset is not None and state.next_offset != state.committed
        }

    def committed(self, offsets: dict[tuple[str, int], int]) -> None:
        """The broker took these."""
        for partition, offset in offsets.items():
            state = self._partitions.get(partition)
            if state is not None and (state.committed is None or offset > state.committed):
                state.committed = offset

    def oldest_ms(self, topic: str, partition: int) -> int | None:
        """Timestamp of the oldest unfinished record in memory; None when there is none."""
        state = self._partitions.get((topic, partition))
        return state.started[0][1] if state is not None and state.started else None

    def unfinished(self, topic: str, partition: int) -> int:
        """Records of the partition read and not finished."""
        state = self._partitions.get((topic, partition))
        return 0 if state is None else len(state.started) - len(state.done)
