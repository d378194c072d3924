"""Kafka for commands: connect within bounds, read whole topics without a group, say clearly what is not there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

from worker.kafka import client_options
from worker.settings import KafkaSettings

CONNECT_S: Final = 10.0
"""Longest wait for a connection; a shorter `kafka.request_timeout_seconds` wins."""
CLOSE_S: Final = 3.0
POLL_S: Final = 0.2

_Answer = TypeVar("_Answer")


class KafkaUnreachableError(Exception):
    """Kafka did not answer (or not in time), or a topic is not there. The text names the address."""


async def partition_counts(kafka: KafkaSettings, topics: Iterable[str]) -> dict[str, int]:
    """Number of partitions of each topic. Raises KafkaUnreachableError, also where a topic does not exist."""
    names = list(topics)
    async with _connected(kafka, AIOKafkaAdminClient, "close") as admin:
        described = await bounded(kafka, "describing topics", admin.describe_topics(names))
    counts = {
        topic["topic"]: len(topic["partitions"])
        for topic in described
        if topic["error_code"] == 0 and topic["partitions"]
    }
    missing = [name for name in names if name not in counts]
    if missing:
        raise KafkaUnreachableError(
            f"{kafka.bootstrap_servers}: there is no topic {' and no topic '.join(missing)}"
            " (or this user may not see it); order-sync check tells more"
        )
    return counts


async def probe(kafka: KafkaSettings) -> None:
    """Connect once. Raises KafkaUnreachableError."""
    async with _connected(kafka, AIOKafkaAdminClient, "close"):
        pass


@asynccontextmanager
async def reader(kafka: KafkaSettings, starts: Mapping[TopicPartition, int | None]) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer without group, assigned to these partitions; None starts at the beginning.

    Raises KafkaUnreachableError.
    """
    options = {
        "group_id": None,
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "max_partition_fetch_bytes": 8 * 1_048_576,
    }
    async with _connected(kafka, AIOKafkaConsumer, "stop", **options) as consumer:
        consumer.assign(list(starts))
        for partition, offset in starts.items():
            if offset is not None:
                consumer.seek(partition, offset)
        beginnings = [partition for partition, offset in starts.items() if offset is None]
        if beginnings:
            await bounded(kafka, "finding the first record", consumer.seek_to_beginning(*beginnings))
        yield consumer


async def end_offsets(
    kafka: KafkaSettings, consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, int]:
    """Where the partitions end now. Raises KafkaUnreachableError."""
    ends: dict[TopicPartition, int] = await bounded(
        kafka, "finding the last record", consumer.end_offsets(list(partitions))
    )
    return ends


async def poll(kafka: KafkaSettings, consumer: AIOKafkaConsumer) -> list[ConsumerRecord]:
    """What has arrived, after a short wait if nothing has. Raises KafkaUnreachableError."""
    batches = await bounded(
        kafka, "reading", consumer.getmany(timeout_ms=int(POLL_S * 1000), max_records=2_000), slack_s=POLL_S
    )
    return [record for records in batches.values() for record in records]


async def bounded(kafka: KafkaSettings, what: str, step: Awaitable[_Answer], *, slack_s: float = 0.0) -> _Answer:
    """Await an answer of Kafka within `kafka.request_timeout_seconds`. Raises KafkaUnreachableError."""
    try:
        async with asyncio.timeout(kafka.request_timeout_seconds + slack_s):
            return await step
    except TimeoutError as error:
        raise KafkaUnreachableError(
            f"Kafka at {kafka.bootstrap_servers} did not answer within {kafka.request_timeout_seconds:g} s ({what})"
        ) from error
    except KafkaError as error:
        raise KafkaUnreachableError(
            f"Kafka at {kafka.bootstrap_servers}: {type(error).__name__} ({what}): {error}"
        ) from error


@asynccontextmanager
async def _connected(kafka: KafkaSettings, client_class: Any, close: str, **options: Any) -> AsyncIterator[Any]:
    limit_s = min(CONNECT_S, kafka.request_timeout_seconds)
    try:
        client = client_class(**client_options(kafka), **options)
    except (OSError, ValueError) as error:  # certificates and password files
        raise KafkaUnreachableError(f"the Kafka client cannot be set up: {error}") from error
    try:
        try:
            async with asyncio.timeout(limit_s):
                await client.start()
        except TimeoutError as error:
            raise KafkaUnreachableError(
                f"Kafka at {kafka.bootstrap_servers} ({kafka.security_protocol}) did not answer within {limit_s:g} s"
            ) from error
        except (KafkaError, OSError) as error:
            raise KafkaUnreachableError(
                f"Kafka at {kafka.bootstrap_servers} ({kafka.security_protocol}) cannot be reached:"
                f" {type(error).__name__}: {error}"
            ) from error
        yield client
    finally:
        await _put_away(getattr(client, close)())


async def _put_away(closing: Awaitable[None]) -> None:
    # Closing may hang with the broker down, or leak a CancelledError of its own: its end is learnt, never awaited.
    task = asyncio.ensure_future(closing)
    done, _ = await asyncio.wait({task}, timeout=CLOSE_S)
    if not done:
        task.cancel()
        await asyncio.wait({task}, timeout=1)
    elif not task.cancelled():
        task.exception()
