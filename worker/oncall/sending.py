"""Publishing one event to its input topic, and waiting for its sync result."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import MessageSizeTooLargeError

from schemas.results import SyncResult
from worker.delivery import Place
from worker.kafka import NotPublishedError
from worker.oncall import kafka as shell
from worker.oncall.answers import is_about, read_result
from worker.report.publisher import Publisher
from worker.settings import Settings


class TooLargeError(Exception):
    """The topic takes no record of this size."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record that is to be sent."""

    topic: str
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Sent:
    """Where it lies, and its newest result if one was waited for."""

    place: Place
    result: SyncResult | None = None


async def send(
    settings: Settings, record: Outgoing, *, wait_s: float = 0.0, sent: Callable[[Place], None] = lambda _: None
) -> Sent:
    """Write the record where Kafka's default partitioner (murmur2 over the key) puts it.

    Args:
        settings: Where Kafka and the topics are.
        record: What to send.
        wait_s: How long to wait for the final result; 0: not at all.
        sent: Told at once where it lies.

    Returns:
        Its place and, if waited for, the newest result: final, `retrying`, or None if none appeared in time.

    Raises:
        KafkaUnreachableError: no answer in time, a topic is missing, or the record was not acknowledged.
        TooLargeError: the topic takes no record of this size.
    """
    kafka = settings.kafka
    await shell.partition_counts(kafka, [record.topic])
    if wait_s <= 0:
        place = await _write(settings, record)
        sent(place)
        return Sent(place)
    async with _results_from_now(settings) as consumer:
        place = await _write(settings, record)
        sent(place)
        return Sent(place, await _result(settings, consumer, record.topic, place, wait_s))


@asynccontextmanager
async def _results_from_now(settings: Settings) -> AsyncIterator[AIOKafkaConsumer]:
    kafka, topic = settings.kafka, settings.topics.sync_result
    counts = await shell.partition_counts(kafka, [topic])
    partitions = [TopicPartition(topic, number) for number in range(counts[topic])]
    async with shell.reader(kafka, dict.fromkeys(partitions)) as consumer:
        for partition, end in (await shell.end_offsets(kafka, consumer, partitions)).items():
            consumer.seek(partition, end)
        yield consumer


async def _write(settings: Settings, record: Outgoing) -> Place:
    publisher = Publisher(settings.kafka)
    try:
        return await publisher.send(record.topic, key=record.key, value=record.value, headers=list(record.headers))
    except NotPublishedError as error:
        if isinstance(error.__cause__, MessageSizeTooLargeError):
            raise TooLargeError(f"the record is larger than topic {record.topic} takes") from error
        raise shell.KafkaUnreachableError(
            f"Kafka at {settings.kafka.bootstrap_servers} did not take the record: {error}"
        ) from error
    finally:
        await publisher.stop()


async def _result(
    settings: Settings, consumer: AIOKafkaConsumer, topic: str, place: Place, wait_s: float
) -> SyncResult | None:
    loop = asyncio.get_running_loop()
    until = loop.time() + wait_s
    newest: SyncResult | None = None
    while loop.time() < until:
        for read in await shell.poll(settings.kafka, consumer):
            result = read_result(read.value)
            if result is not None and is_about(result, topic, place.partition, place.offset):
                if result.final:
                    return result
                newest = result
    return newest
