"""Writes to the dead-letter topic, and when each partition was last written to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from worker.clock import Clock
from worker.delivery import Place


class Send(Protocol):
    """The publisher, as this room needs it. Raises NotPublishedError."""

    async def send(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: list[tuple[str, bytes | None]],
        partition: int | None = None,
    ) -> Place:
        """Write one record and return where it lies."""
        ...


class Writer:
    """The one way from this room to Kafka."""

    def __init__(self, topic: str, publisher: Send, clock: Clock) -> None:
        self._topic = topic
        self._publisher = publisher
        self._clock = clock
        self._written_at: dict[int, float] = {}

    async def write(
        self, key: str, value: bytes | None, headers: Sequence[tuple[str, bytes | None]], partition: int
    ) -> Place:
        """Write one record; a value of None is a tombstone. Raises NotPublishedError."""
        place = await self._publisher.send(
            self._topic, key=key.encode(), value=value, headers=list(headers), partition=partition
        )
        self.saw(partition, self._clock.now())
        return place

    def saw(self, partition: int, at: float) -> None:
        """Something was written to the partition at `at` (epoch seconds), by whomever."""
        self._written_at[partition] = max(self._written_at.get(partition, 0.0), at)

    def quiet_since(self, partition: int) -> float:
        """Epoch seconds of the latest record; 0: none is known."""
        return self._written_at.get(partition, 0.0)

    def clear(self) -> None:
        """The partitions are about to be read afresh."""
        self._written_at.clear()
