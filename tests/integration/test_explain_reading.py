"""What `order-sync explain` reads of a real Kafka: all letters, the results of a time, and nothing that comes later."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from schemas import deadletter
from schemas.deadletter import DeadLetterHeaders
from worker.oncall.evidence import from_kafka
from worker.oncall.explaining import Asked, Case, Explaining
from worker.oncall.outlook import outlook
from worker.sandbox.worker_process import SECRET, sandbox_settings
from worker.settings import Settings, TopicSettings

pytestmark = pytest.mark.integration

NOW = time.time()
TOPIC = "commerce.order-shipped.v1"


@pytest.fixture
async def producer(kafka: str) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


@pytest.fixture
def settings(kafka: str, topics: TopicSettings, tmp_path: Path) -> Settings:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    return Settings.model_validate(sandbox_settings(kafka, "http://127.0.0.1:1", secret, topics=topics.model_dump()))


def result(number: int) -> bytes:
    return json.dumps(
        {
            "result_id": "r", "store": "sandbox", "account": "main", "purchase_order_id": f"PO{number}",
            "event": {
                "source": "/commerce", "id": f"e{number}", "type": "commerce.order.shipped.v1", "topic": TOPIC,
                "partition": 0, "offset": number, "time": None,
            },
            "commerce_order_id": "1", "shipment_id": "s", "operation": "ship", "status": "succeeded", "final": True,
            "effect": "applied", "order_status": None, "walmart_status": None, "lines": [], "inventory": [],
            "warnings": [], "error": None, "attempts": 1, "received_at": "2026-11-20T15:04:05Z",
            "completed_at": "2026-11-20T15:04:06Z", "latency_seconds": 1.0, "waited": {"budget": 0.0, "retry": 0.0},
            "dead_letter": None,
        }
    ).encode()  # fmt: skip


async def put_letter(producer: AIOKafkaProducer, topics: TopicSettings, number: int, *, gone: bool = False) -> None:
    about = DeadLetterHeaders(
        state="waiting", code="throttled", reason="slow", order=f"PO{number}", topic=TOPIC, partition=0, offset=number,
        first_seen=NOW - 5 * 86_400, story=((NOW - 5 * 86_400, "received"),),
    )  # fmt: skip
    value, headers = deadletter.write(about, b"{}", ())
    key = f"{TOPIC}|/commerce|e{number}".encode()
    await producer.send_and_wait(topics.dead_letter, key=key, value=value, headers=headers, partition=number % 3)
    if gone:
        await producer.send_and_wait(topics.dead_letter, key=key, value=None, partition=number % 3)


async def put_result(producer: AIOKafkaProducer, topics: TopicSettings, number: int, *, days_ago: float = 0) -> None:
    await producer.send_and_wait(
        topics.sync_result,
        key=f"PO{number}".encode(),
        value=result(number),
        timestamp_ms=int((NOW - days_ago * 86_400) * 1000),
    )


async def the_one(settings: Settings, event: str, *, days: float = 1) -> Case | None:
    explaining = Explaining(Asked(event))
    await from_kafka(settings, explaining, NOW - days * 86_400)
    cases = explaining.cases()
    assert len(cases) <= 1
    return cases[0] if cases else None


async def test_empty_topics_know_nothing(settings: Settings) -> None:
    assert await the_one(settings, "e1") is None


async def test_results_are_looked_at_since_a_time(
    settings: Settings, topics: TopicSettings, producer: AIOKafkaProducer
) -> None:
    await put_result(producer, topics, 1, days_ago=3)
    await put_result(producer, topics, 2)
    assert await the_one(settings, "e1") is None
    assert await the_one(settings, "e1", days=4) is not None
    found = await the_one(settings, "e2")
    assert found is not None
    assert outlook(found, settings, NOW).state == "finished"


async def test_a_letter_moves_the_time_back(
    settings: Settings, topics: TopicSettings, producer: AIOKafkaProducer
) -> None:
    await put_result(producer, topics, 1, days_ago=3)
    await put_letter(producer, topics, 1)
    await put_letter(producer, topics, 2)
    found = await the_one(settings, "PO1")
    assert found is not None
    assert found.result is not None
    assert found.letter is not None
    assert outlook(found, settings, NOW).state == "waiting"


async def test_a_settled_letter_is_told_as_settled(
    settings: Settings, topics: TopicSettings, producer: AIOKafkaProducer
) -> None:
    await put_letter(producer, topics, 1, gone=True)
    await put_result(producer, topics, 1)
    found = await the_one(settings, f"{TOPIC}/0/1")
    assert found is not None
    assert found.letter is None
    whats = [step.what for step in found.story()]
    assert whats[0] == "received"
    assert "settled: taken out of the dead-letter topic" in whats
    assert outlook(found, settings, NOW).state == "finished"


async def test_it_ends_though_more_keeps_coming(
    settings: Settings, topics: TopicSettings, producer: AIOKafkaProducer
) -> None:
    """What is written while it reads is not waited for."""
    for number in range(50):
        await put_result(producer, topics, number)
    explaining = Explaining(Asked("PO7"))
    written = 0

    async def go_on() -> None:
        nonlocal written
        while True:
            await put_result(producer, topics, 100 + written % 50)
            written += 1

    writing = asyncio.create_task(go_on())
    try:
        async with asyncio.timeout(30):
            await from_kafka(settings, explaining, NOW - 3600)
    finally:
        writing.cancel()
        await asyncio.wait({writing})
    assert written
    assert len(explaining.cases()) == 1
