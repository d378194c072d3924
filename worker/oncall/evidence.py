"""Where evidence about an event comes from: Kafka's two topics of ours, a log file, a running worker's memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import aiohttp
import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord

from worker.oncall import kafka as shell
from worker.oncall.answers import read_result
from worker.oncall.explaining import Explaining
from worker.oncall.snapshot import raw, read_to
from worker.settings import KafkaSettings, Settings

ASK_S: Final = 5.0
"""Longest wait for a running worker's answer."""
MAX_ANSWER_BYTES: Final = 8_388_608
MAX_LINE_BYTES: Final = 1_048_576
"""Longer lines of a log file are not the worker's."""
_SLACK_S: Final = 60.0
"""Clocks of brokers and workers differ."""


class WorkerUnreachableError(Exception):
    """A running worker did not answer, or not as one. The text names the address."""


@dataclass(frozen=True, slots=True)
class ReadKafka:
    """What was read."""

    letters: int
    results: int
    since: float
    """Epoch seconds from when on sync results were looked at."""


async def from_kafka(
    settings: Settings, explaining: Explaining, since: float, progress: Callable[[int], None] | None = None
) -> ReadKafka:
    """Read the whole dead-letter topic and the sync results since then, both up to their ends as they are now.

    Args:
        settings: Where they are.
        explaining: Takes in what is about the event asked for.
        since: Epoch seconds. An event already known to have begun earlier moves it back.
        progress: Told how many records were read so far.

    Raises:
        KafkaUnreachableError: no answer in time, or a topic is missing.
    """
    kafka, topics = settings.kafka, settings.topics
    counts = await shell.partition_counts(kafka, (topics.dead_letter, topics.sync_result))
    letters = [TopicPartition(topics.dead_letter, number) for number in range(counts[topics.dead_letter])]
    results = [TopicPartition(topics.sync_result, number) for number in range(counts[topics.sync_result])]
    seen = [0, 0]

    def take_letter(record: ConsumerRecord) -> None:
        seen[0] += 1
        explaining.add_letter(raw(record))

    needle = explaining.asked.needle

    def take_result(record: ConsumerRecord) -> None:
        seen[1] += 1
        if record.value and (needle is None or needle in record.value):
            result = read_result(record.value)
            if result is not None:
                explaining.add_result(result)

    async with shell.reader(kafka, dict.fromkeys(letters)) as consumer:
        # Letters first: what is settled in between has its result behind.
        ends = await shell.end_offsets(kafka, consumer, letters)
        await read_to(kafka, consumer, ends, take_letter, progress)
    known_since = [step.at for case in explaining.cases() for step in case.steps]
    since = min([since, *known_since]) - _SLACK_S
    async with shell.reader(kafka, dict.fromkeys(results)) as consumer:
        ends = await shell.end_offsets(kafka, consumer, results)
        starts = await _starts(kafka, consumer, results, since)
        for partition in results:
            # Nothing was written since: its end is where reading begins.
            consumer.seek(partition, starts.get(partition, ends[partition]))
        behind = {partition: end for partition, end in ends.items() if starts.get(partition, end) < end}
        before = seen[0]
        await read_to(kafka, consumer, behind, take_result, progress and (lambda count: progress(before + count)))
    return ReadKafka(seen[0], seen[1], since)


async def _starts(
    kafka: KafkaSettings, consumer: AIOKafkaConsumer, partitions: list[TopicPartition], since: float
) -> dict[TopicPartition, int]:
    """The first offset of each partition written at that time or later, where there is one."""
    asked = dict.fromkeys(partitions, max(0, int(since * 1000)))
    found = await shell.bounded(kafka, "finding a time", consumer.offsets_for_times(asked))
    return {partition: place.offset for partition, place in found.items() if place is not None}


def from_log(stream: BinaryIO, explaining: Explaining) -> int:
    """Read JSON lines; returns how many were looked at. Lines that are none are passed over."""
    needle = explaining.asked.needle
    count = 0
    for line in _lines(stream):
        count += 1
        if needle is not None and needle not in line:
            continue
        try:
            decoded = orjson.loads(line)
        except ValueError:
            continue
        if isinstance(decoded, dict):
            explaining.add_log_line(decoded)
    return count


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    whole = True
    while line := stream.readline(MAX_LINE_BYTES):
        ended = line.endswith(b"\n")
        if whole and (ended or len(line) < MAX_LINE_BYTES):
            yield line
        whole = ended


async def from_worker(url: str, explaining: Explaining) -> int:
    """Ask a running worker what it has in memory; returns how many events it told of.

    Raises WorkerUnreachableError.
    """
    address = f"{url.rstrip('/')}/events"
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ASK_S), trust_env=False) as session,
            session.get(address, params={"match": explaining.asked.event}, allow_redirects=False) as answer,
        ):
            body = await answer.content.read(MAX_ANSWER_BYTES) if answer.status == 200 else b""
            while body and len(body) < MAX_ANSWER_BYTES and (more := await answer.content.read(MAX_ANSWER_BYTES)):
                body += more
            status = answer.status
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise WorkerUnreachableError(f"the worker at {address} does not answer: {type(error).__name__}") from error
    if status != 200:
        raise WorkerUnreachableError(f"{address} answered HTTP {status}: no worker, or of another version")
    told = _list(body)
    if told is None:
        raise WorkerUnreachableError(f"{address} answered something that is no list of events")
    explaining.add_memory(told)
    return len(told)


def _list(body: bytes) -> list[dict[str, Any]] | None:
    try:
        told = orjson.loads(body)
    except ValueError:
        return None
    return [event for event in told if isinstance(event, dict)] if isinstance(told, list) else None
