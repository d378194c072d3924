"""faststream-concurrent-aiokafka as a contender: its middleware on a FastStream application, as its README shows it.

It handles messages at once, whatever their keys; the order of each key is kept with a lock per key, which asyncio gives
to whoever came first. Runs in the environment of the peers (`peers.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from faststream import AckPolicy, ContextRepo, FastStream
from faststream.kafka import KafkaBroker, KafkaMessage
from faststream_concurrent_aiokafka import (
    KafkaConcurrentProcessingMiddleware,
    initialize_concurrent_processing,
    stop_concurrent_processing,
)

from tests.bench.contract import Task, task_of_arguments
from tests.bench.handlers import handler_of, number_of

MOST_AT_ONCE = 2_000
"""Events, as in the bare loop; calls are as many as the task says."""
COMMIT_EVERY_S = 0.1
COMMIT_EVERY = 1_000
"""Events."""


class Turn(asyncio.Lock):
    """Whose turn it is among the messages of one key; forgotten with the last of them."""

    wanted = 0


async def decoded(message: KafkaMessage) -> Any:
    return orjson.loads(message.body)


async def main(task: Task) -> None:
    broker = KafkaBroker(
        task.bootstrap, acks="all", enable_idempotence=True, linger_ms=2, apply_types=False,
        logger=logging.getLogger("peer"), log_level=logging.DEBUG,
    )  # fmt: skip
    broker.add_middleware(KafkaConcurrentProcessingMiddleware)
    handle = handler_of(task)
    turns: dict[str, Turn] = {}
    publisher = broker.publisher(task.names.sync_result)

    @broker.subscriber(
        task.names.order_shipped, group_id=task.group, ack_policy=AckPolicy.MANUAL, auto_offset_reset="earliest",
        decoder=decoded,
    )  # fmt: skip
    async def ship(event: dict[str, Any]) -> None:
        order = event["data"]["purchase_order_id"]
        turn = turns.setdefault(order, Turn())
        turn.wanted += 1
        async with turn:
            await handle(number_of(event["id"]))
            result = {"event": event["id"], "purchase_order_id": order, "status": "succeeded"}
            await publisher.publish(orjson.dumps(result), key=order.encode())
        turn.wanted -= 1
        if not turn.wanted:
            del turns[order]

    @asynccontextmanager
    async def lifespan(_: ContextRepo) -> AsyncIterator[None]:
        await initialize_concurrent_processing(
            context=broker.context,
            concurrency_limit=task.in_flight if task.work == "calls" else MOST_AT_ONCE,
            commit_batch_size=COMMIT_EVERY,
            commit_batch_timeout_sec=COMMIT_EVERY_S,
        )
        try:
            yield
        finally:
            await stop_concurrent_processing(broker.context)

    await FastStream(broker, lifespan=lifespan, logger=None).run()


if __name__ == "__main__":
    asyncio.run(main(task_of_arguments()))
