"""The Kafka side of `order-sync check`: look at the cluster (bounded), then judge what was seen (pure)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, for_code

from worker.check_parked import RUNBOOK, ParkedSeen, judge_parked, look_at_parked
from worker.findings import Finding, mistake, ok, warning
from worker.kafka import client_options
from worker.settings import KafkaSettings, Settings
from worker.topics import TopicSpec, mismatches, topic_specs

_REACH = "Check kafka.bootstrap_servers, security_protocol, the credentials and the network."
_GROUP_TRIES = 10
_HOUR_MS = 3_600_000
_GROUP_PAUSE_S = 0.5
_TOPICS = "Create the topics as deploy/topics/ describes them."


@dataclass(frozen=True, slots=True)
class TopicSeen:
    """One topic as the cluster shows it."""

    partitions: int
    replication: int
    leaderless: int = 0
    """Partitions that nobody leads just now."""
    config: Mapping[str, str] | None = None
    """None: this user may not describe it."""


@dataclass(frozen=True, slots=True)
class ClusterSeen:
    """What was found out about the cluster."""

    brokers: int
    topics: Mapping[str, TopicSeen]
    """Of ours, those that were found."""
    group_error: str | None = None
    """Why the consumer group could not be described; None: it could."""
    group_members: int = 0
    parked: ParkedSeen | None = None
    """What lies in the dead-letter topic; None: it was not found."""


async def look(kafka: KafkaSettings, topics: tuple[str, ...]) -> ClusterSeen | str:
    """Ask the cluster; a text says why that did not work. The last of the topics is that of the dead letters.

    Bounded by five request timeouts and the time to read the dead letters.
    """
    seen = await _look(kafka, topics)
    if isinstance(seen, str) or (dead_letter := seen.topics.get(topics[-1])) is None or dead_letter.leaderless:
        return seen
    return replace(seen, parked=await look_at_parked(kafka, topics[-1], dead_letter.partitions))


async def _look(kafka: KafkaSettings, topics: tuple[str, ...]) -> ClusterSeen | str:
    try:
        admin = AIOKafkaAdminClient(**client_options(kafka))
    except (OSError, ValueError) as error:
        return f"the client cannot be set up: {type(error).__name__}: {error}"
    try:
        async with asyncio.timeout(kafka.request_timeout_seconds * 3):
            await admin.start()
            return await _ask(admin, kafka, topics)
    except (KafkaError, OSError, ValueError, TimeoutError) as error:
        return str(error) or f"no answer ({type(error).__name__})"
    finally:
        closing = asyncio.ensure_future(admin.close())
        await asyncio.wait({closing}, timeout=kafka.request_timeout_seconds)
        if not closing.done():
            closing.cancel()
        elif not closing.cancelled():
            closing.exception()


async def _ask(admin: AIOKafkaAdminClient, kafka: KafkaSettings, topics: tuple[str, ...]) -> ClusterSeen:
    cluster = await admin.describe_cluster()
    # All topics, not ours by name: asking for one that does not exist would create it on many clusters.
    found: dict[str, Any] = {one["topic"]: one for one in await admin.describe_topics() if one["topic"] in topics}
    configs = await _configs(admin, list(found)) if found else {}
    group_error, members = await _group(admin, kafka.group_id)
    return ClusterSeen(
        brokers=len(cluster["brokers"]),
        topics={name: _topic(one, configs.get(name)) for name, one in found.items()},
        group_error=group_error,
        group_members=members,
    )


def _topic(found: Mapping[str, Any], config: Mapping[str, str] | None) -> TopicSeen:
    partitions = found["partitions"]
    return TopicSeen(
        partitions=len(partitions),
        replication=min((len(one["replicas"]) for one in partitions), default=0),
        leaderless=sum(1 for one in partitions if one["leader"] < 0),
        config=config,
    )


async def _configs(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
    configs: dict[str, dict[str, str]] = {}
    for answer in answers:
        for code, _, _, name, entries in answer.resources:
            if not code:
                configs[name] = {entry[0]: entry[1] for entry in entries if entry[1] is not None}
    return configs


async def _group(admin: AIOKafkaAdminClient, group_id: str) -> tuple[str | None, int]:
    tries = 0
    while True:
        try:
            (answer,) = await admin.describe_consumer_groups([group_id])
        except KafkaError as error:
            tries += 1
            # A new cluster makes its offsets topic at the first question.
            if error.retriable and tries < _GROUP_TRIES:
                await asyncio.sleep(_GROUP_PAUSE_S)
                continue
            return type(error).__name__, 0
        for code, _, _, _, _, members, *_ in answer.groups:
            return (for_code(code).__name__ if code else None), len(members)
        return None, 0


def judge(settings: Settings, seen: ClusterSeen | str) -> list[Finding]:
    """What is wrong (and right) with the cluster for these settings."""
    servers = settings.kafka.bootstrap_servers
    if isinstance(seen, str):
        return [mistake("kafka", f"{servers} cannot be used: {seen}", _REACH)]
    findings = [ok("kafka", f"{servers} answers; brokers: {seen.brokers}")]
    longest_wait_ms = int(settings.timing.give_up_after_hours * _HOUR_MS)
    for spec in topic_specs(settings.topics, settings.kafka):
        topic = seen.topics.get(spec.name)
        if topic is None:
            text = "does not exist (or this user may not describe it)"
            findings.append(mistake(f"topic {spec.name}", text, _TOPICS))
        else:
            findings += _judge_topic(spec, topic, longest_wait_ms)
    findings += [*_judge_partitions(settings, seen), *_judge_group(settings, seen)]
    if seen.parked is not None:
        findings += judge_parked(settings.limits, settings.topics.dead_letter, seen.parked, seen.group_members)
    return findings


def _judge_topic(spec: TopicSpec, topic: TopicSeen, longest_wait_ms: int) -> list[Finding]:
    subject = f"topic {spec.name}"
    findings: list[Finding] = []
    if topic.leaderless:
        text = f"{topic.leaderless} of {topic.partitions} partitions have no leader"
        findings.append(mistake(subject, text, "Bring the brokers back; nothing moves on these partitions."))
    if topic.config is None:
        text = "its settings cannot be read, so they are not checked"
        return [*findings, warning(subject, text, "Give this user DescribeConfigs on the topic, or compare by hand.")]
    wrong = mismatches(spec, topic.config, longest_wait_ms=longest_wait_ms)
    findings += [mistake(subject, text.removeprefix(f"{spec.name}: "), "Alter the topic.") for text in wrong]
    if spec.role == "input" and int(topic.config.get("retention.bytes", "-1")) >= 0:
        text = f"retention.bytes is {topic.config['retention.bytes']}: a backlog may be deleted before it is read"
        findings.append(warning(subject, text, "Keep the inputs by time alone (retention.bytes -1)."))
    if spec.role != "input":
        findings += _judge_copies(subject, topic.replication, int(topic.config.get("min.insync.replicas", "1")))
    if not findings:
        told = f"partitions: {topic.partitions}, replicas: {topic.replication}"
        findings.append(ok(subject, told + _kept(spec, topic.config, longest_wait_ms / _HOUR_MS)))
    return findings


def _kept(spec: TopicSpec, config: Mapping[str, str], longest_wait_hours: float) -> str:
    """How long records stay, held against the longest wait."""
    wait = f"timing.give_up_after_hours = {longest_wait_hours:g}"
    if spec.role == "input":
        kept = int(config.get("retention.ms", "-1"))
        return f"; kept {'for ever' if kept < 0 else f'{kept / _HOUR_MS:g} h'}, longer than an event waits ({wait})"
    if spec.role == "dead_letter":
        lag = int(config.get("max.compaction.lag.ms", spec.config["max.compaction.lag.ms"])) / _HOUR_MS
        return f"; compacted alone: what waits is kept until it is settled ({wait}), then about {lag:g} h"
    return ""


def _judge_copies(subject: str, replication: int, in_sync: int) -> list[Finding]:
    """Of the topics we write to: `acks=all` is worth what min.insync.replicas says."""
    if in_sync > replication:
        text = f"min.insync.replicas is {in_sync} with {replication} replicas: nothing can be written"
        return [mistake(subject, text, "Lower min.insync.replicas, or add replicas.")]
    if replication == 1:
        return [warning(subject, "has one replica: losing its broker loses records", "Use 3 replicas.")]
    if in_sync < 2:
        text = "min.insync.replicas is 1: a record counts as written when one broker has it"
        return [warning(subject, text, "Set min.insync.replicas to 2.")]
    if in_sync == replication:
        text = f"min.insync.replicas equals its {replication} replicas: one broker down stops all writing"
        return [warning(subject, text, "Use one replica more than min.insync.replicas.")]
    return []


def _counts(settings: Settings, seen: ClusterSeen) -> dict[str, int]:
    topics = settings.topics
    names = (topics.order_shipped, topics.order_cancelled, topics.dead_letter)
    return {name: seen.topics[name].partitions for name in names if name in seen.topics}


def _judge_partitions(settings: Settings, seen: ClusterSeen) -> list[Finding]:
    counts = _counts(settings, seen)
    if len(set(counts.values())) <= 1:
        return []
    most = max(counts.values())
    told = ", ".join(f"{name}: {count}" for name, count in counts.items())
    text = f"inputs and dead letters have different numbers of partitions ({told}): orders would be torn apart"
    fewer = " and ".join(name for name, count in counts.items() if count < most)
    return [mistake("topics", text, f"Stop producers and workers, then give {fewer} {most} partitions; see {RUNBOOK}.")]


def _judge_group(settings: Settings, seen: ClusterSeen) -> list[Finding]:
    subject = f"group {settings.kafka.group_id}"
    findings: list[Finding] = []
    if seen.group_error is not None:
        text = f"cannot be described: {seen.group_error}"
        findings.append(mistake(subject, text, "Give this user Read and Describe on the consumer group."))
    else:
        findings.append(ok(subject, f"members now: {seen.group_members}"))
    if (partitions := min(_counts(settings, seen).values(), default=0)) and seen.group_members > partitions:
        text = f"{seen.group_members} members share {partitions} partitions: {seen.group_members - partitions} are idle"
        findings.append(warning(subject, text, f"Run at most {partitions} replicas."))
    return findings
