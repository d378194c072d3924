"""The lanes of one worker: the product's own `Lanes`, with an item (record, place) in each entry."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

from tests.explore.cells import Cells
from tests.explore.memory import Item
from tests.explore.stories import PO, Story
from tests.explore.timing import ACCOUNT, at, until
from worker.lanes.lanes import Entry, Lanes

R = TypeVar("R")


class Queues:
    """The lanes of all workers."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self.cells: Cells[Lanes[Item]] = Cells(_seen)
        self.empty = self.cells.keep(Lanes())

    def items(self, cell: int) -> tuple[Item, ...]:
        """All entries, in their order."""
        return tuple(entry.item for entry in self.cells.look(cell))

    def has_shipment(self, cell: int) -> bool:
        """A shipment of the order is unfinished in memory."""
        return any(entry.passes for entry in self.cells.look(cell))

    def add(self, cell: int, item: Item, now: int) -> int:
        """Mirrors `App._enter`."""

        def change(lanes: Lanes[Item]) -> None:
            ships = self._story.decoded(item[0]).envelope.shipment is not None
            lanes.add(Entry(item, PO, group=ACCOUNT, passes=ships, since=at(now)))

        return self.cells.after(cell, change, "add", item, now)[0]

    def take(self, cell: int, now: int) -> tuple[int, tuple[Item, bool] | None]:
        """The next turn: whose, and whether only to leave."""

        def change(lanes: Lanes[Item]) -> tuple[Item, bool] | None:
            entry = lanes.take(at(now))
            return None if entry is None else (entry.item, entry.evicted_turn)

        return self.cells.after(cell, change, "take", now)

    def settle(self, cell: int, item: Item) -> int:
        """Its turn is over, and it is done."""
        return self._with(cell, item, lambda lanes, entry: lanes.settle(entry), "settle")

    def retry(self, cell: int, item: Item, tick: int, *, lets_pass: bool) -> int:
        """Its turn is over, and it waits for the next one."""
        return self._with(
            cell,
            item,
            lambda lanes, entry: lanes.retry(entry, at=at(tick), lets_pass=lets_pass),
            "retry",
            tick,
            lets_pass,
        )

    def evict(self, cell: int) -> int:
        """Make the first one leave, and those behind it that may not pass it."""

        def change(lanes: Lanes[Item]) -> None:
            lanes.evict(next(iter(lanes)))

        return self.cells.after(cell, change, "evict")[0]

    def drop(self, cell: int) -> int:
        """Forget all that do not run."""
        return self.cells.after(cell, lambda lanes: len(lanes.drop(lambda _: True)), "drop")[0]

    def next_at(self, cell: int, now: int) -> float | None:
        """When the next retry is due; None: none waits for a time."""
        return self.cells.look(cell).next_at(at(now))

    def _with(self, cell: int, item: Item, change: Callable[[Lanes[Item], Entry[Item]], R], *named: Hashable) -> int:
        def found(lanes: Lanes[Item]) -> None:
            entry = next(entry for entry in lanes if entry.item == item)
            change(lanes, entry)

        return self.cells.after(cell, found, *named, item)[0]


def _seen(lanes: Lanes[Item], now: int) -> Hashable:
    return tuple(
        (
            entry.item,
            entry.running,
            entry.lets_pass,
            entry.evicted,
            entry.evicted_turn,
            until(entry.ready_at, now),
        )
        for entry in lanes
    )
