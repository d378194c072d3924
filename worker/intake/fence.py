"""The fence before calls that leave units open: we still own the event, and Kafka knows what we are about to do.

A repeated partial shipment would charge a buyer twice. So first the intent is committed with the partition's offset: a
refused or late commit means that somebody else owns it, and nothing is sent. Whoever takes the partition over finds
the intent, and doubts reads that show the old state (`found_intent`).

A stale member's commits are taken until the group has moved its partitions (tried); from then on they are refused.
Between that and the call stand the epoch, looked at before and after the commit, and the call's own deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from worker.clock import Clock
from worker.delivery import Delivery, Event
from worker.intake.assignment import Assignment
from worker.intake.committer import Committer
from worker.intake.intents import FoundIntent, mark_of
from worker.intake.offsets import Offsets
from worker.settings import TopicSettings
from worker.sync.calls import Call
from worker.telemetry.metrics import Metrics

log = structlog.get_logger()

Place = tuple[str, int]
FenceOutcome = Literal["taken", "refused", "not_owner"]


class IntakeFence:
    """Implements `worker.sync.doors.Fence`."""

    def __init__(
        self,
        assignment: Assignment,
        committer: Committer,
        offsets: Offsets,
        topics: TopicSettings,
        clock: Clock,
        metrics: Metrics,
        *,
        consumer: Callable[[], AIOKafkaConsumer | None],
        session_s: float = 30.0,
    ) -> None:
        """`session_s`: the group's session timeout."""
        self._session_s = session_s
        self._consumer = consumer
        self._assignment = assignment
        self._committer = committer
        self._offsets = offsets
        self._topics = topics
        self._clock = clock
        self._metrics = metrics

    async def intend(self, event: Event, call: Call, deadline: float, delivery: Delivery | None) -> bool:
        """Commit the intent. False: do not send. `deadline`: epoch seconds after which the call is not written."""
        del event, call
        place = self._place(delivery)
        if delivery is None or place is None or not self._owns(delivery) or self._began_blind(delivery):
            return self._told("not_owner", delivery)
        await self._find_start(place, deadline)
        if not await self._committer.intend(place, delivery, mark_of(delivery.lane), deadline):
            return self._told("refused", delivery)
        if not self._owns(delivery):
            self._committer.ended(delivery)
            return self._told("not_owner", delivery)
        return self._told("taken", delivery)

    def ended(self, delivery: Delivery) -> None:
        """The event is concluded: its result or its waiting record is acknowledged."""
        if not self._committer.intents.has(delivery):
            return
        record, unsettled = delivery.record, delivery.progress.unsettled
        # Somebody else's record of the event took it out of our hands in the middle: what is next of its order may read
        # the order as it was before the call.
        in_doubt = unsettled is not None and self._clock.now() < unsettled.believe_at
        # One that came from the waiting room, or from elsewhere than its intent, is not read again by its offset.
        read_again = delivery.room_place is None and (record.topic, record.partition) == self._place(delivery)
        self._committer.ended(delivery, record.offset if read_again else None, in_doubt=in_doubt)

    @property
    def owned_until(self) -> float:
        """Until when (epoch seconds) what is assigned to us cannot have been given to somebody else.

        The group moves a silent member's partitions after its session; half of it is on the safe side of clocks.
        """
        if not self._assignment.may_send:
            return 0.0
        return max(self._assignment.taken_at, self._committer.taken_at) + self._session_s / 2

    @property
    def believe_from(self) -> float:
        """Epoch seconds: calls of earlier owners have ended, and reads show what came of them."""
        if not self._assignment.inherited:
            return 0.0
        return self._assignment.taken_at + self._committer.intents.keep_s

    def found_intent(self, order: str) -> FoundIntent | None:
        """What an earlier owner left behind for this order. None: nothing, or long enough ago."""
        return self._committer.intents.found(order, self._clock.now())

    # --

    def _owns(self, delivery: Delivery) -> bool:
        return self._assignment.may_send and delivery.epoch == self._assignment.epoch

    def _began_blind(self, delivery: Delivery) -> bool:
        """Taken up before its intent was read back: what it was told of Walmart's state was believed too early."""
        found = self.found_intent(delivery.lane)
        return found is not None and found.found_at > delivery.received_at

    def _place(self, delivery: Delivery | None) -> Place | None:
        """The partition the event came from; for one out of the waiting room the same number of the other topic."""
        if delivery is None:
            return None
        record = delivery.record
        candidates = ((record.topic, record.partition), *self._twins(record.partition))
        return next((place for place in candidates if place in self._assignment.pairing.readable), None)

    def _twins(self, number: int) -> tuple[Place, Place]:
        return (self._topics.order_shipped, number), (self._topics.order_cancelled, number)

    async def _find_start(self, place: Place, deadline: float) -> None:
        """Where nothing was ever committed nor read, an offset to commit is the position."""
        consumer = self._consumer()
        if self._offsets.resume_at(*place) is not None or consumer is None:
            return
        try:
            async with asyncio.timeout(max(0.0, deadline - self._clock.now())):
                self._offsets.found(*place, await consumer.position(TopicPartition(*place)))
        except (KafkaError, TimeoutError) as error:
            log.warning("position_unknown", topic=place[0], partition=place[1], error=type(error).__name__)

    def _told(self, outcome: FenceOutcome, delivery: Delivery | None) -> bool:
        self._metrics.fence.inc(outcome)
        if outcome != "taken":
            log.warning(
                "not_sent", why=f"fence: {outcome}", event_id=None if delivery is None else delivery.envelope.id
            )
        return outcome == "taken"
