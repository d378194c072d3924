"""A cancel without items against a broker whose high-water marks lag: only the end that the broker tells counts."""

from __future__ import annotations

from typing import Any
from unittest.mock import MagicMock

from aiokafka.partitioner import murmur2

from tests.mutations import example_events, record_of
from worker.delivery import Delivery, Record
from worker.guard import ShipmentGuard
from worker.intake.decode import Decoder
from worker.settings import Settings
from worker.sync.doors import Clear, GuardAnswer, Refuse, Wait

NOW = 1_795_000_000.0
COUNT = 3
SETTINGS = Settings.model_validate(
    {"accounts": {"main": {"client_id": "c", "client_secret": "s"}}, "stores": {"us_store_view": {"account": "main"}}}
)
(CANCEL,) = [
    event for event in example_events() if event["type"].endswith("cancelled.v1") and "items" not in event["data"]
][:1]


class Shipped:
    """The shipped topic's partition: what the broker has, what was fetched, what was read."""

    def __init__(self) -> None:
        self.end: int | None = 0
        self.read = 0
        self.asked = 0
        self.misplaced_at = float("-inf")

    async def shipped_end(self, partition: int) -> int | None:
        self.asked += 1
        return self.end

    async def read_past(self, partition: int, offset: int) -> bool:
        return self.read >= offset

    def misplaced_since(self, epoch_s: float) -> bool:
        return self.misplaced_at >= epoch_s

    def partition_count(self, topic: str) -> int | None:
        return COUNT


class World:
    def __init__(self) -> None:
        self.shipped = Shipped()
        self.now = NOW + 3_600
        self.unfinished: Any = None
        self.in_memory = False
        clock, room = MagicMock(), MagicMock()
        clock.now = lambda: self.now
        room.unfinished_shipment = lambda order, key: self.unfinished
        self.guard = ShipmentGuard(SETTINGS, self.shipped, room, clock, lambda record, order: self.in_memory)

    async def look(self, delivery: Delivery) -> GuardAnswer:
        assert delivery.event is not None
        return await self.guard.look(delivery.event, delivery)


def cancel(*, misplaced_by: int = 0) -> Delivery:
    made = record_of({**CANCEL, "time": "2026-11-18T11:06:40Z"}, binary=True)
    assert made.key is not None
    partition = ((murmur2(made.key) & 0x7FFFFFFF) + misplaced_by) % COUNT
    record = Record(SETTINGS.topics.order_cancelled, partition, 7, 1, made.key, made.value, tuple(made.headers))
    return Decoder(SETTINGS.topics).decode(record, now=NOW)


async def test_a_shipment_acknowledged_before_the_cancel_is_waited_for_though_it_was_not_fetched_yet() -> None:
    """What was fetched has been read to its end: by the high-water mark of that fetch the cancel could go."""
    world, one = World(), cancel()
    world.shipped.read, world.shipped.end = 10, 11
    assert isinstance(await world.look(one), Wait)
    assert isinstance(await world.look(one), Wait)
    world.shipped.read = 11
    assert isinstance(await world.look(one), Clear)


async def test_what_comes_after_the_cancel_was_met_is_not_waited_for() -> None:
    """Else a busy topic would hold it for ever."""
    world, one = World(), cancel()
    world.shipped.read, world.shipped.end = 10, 11
    assert isinstance(await world.look(one), Wait)
    world.shipped.read, world.shipped.end = 12, 500
    assert isinstance(await world.look(one), Clear)
    assert world.shipped.asked == 1


async def test_without_an_answer_of_the_broker_it_waits() -> None:
    world, one = World(), cancel()
    world.shipped.end = None
    assert isinstance(await world.look(one), Wait)
    world.shipped.end = 0
    assert isinstance(await world.look(one), Clear)


async def test_a_shipment_that_was_read_but_not_settled_holds_it() -> None:
    world, one = World(), cancel()
    world.in_memory = True
    assert isinstance(await world.look(one), Wait)
    world.in_memory, world.unfinished = False, MagicMock(state="dead", code="carrier_unmapped")
    answer = await world.look(one)
    assert isinstance(answer, Wait)
    assert "dead, carrier_unmapped" in answer.why
    world.unfinished = None
    assert isinstance(await world.look(one), Clear)


async def test_where_keys_are_misplaced_the_end_of_the_partition_says_nothing() -> None:
    world = World()
    assert isinstance(await world.look(cancel(misplaced_by=1)), Refuse)
    world.shipped.misplaced_at = world.now - 3_599
    assert isinstance(await world.look(cancel()), Refuse)
    world.shipped.misplaced_at = world.now - 3_601
    assert isinstance(await world.look(cancel()), Clear)


async def test_shipments_on_their_way_to_kafka_get_their_time() -> None:
    world, one = World(), cancel()
    world.now = one.happened_at + 59
    answer = await world.look(one)
    assert isinstance(answer, Wait)
    assert answer.after_s == 1
    assert world.shipped.asked == 0, "the end is asked for when they have arrived"
    world.now += 1
    assert isinstance(await world.look(one), Clear)
