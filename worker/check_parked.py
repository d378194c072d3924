"""What lies in the dead-letter topic, for `order-sync check`: read once, bounded in time, and judged (pure).

One order must lie in one partition number in all three topics, so what is unfinished when partitions are added lies in
the wrong one afterwards: its order would then be with two workers at once.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2

from schemas import deadletter
from worker.findings import Finding, mistake, ok, warning
from worker.kafka import client_options, close_consumer
from worker.settings import KafkaSettings, LimitSettings

READ_S: Final = 15.0
"""Longest time spent on reading: about half a million records of 2 kB."""
RUNBOOK: Final = "deploy/runbooks/partitions.md"
_LARGE: Final = ("order-sync-confirmed", "order-sync-progress", "order-sync-story")
_ROWS: Final = ("waiting", "replay", "dead", "corrected")
_NAMES: Final = {"waiting": "waiting", "replay": "replays", "dead": "dead", "corrected": "markers"}
_NEARLY_FULL: Final = 0.8


@dataclass(frozen=True, slots=True)
class ParkedSeen:
    """The newest record of each key."""

    states: Mapping[str, int]
    """State -> how many."""
    elsewhere: Mapping[str, int] = field(default_factory=dict)
    """Of those: not in the partition that murmur2 (nor CRC32) gives their order under the present count."""
    examples: Mapping[str, str] = field(default_factory=dict)
    """State -> one of those that are elsewhere, in words."""
    crc32: int = 0
    """In the partition that CRC32 gives: a producer's doing."""
    foreign: int = 0
    """Records that are none of ours."""
    unread: str | None = None
    """Why the topic was not read to its end; None: it was."""


class Gathering:
    """Record after record becomes the newest row per key. Pure."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._rows: dict[tuple[int, bytes], tuple[str, bytes | None]] = {}
        """Place -> (state, key of the order's events)."""

    def add(
        self, partition: int, key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes | None]]
    ) -> None:
        """Take in the next record of its partition."""
        place = (partition, key or b"")
        about = deadletter.read(value, headers, without=_LARGE).about
        if about.state in ("settled", "heartbeat"):
            self._rows.pop(place, None)
        elif about.state == "corrected":
            # A marker has no event's key; the events of its order have the order id.
            self._rows[place] = (about.state, about.order.encode() if about.order else None)
        else:
            self._rows[place] = (about.state or "foreign", about.key)

    def seen(self, unread: str | None = None) -> ParkedSeen:
        """What was found so far."""
        states: Counter[str] = Counter(state for state, _ in self._rows.values())
        elsewhere: Counter[str] = Counter()
        examples: dict[str, str] = {}
        crc32 = 0
        for (partition, key), (state, order_key) in self._rows.items():
            if not order_key or state == "foreign":
                continue
            right = (murmur2(order_key) & 0x7FFFFFFF) % self._partitions
            if partition == right:
                continue
            if partition == zlib.crc32(order_key) % self._partitions:
                crc32 += 1
                continue
            elsewhere[state] += 1
            words = f"{key.decode(errors='replace')[:120]} in partition {partition} instead of {right}"
            examples.setdefault(state, words)
        foreign = states.pop("foreign", 0)
        return ParkedSeen(states, elsewhere, examples, crc32, foreign, unread)


async def look_at_parked(kafka: KafkaSettings, topic: str, partitions: int) -> ParkedSeen:
    """Read the topic to the end it has now, within READ_S seconds. Raises nothing of Kafka's."""
    gathering = Gathering(partitions)
    try:
        consumer = AIOKafkaConsumer(
            **client_options(kafka),
            group_id=None,
            enable_auto_commit=False,
            max_partition_fetch_bytes=kafka.max_record_bytes + 1_048_576,
        )
    except (OSError, ValueError) as error:
        return gathering.seen(f"the client cannot be set up: {type(error).__name__}")
    try:
        async with asyncio.timeout(READ_S):
            await consumer.start()
            await _read(consumer, [TopicPartition(topic, number) for number in range(partitions)], gathering)
    except TimeoutError:
        return gathering.seen(f"{READ_S:g} s were not enough")
    except (KafkaError, OSError, ValueError) as error:
        return gathering.seen(type(error).__name__)
    finally:
        await close_consumer(consumer, kafka.request_timeout_seconds)
    return gathering.seen()


async def _read(consumer: AIOKafkaConsumer, places: list[TopicPartition], gathering: Gathering) -> None:
    consumer.assign(places)
    await consumer.seek_to_beginning(*places)
    ends = await consumer.end_offsets(places)
    behind = {place for place, end in ends.items() if end > 0}
    while behind:
        for place, records in (await consumer.getmany(timeout_ms=200, max_records=2_000)).items():
            for record in records:
                if record.offset < ends[place]:
                    gathering.add(record.partition, record.key, record.value, record.headers)
        for place in list(behind):
            # Positions also move past what compaction has taken away.
            if await consumer.position(place) >= ends[place]:
                behind.discard(place)


def judge_parked(limits: LimitSettings, topic: str, seen: ParkedSeen, members: int) -> list[Finding]:
    """What it means. `members`: workers of the group now; each keeps its own part."""
    subject = f"topic {topic}"
    told = ", ".join(f"{_NAMES[state]}: {seen.states.get(state, 0)}" for state in _ROWS)
    findings: list[Finding] = []
    if seen.unread is None:
        findings.append(ok(subject, f"unfinished events, read to the end: {told}"))
    else:
        text = f"not read to its end ({seen.unread}); seen so far: {told}"
        findings.append(warning(subject, text, "Check again; this user needs Read and Describe on the topic."))
    findings += _elsewhere(subject, seen)
    if seen.crc32:
        text = f"{seen.crc32} unfinished events lie where CRC32 puts their key: a producer uses another partitioner"
        findings.append(warning(subject, text, "Set partitioner=murmur2_random in producers built on librdkafka."))
    if seen.foreign:
        text = f"{seen.foreign} records were not written by order-sync, or lost their headers; they are left alone"
        findings.append(warning(subject, text, "Find out who writes there: order-sync alone should be allowed to."))
    return findings + _room_left(limits, seen, max(1, members))


def _elsewhere(subject: str, seen: ParkedSeen) -> list[Finding]:
    counts = seen.elsewhere
    findings: list[Finding] = []
    if live := counts.get("waiting", 0) + counts.get("replay", 0):
        example = seen.examples.get("waiting") or seen.examples.get("replay")
        text = (
            f"{live} waiting events or replays lie in another partition than their key says ({example}): "
            "partitions were added before they were settled, so two workers may handle one order at once"
        )
        findings.append(mistake(subject, text, f"Stop the producers until these are settled; see {RUNBOOK}."))
    if dead := counts.get("dead", 0):
        text = f"{dead} dead letters lie in another partition than their key says ({seen.examples.get('dead')})"
        action = f"Replay them while no new events of their orders come; see {RUNBOOK}."
        findings.append(warning(subject, text, action))
    if markers := counts.get("corrected", 0):
        text = (
            f"{markers} markers of numbers corrected away lie in another partition than their order: a shipment from "
            "before the correction that is published again would not be recognised"
        )
        action = "Publish no old shipments of these orders again; the markers end after 30 days."
        findings.append(warning(subject, text, action))
    return findings


def _room_left(limits: LimitSettings, seen: ParkedSeen, members: int) -> list[Finding]:
    count, limit = seen.states.get("waiting", 0), limits.max_parked_events * members
    if count < limit * _NEARLY_FULL:
        return []
    workers = "worker" if members == 1 else f"{members} workers"
    text = f"limits.max_parked_events = {limits.max_parked_events}: {count} waiting events for {workers}"
    action = "See deploy/runbooks/waiting-room.md; more memory and a higher limit give time."
    if count < limit:
        return [warning("waiting room", f"{text}; above the limit intake pauses", action)]
    return [mistake("waiting room", f"{text}: nothing more is parked, intake pauses", action)]
