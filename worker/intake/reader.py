"""Takes records off the consumer: each once, in order, none skipped, whatever one of them does to the client.

Backpressure is asking only for the partitions that have room: `pause()` would throw the prefetched records away, and
not polling at all would cost the membership.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CorruptRecordException, IllegalStateError, KafkaError, RecordTooLargeError
from aiokafka.structs import ConsumerRecord

from worker.clock import Clock
from worker.delivery import Record
from worker.intake.doors import IntakeDoors
from worker.intake.offsets import Offsets
from worker.telemetry.metrics import Metrics

log = structlog.get_logger()

Place = tuple[str, int]

POLL_S = 0.2
BATCH_RECORDS = 500
_NOWHERE = TopicPartition("", 0)
"""Asking for a partition that does not exist polls (and so keeps the membership) without taking any record."""


class Reader:
    """Polls one consumer; `assign` begins anew."""

    def __init__(
        self,
        doors: IntakeDoors,
        offsets: Offsets,
        metrics: Metrics,
        clock: Clock,
        *,
        may_read: Callable[[int], bool],
        timeout_s: float,
        shipped: str = "",
    ) -> None:
        """`shipped`: the topic that is read on, while there is a reserve, when the windows are full."""
        self._shipped = shipped
        self._doors = doors
        self._offsets = offsets
        self._metrics = metrics
        self._clock = clock
        self._may_read = may_read
        self._timeout_s = timeout_s
        self._epoch = 0
        self._apart = False
        """Each partition is asked on its own, because one of them holds something that the client cannot read."""
        self._unreadable: dict[TopicPartition, bool] = {}
        """Read one record at a time, until the one is found (then True) and one behind it could be read."""
        self._corrupt: set[TopicPartition] = set()
        self._must_rewind = False
        self.readable: frozenset[Place] = frozenset()
        self.polled_at = 0.0
        """Loop time of the latest completed poll."""

    def assign(self, readable: frozenset[Place], epoch: int) -> None:
        """Read these partitions from here on, as records of this epoch."""
        self.readable, self._epoch = readable, epoch
        self._apart = self._must_rewind = False
        self._unreadable.clear()
        self._corrupt.clear()

    def is_true_to_position(self, topic: str, partition: int) -> bool:
        """True if it is ours, and all that the client has given out was taken: nothing will be read again."""
        return (topic, partition) in self.readable and not self._must_rewind

    def wanted(self) -> list[TopicPartition]:
        """The partitions to be asked for records just now."""
        everything = self._doors.has_room()
        if not everything and not self._doors.has_reserve():
            return []
        return [
            TopicPartition(topic, partition)
            for topic, partition in self.readable
            if (everything or topic == self._shipped) and self._may_read(partition)
        ]

    def hopeful(self) -> list[TopicPartition]:
        """The wanted ones but for those that hold what no client can read."""
        return [partition for partition in self.wanted() if partition not in self._corrupt]

    async def poll(self, consumer: AIOKafkaConsumer) -> None:
        """One round. Raises KafkaError or TimeoutError as the client does; what was not taken is read again."""
        try:
            await self._poll(consumer)
        except RecordTooLargeError as error:
            self._too_large(consumer, error)
        except (UnicodeDecodeError, CorruptRecordException) as error:
            log.warning("poll_failed", error=type(error).__name__)
            self._apart = self._must_rewind = True

    async def _poll(self, consumer: AIOKafkaConsumer) -> None:
        if self._must_rewind:
            await self._rewind(consumer)
        self._metrics.intake_paused.set(0 if self._doors.has_room() else 1)
        wanted = self.wanted()
        if self._apart and wanted:
            await self._poll_apart(consumer, wanted)
            return
        batches = await consumer.getmany(
            *(wanted or [_NOWHERE]), timeout_ms=int((POLL_S if wanted else 0.02) * 1000), max_records=BATCH_RECORDS
        )
        self._take(consumer, batches)
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
                self._take(consumer, batches)
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
                self._corrupt.add(partition)
                log.exception("partition_corrupt", topic=partition.topic, partition=partition.partition)

    async def _step_over(self, consumer: AIOKafkaConsumer, partition: TopicPartition) -> None:
        async with asyncio.timeout(self._timeout_s):
            offset = await consumer.position(partition)
        if not self._may_take(partition):
            return
        log.error("record_unreadable", topic=partition.topic, partition=partition.partition, offset=offset)
        _seek(consumer, partition, offset + 1)
        self._unreadable[partition] = True
        self._accept_unfetched(partition, offset, self._doors.unreadable)

    async def _rewind(self, consumer: AIOKafkaConsumer) -> None:
        """Go back to what was taken: a poll that raises has thrown away what it had drained of other partitions."""
        async with asyncio.timeout(self._timeout_s):
            for place in self.readable:
                partition, offset = TopicPartition(*place), self._offsets.next_to_read(*place)
                if offset is not None:
                    _seek(consumer, partition, offset)
                elif not (await consumer.seek_to_committed(partition))[partition]:
                    await consumer.seek_to_beginning(partition)
        self._must_rewind = False

    def _take(self, consumer: AIOKafkaConsumer, batches: dict[TopicPartition, list[ConsumerRecord]]) -> None:
        self.polled_at = asyncio.get_running_loop().time()
        for partition, records in batches.items():
            if not self._may_take(partition):
                # What is skipped once would be committed over.
                _seek(consumer, partition, records[0].offset)
                continue
            self._metrics.events_received.add(len(records), partition.topic)
            for record in records:
                self._accept(record)

    def _may_take(self, partition: TopicPartition) -> bool:
        # Asked again after each poll: a poll that a rebalance holds up returns records of the new assignment.
        return tuple(partition) in self.readable and self._may_read(partition.partition)

    def _accept(self, read: ConsumerRecord) -> None:
        if self._offsets.started(read.topic, read.partition, read.offset, read.timestamp, self._epoch):
            self._doors.accept(
                Record(
                    read.topic, read.partition, read.offset, read.timestamp, read.key, read.value, tuple(read.headers)
                ),
                self._epoch,
            )

    def _too_large(self, consumer: AIOKafkaConsumer, error: RecordTooLargeError) -> None:
        # aiokafka skips such a record and tells its place only in the error's arguments.
        partition, offset = error.args[1], error.args[2]
        if not self._may_take(partition):
            _seek(consumer, partition, offset)
            return
        log.error("record_too_large", topic=partition.topic, partition=partition.partition, offset=offset)
        self._accept_unfetched(partition, offset, self._doors.too_large)

    def _accept_unfetched(self, partition: TopicPartition, offset: int, door: Callable[[Record, int], None]) -> None:
        # Its own time is not known; 1970 would show as decades of lag and latency.
        now_ms = int(self._clock.now() * 1000)
        if self._offsets.started(partition.topic, partition.partition, offset, now_ms, self._epoch):
            door(Record(partition.topic, partition.partition, offset, now_ms, None, None, ()), self._epoch)


async def position_of(consumer: AIOKafkaConsumer, partition: TopicPartition, timeout_s: float) -> int | None:
    """The client's position, or None where it is not known within the time."""
    try:
        async with asyncio.timeout(timeout_s):
            return int(await consumer.position(partition))
    except (KafkaError, TimeoutError):
        return None


def _seek(consumer: AIOKafkaConsumer, partition: TopicPartition, offset: int) -> None:
    try:
        consumer.seek(partition, offset)
    except IllegalStateError:
        log.debug("not_assigned_any_more", topic=partition.topic, partition=partition.partition)
