"""The events of the benchmarks, and the orders they are about: one package with units of two lines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from aiokafka import AIOKafkaProducer

from schemas.events import ORDER_SHIPPED_TYPE
from tests.bench.contract import STORE
from worker.sandbox.walmart.orders import Order
from worker.sandbox.walmart.rendering import order_json
from worker.sandbox.walmart.specs import NewLine, NewOrder

STRUCTURED: Final = [("content-type", b"application/cloudevents+json")]
QUANTITIES: Final = (1, 2)
"""Units of each line."""
_FIRST_ORDER: Final = 1_815_000_000_000
_PRODUCED_AT_ONCE: Final = 2_000


def order_id(number: int) -> str:
    """The purchase order id of the n-th order."""
    return str(_FIRST_ORDER + number)


def tracking_number(number: int) -> str:
    """The tracking number of the n-th order's package."""
    return f"1Z999AA1{number:010d}"


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


def ship_body(number: int, shipped_at_ms: int) -> dict[str, Any]:
    """What the worker sends for the n-th order (a test compares them)."""
    statuses = [
        {
            "lineNumber": str(place),
            "sellerOrderId": f"{number:09d}",
            "orderLineStatuses": {
                "orderLineStatus": [
                    {
                        "status": "Shipped",
                        "statusQuantity": {"unitOfMeasurement": "EACH", "amount": str(quantity)},
                        "trackingInfo": {
                            "shipDateTime": shipped_at_ms,
                            "carrierName": {"carrier": "UPS"},
                            "methodCode": "Value",
                            "trackingNumber": tracking_number(number),
                        },
                    }
                ]
            },
        }
        for place, quantity in enumerate(QUANTITIES, start=1)
    ]
    return {"orderShipment": {"orderLines": {"orderLine": statuses}}}


def event(number: int, *, store: str = STORE, order: str | None = None) -> bytes:
    """The n-th event, of now, as the value of a structured-mode record (about 700 bytes).

    It is about the n-th order, unless another one is named.
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
                            for place, quantity in enumerate(QUANTITIES, start=1)
                        ],
                    }
                ],
                "intent_to_cancel_override": False,
            },
        }
    )


async def produce_backlog(bootstrap: str, topic: str, count: int, *, stores: Sequence[str] = (STORE,)) -> None:
    """Write the events 0 … count - 1, one order each, as fast as it goes. The stores take turns."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=5, max_batch_size=262_144)
    await producer.start()
    try:
        for first in range(0, count, _PRODUCED_AT_ONCE):
            numbers = range(first, min(first + _PRODUCED_AT_ONCE, count))
            sent = [
                await producer.send(
                    topic,
                    event(number, store=stores[number % len(stores)]),
                    key=order_id(number).encode(),
                    headers=STRUCTURED,
                )
                for number in numbers
            ]
            await asyncio.gather(*sent)
    finally:
        await producer.stop()


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
