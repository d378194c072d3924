"""The one producer: everything the worker writes to Kafka goes through here, acknowledged by all replicas.

aiokafka's default is acks=1 without idempotence; a send may hang with the broker down, and after a fatal producer
error every later send fails. So: acks=all, idempotence, a deadline on every wait, and a new producer after a failure.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, ProducerClosed

from worker.delivery import Place
from worker.kafka import NotPublishedError, client_options
from worker.report.outbox import Headers, Outbox
from worker.settings import KafkaSettings

log = structlog.get_logger()

__all__ = ["NotPublishedError", "Publisher"]


class Publisher:
    """Writes records and waits for their acknowledgement."""

    def __init__(self, settings: KafkaSettings, failed: Callable[[str], None] = lambda _: None) -> None:
        """`failed` is told the topic of each record that Kafka did not acknowledge."""
        self._settings = settings
        self._failed = failed
        self._outbox: Outbox | None = None
        self._replacing = asyncio.Lock()
        self.healthy = False
        """False from a failed write to the next one that worked."""

    async def start(self) -> None:
        """Connect. Raises aiokafka's error when no broker answers."""
        self._outbox = await self._connect()
        self.healthy = True

    async def stop(self) -> None:
        """Flush and close, within three times the request timeout."""
        outbox, self._outbox = self._outbox, None
        if outbox is not None:
            await outbox.flush(self._settings.request_timeout_seconds)
            await self._close(outbox)

    async def send(
        self, topic: str, *, key: bytes | None, value: bytes | None, headers: Headers, partition: int | None = None
    ) -> Place:
        """Write one record; return where it lies once all in-sync replicas have it.

        Raises NotPublishedError. Records sent to one partition keep the order of the calls.
        """
        outbox = self._outbox or await self._replace(None)
        try:
            if partition is None:
                partition = outbox.partition_for(topic, key)
                if partition is None:
                    partition = await self._learn(outbox, topic, key)
            place = await outbox.put(topic, partition, key, value, headers)
        except MessageSizeTooLargeError as error:
            self._failed(topic)
            log.error("record_too_large_to_publish", topic=topic, partition=partition)  # noqa: TRY400  # no trace needed
            raise NotPublishedError(f"{topic}: {error}") from error
        except (KafkaError, TimeoutError, OSError) as error:
            self.healthy = False
            self._failed(topic)
            log.warning("publish_failed", topic=topic, error=type(error).__name__, detail=str(error)[:200])
            await self._replace(outbox)
            raise NotPublishedError(f"{topic}: {type(error).__name__}") from error
        self.healthy = True
        return place

    async def _learn(self, outbox: Outbox, topic: str, key: bytes | None) -> int:
        async with asyncio.timeout(self._settings.request_timeout_seconds * 2):
            await outbox.learn(topic)
        partition = outbox.partition_for(topic, key)
        assert partition is not None, "it was learnt"
        return partition

    async def partitions(self, topic: str) -> int:
        """Number of partitions of a topic. Raises NotPublishedError."""
        outbox = self._outbox or await self._replace(None)
        try:
            async with asyncio.timeout(self._settings.request_timeout_seconds):
                return len(await outbox.producer.partitions_for(topic))
        except (KafkaError, TimeoutError) as error:
            raise NotPublishedError(f"{topic}: {type(error).__name__}") from error

    async def _connect(self) -> Outbox:
        producer = AIOKafkaProducer(
            **client_options(self._settings),
            acks="all",
            enable_idempotence=True,
            # 16 kB, the default, would be one request for every twenty results.
            max_batch_size=262_144,
            # The topic's own limit decides; `order-sync check` verifies it.
            max_request_size=128 * 1_048_576,
            # The outbox has lingered already.
            linger_ms=0,
            compression_type=None,
        )
        try:
            async with asyncio.timeout(self._settings.request_timeout_seconds):
                await producer.start()
        except BaseException:
            await self._close_producer(producer)
            raise
        return Outbox(producer, patience_s=self._settings.request_timeout_seconds * 2)

    async def _replace(self, broken: Outbox | None) -> Outbox:
        async with self._replacing:
            if self._outbox is not None and self._outbox is not broken:
                return self._outbox
            if broken is not None:
                self._outbox = None
                await self._close(broken)
            try:
                self._outbox = await self._connect()
            except (KafkaError, TimeoutError, OSError) as error:
                raise NotPublishedError(f"no connection: {type(error).__name__}") from error
            return self._outbox

    async def _close(self, outbox: Outbox) -> None:
        outbox.end(ProducerClosed())
        await self._close_producer(outbox.producer)
        outbox.forget()

    async def _close_producer(self, producer: AIOKafkaProducer) -> None:
        # stop() may hang with the broker down, or leak a CancelledError of its own.
        task = asyncio.ensure_future(producer.stop())
        done, _ = await asyncio.wait({task}, timeout=self._settings.request_timeout_seconds)
        if done and not task.cancelled() and task.exception() is None:
            return
        if done and not task.cancelled():
            log.warning("producer_close_failed", error=type(task.exception()).__name__)
        # Its sender would go on and write what was given up, after newer records of the same key: a dead letter after
        # its tombstone, or the other way round.
        task.cancel()
        ending: set[asyncio.Future[Any]] = {task, asyncio.ensure_future(producer.client.close())}
        sender = producer._sender.sender_task if producer._sender is not None else None
        if sender is not None:
            sender.cancel()
            ending.add(sender)
        await asyncio.wait(ending, timeout=2)
