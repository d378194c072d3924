"""The consumer of both input topics: follows the group's assignment, never stops polling, and is made anew if it must.

One consumer for both topics (two of one group in one process rebalance each other), range assignment, so that one
order's two partitions are with one worker.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError

from worker.clock import Clock, SystemClock
from worker.delivery import Record
from worker.intake.assignment import Assignment
from worker.intake.barrier import Barrier
from worker.intake.committer import Committer
from worker.intake.doors import IntakeDoors
from worker.intake.fence import IntakeFence
from worker.intake.group_offsets import Asks, GroupOffsets
from worker.intake.intents import FoundIntent, Intents
from worker.intake.lag import lag_of
from worker.intake.listener import Listener
from worker.intake.membership import FencedError, StaticMember, is_fenced
from worker.intake.offsets import Offsets
from worker.intake.pairing import Pairing
from worker.intake.partition_counts import PartitionCounts
from worker.intake.reader import Reader
from worker.intake.supervision import Supervision, watchdog_for
from worker.intake.watchdog import Watchdog
from worker.kafka import client_options, close_consumer
from worker.settings import Settings, TimingSettings
from worker.telemetry.metrics import Metrics

__all__ = ["FencedError", "Intake", "IntakeDoors"]

log = structlog.get_logger()

_LET_GO_SHARE: Final = 0.6
"""Of the rebalance timeout: later the group would have gone on without us."""
_JOIN_MARGIN_S: Final = 5.0
_LONGEST_BACKOFF_S: Final = 15.0
_SOON_AGAIN_S: Final = 120.0
_TAKEN_OVER: Final = "another process has taken over this kafka.group_instance_id; it must be one per replica"


class Intake:
    """Owns the consumer, the assignment and its epoch, the offsets and the intents."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        doors: IntakeDoors,
        *,
        clock: Clock | None = None,
        asks: Asks | None = None,
        watchdog: Watchdog | None = None,
    ) -> None:
        """Build it; nothing is connected yet. `asks` and `watchdog` may be given in tests."""
        kafka, topics = settings.kafka, settings.topics
        self._kafka, self._topics = kafka, topics
        self.metrics = metrics
        self._doors = doors
        self._clock = clock = clock or SystemClock()
        self._asks = asks or GroupOffsets(kafka)
        self.consumer: AIOKafkaConsumer | None = None
        self._leaving: AIOKafkaConsumer | None = None
        self._backoff_s = 0.5
        self._rebuilt_at = float("-inf")
        self._stopping = False
        self.member = StaticMember(kafka.group_instance_id)
        self.offsets = Offsets()
        self.intents = Intents(keep_s=_intents_matter_s(settings.timing))
        self.committer = Committer(
            lambda: self.consumer,
            self.offsets,
            metrics,
            timeout_s=kafka.request_timeout_seconds,
            intents=self.intents,
            clock=clock,
        )
        self.assignment = Assignment(self.committer, self.offsets, topics, self._asks, clock, metrics, owns=self._owns)
        self.fence = IntakeFence(
            self.assignment,
            self.committer,
            self.offsets,
            topics,
            clock,
            metrics,
            consumer=lambda: self.consumer,
            session_s=min(kafka.session_timeout_seconds, kafka.rebalance_timeout_seconds),
        )
        self.reader = Reader(
            doors,
            self.offsets,
            metrics,
            clock,
            may_read=self.may_read,
            timeout_s=kafka.request_timeout_seconds,
            shipped=topics.order_shipped,
        )
        self.barrier = Barrier(
            topics.order_shipped,
            clock,
            consumer=lambda: self.consumer,
            is_read=self.reader.is_true_to_position,
            timeout_s=kafka.request_timeout_seconds,
        )
        self.counts = PartitionCounts((topics.order_shipped, topics.order_cancelled), metrics)
        self.supervision = Supervision(
            self, self._asks, self.reader, topics, watchdog or watchdog_for(settings), kafka.request_timeout_seconds
        )
        self.listener_failed = False

    def configure(self, settings: Settings) -> None:
        """Take new settings. Kafka's own, and the topics, stay as they were."""
        self.intents.configure(_intents_matter_s(settings.timing))

    # -- life

    async def start(self) -> None:
        """Connect, subscribe and wait for the assignment. Raises FencedError, KafkaError or TimeoutError."""
        kafka, topics = self._kafka, self._topics
        session_ms = int(kafka.session_timeout_seconds * 1000)
        options = client_options(kafka)
        # A join is answered when the slowest member has let go; given up before, it would begin the rebalance anew.
        joining_s = kafka.rebalance_timeout_seconds + _JOIN_MARGIN_S
        options["request_timeout_ms"] = int(max(kafka.request_timeout_seconds, joining_s) * 1000)
        consumer = AIOKafkaConsumer(
            **options,
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
            fetch_max_bytes=2 * 1_048_576,
            metadata_max_age_ms=60_000,
        )
        self.consumer = consumer
        consumer.subscribe([topics.order_shipped, topics.order_cancelled], listener=Listener(self, consumer))
        # The other members may take their whole time to let go, and a dead one its session, before we get anything.
        patience_s = kafka.session_timeout_seconds + kafka.rebalance_timeout_seconds + kafka.request_timeout_seconds
        try:
            async with asyncio.timeout(patience_s):
                await consumer.start()
        except KafkaError as error:
            if is_fenced(error):
                raise FencedError(_TAKEN_OVER) from error
            raise
        self.reader.polled_at = asyncio.get_running_loop().time()

    async def run(self) -> None:
        """Read until `close`. Raises FencedError when another process has our `group_instance_id`."""
        watching = asyncio.create_task(self.supervision.run())
        tasks = {watching}
        try:
            while not self._stopping:
                polling = asyncio.create_task(self._read())
                asked = asyncio.create_task(self._rebuild_asked())
                tasks = {watching, polling, asked}
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                await _end(polling, asked)
                for task in (polling, watching):
                    if task.done() and not task.cancelled():
                        task.result()
                if self.supervision.rebuild_asked.is_set() and not self._stopping:
                    await self._rebuild()
        finally:
            await _end(*tasks)

    async def close(self) -> None:
        """Commit what is finished and close the consumer, all within a bound (`stop()` does not call the listener).

        A static member does not leave the group: whoever starts under its name within the session goes on at once.
        """
        self._stopping = True
        self.assignment.end()
        await self.committer.commit()
        consumer, self.consumer = self.consumer, None
        if consumer is not None:
            await close_consumer(consumer, self._kafka.request_timeout_seconds)

    def rebuild(self, reason: str) -> None:
        """Have the consumer replaced by a new one, in this process, with a new epoch. What runs is let go of first."""
        self.supervision.ask_rebuild(reason)

    # -- what others ask

    @property
    def epoch(self) -> int:
        """Of the present assignment."""
        return self.assignment.epoch

    @property
    def assigned(self) -> frozenset[tuple[str, int]]:
        """Topic and partition of all that is assigned."""
        return self.assignment.places

    @property
    def joined(self) -> bool:
        """True once the group has given us an assignment (possibly an empty one)."""
        return self.assignment.joined

    @property
    def intents_known(self) -> bool:
        """What the earlier owners of our partitions left behind is read: events may be handed out."""
        return self.assignment.intents_known

    @property
    def pairing_broken(self) -> bool:
        """Only one topic's partition of some number is ours: those cancels are left in Kafka."""
        return bool(self.assignment.pairing.unpaired)

    @property
    def counts_differ(self) -> bool:
        """The input topics have different numbers of partitions: orders are parted over workers."""
        return self.counts.differ

    @property
    def failed(self) -> str | None:
        """Why the process should be restarted: nothing moves, a new consumer did not help, and the broker is there."""
        return self.supervision.failed

    @property
    def polled_at(self) -> float:
        """Loop time of the latest sign of life: a completed poll, or the watchdog waiting for the group to settle."""
        return max(self.reader.polled_at, self.supervision.waited_at)

    def may_read(self, partition: int) -> bool:
        """True if records of this number may be handed out: intents read back, and the waiting room caught up."""
        return self.intents_known and self._doors.may_read(partition)

    def found_intent(self, order: str) -> FoundIntent | None:
        """What an earlier owner left behind for this order."""
        return self.fence.found_intent(order)

    async def shipped_end(self, partition: int) -> int | None:
        """See `Barrier.shipped_end`."""
        return await self.barrier.shipped_end(partition)

    async def read_past(self, partition: int, offset: int) -> bool:
        """See `Barrier.read_past`."""
        return await self.barrier.read_past(partition, offset)

    def note_misplaced(self, record: Record) -> None:
        """A record whose key belongs to another partition was read."""
        self.barrier.note_misplaced(record)

    def misplaced_since(self, epoch_seconds: float) -> bool:
        """True if a shipment with such a key was read since then."""
        return self.barrier.misplaced_since(epoch_seconds)

    def finished(self, record: Record, epoch: int) -> None:
        """The record is settled and everything about it is acknowledged: its offset may be committed."""
        if self.offsets.finished(record.topic, record.partition, record.offset, epoch):
            self.committer.note()

    def partition_count(self, topic: str) -> int | None:
        """Number of partitions of an input topic, as the client knows it now."""
        return self.counts.of(topic, self.consumer)

    def lag(self) -> dict[tuple[str, int], int]:
        """Records per partition that are in Kafka (as of the last fetch) and not finished."""
        return {} if self.consumer is None else lag_of(self.consumer, self.assigned, self.offsets)

    def is_present(self, consumer: AIOKafkaConsumer) -> bool:
        """False for one that is being closed for a new one: it may still finish a join."""
        return self.consumer is consumer and self._leaving is not consumer

    # -- reading

    async def _read(self) -> None:
        while not self._stopping and self.consumer is not None:
            try:
                await self.reader.poll(self.consumer)
            except (KafkaError, TimeoutError) as error:
                if is_fenced(error):
                    raise FencedError(_TAKEN_OVER) from error
                log.warning("poll_failed", error=type(error).__name__, detail=str(error)[:200])
                if type(error) is KafkaError:
                    # A task of the client has ended with something it did not expect. It will not begin again.
                    self.rebuild("client_broken")
                await asyncio.sleep(1.0)

    async def _rebuild_asked(self) -> None:
        await self.supervision.rebuild_asked.wait()

    async def _rebuild(self) -> None:
        """Replace the consumer. Raises FencedError."""
        now = asyncio.get_running_loop().time()
        self._backoff_s = (
            min(_LONGEST_BACKOFF_S, self._backoff_s * 2) if now - self._rebuilt_at < _SOON_AGAIN_S else 0.5
        )
        self.metrics.consumer_rebuilds.inc()
        self._leaving = self.consumer
        if self.joined:
            await self.revoked()
        while not self._stopping:
            if self.consumer is not None:
                await close_consumer(self.consumer, self._kafka.request_timeout_seconds)
            await asyncio.sleep(self._backoff_s)
            try:
                await self.start()
                break
            except FencedError:
                raise
            except (KafkaError, TimeoutError, OSError) as error:
                log.warning("consumer_not_rebuilt", error=type(error).__name__, detail=str(error)[:200])
                self._leaving = self.consumer
                self._backoff_s = min(_LONGEST_BACKOFF_S, self._backoff_s * 2)
        self._leaving = None
        self._rebuilt_at = asyncio.get_running_loop().time()
        self.supervision.rebuild_asked.clear()
        log.warning("consumer_rebuilt", epoch=self.epoch)

    # -- the assignment

    async def revoked(self) -> None:
        """End what runs, commit, own nothing. Called by the listener."""
        self.metrics.rebalances.inc()
        budget_s = self._kafka.rebalance_timeout_seconds * _LET_GO_SHARE
        await self.assignment.give_back(self._doors.let_go(budget_s))

    async def given(self, partitions: set[TopicPartition]) -> None:
        """These are ours now. Called by the listener."""
        self.assignment.take((one.topic, one.partition) for one in partitions)
        self.counts.refresh(self.consumer)

    def _owns(self, pairing: Pairing, epoch: int) -> None:
        self.reader.assign(pairing.readable, epoch)
        self._doors.take_over(pairing.numbers, epoch)


async def _end(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def _intents_matter_s(timing: TimingSettings) -> float:
    """So long after its deadline a call that was intended may still work, or be hidden by an old read."""
    return timing.call_timeout_seconds + timing.read_lag_seconds
