"""The Kafka the other tests stand on does what they rely on; and the embedded one survives what they do to it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, OffsetMetadataTooLargeError

from worker.sandbox.kafka import EmbeddedKafka, KafkaUnavailableError, create_topics
from worker.settings import KafkaSettings, TopicSettings
from worker.topics import TopicSpec, mismatches, topic_specs

pytestmark = pytest.mark.integration


@asynccontextmanager
async def running(client: Any) -> AsyncIterator[Any]:
    """Start and stop any of aiokafka's clients."""
    await client.start()
    try:
        yield client
    finally:
        await (client.close() if isinstance(client, AIOKafkaAdminClient) else client.stop())


def producer(bootstrap: str) -> Any:
    return running(AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True))


def admin(bootstrap: str) -> Any:
    return running(AIOKafkaAdminClient(bootstrap_servers=bootstrap))


async def read(bootstrap: str, topic: str) -> list[Any]:
    """Everything that is in a topic now."""
    async with running(AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=None)) as consumer:
        partitions = [TopicPartition(topic, number) for number in await partitions_of(bootstrap, topic)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        found: list[Any] = []
        while any([await consumer.position(one) < ends[one] for one in partitions]):
            batches = await consumer.getmany(timeout_ms=200)
            found.extend(record for records in batches.values() for record in records)
        return found


async def partitions_of(bootstrap: str, topic: str) -> list[int]:
    async with admin(bootstrap) as client:
        (described,) = await client.describe_topics([topic])
    return sorted(one["partition"] for one in described["partitions"])


async def config_of(bootstrap: str, topic: str) -> dict[str, str]:
    async with admin(bootstrap) as client:
        answers = await client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    (row,) = answers[0].resources
    return {name: value for name, value, *_ in row[4]}


async def test_an_idempotent_producer_writes_each_record_once(kafka: str, topics: TopicSettings) -> None:
    async with producer(kafka) as client:
        sends = [await client.send(topics.order_shipped, key=b"%d" % n, value=b"%d" % n) for n in range(200)]
        await asyncio.gather(*sends)
    assert sorted(int(record.value) for record in await read(kafka, topics.order_shipped)) == list(range(200))


@pytest.mark.parametrize("length", [0, 1, 4_096])
async def test_commit_metadata_comes_back(kafka: str, topics: TopicSettings, length: int) -> None:
    """The fence's intent lives there: 4,096 bytes are Kafka's limit."""
    group, partition = f"group-{uuid.uuid4().hex[:8]}", TopicPartition(topics.order_shipped, 0)
    async with running(AIOKafkaConsumer(bootstrap_servers=kafka, group_id=group, enable_auto_commit=False)) as consumer:
        consumer.assign([partition])
        await consumer.commit({partition: (7, "x" * length)})
    async with admin(kafka) as client:
        offsets = await client.list_consumer_group_offsets(group)
    assert offsets[partition] == (7, "x" * length)


async def test_commit_metadata_beyond_the_limit_is_refused(kafka: str, topics: TopicSettings) -> None:
    group, partition = f"group-{uuid.uuid4().hex[:8]}", TopicPartition(topics.order_shipped, 0)
    async with running(AIOKafkaConsumer(bootstrap_servers=kafka, group_id=group, enable_auto_commit=False)) as consumer:
        consumer.assign([partition])
        with pytest.raises(OffsetMetadataTooLargeError):
            await consumer.commit({partition: (7, "x" * 4_097)})


async def test_a_compacted_topic_keeps_the_newest_of_a_key(kafka: str) -> None:
    topic = f"compacted-{uuid.uuid4().hex[:8]}"
    config = {"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.001"}
    async with admin(kafka) as client:
        await client.create_topics([NewTopic(topic, 1, 1, topic_configs={**config, "max.compaction.lag.ms": "100"})])
    async with producer(kafka) as client:
        async with asyncio.timeout(20):
            for number in range(1_000):
                await client.send_and_wait(topic, key=b"settled" if number % 2 else b"other", value=b"%d" % number)
                if number % 10 == 9:
                    values = [record.value for record in await read(kafka, topic)]
                    if b"0" not in values and b"1" not in values:
                        break
                    await asyncio.sleep(0.2)
    assert b"%d" % number in values, "the newest stays"
    assert b"0" not in values
    assert b"1" not in values


async def test_create_topics_gives_what_the_product_needs(kafka: str, topics: TopicSettings) -> None:
    for spec in topic_specs(topics, KafkaSettings(), partitions=3, replication=1):
        found = await config_of(kafka, spec.name)
        assert {key: found[key] for key in spec.config} == dict(spec.config)
        assert mismatches(spec, found) == []
        assert await partitions_of(kafka, spec.name) == [0, 1, 2]


async def test_create_topics_is_idempotent(kafka: str, topics: TopicSettings) -> None:
    """A topic that exists keeps its partitions and its records; a missing one is added."""
    more = topics.model_copy(update={"sync_result": topics.sync_result + "-new"})
    async with producer(kafka) as client:
        await client.send_and_wait(topics.order_shipped, key=b"k", value=b"kept")
    made = await create_topics(kafka, more, partitions=5)
    assert [spec.name for spec in made if spec.partitions == 5] == [spec.name for spec in made]
    assert len(await partitions_of(kafka, topics.order_shipped)) == 3
    assert len(await partitions_of(kafka, more.sync_result)) == 5
    assert [record.value for record in await read(kafka, topics.order_shipped)] == [b"kept"]


async def test_two_at_once_can_create_the_topics(kafka: str) -> None:
    """Init jobs of several replicas run at the same moment."""
    tag = uuid.uuid4().hex[:8]
    names = TopicSettings(
        order_shipped=f"s-{tag}", order_cancelled=f"c-{tag}", sync_result=f"r-{tag}", dead_letter=f"d-{tag}"
    )
    await asyncio.gather(*(create_topics(kafka, names) for _ in range(4)))
    assert await partitions_of(kafka, names.dead_letter) == [0, 1, 2]


async def test_a_topic_the_cluster_cannot_hold_is_an_error(kafka: str) -> None:
    tag = uuid.uuid4().hex[:8]
    names = TopicSettings(
        order_shipped=f"s-{tag}", order_cancelled=f"c-{tag}", sync_result=f"r-{tag}", dead_letter=f"d-{tag}"
    )
    with pytest.raises(KafkaError, match=f"s-{tag}"):
        await create_topics(kafka, names, replication=3)


@pytest.mark.faults
async def test_kill_and_restart_lose_nothing_acknowledged() -> None:
    """Kill -9 under load: the same producer goes on, every acknowledged record is there, the address stays."""
    async with EmbeddedKafka() as kafka:
        (spec, *_) = await create_topics(kafka.bootstrap_servers)
        acknowledged: list[int] = []
        async with producer(kafka.bootstrap_servers) as client:
            load = asyncio.create_task(send_until_cancelled(client, spec, acknowledged))
            await until(lambda: len(acknowledged) > 50)
            kafka.kill()
            before = len(acknowledged)
            await kafka.restart()
            await until(lambda: len(acknowledged) > before + 50)
            load.cancel()
        found = [int(record.value) for record in await read(kafka.bootstrap_servers, spec.name)]
    assert set(acknowledged) <= set(found)
    assert len(found) == len(set(found)), "idempotent: none twice"


async def send_until_cancelled(client: Any, spec: TopicSpec, acknowledged: list[int]) -> None:
    number = 0
    while True:
        await client.send_and_wait(spec.name, key=b"k", value=b"%d" % number)
        acknowledged.append(number)
        number += 1


async def until(happened: Any, within_s: float = 30) -> None:
    async with asyncio.timeout(within_s):
        while not happened():  # nobody sets an event for us
            await asyncio.sleep(0.02)


@pytest.mark.faults
async def test_of_three_nodes_one_may_go() -> None:
    """acks=all with two in sync goes on; with one it does not."""
    async with EmbeddedKafka(nodes=3) as kafka:
        (spec, *_) = await create_topics(kafka.bootstrap_servers, replication=3)
        async with producer(kafka.bootstrap_servers) as client:
            kafka.kill(3)
            async with asyncio.timeout(30):
                await client.send_and_wait(spec.name, key=b"k", value=b"0")
        assert [record.value for record in await read(kafka.bootstrap_servers, spec.name)] == [b"0"]


@pytest.mark.faults
async def test_a_paused_broker_answers_nothing_until_it_is_resumed(topics: TopicSettings) -> None:
    async with EmbeddedKafka() as kafka:
        await create_topics(kafka.bootstrap_servers, topics)
        async with producer(kafka.bootstrap_servers) as client:
            kafka.pause()
            sent = await client.send(topics.order_shipped, key=b"k", value=b"0")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(sent), 0.3)
            kafka.resume()
            await asyncio.wait_for(sent, 20)


async def test_a_data_folder_is_kept_across_restarts(tmp_path: Path) -> None:
    """Another port is fine: a person may start the sandbox elsewhere the next day."""
    async with EmbeddedKafka(data=tmp_path) as kafka:
        (spec, *_) = await create_topics(kafka.bootstrap_servers)
        async with producer(kafka.bootstrap_servers) as client:
            await client.send_and_wait(spec.name, key=b"k", value=b"kept")
    async with EmbeddedKafka(data=tmp_path) as kafka:
        assert [record.value for record in await read(kafka.bootstrap_servers, spec.name)] == [b"kept"]


async def test_a_broker_that_does_not_come_up_shows_the_end_of_its_log(tmp_path: Path) -> None:
    """Two on one data folder: the second says so, the first goes on."""
    async with EmbeddedKafka(data=tmp_path) as kafka:
        with pytest.raises(KafkaUnavailableError, match=r"(?s)did not come up and ended.*acquire lock"):
            await EmbeddedKafka(data=tmp_path).start()
        await create_topics(kafka.bootstrap_servers)


async def test_a_setting_that_kafka_refuses_is_named() -> None:
    with pytest.raises(KafkaUnavailableError, match=r"num\.io\.threads"):
        await EmbeddedKafka(properties={"num.io.threads": "0"}).start()


async def test_a_temporary_folder_is_removed() -> None:
    kafka = EmbeddedKafka()
    await kafka.start()
    folder = kafka.log().parent.parent
    assert folder.exists()
    await kafka.stop()
    assert not folder.exists()
    await kafka.stop()  # harmless


@pytest.mark.faults
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_the_broker_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "worker.sandbox.kafka", "--data", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        address = parent.stdout.readline()
        (broker,) = children(parent.pid)
        parent.send_signal(signal.SIGKILL)
    assert address.startswith("127.0.0.1:")
    deadline = time.monotonic() + 20
    while alive(broker) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(broker)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
