"""What a cancel without items asks of the intake: how far do shipments go, and is that read? (product contract)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from worker.clock import Clock
from worker.delivery import Record

log = structlog.get_logger()

POSITION_S = 1.0
"""A position is known as soon as the partition has been asked for once."""


class Barrier:
    """The shipped topic, as far as this worker reads it."""

    def __init__(
        self,
        shipped: str,
        clock: Clock,
        *,
        consumer: Callable[[], AIOKafkaConsumer | None],
        is_read: Callable[[str, int], bool],
        timeout_s: float,
    ) -> None:
        """Describe it.

        Args:
            shipped: Name of the topic.
            clock: Of the misplaced keys.
            consumer: The present one.
            is_read: Topic and partition: ours, and its position is what was taken (nothing must be read again).
            timeout_s: Bound of asking the broker.
        """
        self._shipped = shipped
        self._clock = clock
        self._consumer = consumer
        self._is_read = is_read
        self._timeout_s = timeout_s
        self._misplaced_at = float("-inf")

    async def shipped_end(self, partition: int) -> int | None:
        """End offset of the shipped topic's partition, asked of the broker. None: it could not be asked.

        Not the high-water mark of the last fetch: behind that one of 45 cancels overtook its shipment (two brokers).
        """
        consumer = self._consumer()
        if consumer is None or not self._is_read(self._shipped, partition):
            return None
        asked = TopicPartition(self._shipped, partition)
        try:
            async with asyncio.timeout(self._timeout_s):
                ends = await consumer.end_offsets([asked])
        except (KafkaError, TimeoutError, OSError) as error:
            log.warning("end_not_known", partition=partition, error=type(error).__name__)
            return None
        end = ends.get(asked)
        return None if end is None else int(end)

    async def read_past(self, partition: int, offset: int) -> bool:
        """True once everything before `offset` was handed to the lanes (by us, or settled by an earlier owner).

        Told by the position, so that gaps (compaction, transaction markers) count as read; what the client has fetched
        and not given out does not.
        """
        consumer = self._consumer()
        if consumer is None or not self._is_read(self._shipped, partition):
            return False
        try:
            async with asyncio.timeout(POSITION_S):
                position = await consumer.position(TopicPartition(self._shipped, partition))
        except (KafkaError, TimeoutError):
            return False
        # Looked at again: the partition may have been given away while the position was asked for.
        return consumer is self._consumer() and self._is_read(self._shipped, partition) and position >= offset

    def note_misplaced(self, record: Record) -> None:
        """A record whose key belongs elsewhere was read. Only shipments matter."""
        if record.topic == self._shipped:
            self._misplaced_at = self._clock.now()

    def misplaced_since(self, epoch_seconds: float) -> bool:
        """True if a misplaced shipment was read since then."""
        return self._misplaced_at >= epoch_seconds
