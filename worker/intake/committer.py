"""The one committer: writes the contiguous offsets, bounded in time.

aiokafka's `commit()` retries for ever; here every commit has a deadline, and one that failed is no failure of the
work: the offsets stay due and go with the next commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from worker.intake.offsets import Offsets
from worker.telemetry.metrics import Metrics

log = structlog.get_logger()

INTERVAL_S = 0.1
"""Least time between two commits. A crash repeats what was finished since the last one, harmlessly."""


class Committer:
    """Commits what `Offsets` says is finished."""

    def __init__(
        self, consumer: Callable[[], AIOKafkaConsumer | None], offsets: Offsets, metrics: Metrics, timeout_s: float
    ) -> None:
        self._consumer = consumer
        self._offsets = offsets
        self._metrics = metrics
        self._timeout_s = timeout_s
        self._due = asyncio.Event()
        self._one = asyncio.Lock()

    def note(self) -> None:
        """Something new is committable."""
        self._due.set()

    async def run(self) -> None:
        """Commit whenever something is due, until cancelled."""
        while True:
            await self._due.wait()
            self._due.clear()
            if not await self.commit():
                self._due.set()
                await asyncio.sleep(1.0)
            await asyncio.sleep(INTERVAL_S)

    async def commit(self) -> bool:
        """Commit what is due now. False when the broker did not take it (a refused one is dropped, not repeated)."""
        async with self._one:
            offsets = self._offsets.to_commit()
            consumer = self._consumer()
            if not offsets or consumer is None:
                return True
            started = asyncio.get_running_loop().time()
            try:
                async with asyncio.timeout(self._timeout_s):
                    await consumer.commit(
                        {TopicPartition(topic, partition): offset for (topic, partition), offset in offsets.items()}
                    )
            except (CommitFailedError, IllegalStateError) as error:
                # Not the owner any more: the new one reads these records again and finds their work done.
                self._metrics.commit("refused", asyncio.get_running_loop().time() - started)
                log.warning("commit_refused", error=type(error).__name__)
                return True
            except (KafkaError, TimeoutError) as error:
                self._metrics.commit("failed", asyncio.get_running_loop().time() - started)
                log.warning("commit_failed", error=type(error).__name__)
                return False
            self._metrics.commit("committed", asyncio.get_running_loop().time() - started)
            self._offsets.committed(offsets)
            return True
