"""`order-sync check` on a real topic: partitions added while something waited are found."""

from __future__ import annotations

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.partitioner import murmur2

from schemas.deadletter import DeadLetterHeaders, write
from worker.check_kafka import judge, look
from worker.check_parked import look_at_parked
from worker.findings import Finding
from worker.settings import Settings, TopicSettings

pytestmark = pytest.mark.integration


async def found(kafka: str, topics: TopicSettings) -> list[Finding]:
    settings = Settings.model_validate(
        {
            "kafka": {"bootstrap_servers": kafka, "group_id": topics.dead_letter, "request_timeout_seconds": 5},
            "topics": topics.model_dump(),
            "accounts": {"main": {"client_id": "c", "client_secret": "s"}},
            "stores": {"us": {"account": "main"}},
        }
    )
    names = (topics.order_shipped, topics.order_cancelled, topics.sync_result, topics.dead_letter)
    return [one for one in judge(settings, await look(settings.kafka, names)) if topics.dead_letter in one.subject]


async def test_partitions_added_while_events_waited_are_found(kafka: str, topics: TopicSettings) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all")
    await producer.start()
    try:
        for number in range(60):
            order = b"%d" % number
            about = DeadLetterHeaders(state="waiting", key=order, order=order.decode())
            value, headers = write(about, b"{}", [])
            place = (murmur2(order) & 0x7FFFFFFF) % 3
            await producer.send_and_wait(
                topics.dead_letter, value, key=b"t|s|%d" % number, headers=headers, partition=place
            )
    finally:
        await producer.stop()
    before = await found(kafka, topics)
    assert [one.message for one in before if "unfinished events" in one.message] == [
        "unfinished events, read to the end: waiting: 60, replays: 0, dead: 0, markers: 0"
    ]
    assert not any("another partition" in one.message for one in before)

    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        await admin.create_partitions({topics.dead_letter: NewPartitions(total_count=8)})
    finally:
        await admin.close()
    (mistake,) = [one for one in await found(kafka, topics) if one.level == "mistake"]
    assert "waiting events or replays lie in another partition than their key says (t|s|" in mistake.message


async def test_a_topic_that_cannot_be_read_is_told_and_raises_nothing(kafka: str, topics: TopicSettings) -> None:
    settings = Settings.model_validate(
        {
            "kafka": {"bootstrap_servers": "127.0.0.1:1", "request_timeout_seconds": 1},
            "accounts": {"main": {"client_id": "c", "client_secret": "s"}},
            "stores": {"us": {"account": "main"}},
        }
    )
    seen = await look_at_parked(settings.kafka, topics.dead_letter, 3)
    assert seen.unread == "KafkaConnectionError"
