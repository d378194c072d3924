"""The consumer of both input topics: reads records, follows the group's assignment, and never stops polling.

One consumer for both topics (two of one group in one process rebalance each other), range assignment, so that one
order's two partitions are with one worker. Backpressure is asking only for the partitions that have room: `pause()`
would throw the prefetched records away, and not polling at all would cost the membership.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import CorruptRecordException, IllegalStateError, KafkaError, RecordTooLargeError
from aiokafka.structs import ConsumerRecord

from worker.delivery import Record
from worker.intake.committer import Committer
from worker.intake.offsets import Offsets
from worker.kafka import client_options, close_consumer
from worker.settings import Settings
from worker.telemetry.metrics import Metrics

log = structlog.get_logger()

_NOWHERE = TopicPartition("", 0)
"""Asking for a partition that does not exist polls (and so keeps the membership) without taking any record."""

POLL_S = 0.2
BATCH_RECORDS = 500


@dataclass(frozen=True, slots=True)
class IntakeDoors:
    """What the intake needs of the rest of the worker."""

    accept: Callable[[Record, int], None]
    """A record, and the epoch of the assignment it was read under."""
    too_large: Callable[[Record, int], None]
    """A record that could not be fetched: coordinates only."""
    unreadable: Callable[[Record, int], None]
    """A record that the client cannot take apart: coordinates only."""
    has_room: Callable[[], bool]
    """False while the windows are full."""
    let_go: Callable[[float], Awaitable[None]]
    """End what runs, within so many seconds; called before partitions are given back."""
    take_over: Callable[[frozenset[int], int], None]
    """Partition numbers now owned (either topic), and the new epoch."""
    may_read: Callable[[int], bool]
    """True once the waiting room of that partition number has caught up."""


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """aiokafka swallows what a listener raises: catch it here, count it, and let readiness see it."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        if revoked:
            await self._guarded(self._intake._revoked())

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        await self._guarded(self._intake._assigned(assigned))

    async def _guarded(self, step: Awaitable[None]) -> None:
        try:
            await step
        except Exception as error:
            self._intake.listener_failed = True
            log.exception("rebalance_listener_failed", error=type(error).__name__)


class Intake:
    """Owns the consumer, the assignment and its epoch, and the offsets."""

    def __init__(self, settings: Settings, metrics: Metrics, doors: IntakeDoors) -> None:
        self._settings = settings
        self._metrics = metrics
        self._doors = doors
        self._consumer: AIOKafkaConsumer | None = None
        self._partition_counts: dict[str, int] = {}
        self._stopping = False
        self._apart = False
        """Each partition is asked on its own, because one of them holds something that the client cannot read."""
        self._unreadable: dict[TopicPartition, bool] = {}
        """Read one record at a time, until the one is found (then True) and one behind it could be read."""
        self._must_rewind = False
        self.offsets = Offsets()
        self.committer = Committer(
            lambda: self._consumer, self.offsets, metrics, timeout_s=settings.kafka.request_timeout_seconds
        )
        self.epoch = 0
        self.assigned: frozenset[tuple[str, int]] = frozenset()
        self.joined = False
        """True once the group has given us an assignment (possibly an empty one)."""
        self.listener_failed = False
        self.polled_at = 0.0
        """Loop time of the latest completed poll: progress, for health."""

    async def start(self) -> None:
        """Connect and subscribe. Raises aiokafka's error when no broker answers."""
        kafka, topics = self._settings.kafka, self._settings.topics
        session_ms = int(kafka.session_timeout_seconds * 1000)
        consumer = AIOKafkaConsumer(
            **client_options(kafka),
            group_id=kafka.group_id,
            group_instance_id=kafka.group_instance_id,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            partition_assignment_strategy=(RangePartitionAssignor,),
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=max(300, session_ms // 10),
            rebalance_timeout_ms=int(kafka.rebalance_timeout_seconds * 1000),
            max_poll_interval_ms=300_000,
            max_partition_fetch_bytes=kafka.max_record_bytes + 65_536,
            fetch_max_bytes=8 * 1_048_576,
            metadata_max_age_ms=60_000,
        )
        self._consumer = consumer
        consumer.subscribe([topics.order_shipped, topics.order_cancelled], listener=_Listener(self))
        async with asyncio.timeout(kafka.request_timeout_seconds * 2):
            await consumer.start()
        self.polled_at = asyncio.get_running_loop().time()

    async def run(self) -> None:
        """Read until `stop`."""
        consumer = self._consumer
        assert consumer is not None
        while not self._stopping:
            try:
                await self._poll(consumer)
            except RecordTooLargeError as error:
                self._too_large(error)
            except (UnicodeDecodeError, CorruptRecordException) as error:
                log.warning("poll_failed", error=type(error).__name__)
                self._apart = self._must_rewind = True
            except (KafkaError, TimeoutError) as error:
                log.warning("poll_failed", error=type(error).__name__, detail=str(error)[:200])
                if type(error).__name__ in ("FencedInstanceIdError", "KafkaError"):
                    raise
                await asyncio.sleep(1.0)

    async def _poll(self, consumer: AIOKafkaConsumer) -> None:
        if self._must_rewind:
            await self._rewind(consumer)
        room = self._doors.has_room()
        self._metrics.intake_paused.set(0 if room else 1)
        wanted: list[TopicPartition] = []
        if room:
            wanted = [
                TopicPartition(topic, partition)
                for topic, partition in self.assigned
                if self._doors.may_read(partition)
            ]
        if self._apart and wanted:
            await self._poll_apart(consumer, wanted)
            return
        batches = await consumer.getmany(
            *(wanted or [_NOWHERE]), timeout_ms=int((POLL_S if wanted else 0.02) * 1000), max_records=BATCH_RECORDS
        )
        self._take(batches)
        if batches:
            # A full buffer answers at once, every time: let the others run between two batches.
            await asyncio.sleep(0)

    async def _poll_apart(self, consumer: AIOKafkaConsumer, wanted: list[TopicPartition]) -> None:
        """Ask each partition on its own: what one of them raises costs the others nothing."""
        for partition in wanted:
            if not self._may_take(partition):
                continue
            most = 1 if partition in self._unreadable else BATCH_RECORDS
            try:
                batches = await consumer.getmany(
                    partition, timeout_ms=int(POLL_S * 1000 / len(wanted)), max_records=most
                )
                self._take(batches)
                if batches and self._unreadable.get(partition):
                    del self._unreadable[partition]
                    self._apart = bool(self._unreadable)
            except UnicodeDecodeError:
                # A header name that is not UTF-8. The client raises for ever and does not tell where.
                if partition in self._unreadable:
                    await self._step_over(consumer, partition)
                else:
                    self._unreadable[partition] = False
            except CorruptRecordException:
                log.exception("partition_corrupt", topic=partition.topic, partition=partition.partition)

    async def _step_over(self, consumer: AIOKafkaConsumer, partition: TopicPartition) -> None:
        async with asyncio.timeout(self._settings.kafka.request_timeout_seconds):
            offset = await consumer.position(partition)
        if not self._may_take(partition):
            return
        log.error("record_unreadable", topic=partition.topic, partition=partition.partition, offset=offset)
        self._seek(partition, offset + 1)
        self._unreadable[partition] = True
        self._accept_unfetched(partition, offset, self._doors.unreadable)

    async def _rewind(self, consumer: AIOKafkaConsumer) -> None:
        """Go back to what was taken: a poll that raises has thrown away what it had drained of other partitions."""
        async with asyncio.timeout(self._settings.kafka.request_timeout_seconds):
            for place in self.assigned:
                partition, offset = TopicPartition(*place), self.offsets.next_to_read(*place)
                if offset is not None:
                    self._seek(partition, offset)
                elif not (await consumer.seek_to_committed(partition))[partition]:
                    await consumer.seek_to_beginning(partition)
        self._must_rewind = False

    def _take(self, batches: dict[TopicPartition, list[ConsumerRecord]]) -> None:
        self.polled_at = asyncio.get_running_loop().time()
        for partition, records in batches.items():
            if not self._may_take(partition):
                # What is skipped once would be committed over.
                self._seek(partition, records[0].offset)
                continue
            self._metrics.events_received.add(len(records), partition.topic)
            for record in records:
                self._accept(record)

    def _may_take(self, partition: TopicPartition) -> bool:
        # Asked again after each poll: a poll that a rebalance holds up returns records of the new assignment.
        return tuple(partition) in self.assigned and self._doors.may_read(partition.partition)

    def _seek(self, partition: TopicPartition, offset: int) -> None:
        assert self._consumer is not None
        try:
            self._consumer.seek(partition, offset)
        except IllegalStateError:
            log.debug("not_assigned_any_more", topic=partition.topic, partition=partition.partition)

    def _accept(self, read: ConsumerRecord) -> None:
        if self.offsets.started(read.topic, read.partition, read.offset, read.timestamp, self.epoch):
            self._doors.accept(
                Record(
                    read.topic, read.partition, read.offset, read.timestamp, read.key, read.value, tuple(read.headers)
                ),
                self.epoch,
            )

    def _too_large(self, error: RecordTooLargeError) -> None:
        # aiokafka skips such a record and tells its place only in the error's arguments.
        partition, offset = error.args[1], error.args[2]
        if not self._may_take(partition):
            self._seek(partition, offset)
            return
        log.error("record_too_large", topic=partition.topic, partition=partition.partition, offset=offset)
        self._accept_unfetched(partition, offset, self._doors.too_large)

    def _accept_unfetched(self, partition: TopicPartition, offset: int, door: Callable[[Record, int], None]) -> None:
        # Its own time is not known; 1970 would show as decades of lag and latency.
        now_ms = int(time.time() * 1000)
        if self.offsets.started(partition.topic, partition.partition, offset, now_ms, self.epoch):
            door(Record(partition.topic, partition.partition, offset, now_ms, None, None, ()), self.epoch)

    def finished(self, record: Record, epoch: int) -> None:
        """The record is settled and everything about it is acknowledged: its offset may be committed."""
        if self.offsets.finished(record.topic, record.partition, record.offset, epoch):
            self.committer.note()

    def partition_count(self, topic: str) -> int | None:
        """Number of partitions of an input topic, as the client knows it."""
        count = self._partition_counts.get(topic)
        if count is None and self._consumer is not None:
            partitions = self._consumer.partitions_for_topic(topic)
            if partitions:
                count = self._partition_counts[topic] = len(partitions)
        return count

    def lag(self) -> dict[tuple[str, int], int]:
        """Records per partition that are in Kafka (as of the last fetch) and not finished."""
        consumer = self._consumer
        if consumer is None:
            return {}
        lags = {}
        for topic, partition in self.assigned:
            highwater = consumer.highwater(TopicPartition(topic, partition))
            state = consumer._subscription.subscription  # position() would wait for the broker
            assignment = state.assignment if state is not None else None
            if highwater is None or assignment is None:
                continue
            position = assignment.state_value(TopicPartition(topic, partition))
            if position is not None and position.has_valid_position:
                lags[topic, partition] = max(0, highwater - position.position) + self.offsets.unfinished(
                    topic, partition
                )
        return lags

    async def _revoked(self) -> None:
        self.joined = False
        self._metrics.rebalances.inc()
        await self._doors.let_go(self._settings.kafka.rebalance_timeout_seconds * 0.6)
        await self.committer.commit()
        self.assigned = frozenset()
        self.epoch += 1
        self.offsets.assign(set(), self.epoch)
        self._doors.take_over(frozenset(), self.epoch)

    async def _assigned(self, assigned: set[TopicPartition]) -> None:
        self.epoch += 1
        self._partition_counts.clear()
        self._apart = self._must_rewind = False
        self._unreadable.clear()
        self.assigned = frozenset((partition.topic, partition.partition) for partition in assigned)
        self.offsets.assign(set(self.assigned), self.epoch)
        self._doors.take_over(frozenset(partition for _, partition in self.assigned), self.epoch)
        self._metrics.partitions_assigned.set(len(self.assigned))
        self.joined = True
        log.info("partitions_assigned", partitions=sorted(f"{topic}/{number}" for topic, number in self.assigned))

    async def close(self) -> None:
        """Commit what is finished and close the consumer, all within a bound (`stop()` does not call the listener)."""
        self._stopping = True
        await self.committer.commit()
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await close_consumer(consumer, self._settings.kafka.request_timeout_seconds)
