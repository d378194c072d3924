"""A broker of the test's own goes away (kill -9) and comes back: nothing is lost, nothing given up is written later."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.kafka_fixture import new_names
from tests.system.stage import UPS, package, shipped, staged
from worker.kafka import NotPublishedError
from worker.report.publisher import Publisher
from worker.sandbox.kafka import EmbeddedKafka, create_topics
from worker.sandbox.walmart.specs import NewLine, NewOrder
from worker.settings import KafkaSettings, TopicSettings

pytestmark = [pytest.mark.integration, pytest.mark.faults, pytest.mark.timeout(180)]


@pytest.fixture
async def broker() -> AsyncIterator[EmbeddedKafka]:
    """A broker that may be killed."""
    async with EmbeddedKafka() as kafka:
        yield kafka


@pytest.fixture
async def names(broker: EmbeddedKafka) -> TopicSettings:
    """Topics on it."""
    names = new_names()
    await create_topics(broker.bootstrap_servers, names)
    return names


async def test_what_a_producer_gave_up_is_not_written_when_the_broker_is_back(
    broker: EmbeddedKafka, names: TopicSettings
) -> None:
    """It would come after newer records of its key: a dead letter after its tombstone."""
    settings = KafkaSettings(bootstrap_servers=broker.bootstrap_servers, request_timeout_seconds=1)
    publisher = Publisher(settings)
    await publisher.start()
    await publisher.send(names.dead_letter, key=b"k", value=b"first", headers=[], partition=0)
    broker.kill()
    with pytest.raises(NotPublishedError):
        await publisher.send(names.dead_letter, key=b"k", value=b"given up", headers=[], partition=0)
    await broker.restart()
    await publisher.send(names.dead_letter, key=b"k", value=None, headers=[], partition=0)
    await asyncio.sleep(3)
    consumer = AIOKafkaConsumer(bootstrap_servers=broker.bootstrap_servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        whole = TopicPartition(names.dead_letter, 0)
        consumer.assign([whole])
        (end,) = (await consumer.end_offsets([whole])).values()
        values: list[bytes | None] = []
        while await consumer.position(whole) < end:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                values += [record.value for record in records]
    finally:
        await consumer.stop()
        await publisher.stop()
    assert values == [b"first", None]


async def test_a_broker_that_is_killed_under_load_costs_time_only(
    broker: EmbeddedKafka, names: TopicSettings, tmp_path: Path
) -> None:
    """Two workers, the broker killed twice and brought back: they go on by themselves, every event ends, once."""
    kafka = {"session_timeout_seconds": 6, "rebalance_timeout_seconds": 10, "request_timeout_seconds": 2}
    async with staged(broker.bootstrap_servers, names, tmp_path, unlimited=True) as stage:
        workers = [await stage.worker(kafka=kafka) for _ in range(2)]
        orders = await stage.control.add_orders([NewOrder(lines=(NewLine(sku="MUG", quantity=3),))] * 120)
        places = []

        async def load() -> None:
            for number, order in enumerate(orders):
                places.append(await stage.send(shipped(order, package(UPS, 1, total=1))))
                if number % 4 == 0:
                    places.append(await stage.send(shipped(order, package(None))))
                places.append(await stage.send(shipped(order, package(UPS, 1, total=2))))
                await asyncio.sleep(0.03)

        loading = asyncio.create_task(load())
        for seconds_away in (1, 7):
            await asyncio.sleep(1.5)
            broker.kill()
            await asyncio.sleep(seconds_away)
            await broker.restart()
        await loading
        results = await stage.results(places, within_s=60)
        assert [worker.exit_code for worker in workers] == [None, None]
        failed = {f"{one.event.topic}|/test|{one.event.id}" for one in results if one.status == "failed"}
        assert len(failed) == 30
        assert set(await stage.dead_letters()) == failed
        for order in orders:
            line = (await stage.control.order(order)).line("1")
            assert (line.tracking, line.charged) == ({UPS: 2}, 2)
