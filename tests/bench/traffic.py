"""The events of the benchmarks, and the orders they are about: one package with units of two lines."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from aiokafka import AIOKafkaProducer

from schemas.events import ORDER_SHIPPED_TYPE
from tests.bench.contract import STORE
from tests.bench.orders import QUANTITIES, order_id, tracking_number
from worker.sandbox.walmart.orders import Order
from worker.sandbox.walmart.rendering import order_json
from worker.sandbox.walmart.specs import NewLine, NewOrder

STRUCTURED: Final = [("content-type", b"application/cloudevents+json")]
_PRODUCED_AT_ONCE: Final = 2_000


def new_order() -> NewOrder:
    """An order as the events find it."""
    lines = tuple(
        NewLine(line_number=str(place), sku=f"SKU-{place:04d}", quantity=quantity)
        for place, quantity in enumerate(QUANTITIES, start=1)
    )
    return NewOrder(lines=lines)


def order_template() -> dict[str, Any]:
    """Such an order in Walmart's shape, `{"order": {…}}`, as the simulated Walmart shows it."""
    now = time.time()
    return order_json(Order.of(new_order(), order_id(0), "bench", now, int(now * 1000)))


def event(
    number: int,
    *,
    store: str = STORE,
    order: str | None = None,
    items: Sequence[tuple[int, int]] = tuple(enumerate(QUANTITIES, start=1)),
) -> bytes:
    """The n-th event, of now, as the value of a structured-mode record (about 700 bytes).

    It ships all of the n-th order, unless another one is named, or other items: line number and quantity.
    """
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": f"shipment-{number:09d}-1",
            "source": "/commerce/us-store",
            "type": ORDER_SHIPPED_TYPE,
            "time": now,
            "datacontenttype": "application/json",
            "data": {
                "store": store,
                "purchase_order_id": order or order_id(number),
                "commerce_order_id": f"{number:09d}",
                "shipment_id": f"{number:09d}",
                "shipped_at": now,
                "packages": [
                    {
                        "carrier": {"code": "ups", "title": "United Parcel Service"},
                        "service": "Ground",
                        "tracking_number": tracking_number(number),
                        "items": [
                            {"line_number": str(place), "quantity": quantity, "tracking_total": quantity}
                            for place, quantity in items
                        ],
                    }
                ],
                "intent_to_cancel_override": False,
            },
        }
    )


async def produce(bootstrap: str, topic: str, events: Iterable[tuple[str, bytes]]) -> None:
    """Write events, each with its order's id as key, as fast as it goes."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=5, max_batch_size=262_144)
    await producer.start()
    try:
        left = iter(events)
        while part := list(itertools.islice(left, _PRODUCED_AT_ONCE)):
            sent = [await producer.send(topic, value, key=key.encode(), headers=STRUCTURED) for key, value in part]
            await asyncio.gather(*sent)
    finally:
        await producer.stop()


async def produce_backlog(bootstrap: str, topic: str, count: int) -> None:
    """Write the events 0 … count - 1, one order each."""
    await produce(bootstrap, topic, ((order_id(number), event(number)) for number in range(count)))


async def produce_steadily(
    bootstrap: str, topic: str, *, per_second: float, count: int, first: int, stores: Sequence[str] = (STORE,)
) -> dict[str, float]:
    """Write `count` events at a steady rate; when each was handed to the producer (monotonic), by order id.

    The stores take turns.
    """
    produced: dict[str, float] = {}
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=0)
    await producer.start()
    try:
        begun = time.monotonic()
        for step in range(count):
            await asyncio.sleep(begun + step / per_second - time.monotonic())
            order = order_id(first + step)
            value = event(first + step, store=stores[(first + step) % len(stores)])
            produced[order] = time.monotonic()
            await producer.send_and_wait(topic, value, key=order.encode(), headers=STRUCTURED)
    finally:
        await producer.stop()
    return produced
