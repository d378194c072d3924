"""Reads the dead-letter partitions this worker owns, from the beginning and on, without a consumer group."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CorruptRecordException, KafkaError
from aiokafka.structs import ConsumerRecord

from worker.kafka import client_options, close_consumer
from worker.settings import Settings

log = structlog.get_logger()

POLL_S = 0.2
RETRY_S = 1.0


@dataclass(slots=True)
class _Assignment:
    partitions: frozenset[int]
    ends: dict[int, int] = field(default_factory=dict)
    """Partition -> end offset when the assignment began: the table is caught up once that is read."""
    behind: set[int] = field(default_factory=set)
    read: dict[int, int] = field(default_factory=dict)
    """Partition -> offset after the last record that was read."""


class Tail:
    """Follows a set of partitions; every change of the set reads them afresh from the beginning.

    (A partition that was lost and came back may have been written by others meanwhile.)
    """

    def __init__(
        self,
        settings: Settings,
        *,
        read: Callable[[ConsumerRecord], None],
        began: Callable[[frozenset[int]], None],
        caught_up: Callable[[int], None],
    ) -> None:
        self._settings = settings
        self._read = read
        self._began = began
        self._caught_up = caught_up
        self._consumer: AIOKafkaConsumer | None = None
        self._wanted: frozenset[int] | None = None
        self._held = False
        self._changed = asyncio.Event()
        self._ready: frozenset[int] = frozenset()

    async def start(self) -> None:
        """Connect. Raises aiokafka's error when no broker answers."""
        kafka = self._settings.kafka
        self._consumer = AIOKafkaConsumer(
            **client_options(kafka),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=8 * 1_048_576,
            fetch_max_bytes=32 * 1_048_576,
        )
        async with asyncio.timeout(kafka.request_timeout_seconds * 2):
            await self._consumer.start()

    def follow(self, partitions: frozenset[int]) -> None:
        """Follow these partitions from now on. Takes effect in `run`; nothing is ready until it has caught up."""
        self._wanted = partitions
        self._held = False
        self._ready = frozenset()
        self._changed.set()

    def hold(self) -> None:
        """Nothing is ready any more, until the next `follow` has caught up."""
        self._held = True
        self._ready = frozenset()

    def is_ready(self, partition: int) -> bool:
        """True once the partition was read to the end it had when it was assigned."""
        return partition in self._ready

    @property
    def caught_up(self) -> bool:
        """True when every followed partition is ready."""
        return self._wanted is not None and self._wanted <= self._ready

    async def run(self) -> None:
        """Follow until cancelled."""
        assignment = _Assignment(frozenset())
        while True:
            try:
                if self._wanted is not None and self._changed.is_set():
                    self._changed.clear()
                    assignment = _Assignment(frozenset())
                    assignment = await self._begin(self._wanted)
                if assignment.behind:
                    await self._look(assignment)
                if self._changed.is_set():
                    continue
                if assignment.partitions:
                    await self._poll(assignment)
                else:
                    await self._changed.wait()
            except (KafkaError, TimeoutError, ValueError) as error:
                # Goes on where it was. From the beginning would mean with an empty table, under events that run.
                log.warning("dead_letter_tail_failed", error=type(error).__name__, detail=str(error)[:200])
                await asyncio.sleep(RETRY_S)

    async def _begin(self, partitions: frozenset[int]) -> _Assignment:
        try:
            return await self._assign(partitions)
        except BaseException:
            self._changed.set()
            raise

    async def _assign(self, partitions: frozenset[int]) -> _Assignment:
        consumer = self._consumer
        assert consumer is not None
        self._began(partitions)
        if not partitions:
            return _Assignment(partitions)
        topic = self._settings.topics.dead_letter
        whole = [TopicPartition(topic, partition) for partition in sorted(partitions)]
        consumer.assign(whole)
        async with asyncio.timeout(self._settings.kafka.request_timeout_seconds):
            await consumer.seek_to_beginning(*whole)
            ends = await consumer.end_offsets(whole)
        return _Assignment(partitions, {place.partition: end for place, end in ends.items()}, set(partitions))

    async def _poll(self, assignment: _Assignment) -> None:
        consumer = self._consumer
        assert consumer is not None
        try:
            batches = await consumer.getmany(timeout_ms=int(POLL_S * 1000), max_records=2_000)
        except (CorruptRecordException, ValueError):
            # What the client had drained of other partitions is lost with it.
            for partition in assignment.partitions:
                whole = TopicPartition(self._settings.topics.dead_letter, partition)
                consumer.seek(whole, assignment.read.get(partition, 0))
            raise
        if self._changed.is_set():
            return
        for place, records in batches.items():
            for record in records:
                self._read(record)
            assignment.read[place.partition] = records[-1].offset + 1
        if batches:
            await asyncio.sleep(0)

    async def _look(self, assignment: _Assignment) -> None:
        """See which partitions have caught up (positions also move past compacted and control records)."""
        consumer = self._consumer
        assert consumer is not None
        for partition in list(assignment.behind):
            async with asyncio.timeout(self._settings.kafka.request_timeout_seconds):
                position = await consumer.position(TopicPartition(self._settings.topics.dead_letter, partition))
            if self._changed.is_set() or self._held:
                return
            if position >= assignment.ends.get(partition, 0):
                assignment.behind.discard(partition)
                self._ready |= {partition}
                self._caught_up(partition)

    async def close(self) -> None:
        """Close the consumer, within a bound."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await close_consumer(consumer, self._settings.kafka.request_timeout_seconds)
