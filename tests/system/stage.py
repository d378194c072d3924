"""A whole system per test: topics of its own, a simulated Walmart, real worker processes, and what they wrote.

When a test is over everything the workers wrote (logs, results, dead-letter headers of ours, metrics) is searched for
planted secrets and for the buyers' personal data: promise 8 is checked by every system test.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import ConsumerRecord

from schemas import deadletter
from schemas.events import ORDER_CANCELLED_TYPE, ORDER_SHIPPED_TYPE
from schemas.results import SyncResult
from tests.leaks import PLANTED_PERSON
from worker.kafka import close_consumer
from worker.sandbox.walmart.control import WalmartControl, WalmartProcess, running_walmart
from worker.sandbox.worker_process import SECRET, WorkerProcess, sandbox_settings
from worker.settings import TopicSettings

ADDRESS = {
    "name": PLANTED_PERSON[0],
    "address1": PLANTED_PERSON[1],
    "city": "Plantedville",
    "state": "CA",
    "postal_code": "94000",
    "country": "USA",
    "email": PLANTED_PERSON[2],
    "day_phone": PLANTED_PERSON[3],
}
PARTITIONS = 3
"""Of the `topics` fixture."""
UPS = "1Z999AA10123456784"
STRUCTURED = [("content-type", b"application/cloudevents+json")]


def now_text() -> str:
    """The present, RFC 3339."""
    from datetime import UTC, datetime

    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def shipped(order: str, *packages: dict[str, Any], event_id: str | None = None, **data: Any) -> dict[str, Any]:
    """An order-shipped event for the store `sandbox`."""
    event_id = event_id or f"s-{uuid.uuid4().hex[:12]}"
    body = {
        "store": "sandbox",
        "purchase_order_id": order,
        "commerce_order_id": "000000123",
        "shipment_id": event_id,
        "shipped_at": now_text(),
        "packages": list(packages),
        **data,
    }
    return _event(ORDER_SHIPPED_TYPE, event_id, body)


def package(
    number: str | None,
    quantity: int = 1,
    *,
    line: str = "1",
    total: int | None = None,
    carrier: str = "ups",
    **more: Any,
) -> dict[str, Any]:
    """A package with units of one line."""
    item: dict[str, Any] = {"line_number": line, "quantity": quantity}
    if total is not None:
        item["tracking_total"] = total
    return {"carrier": {"code": carrier}, "tracking_number": number, "items": [item], **more}


def cancelled(
    order: str, cancelled_total: int, shipped_total: int, *, line: str = "1", event_id: str | None = None, **data: Any
) -> dict[str, Any]:
    """An order-cancelled event with totals for one line."""
    event_id = event_id or f"c-{uuid.uuid4().hex[:12]}"
    body = {
        "store": "sandbox",
        "purchase_order_id": order,
        "commerce_order_id": "000000123",
        "cancelled_at": now_text(),
        "reason": {"text": "Price or other listing errors"},
        "items": [{"line_number": line, "cancelled_total": cancelled_total, "shipped_total": shipped_total}],
        **data,
    }
    return _event(ORDER_CANCELLED_TYPE, event_id, body)


def _event(kind: str, event_id: str, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": "/test",
        "type": kind,
        "time": now_text(),
        "datacontenttype": "application/json",
        "data": data,
    }


@dataclass
class Stage:
    """What a system test works with."""

    kafka: str
    topics: TopicSettings
    folder: Path
    walmart: WalmartProcess
    control: WalmartControl
    producer: AIOKafkaProducer
    workers: list[WorkerProcess] = field(default_factory=list)
    _readers: dict[str, tuple[AIOKafkaConsumer, list[ConsumerRecord]]] = field(default_factory=dict)

    async def worker(self, *, start: bool = True, **sections: Any) -> WorkerProcess:
        """A worker process; `sections` as in the settings file."""
        secret = self.folder / "secret"
        secret.write_text(SECRET)
        name = f"worker-{len(self.workers)}"
        kafka = {"group_id": f"group-{self.topics.sync_result}", **sections.pop("kafka", {})}
        settings = sandbox_settings(
            self.kafka, self.walmart.url, secret, topics=self.topics.model_dump(), kafka=kafka, **sections
        )
        worker = WorkerProcess(self.folder, settings, name=name)
        self.workers.append(worker)
        if start:
            await worker.start()
        return worker

    async def send(self, event: dict[str, Any] | bytes, **more: Any) -> tuple[str, int, int]:
        """Publish an event (or raw bytes, `topic` given); returns its coordinates."""
        if isinstance(event, bytes):
            topic, value, key = more.get("topic", self.topics.order_shipped), event, more.get("key")
        else:
            shipment = event["type"] == ORDER_SHIPPED_TYPE
            topic = self.topics.order_shipped if shipment else self.topics.order_cancelled
            value, key = orjson.dumps(event), event["data"]["purchase_order_id"].encode()
        sent = await self.producer.send_and_wait(
            topic, value, key=key, headers=more.get("headers", STRUCTURED), partition=more.get("partition")
        )
        return topic, sent.partition, sent.offset

    async def results(
        self, places: Sequence[tuple[str, int, int]], *, within_s: float = 30, replay: bool = False
    ) -> list[SyncResult]:
        """The (latest) final result of each event, waited for."""
        wanted = set(places)
        found: dict[tuple[str, int, int], SyncResult] = {}
        async with asyncio.timeout(within_s):
            while True:
                for result in await self.all_results():
                    place = (result.event.topic, result.event.partition, result.event.offset)
                    if result.final and place in wanted:
                        found[place] = result
                if len(found) == len(wanted):
                    return [found[place] for place in places]
                await asyncio.sleep(0.1)

    async def result(self, place: tuple[str, int, int], *, within_s: float = 30) -> SyncResult:
        """The final result of one event."""
        return (await self.results([place], within_s=within_s))[0]

    async def all_results(self) -> list[SyncResult]:
        """Every result so far, in the order of each partition."""
        return [SyncResult.model_validate_json(record.value) for record in await self.read(self.topics.sync_result)]

    async def dead_letters(self) -> dict[str, ConsumerRecord]:
        """The latest record of each key in the dead-letter topic that is not settled."""
        latest: dict[str, ConsumerRecord] = {}
        for record in await self.read(self.topics.dead_letter):
            key = record.key.decode()
            latest.pop(key, None)
            if record.value is not None:
                latest[key] = record
        return latest

    async def read(self, topic: str) -> list[ConsumerRecord]:
        """All records of a topic, as of now."""
        reader = self._readers.get(topic)
        if reader is None:
            consumer = AIOKafkaConsumer(bootstrap_servers=self.kafka, auto_offset_reset="earliest")
            await consumer.start()
            consumer.assign([TopicPartition(topic, number) for number in range(PARTITIONS)])
            reader = self._readers[topic] = (consumer, [])
        consumer, records = reader
        ends = await consumer.end_offsets(list(consumer.assignment()))
        while any([await consumer.position(one) < end for one, end in ends.items()]):
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                records += batch
        return list(records)

    async def close(self) -> None:
        """Close the readers."""
        for consumer, _ in self._readers.values():
            await close_consumer(consumer, 5)

    async def committed(self) -> dict[tuple[str, int], int]:
        """Committed offsets of the worker group."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka)
        await admin.start()
        try:
            offsets = await admin.list_consumer_group_offsets(f"group-{self.topics.sync_result}")
            return {(place.topic, place.partition): meta.offset for place, meta in offsets.items()}
        finally:
            await admin.close()

    async def metrics(self, worker: WorkerProcess) -> str:
        """The metrics page."""
        async with aiohttp.ClientSession() as session, session.get(worker.metrics_url) as answer:
            return await answer.text()

    async def search_for_leaks(self) -> None:
        """Fail if a secret or personal data is in anything the workers wrote."""
        orders = {entry.purchase_order_id for entry in await self.control.journal() if entry.purchase_order_id}
        planted = [SECRET, *PLANTED_PERSON]
        for order in list(orders)[:50]:
            planted += (await self.control.order(order)).personal_data
        written: dict[str, bytes] = {worker.log.name: worker.log.read_bytes() for worker in self.workers}
        for number, record in enumerate(await self.read(self.topics.sync_result)):
            written[f"result {number}"] = (record.value or b"") + repr(record.headers).encode()
        for number, record in enumerate(await self.read(self.topics.dead_letter)):
            about, _ = deadletter.decode(record.headers)
            written[f"dead letter headers {number}"] = b"".join(value for _, value in deadletter.encode(about))
        for worker in self.workers:
            if worker.exit_code is None and worker.started:
                written[f"metrics of {worker.log.name}"] = (await self.metrics(worker)).encode()
        leaks = [
            f"{text!r} in {where}" for where, content in written.items() for text in planted if text.encode() in content
        ]
        assert not leaks, leaks


@asynccontextmanager
async def staged(kafka: str, topics: TopicSettings, folder: Path, **walmart: Any) -> AsyncIterator[Stage]:
    """Set the stage; at the end everything is stopped, then searched for leaks."""
    async with (
        running_walmart(folder / "journal.jsonl", **walmart) as process,
        aiohttp.ClientSession() as session,
        AIOKafkaProducer(bootstrap_servers=kafka, acks="all", max_request_size=4_000_000) as producer,
    ):
        stage = Stage(kafka, topics, folder, process, WalmartControl(process.control_url, session), producer)
        try:
            yield stage
            await stage.search_for_leaks()
        finally:
            await stage.close()
            for worker in stage.workers:
                await worker.stop(timeout_s=15)
                # Shown by pytest when the test fails.
                print(f"--- {worker.log.name}\n{worker.log_tail(40)}")
