"""The dead-letter topic read once, from its beginning to the end it had when reading began."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord

from worker.oncall import kafka as shell
from worker.oncall.letters import Letter, RawRecord, read_letter
from worker.settings import KafkaSettings, Settings


@dataclass(slots=True)
class Snapshot:
    """What lay there, and where both topics of ours ended just before: reading on from `marks` misses nothing."""

    letters: list[Letter] = field(default_factory=list)
    """The newest record of each key, tombstones taken out, in no particular order."""
    marks: dict[TopicPartition, int] = field(default_factory=dict)
    """End offsets of the dead-letter topic and of the sync results, taken before reading."""


class Gathering:
    """Record after record becomes the newest letter per key. Pure."""

    def __init__(self, keep: Callable[[Letter], bool]) -> None:
        self._keep = keep
        self._newest: dict[tuple[int, bytes | None], Letter] = {}

    def add(self, record: RawRecord) -> None:
        """Take in the next record of its partition."""
        letter = read_letter(record)
        # The same key in two partitions is two letters: only one of them is where its worker looks for it.
        place = (record.partition, record.key)
        if letter is None:
            self._newest.pop(place, None)
        else:
            self._newest[place] = letter if self._keep(letter) else letter.without_bytes()

    @property
    def letters(self) -> list[Letter]:
        """What is there."""
        return list(self._newest.values())


async def snapshot(
    settings: Settings,
    *,
    keep: Callable[[Letter], bool] = lambda _: False,
    progress: Callable[[int], None] | None = None,
) -> Snapshot:
    """Read the dead-letter topic.

    Args:
        settings: Where it is.
        keep: Whose original value and headers are wanted; the others' are dropped at once.
        progress: Told how many records were read so far.

    Raises:
        KafkaUnreachableError: no answer in time, or a topic is missing.
    """
    topics, kafka = settings.topics, settings.kafka
    counts = await shell.partition_counts(kafka, (topics.dead_letter, topics.sync_result))
    letters = [TopicPartition(topics.dead_letter, number) for number in range(counts[topics.dead_letter])]
    results = [TopicPartition(topics.sync_result, number) for number in range(counts[topics.sync_result])]
    async with shell.reader(kafka, dict.fromkeys(letters)) as consumer:
        # Results first: whatever happens to a letter after it was read here has its result behind these marks.
        marks = await shell.end_offsets(kafka, consumer, results)
        ends = await shell.end_offsets(kafka, consumer, letters)
        gathering = Gathering(keep)
        await read_to(kafka, consumer, ends, lambda record: gathering.add(raw(record)), progress)
    return Snapshot(gathering.letters, {**marks, **ends})


async def read_to(
    kafka: KafkaSettings,
    consumer: AIOKafkaConsumer,
    ends: dict[TopicPartition, int],
    take: Callable[[ConsumerRecord], None],
    progress: Callable[[int], None] | None,
) -> None:
    """Hand over every record from where the consumer stands up to these ends, and no later one.

    Raises KafkaUnreachableError, also where nothing more comes although there is more.
    """
    behind = {partition for partition, end in ends.items() if end > 0}
    count = empty_polls = 0
    patience = int(2 * kafka.request_timeout_seconds / shell.POLL_S)
    while behind:
        records = await shell.poll(kafka, consumer)
        for record in records:
            if record.offset < ends[TopicPartition(record.topic, record.partition)]:
                take(record)
        count += len(records)
        if progress is not None and records:
            progress(count)
        # Positions also move past what compaction has taken away.
        for partition in list(behind):
            position = await shell.bounded(kafka, "reading", consumer.position(partition))
            if position >= ends[partition]:
                behind.discard(partition)
        empty_polls = 0 if records else empty_polls + 1
        if behind and empty_polls > patience:
            raise shell.KafkaUnreachableError(
                f"Kafka at {kafka.bootstrap_servers} sends nothing more of {next(iter(behind)).topic}"
            )


def raw(record: ConsumerRecord) -> RawRecord:
    """The parts of a consumed record that count."""
    return RawRecord(record.partition, record.offset, record.timestamp, record.key, record.value, tuple(record.headers))
