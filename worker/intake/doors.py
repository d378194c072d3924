"""What the intake needs of the rest of the worker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from worker.delivery import Record


@dataclass(frozen=True, slots=True)
class IntakeDoors:
    """Given to the intake by whoever builds it."""

    accept: Callable[[Record, int], None]
    """A record, and the epoch of the assignment it was read under."""
    too_large: Callable[[Record, int], None]
    """A record that could not be fetched: coordinates only."""
    unreadable: Callable[[Record, int], None]
    """A record that the client cannot take apart: coordinates only."""
    has_room: Callable[[], bool]
    """False while the windows are full."""
    let_go: Callable[[float], Awaitable[None]]
    """End what runs, within so many seconds; called before partitions are given back."""
    take_over: Callable[[frozenset[int], int], None]
    """Partition numbers now answered for (either topic), and the new epoch."""
    may_read: Callable[[int], bool]
    """True once the waiting room of that partition number has caught up."""
    has_reserve: Callable[[], bool] = lambda: False
    """True while shipments may be read on although the windows are full: what fills them may wait for shipments."""
