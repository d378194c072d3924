"""The four topics as this product needs them: the only place their shape is defined.

Pure. The sandbox creates them from here, `order-sync check` compares a cluster with it, and the files under
`deploy/topics/` are generated from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from worker.settings import KafkaSettings, TopicSettings

DEAD_LETTER_HEADROOM_BYTES: Final = 262_144
"""A dead letter is its event plus headers of ours; it must fit wherever the event did. The largest header tells what
Walmart confirmed: up to 2,000 items an event, about 130 bytes each."""

BATCH_OVERHEAD_BYTES: Final = 12
"""Kafka's `max.message.bytes` counts the batch's log overhead too: its own default is 1 MiB + 12."""

_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS

Role = Literal["input", "result", "dead_letter"]


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic: what to create, and what an existing one is held against."""

    name: str
    role: Role
    partitions: int
    replication: int
    config: Mapping[str, str]
    """Kafka's topic settings by their own names."""
    description: str


def topic_specs(
    topics: TopicSettings, kafka: KafkaSettings, *, partitions: int = 12, replication: int = 3
) -> tuple[TopicSpec, ...]:
    """The four topics, inputs first.

    All get the same number of partitions: an order's shipments, cancellations and dead letters lie in one number.
    """
    durable = {"min.insync.replicas": "2" if replication >= 3 else "1"}
    event = {
        **durable,
        "cleanup.policy": "delete",
        "retention.ms": str(7 * _DAY_MS),
        "max.message.bytes": str(kafka.max_record_bytes + BATCH_OVERHEAD_BYTES),
    }
    result = {**durable, "cleanup.policy": "delete", "retention.ms": str(30 * _DAY_MS)}
    # Settled records hold addresses: half a day until the segment is rolled, half a day until it is compacted at the
    # latest. Tombstones outlive the compaction by a day, so that a reader on its way from the start still meets them.
    dead_letter = {
        **durable,
        "cleanup.policy": "compact",
        "max.message.bytes": str(kafka.max_record_bytes + DEAD_LETTER_HEADROOM_BYTES),
        "max.compaction.lag.ms": str(12 * _HOUR_MS),
        "segment.ms": str(6 * _HOUR_MS),
        "min.cleanable.dirty.ratio": "0.1",
        "delete.retention.ms": str(_DAY_MS),
    }

    def spec(name: str, role: Role, config: Mapping[str, str], description: str) -> TopicSpec:
        return TopicSpec(name, role, partitions, replication, config, description)

    return (
        spec(topics.order_shipped, "input", event, "Shipments, key: purchase order id."),
        spec(topics.order_cancelled, "input", event, "Cancellations, key: purchase order id."),
        spec(topics.sync_result, "result", result, "What became of every event, key: purchase order id."),
        spec(topics.dead_letter, "dead_letter", dead_letter, "Unfinished events, key: identity of the event."),
    )


def mismatches(spec: TopicSpec, found: Mapping[str, str], *, longest_wait_ms: int = _DAY_MS) -> list[str]:
    """What is wrong with an existing topic's settings, one sentence each; empty if the worker can live with them.

    Only what would lose or block events is a mistake; stricter or roomier settings are fine. `longest_wait_ms` is how
    long an event may stay unfinished (`timing.give_up_after_hours`): the inputs must be kept longer.
    """
    if spec.role == "dead_letter":
        return _dead_letter_mismatches(spec, found)
    wrong: list[str] = []
    if "compact" in _policies(found):
        wrong.append(
            f"{spec.name}: cleanup.policy is {found['cleanup.policy']}; compaction would drop events of an order"
        )
    if spec.role == "input":
        kept = int(found.get("retention.ms", "-1"))
        if 0 <= kept <= longest_wait_ms:
            wrong.append(f"{spec.name}: retention.ms is {kept}; it must exceed the longest wait, {longest_wait_ms} ms")
        limit = int(spec.config["max.message.bytes"])
        size = int(found.get("max.message.bytes", limit))
        if size > limit:
            wrong.append(
                f"{spec.name}: max.message.bytes is {size}, but kafka.max_record_bytes allows {limit}; "
                "a larger event could not be kept as a dead letter"
            )
    return wrong


def _dead_letter_mismatches(spec: TopicSpec, found: Mapping[str, str]) -> list[str]:
    wrong: list[str] = []
    if _policies(found) != {"compact"}:
        wrong.append(
            f"{spec.name}: cleanup.policy is {found.get('cleanup.policy', 'delete')}, must be compact alone; "
            "otherwise unfinished events are deleted by age"
        )
    needed = int(spec.config["max.message.bytes"])
    if (size := int(found.get("max.message.bytes", needed))) < needed:
        wrong.append(
            f"{spec.name}: max.message.bytes is {size}, must be at least {needed}"
            f" (largest event + {DEAD_LETTER_HEADROOM_BYTES >> 10} KiB)"
        )
    for key in ("max.compaction.lag.ms", "delete.retention.ms"):
        wanted = int(spec.config[key])
        value = int(found.get(key, wanted))
        if key == "max.compaction.lag.ms" and value > 2 * wanted:
            wrong.append(f"{spec.name}: {key} is {value}, must be at most {2 * wanted}; settled events would linger")
        if key == "delete.retention.ms" and value < _HOUR_MS:
            wrong.append(f"{spec.name}: {key} is {value}, must be at least {_HOUR_MS}; readers would miss tombstones")
    return wrong


def _policies(found: Mapping[str, str]) -> set[str]:
    return {policy.strip() for policy in found.get("cleanup.policy", "delete").split(",")}
