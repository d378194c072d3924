"""A worker without Kafka and Walmart: what it writes is kept, what it asks is answered, its clock is turned by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from schemas import deadletter
from schemas.cloudevents import CloudEvent, to_headers_binary, to_value
from schemas.events import ORDER_SHIPPED_TYPE
from schemas.results import SyncResult
from schemas.walmart.order import Order, OrderLine, Parcel
from worker.app import Worker
from worker.delivery import Delivery, Place, Record
from worker.parked.fetching import Missing
from worker.settings import AccountSettings, Settings, TimingSettings
from worker.sync.doors import NoFence
from worker.walmart.answer import CallError

NOW = 1_795_000_000.0
NUMBER = "1Z999AA10123456784"
TREE: dict[str, dict[str, Any]] = {
    "accounts": {
        "main": {"client_id": "c", "client_secret_file": "/secrets/main"},
        "two": {"client_id": "d", "client_secret_file": "/secrets/two"},
    },
    "stores": {"us": {"account": "main"}, "eu": {"account": "two"}},
}


def settings(**sections: dict[str, Any]) -> Settings:
    """`TREE` with some sections instead."""
    return Settings.model_validate({**TREE, **sections})


def stores(**more: dict[str, Any]) -> dict[str, Any]:
    """The stores of `TREE`, some of them otherwise."""
    return {name: {**TREE["stores"].get(name, {}), **more.get(name, {})} for name in {**TREE["stores"], **more}}


class HandClock:
    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> float:
        return self.time


class Written(NamedTuple):
    """A record as aiokafka gives it."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp: int


class Topics:
    """The producer, and the way to read the dead-letter topic back."""

    def __init__(self, clock: HandClock) -> None:
        self.clock = clock
        self.written: dict[str, list[Written]] = {}

    async def send(self, topic: str, *, key: Any, value: Any, headers: Any, partition: int = 0) -> Place:
        records = self.written.setdefault(topic, [])
        records.append(Written(partition, len(records), key, value, tuple(headers), int(self.clock.time * 1000)))
        return Place(partition, len(records) - 1)

    async def fetch(self, places: Iterable[Place], got: Callable[[Place, Any], bool]) -> None:
        records = self.written.get(settings().topics.dead_letter, [])
        for place in places:
            if not got(place, records[place.offset] if place.offset < len(records) else Missing.GONE):
                return

    async def close(self) -> None:
        pass


@dataclass(eq=False)
class FakeApi:
    """One account at Walmart. Everything asked for is shown shipped, or open."""

    name: str
    account: AccountSettings
    asked: list[str] = field(default_factory=list)
    shipped: list[dict[str, Any]] = field(default_factory=list)
    renewed: list[bool] = field(default_factory=list)
    open: bool = False
    closed: bool = False
    answers: asyncio.Event = field(default_factory=asyncio.Event)
    error: CallError | None = None

    def __post_init__(self) -> None:
        self.answers.set()

    async def get_order(self, order: str) -> Order | CallError:
        self.asked.append(order)
        await self.answers.wait()
        if self.error is not None:
            return self.error
        if self.open and not self.shipped:
            return Order(order, (OrderLine("1", "MUG", 1, acknowledged=1),))
        return Order(order, (OrderLine("1", "MUG", 1, parcels=(Parcel(NUMBER, 1, "UPS"),)),))

    async def ship(self, order: str, body: dict[str, Any], *, deadline: float) -> Order | CallError:
        self.shipped.append(body)
        return await self.get_order(order)

    def configure(self, account: AccountSettings, timing: TimingSettings, *, renewed: bool) -> None:
        self.account = account
        self.renewed.append(renewed)

    def prepare(self) -> None:
        pass

    async def close(self) -> None:
        self.closed = True


class World:
    """The worker, and what happened to it."""

    def __init__(self, start: Settings) -> None:
        self.clock = HandClock()
        self.topics = Topics(self.clock)
        self.made: list[FakeApi] = []
        self.worker: Any = Worker(start, clock=self.clock)
        self.worker._accounts._made = self._api
        for publisher in (self.worker._publisher, self.worker._room._writer._publisher):
            publisher.send = self.topics.send
        # No call is reported here: until one were, a budget would let one go out at a time.
        self.worker._gatekeeper._budget = lambda *_: None
        # As if it owned its partitions.
        self.worker._sync._room.fence = NoFence()
        self.worker._intake.assignment.intents_known = True
        room = self.worker._room
        room._fetcher = room._pump._fetcher = self.topics
        room._partitions = frozenset({0})
        room._began(frozenset({0}))
        room.tail._ready = frozenset({0})
        room._caught_up(0)
        self._offset = 0

    def _api(self, name: str, account: AccountSettings) -> FakeApi:
        self.made.append(FakeApi(name, account))
        return self.made[-1]

    def api(self, name: str) -> FakeApi:
        """The account's present client."""
        found: FakeApi = self.worker._accounts[name]
        return found

    def send(self, order: str, store: str = "us", *, carrier: str = "ups") -> Delivery:
        """An event is read: its one unit was shipped."""
        package = {
            "carrier": {"code": carrier},
            "tracking_number": NUMBER,
            "items": [{"line_number": "1", "quantity": 1}],
        }
        data = {
            "store": store,
            "purchase_order_id": order,
            "commerce_order_id": "100",
            "shipment_id": f"S-{order}",
            "shipped_at": "2026-11-18T11:00:00Z",
            "packages": [package],
        }
        self._offset += 1
        headers = tuple(to_headers_binary(CloudEvent(order, "/s", ORDER_SHIPPED_TYPE, None, data, "binary")))
        topic = self.worker.settings.topics.order_shipped
        record = Record(topic, 0, self._offset, int(self.clock.time * 1000), order.encode(), to_value(data), headers)
        self.worker._arrivals.accept(self.worker._intake, record, 0)
        return next(entry.item for entry in self.worker._lanes.entries_of(order))  # type: ignore[no-any-return]

    def pass_time(self, seconds: float) -> None:
        self.clock.time += seconds
        self.worker._engine.wake()
        self.worker._room.wake()

    def results(self) -> dict[str, SyncResult]:
        """The newest result per order."""
        written = self.topics.written.get(self.worker.settings.topics.sync_result, [])
        read = [SyncResult.model_validate_json(record.value or b"") for record in written]
        return {one.purchase_order_id or "": one for one in read}

    def told(self) -> dict[str, str]:
        """Order -> `succeeded`, or the code it failed with."""
        return {order: one.error.code if one.error is not None else one.status for order, one in self.results().items()}

    async def until(self, what: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not what():
                await asyncio.sleep(0.002)

    def parked(self) -> int:
        return int(self.worker._room.parked_count)

    async def replay(self, order: str) -> None:
        """As `order-sync dlq replay` writes it, and the worker's tail reads it."""
        topic = self.worker.settings.topics.dead_letter
        newest = next(one for one in reversed(self.topics.written[topic]) if (one.key or b"").decode().endswith(order))
        letter = deadletter.read(newest.value, newest.headers)
        about = replace(letter.about, state="replay", replay_number=1, by="kim", why="test")
        value, headers = deadletter.write(about, letter.value, letter.headers)
        await self.topics.send(topic, key=newest.key, value=value, headers=headers)
        self.worker._room._read(self.topics.written[topic][-1])


@asynccontextmanager
async def running(start: Settings) -> AsyncIterator[World]:
    """A worker whose turns are given, and whose parked events come up."""
    world = World(start)
    tasks = [asyncio.create_task(one) for one in (world.worker._engine.run(), world.worker._room._pump.run())]
    try:
        yield world
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert not [task for task in tasks if not task.cancelled()], "a loop ended by itself"
