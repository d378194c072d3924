"""Cancels without items: what they wait for, one thing after another."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.events import ORDER_CANCELLED_TYPE, OrderCancelled
from worker.delivery import Delivery, Envelope, Event, Record
from worker.guard import MISPLACED_FOR_S, ShipmentGuard
from worker.settings import Settings
from worker.sync.doors import Clear, GuardAnswer, Refuse, Wait

NOW = 1_795_000_000.0
SETTINGS = Settings.model_validate(
    {
        "accounts": {"main": {"client_id": "c", "client_secret": "s"}},
        "stores": {"us": {"account": "main"}},
        "timing": {"settle_seconds": 60, "probe_seconds": 15},
    }
)
DATA = OrderCancelled.model_validate(
    {
        "store": "us",
        "purchase_order_id": "PO1",
        "commerce_order_id": "100",
        "cancelled_at": "2026-11-20T15:03:58Z",
        "reason": {"text": "Price or other listing errors"},
    }
)
PARTITION = 2


class Row:
    """A shipment in the waiting room."""

    state, code = "dead", "carrier_unmapped"


class Bench:
    """A guard whose intake, memory and waiting room are scripted."""

    def __init__(self) -> None:
        self.time = NOW
        self.end: int | None = 7
        """Of the shipped partition, at the broker."""
        self.position = 7
        self.ends_asked = 0
        self.misplaced_at = float("-inf")
        self.partitions: int | None = None
        self.here = False
        """A shipment of the order is in memory."""
        self.row: Row | None = None
        self.arrives_while_reading = False
        rooms: Any = self
        self.guard = ShipmentGuard(SETTINGS, rooms, rooms, rooms, lambda record, order: self.here and order == "PO1")
        self.delivery = self.cancel()

    def cancel(self, *, happened_at: float = NOW - 60) -> Delivery:
        record = Record(SETTINGS.topics.order_cancelled, PARTITION, 3, int(happened_at * 1000), b"PO1", b"{}", ())
        event = Event("/s", "c1", ORDER_CANCELLED_TYPE, happened_at, DATA)
        envelope = Envelope("/s", "c1", ORDER_CANCELLED_TYPE, happened_at, "us", "PO1", "100")
        return Delivery(record, event, envelope, None, "c|/s|c1", "PO1", NOW)

    async def look(self) -> GuardAnswer:
        assert self.delivery.event is not None
        return await self.guard.look(self.delivery.event, self.delivery)

    # the clock, the intake and the room, as the guard knows them

    def now(self) -> float:
        return self.time

    async def shipped_end(self, partition: int) -> int | None:
        assert partition == PARTITION
        self.ends_asked += 1
        return self.end

    async def read_past(self, partition: int, offset: int) -> bool:
        assert partition == PARTITION
        self.here = self.here or self.arrives_while_reading
        return self.position >= offset

    def misplaced_since(self, epoch_s: float) -> bool:
        return self.misplaced_at >= epoch_s

    def partition_count(self, topic: str) -> int | None:
        assert topic == SETTINGS.topics.order_cancelled
        return self.partitions

    def unfinished_shipment(self, order: str, record_key: bytes | None) -> Row | None:
        assert (order, record_key) == ("PO1", b"PO1")
        return self.row


async def test_it_is_clear_when_everything_published_before_it_is_read_and_settled() -> None:
    assert await Bench().look() == Clear()


@pytest.mark.parametrize("age", [0.0, 59.0])
async def test_shipments_get_their_time_to_reach_kafka_and_the_end_is_taken_after_it(age: float) -> None:
    bench = Bench()
    bench.delivery = bench.cancel(happened_at=NOW - age)
    answer = await bench.look()
    assert isinstance(answer, Wait)
    assert answer.after_s == pytest.approx(60 - age)
    assert bench.ends_asked == 0, "an end taken now would miss what is still on its way"


async def test_what_lies_before_the_end_must_be_read_first_and_the_end_does_not_move_on() -> None:
    bench = Bench()
    bench.position = 6
    assert isinstance(await bench.look(), Wait)
    bench.end, bench.position = 1_000, 7
    assert await bench.look() == Clear(), "a busy topic would hold it up for ever"
    assert bench.ends_asked == 1


async def test_where_the_broker_cannot_be_asked_it_waits_and_asks_again() -> None:
    bench = Bench()
    bench.end = None
    assert isinstance(await bench.look(), Wait)
    bench.end = 8
    assert isinstance(await bench.look(), Wait)
    bench.position = 8
    assert await bench.look() == Clear()


async def test_it_waits_for_a_shipment_in_memory() -> None:
    bench = Bench()
    bench.here = True
    assert isinstance(await bench.look(), Wait)
    bench.here = False
    assert await bench.look() == Clear()


async def test_it_waits_for_a_shipment_that_was_read_while_the_barrier_was_looked_at() -> None:
    bench = Bench()
    bench.arrives_while_reading = True
    assert isinstance(await bench.look(), Wait)


async def test_it_waits_for_a_shipment_in_the_waiting_room_and_names_it() -> None:
    bench = Bench()
    bench.row = Row()
    answer = await bench.look()
    assert isinstance(answer, Wait)
    assert "dead, carrier_unmapped" in answer.why


async def test_misplaced_shipments_of_the_last_hour_make_it_refuse() -> None:
    bench = Bench()
    bench.misplaced_at = NOW - MISPLACED_FOR_S
    assert isinstance(await bench.look(), Refuse)
    bench.time += 1
    assert await bench.look() == Clear()


async def test_its_own_key_misplaced_makes_it_refuse() -> None:
    """It lies in partition 2; Kafka's own partitioner puts its key into 2 of 3, and into 3 of 4."""
    bench = Bench()
    bench.partitions = 3
    assert await bench.look() == Clear()
    bench.partitions = 4
    assert isinstance(await bench.look(), Refuse)


async def test_a_worker_that_is_stopping_clears_nothing() -> None:
    """Shipments it had read are let go of first: memory says nothing any more."""
    world = Bench()
    assert isinstance(await world.look(), Clear)
    world.guard._stopping = lambda: True
    assert isinstance(await world.look(), Wait)
