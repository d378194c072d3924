"""Everything outside of a turn, as the product asks it: what was answered before is answered again, then it stops."""

from __future__ import annotations

import asyncio
from asyncio import events
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final, cast

from schemas.walmart.order import Order
from tests.explore.memory import Ask, History, held_of
from tests.explore.shop import call_of
from tests.explore.timing import PARK_AFTER, TICK_S, at, tick_of
from worker.delivery import Delivery, Event, Place, Record
from worker.errors import Failure
from worker.intake.intents import FoundIntent
from worker.outcome import Again, Verdict
from worker.retries import NextTry
from worker.sync.calls import Call


@dataclass(frozen=True)
class Row:
    """What the guard tells of an unfinished shipment."""

    state: str
    code: str


class NeedAnswer(BaseException):
    """The product asks something that was not answered yet."""

    def __init__(self, *ask: Any) -> None:
        super().__init__(*ask)
        self.ask: Ask = ask


class _Loop:
    """What coroutines ask of the running loop here: its time."""

    def time(self) -> float:
        return 0.0


_LOOP: Final = cast("asyncio.AbstractEventLoop", _Loop())


class Doors:
    """Everything outside of an attempt: clock, Walmart, fence, intake, waiting room, publisher."""

    def __init__(self, begun: int, history: History) -> None:
        self._tick = begun
        self._answers = iter(history)

    def _ask(self, *ask: Any) -> Any:
        for answer, tick in self._answers:
            self._tick = tick
            return answer
        raise NeedAnswer(*ask)

    # clock

    def now(self) -> float:
        return at(self._tick)

    # Walmart

    async def get_order(self, purchase_order_id: str) -> Order:
        del purchase_order_id
        return cast("Order", self._ask("get"))

    async def ship(self, purchase_order_id: str, body: dict[str, object], *, deadline: float) -> Order:
        del purchase_order_id
        return cast("Order", self._ask("post", call_of("ship", body), tick_of(deadline)))

    async def cancel(self, purchase_order_id: str, body: dict[str, object], *, deadline: float) -> Order:
        del purchase_order_id
        return cast("Order", self._ask("post", call_of("cancel", body), tick_of(deadline)))

    # the fence

    async def intend(self, event: Event, call: Call, deadline: float, delivery: Delivery | None) -> bool:
        del event, call, delivery
        return bool(self._ask("fence", tick_of(deadline)))

    @property
    def believe_from(self) -> float:
        return float(self._ask("believe_from"))

    @property
    def owned_until(self) -> float:
        return float(self._ask("owned_until"))

    # the intake and the room, as the guard asks them

    async def shipped_end(self, partition: int) -> int | None:
        del partition
        return cast("int | None", self._ask("end"))

    async def read_past(self, partition: int, offset: int) -> bool:
        del partition
        return bool(self._ask("past", offset))

    def misplaced_since(self, epoch_s: float) -> bool:
        del epoch_s
        return False

    def partition_count(self, topic: str) -> int | None:
        del topic
        return None

    def unfinished_shipment(self, order: str, record_key: bytes | None) -> Row | None:
        del order, record_key
        return cast("Row | None", self._ask("unfinished"))

    def in_memory(self, record: Record, order: str) -> bool:
        del record, order
        return bool(self._ask("in_memory"))

    # the room, as handling and report ask it

    def may_run(self, delivery: Delivery) -> bool:
        del delivery
        return bool(self._ask("may_run"))

    def untake(self, delivery: Delivery) -> None:
        del delivery
        self._ask("untake")

    def settled_elsewhere(self, delivery: Delivery) -> bool:
        del delivery
        return bool(self._ask("settled_elsewhere"))

    def other_event_with_this_identity(self, delivery: Delivery) -> bool:
        del delivery
        return False

    def blocked_by(self, delivery: Delivery) -> Row | None:
        del delivery
        return cast("Row | None", self._ask("blocked_by"))

    def wake_order(self, order: str) -> None:
        del order
        self._ask("wake_order")

    is_full = False

    async def put_waiting(self, delivery: Delivery, failure: Failure, next_at: float) -> Place:
        return Place(0, int(self._ask("put_waiting", failure, next_at, held_of(delivery))))

    async def put_dead(self, delivery: Delivery, verdict: Verdict) -> Place:
        return Place(0, int(self._ask("put_dead", verdict, held_of(delivery))))

    async def settle(self, delivery: Delivery, *, own_only: bool = False) -> None:
        del delivery
        self._ask("settle", own_only)

    # the publisher

    async def send(self, topic: str, **record: Any) -> Place:
        del topic, record
        self._ask("result")
        return Place(0, 0)

    # fence, gatekeeper, retries and app, as handling asks them

    def found_intent(self, key: str) -> FoundIntent | None:
        return cast("FoundIntent | None", self._ask("found_intent", key))

    def ended(self, delivery: Delivery) -> None:
        """With `finished`, which comes right after it."""

    def finished(self, delivery: Delivery) -> None:
        unsettled = delivery.progress.unsettled
        self._ask("finished", unsettled is not None and at(self._tick) < unsettled.believe_at)

    def settled(self, delivery: Delivery) -> None:
        """For the window, which is not modelled."""

    def bugs(self, in_row: int) -> None:
        raise AssertionError(f"the product failed ({in_row})")

    def held_at(self, delivery: Delivery, now: float) -> None:
        """No gates: an event may be parked at any time instead."""

    def given_up(self, delivery: Delivery, now: float, *, probes: int) -> bool:
        del delivery, now, probes
        return False

    def next_try(self, delivery: Delivery, again: Again, now: float) -> NextTry:
        del again, now
        soon = at(self._tick + 1)
        is_long = self._tick + 1 - tick_of(delivery.waiting_since) > PARK_AFTER
        return NextTry(soon, TICK_S, is_long or bool(self._ask("shall_park")), soon)


AT_ONCE: Final = frozenset(
    {
        "unfinished", "in_memory", "may_run", "untake", "settled_elsewhere", "blocked_by", "wake_order", "found_intent",
        "finished", "believe_from", "owned_until",
    }
)  # fmt: skip
"""Questions that are no await of the product: nothing can come between."""


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that never really waits. Raises NeedAnswer."""
    events._set_running_loop(_LOOP)
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    finally:
        events._set_running_loop(None)
        coroutine.close()
    raise AssertionError("it waits for something that is not modelled")
