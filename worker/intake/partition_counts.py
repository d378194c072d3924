"""How many partitions the input topics have now: a raised count, or two that differ, part the events of one order."""

from __future__ import annotations

from aiokafka import AIOKafkaConsumer
from structlog import get_logger

from worker.telemetry.metrics import Metrics

log = get_logger()


class PartitionCounts:
    """As the client's metadata tells, which it renews every minute. `refresh` is cheap, and called every second."""

    def __init__(self, topics: tuple[str, ...], metrics: Metrics) -> None:
        self._topics = topics
        self._metrics = metrics
        self._counts: dict[str, int] = {}

    def of(self, topic: str, consumer: AIOKafkaConsumer | None) -> int | None:
        """The present count; None while it is not known."""
        if topic not in self._counts:
            self.refresh(consumer)
        return self._counts.get(topic)

    def refresh(self, consumer: AIOKafkaConsumer | None) -> None:
        """Look at the client's metadata; a change is told."""
        if consumer is None:
            return
        for topic in self._topics:
            partitions = consumer.partitions_for_topic(topic)
            before, now = self._counts.get(topic), len(partitions) if partitions else None
            if now is None or now == before:
                continue
            self._counts[topic] = now
            self._metrics.input_partitions.set(now, topic)
            if before is not None:
                # Keys lie elsewhere from now on: what an order has in its old partition may be overtaken.
                log.error("partition_count_changed", topic=topic, before=before, now=now)
                if self.differ:
                    log.error("partition_counts_differ", counts=dict(self._counts))

    @property
    def differ(self) -> bool:
        """The topics that are known do not all have the same count."""
        return len(set(self._counts.values())) > 1
