"""Cancels without items: is every shipment that may be in a box settled? Best effort, and said so (product contract).

1. Its own time plus the settle time has passed, for shipments that are still on their way to Kafka.
2. Then the end of the shipped topic's partition is taken, and everything before it has been read. The end is asked of
   the broker: the high-water mark of the last fetch lags behind it (two brokers: 67 of 3,000 cancels overtook their
   shipment).
3. No shipment of the order is unfinished, in memory or in the waiting room; one whose bytes could not be read counts
   where its record key is the order.
Where a producer misplaces keys the shipments may lie in partitions this worker does not read: refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from worker.clock import Clock
from worker.delivery import Delivery, Event, Record
from worker.intake.decode import misplaced
from worker.parked.room import Room
from worker.settings import Settings
from worker.sync.doors import Clear, GuardAnswer, Refuse, Wait

MISPLACED_FOR_S: Final = 3_600.0
_LOOK_AGAIN_S: Final = 0.25
_READING: Final = Wait(_LOOK_AGAIN_S, "shipments published before it are still being read")


class Shipments(Protocol):
    """What the guard asks of the intake."""

    async def shipped_end(self, partition: int) -> int | None:
        """End offset of the shipped topic's partition; None if the broker could not be asked."""
        ...

    async def read_past(self, partition: int, offset: int) -> bool:
        """True once everything before that offset was handed on."""
        ...

    def misplaced_since(self, epoch_s: float) -> bool:
        """True if a shipment's key was misplaced since then."""
        ...

    def partition_count(self, topic: str) -> int | None:
        """Partitions of a topic."""
        ...


class ShipmentGuard:
    """Implements `worker.sync.doors.Guard`. `in_memory`: is a shipment of this order, or record key, unfinished."""

    def __init__(
        self,
        settings: Settings,
        intake: Shipments,
        room: Room,
        clock: Clock,
        in_memory: Callable[[Record, str], bool],
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._settings = settings
        self._intake = intake
        self._room = room
        self._clock = clock
        self._in_memory = in_memory
        self._stopping = stopping

    def configure(self, settings: Settings) -> None:
        """Take new settings."""
        self._settings = settings

    async def look(self, event: Event, delivery: Delivery | None) -> GuardAnswer:
        """Asked at each attempt."""
        assert delivery is not None
        record, order, now = delivery.record, event.data.purchase_order_id, self._clock.now()
        if misplaced(record, self._intake.partition_count(record.topic)):
            return Refuse("its key lies in another partition than Kafka's default partitioner puts it")
        if self._intake.misplaced_since(now - MISPLACED_FOR_S):
            return Refuse("shipments with misplaced keys were seen within the last hour")
        settled_at = delivery.happened_at + self._settings.timing.settle_seconds
        if now < settled_at:
            return Wait(settled_at - now, "shipments may still be on their way to Kafka")
        waiting = self._unsettled(record, order)
        if waiting is not None:
            return waiting
        if delivery.barrier is None:
            delivery.barrier = await self._intake.shipped_end(record.partition)
            if delivery.barrier is None:
                return Wait(_LOOK_AGAIN_S * 4, "Kafka could not be asked how far the shipments go")
        if not await self._intake.read_past(record.partition, delivery.barrier):
            return _READING
        return self._unsettled(record, order) or Clear()

    def _unsettled(self, record: Record, order: str) -> Wait | None:
        probe_s = self._settings.timing.probe_seconds
        if self._stopping():
            # Shipments that were read are let go of before those behind them have ended.
            return Wait(probe_s, "the worker is stopping")
        if self._in_memory(record, order):
            return Wait(probe_s, "a shipment of this order is not settled yet")
        row = self._room.unfinished_shipment(order, record.key)
        if row is not None:
            return Wait(probe_s, f"a shipment of this order is unfinished ({row.state}, {row.code})")
        return None
