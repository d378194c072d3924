"""Looks after the consumer once a second: the watchdog's eyes and hands."""

from __future__ import annotations

import asyncio
import sys
from typing import Final, Protocol

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from worker.intake.group_offsets import Asks
from worker.intake.partition_counts import PartitionCounts
from worker.intake.reader import Reader, position_of
from worker.intake.watchdog import Signs, Watchdog
from worker.settings import Settings, TopicSettings

log = structlog.get_logger()

EVERY_S: Final = 1.0
ASK_EVERY_S: Final = 15.0
"""The broker is asked no more often than this, and only while something is suspicious."""
_POSITION_S: Final = 0.5


class Watched(Protocol):
    """The intake, as it is seen from here."""

    counts: PartitionCounts

    @property
    def joined(self) -> bool:
        """The group has given us an assignment."""
        ...

    @property
    def consumer(self) -> AIOKafkaConsumer | None:
        """The present one."""
        ...


class Supervision:
    """Asks the watchdog, and tells what to do about its advice."""

    def __init__(
        self, intake: Watched, asks: Asks, reader: Reader, topics: TopicSettings, watchdog: Watchdog, timeout_s: float
    ) -> None:
        self._intake = intake
        self._asks = asks
        self._reader = reader
        self._topics = topics
        self._watchdog = watchdog
        self._timeout_s = timeout_s
        self._asked_at = float("-inf")
        self.rebuild_asked = asyncio.Event()
        self.waited_at = 0.0
        """Loop time of the latest look at a group that is not settled: that is the watchdog's matter, not liveness'."""

    @property
    def failed(self) -> str | None:
        """Why only a restart may help."""
        if not self._watchdog.hopeless:
            return None
        return "the consumer reads nothing although the broker answers, and a new one did not help"

    def ask_rebuild(self, reason: str) -> None:
        """Have a new consumer made."""
        if not self.rebuild_asked.is_set():
            log.error("consumer_rebuild", reason=reason)
            self._watchdog.rebuilding(asyncio.get_running_loop().time())
            self.rebuild_asked.set()

    async def run(self) -> None:
        """Look, until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            self._intake.counts.refresh(self._intake.consumer)
            try:
                await self.look()
            except Exception as error:
                log.exception("consumer_not_looked_after", error=type(error).__name__)

    async def look(self) -> None:
        """One look."""
        loop = asyncio.get_running_loop()
        signs = await self._signs()
        if not signs.settled:
            self.waited_at = loop.time()
        if self._watchdog.suspects(signs) and loop.time() - self._asked_at >= ASK_EVERY_S:
            self._asked_at = loop.time()
            signs = await self._ask(signs)
        advice = self._watchdog.look(signs)
        if advice != "ok":
            self.ask_rebuild("group_not_settled" if not signs.settled else "nothing_read")
        if advice == "fail":
            log.error("consumer_rebuild_did_not_help")

    async def _signs(self) -> Signs:
        consumer, settled = self._intake.consumer, self._intake.joined and not self.rebuild_asked.is_set()
        positions: dict[tuple[str, int], int | None] = {}
        if consumer is not None and settled:
            hopeful = self._reader.hopeful()
            known = await asyncio.gather(*(position_of(consumer, partition, _POSITION_S) for partition in hopeful))
            positions = {(one.topic, one.partition): offset for one, offset in zip(hopeful, known, strict=True)}
        now = asyncio.get_running_loop().time()
        return Signs(now, settled and self._intake.joined, self._reader.polled_at, positions)

    async def _ask(self, signs: Signs) -> Signs:
        """Ask, with a client of its own, if there is a broker, and what lies in the partitions that do not move."""
        consumer = self._intake.consumer
        try:
            led = await self._asks.led([self._topics.order_shipped, self._topics.order_cancelled])
        except (KafkaError, TimeoutError, OSError):
            return Signs(signs.now, signs.settled, signs.polled_at, signs.positions, None, broker_answers=False)
        asked = [TopicPartition(*place) for place in signs.positions if place in led]
        ends: dict[tuple[str, int], int] = {}
        if asked and consumer is not None:
            try:
                async with asyncio.timeout(self._timeout_s):
                    answer = await consumer.end_offsets(asked)
                ends = {(one.topic, one.partition): end for one, end in answer.items()}
            except (KafkaError, TimeoutError, OSError):
                # The broker is there, the partitions have leaders, and this client gets no answer: it is stuck.
                ends = {(one.topic, one.partition): sys.maxsize for one in asked}
        return Signs(signs.now, signs.settled, signs.polled_at, signs.positions, ends, broker_answers=True)


def watchdog_for(settings: Settings) -> Watchdog:
    """One with patience for what this group's timeouts allow."""
    kafka = settings.kafka
    settle_s = 2 * (kafka.session_timeout_seconds + kafka.rebalance_timeout_seconds)
    return Watchdog(
        still_s=max(120.0, 4 * kafka.request_timeout_seconds),
        unsettled_s=max(180.0, settle_s),
        fail_s=max(180.0, settle_s),
    )
