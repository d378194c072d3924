"""The product's own turn (`Handling.attempt`, `Sync`, the guard, `Report`), run up to the next answer it waits for.

A coroutine cannot be copied. What is kept of a running one is how it began and the answers it got: from these it is
run anew, and asks its next question. So every await of the product is a point where something else may come between.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final, NamedTuple, cast

from tests.explore.doors import Doors, NeedAnswer, run
from tests.explore.memory import Ask, Held, History, Item, Remembered, held_of, thawed, trimmed
from tests.explore.stories import PO, Story
from tests.explore.timing import ACCOUNT, BASE, SETTINGS, at
from worker.delivery import Delivery, Place
from worker.guard import ShipmentGuard
from worker.handling import Handling, Result
from worker.lanes.engine import Retry
from worker.outcome import Again
from worker.report.report import Report
from worker.sync.apply import Sync
from worker.sync.doors import MemoryCorrections
from worker.telemetry.metrics import Metrics

METRICS: Final = Metrics()


class Tried(NamedTuple):
    """A running part of a turn at its next question, or what came of it."""

    ask: Ask | None
    result: Result | Retry | None = None
    held: Held = Held()
    memory: Remembered | None = None


class Tries:
    """Runs turns of one story; the same part of the same one only once."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._known: dict[Hashable, Tried] = {}

    def __len__(self) -> int:
        return len(self._known)

    def delivery(self, item: Item, held: Held) -> Delivery:
        """As it is in the worker's memory."""
        record, place = item
        delivery = self._story.decoded(record)
        delivery.room_place = None if place < 0 else Place(0, place)
        delivery.room_state = None if place < 0 else "waiting"
        delivery.first_parked, delivery.next_try, delivery.barrier = held.first_parked, held.next_try, held.barrier
        delivery.received_at = BASE - held.blind
        delivery.waiting_since = at(held.since)
        delivery.last_again = held.again
        delivery.progress = thawed(held.progress)
        return delivery

    def attempt(
        self, item: Item, held: Held, memory: Remembered | None, begun: int, history: History, *, evicted: bool
    ) -> Tried:
        """The first part of a turn: `Handling.attempt`, or `evicted`."""
        key = (item, held, memory, begun, history, evicted)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._attempt(item, held, memory, Doors(begun, history), evicted=evicted)
        return known

    def conclude(self, item: Item, held: Held, result: Result, begun: int, history: History) -> Tried:
        """The second part: `Handling.conclude`."""
        key = (item, held, result, begun, history)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._conclude(item, held, result, Doors(begun, history))
        return known

    def _attempt(self, item: Item, held: Held, memory: Remembered | None, doors: Doors, *, evicted: bool) -> Tried:
        delivery, sync = self.delivery(item, held), _sync(doors)
        orders, saved = sync._room.orders._orders, sync._room.saved._answers
        if memory is not None:
            orders[ACCOUNT, PO] = (memory.order, memory.until, True)
            if memory.saved is not None:
                saved[ACCOUNT, PO] = memory.saved
        handling = _handling(doors, sync)
        try:
            result = run(_evicted(handling, delivery) if evicted else handling.attempt(delivery))
        except NeedAnswer as need:
            return Tried(need.ask)
        if isinstance(result, Again):
            result = trimmed(result)
        kept, answer = orders.get((ACCOUNT, PO)), saved.get((ACCOUNT, PO))
        assert answer is None or kept is not None, "what answered a write is the newest view, too"
        return Tried(None, result, held_of(delivery), None if kept is None else Remembered(*kept[:2], answer))

    def _conclude(self, item: Item, held: Held, result: Result, doors: Doors) -> Tried:
        delivery = self.delivery(item, held)
        try:
            retry = run(_handling(doors, _sync(doors)).conclude(delivery, result))
        except NeedAnswer as need:
            return Tried(need.ask)
        return Tried(None, retry, held_of(delivery))


async def _evicted(handling: Handling, delivery: Delivery) -> Result:
    return handling.evicted(delivery)


def _sync(doors: Doors) -> Sync:
    all_doors = cast("Any", doors)
    guard = ShipmentGuard(SETTINGS, doors, all_doors, doors, doors.in_memory)
    return Sync({ACCOUNT: all_doors}, SETTINGS, doors, MemoryCorrections(), doors, guard)


def _handling(doors: Doors, sync: Sync) -> Handling:
    all_doors = cast("Any", doors)
    report = Report(all_doors, doors, METRICS, doors, results_topic="results", room_topic="room")
    return Handling(
        SETTINGS, sync, report, all_doors, all_doors, all_doors, all_doors, METRICS, doors,
        finished=doors.finished, settled=doors.settled, bugs=doors.bugs,
    )  # fmt: skip
