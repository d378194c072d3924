"""How far behind the end of its partitions the worker is."""

from __future__ import annotations

from collections.abc import Iterable

from aiokafka import AIOKafkaConsumer, TopicPartition

from worker.intake.offsets import Offsets


def lag_of(
    consumer: AIOKafkaConsumer, places: Iterable[tuple[str, int]], offsets: Offsets
) -> dict[tuple[str, int], int]:
    """Records per partition that are in Kafka (as of the last fetch) and not finished. Asks nobody."""
    lags = {}
    for topic, partition in places:
        highwater = consumer.highwater(TopicPartition(topic, partition))
        state = consumer._subscription.subscription  # position() would wait for the broker
        assignment = state.assignment if state is not None else None
        if highwater is None or assignment is None:
            continue
        position = assignment.state_value(TopicPartition(topic, partition))
        if position is not None and position.has_valid_position:
            lags[topic, partition] = max(0, highwater - position.position) + offsets.unfinished(topic, partition)
    return lags
