"""What aiokafka tells about rebalances, handed on to the intake of which it is the present consumer."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition

from worker.intake.membership import StaticMember
from worker.telemetry.metrics import Metrics

log = structlog.get_logger()


class Listens(Protocol):
    """The intake, as the listener needs it."""

    listener_failed: bool
    member: StaticMember
    metrics: Metrics

    def is_present(self, consumer: AIOKafkaConsumer) -> bool:
        """False for one that is being closed: it may still finish a join."""
        ...

    async def revoked(self) -> None:
        """Give everything back."""
        ...

    async def given(self, partitions: set[TopicPartition]) -> None:
        """These are ours."""
        ...


class Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """aiokafka swallows what a listener raises: catch it here, and let readiness see it."""

    def __init__(self, intake: Listens, consumer: AIOKafkaConsumer) -> None:
        self._intake = intake
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        if self._intake.is_present(self._consumer):
            # The first one after a start is empty.
            if revoked:
                await self._guarded(self._intake.revoked())
            self._intake.member.joining(self._consumer)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        if self._intake.is_present(self._consumer):
            self._intake.member.joined(self._consumer)
            # A step that failed is done anew with this assignment.
            self._intake.listener_failed = False
            await self._guarded(self._intake.given(assigned))

    async def _guarded(self, step: Awaitable[None]) -> None:
        try:
            await step
        except Exception as error:
            self._intake.listener_failed = True
            self._intake.metrics.internal_errors.inc("rebalance")
            log.exception("rebalance_listener_failed", error=type(error).__name__)
