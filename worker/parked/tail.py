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
FETCH_BYTES = 524_288
BATCH_RECORDS = 500


@dataclass(slots=True)
class _Assignment:
    partitions: frozenset[int]
    ends: dict[int, int] = field(default_factory=dict)
    """Partition -> end offset when the assignment began: the table is caught up once that is read."""
    behind: set[int] = field(default_factory=set)
    read: dict[int, int] = field(default_factory=dict)
    """Partition -> offset after the last record that was read."""
    apart: bool = False
    """Each partition is asked on its own, because one of them holds something that the client cannot read."""
    careful: dict[int, bool] = field(default_factory=dict)
    """Partitions read one record at a time, until the unreadable one is found (then True) and one behind it is read."""


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
        self._kafka, self._topic = settings.kafka, settings.topics.dead_letter
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
        kafka = self._kafka
        self._consumer = AIOKafkaConsumer(
            **client_options(kafka),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            # What was fetched lies in memory beside the table, and larger fetches would read it little sooner.
            max_partition_fetch_bytes=FETCH_BYTES,
            fetch_max_bytes=2 * FETCH_BYTES,
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
        whole = [self._whole(partition) for partition in sorted(partitions)]
        consumer.assign(whole)
        async with asyncio.timeout(self._kafka.request_timeout_seconds):
            await consumer.seek_to_beginning(*whole)
            ends = await consumer.end_offsets(whole)
        return _Assignment(partitions, {place.partition: end for place, end in ends.items()}, set(partitions))

    async def _poll(self, assignment: _Assignment) -> None:
        consumer = self._consumer
        assert consumer is not None
        if assignment.apart:
            await self._poll_apart(assignment)
            return
        try:
            batches = await consumer.getmany(timeout_ms=int(POLL_S * 1000), max_records=BATCH_RECORDS)
        except (CorruptRecordException, ValueError):
            # What the client had drained of other partitions is lost with it.
            for partition in assignment.partitions:
                consumer.seek(self._whole(partition), assignment.read.get(partition, 0))
            assignment.apart = True
            raise
        await self._take(assignment, batches)

    async def _poll_apart(self, assignment: _Assignment) -> None:
        """What one partition raises costs the others nothing."""
        consumer = self._consumer
        assert consumer is not None
        failed: Exception | None = None
        wait_ms = max(1, int(POLL_S * 1000 / len(assignment.partitions)))
        for partition in sorted(assignment.partitions):
            whole = self._whole(partition)
            most = 1 if partition in assignment.careful else BATCH_RECORDS
            try:
                batches = await consumer.getmany(whole, timeout_ms=wait_ms, max_records=most)
            except UnicodeDecodeError:
                # A header name that is not UTF-8: nothing of ours. The client raises for ever and does not tell where.
                if partition in assignment.careful:
                    await self._step_over(assignment, whole)
                else:
                    assignment.careful[partition] = False
                    consumer.seek(whole, assignment.read.get(partition, 0))
                batches = {}
            except (CorruptRecordException, ValueError) as error:
                consumer.seek(whole, assignment.read.get(partition, 0))
                failed, batches = error, {}
            if self._changed.is_set():
                return
            await self._take(assignment, batches)
            if batches and assignment.careful.get(partition):
                del assignment.careful[partition]
        if failed is not None:
            raise failed
        assignment.apart = bool(assignment.careful)

    async def _step_over(self, assignment: _Assignment, whole: TopicPartition) -> None:
        consumer = self._consumer
        assert consumer is not None
        async with asyncio.timeout(self._kafka.request_timeout_seconds):
            offset = await consumer.position(whole)
        if self._changed.is_set():
            return
        log.error("dead_letter_record_unreadable", partition=whole.partition, offset=offset)
        consumer.seek(whole, offset + 1)
        assignment.read[whole.partition] = offset + 1
        assignment.careful[whole.partition] = True

    async def _take(self, assignment: _Assignment, batches: dict[TopicPartition, list[ConsumerRecord]]) -> None:
        if self._changed.is_set():
            return
        for place, records in batches.items():
            for record in records:
                self._read(record)
            assignment.read[place.partition] = records[-1].offset + 1
        if batches:
            await asyncio.sleep(0)

    def _whole(self, partition: int) -> TopicPartition:
        return TopicPartition(self._topic, partition)

    async def _look(self, assignment: _Assignment) -> None:
        """See which partitions have caught up (positions also move past compacted and control records)."""
        consumer = self._consumer
        assert consumer is not None
        for partition in list(assignment.behind):
            async with asyncio.timeout(self._kafka.request_timeout_seconds):
                position = await consumer.position(self._whole(partition))
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
            await close_consumer(consumer, self._kafka.request_timeout_seconds)
