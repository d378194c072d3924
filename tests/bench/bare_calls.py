"""What anyone would write: so many tasks, each with GET and POST for one order after another. No Kafka at all."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator

import aiohttp
import orjson

from tests.bench.contract import Task, task_of_arguments
from tests.bench.traffic import order_id, ship_body

HEADERS = {"Accept": "application/json", "WM_SEC.ACCESS_TOKEN": "bench-token", "WM_SVC.NAME": "Walmart Marketplace"}


async def work(session: aiohttp.ClientSession, base: str, numbers: Iterator[int]) -> None:
    for number in numbers:
        url = f"{base}/v3/orders/{order_id(number)}"
        async with session.get(url, headers=HEADERS) as answer:
            order = orjson.loads(await answer.read())
        assert order["order"]["purchaseOrderId"] == order_id(number)
        body = orjson.dumps(ship_body(number, int(time.time() * 1000)))
        headers = {**HEADERS, "Content-Type": "application/json"}
        async with session.post(f"{url}/shipping", data=body, headers=headers) as answer:
            order = orjson.loads(await answer.read())
        assert order["order"]["purchaseOrderId"] == order_id(number)


async def main(task: Task) -> None:
    numbers = itertools.count()
    connector = aiohttp.TCPConnector(limit=task.in_flight)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(work(session, task.walmart, numbers) for _ in range(task.in_flight)))


if __name__ == "__main__":
    asyncio.run(main(task_of_arguments()))
