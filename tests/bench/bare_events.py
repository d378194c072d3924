"""What anyone would write: consume, decode, one queue per key, handle, publish a result, commit the contiguous prefix.

No validation, no retries, no dead letters, no metrics, no logs, no rebalance handling: the floor of the work.
"""

from __future__ import annotations

import asyncio
from collections import deque

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import ConsumerRecord

from tests.bench.contract import Task, task_of_arguments
from tests.bench.handlers import handler_of, number_of

MOST_AT_ONCE = 2_000
"""Events; calls are as many as the task says."""
COMMIT_EVERY_S = 0.1


class Loop:
    def __init__(self, task: Task, consumer: AIOKafkaConsumer, producer: AIOKafkaProducer) -> None:
        self.consumer, self.producer, self.results = consumer, producer, task.names.sync_result
        self.handle = handler_of(task)
        self.queues: dict[bytes, deque[ConsumerRecord]] = {}
        self.open: dict[TopicPartition, deque[int]] = {}
        self.done: dict[TopicPartition, set[int]] = {}
        self.ready: dict[TopicPartition, int] = {}
        self.room = asyncio.Semaphore(task.in_flight if task.work == "calls" else MOST_AT_ONCE)
        self.tasks: set[asyncio.Task[None]] = set()

    async def read(self) -> None:
        while True:
            for partition, records in (await self.consumer.getmany(timeout_ms=200, max_records=500)).items():
                offsets = self.open.setdefault(partition, deque())
                self.done.setdefault(partition, set())
                for record in records:
                    await self.room.acquire()
                    offsets.append(record.offset)
                    queue = self.queues.get(record.key)
                    if queue is not None:
                        queue.append(record)
                        continue
                    self.queues[record.key] = deque([record])
                    task = asyncio.create_task(self.work(record.key))
                    self.tasks.add(task)
                    task.add_done_callback(self.tasks.discard)

    async def work(self, key: bytes) -> None:
        queue = self.queues[key]
        while queue:
            record = queue[0]
            event = orjson.loads(record.value)
            await self.handle(number_of(event["id"]))
            order = event["data"]["purchase_order_id"]
            result = {"event": event["id"], "purchase_order_id": order, "status": "succeeded"}
            await self.producer.send_and_wait(self.results, orjson.dumps(result), key=key)
            self.finished(TopicPartition(record.topic, record.partition), record.offset)
            queue.popleft()
        del self.queues[key]

    def finished(self, partition: TopicPartition, offset: int) -> None:
        offsets, done = self.open[partition], self.done[partition]
        done.add(offset)
        while offsets and offsets[0] in done:
            first = offsets.popleft()
            done.discard(first)
            self.ready[partition] = first + 1
        self.room.release()

    async def commit(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_EVERY_S)
            ready, self.ready = self.ready, {}
            if ready:
                await self.consumer.commit(ready)


async def main(task: Task) -> None:
    consumer = AIOKafkaConsumer(
        task.names.order_shipped, bootstrap_servers=task.bootstrap, group_id=task.group,
        enable_auto_commit=False, auto_offset_reset="earliest",
    )  # fmt: skip
    producer = AIOKafkaProducer(bootstrap_servers=task.bootstrap, acks="all", enable_idempotence=True, linger_ms=2)
    await consumer.start()
    await producer.start()
    loop = Loop(task, consumer, producer)
    await asyncio.gather(loop.read(), loop.commit())


if __name__ == "__main__":
    asyncio.run(main(task_of_arguments()))
