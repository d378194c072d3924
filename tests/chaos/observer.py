"""Reads results and dead letters as they come, and everything once more when it is quiet."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

from schemas import deadletter
from tests.chaos.evidence import Letter, Place, Told
from worker.kafka import close_consumer
from worker.settings import TopicSettings


class Observer:
    """Outside of all groups."""

    def __init__(self, bootstrap: str, topics: TopicSettings, partitions: int) -> None:
        self._bootstrap, self._topics, self._partitions = bootstrap, topics, partitions
        self.told: list[Told] = []
        self.letters: list[Letter] = []
        self._consumer: AIOKafkaConsumer | None = None

    async def start(self) -> None:
        """Connect."""
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
        )
        await self._consumer.start()
        self._consumer.assign(self._places(self._topics.sync_result, self._topics.dead_letter))

    async def run(self) -> None:
        """Read on and on; brokers come and go."""
        assert self._consumer is not None
        while True:
            try:
                batches = await self._consumer.getmany(timeout_ms=500)
            except KafkaError:
                await asyncio.sleep(0.2)
                continue
            for place, records in batches.items():
                if place.topic == self._topics.sync_result:
                    self.told += [read_told(record) for record in records]
                else:
                    self.letters += [read_letter(record) for record in records]

    async def to_the_end(self, within_s: float) -> None:
        """Wait until everything that is there now has been read. Raises TimeoutError."""
        consumer = self._consumer
        assert consumer is not None
        async with asyncio.timeout(within_s):
            ends = await consumer.end_offsets(list(consumer.assignment()))
            for place, end in ends.items():
                while await consumer.position(place) < end:
                    await asyncio.sleep(0.1)

    async def inputs(self, within_s: float) -> list[ConsumerRecord]:
        """Every record of the input topics, in the order of each partition. Raises TimeoutError."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
        )
        found: list[ConsumerRecord] = []
        async with asyncio.timeout(within_s):
            await consumer.start()
            try:
                consumer.assign(self._places(self._topics.order_shipped, self._topics.order_cancelled))
                ends = await consumer.end_offsets(list(consumer.assignment()))
                while any([await consumer.position(place) < end for place, end in ends.items()]):
                    for records in (await consumer.getmany(timeout_ms=200)).values():
                        found += records
            finally:
                await close_consumer(consumer, 5)
        return found

    async def uncommitted(self, group: str, records: Iterable[ConsumerRecord]) -> list[str]:
        """Input partitions whose committed offset is not behind the last record, in words."""
        ends: dict[tuple[str, int], int] = {}
        for record in records:
            ends[record.topic, record.partition] = record.offset + 1
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        async with asyncio.timeout(30):
            await admin.start()
            try:
                offsets = await admin.list_consumer_group_offsets(group)
            finally:
                await admin.close()
        committed = {(place.topic, place.partition): meta.offset for place, meta in offsets.items()}
        return [
            f"{topic}/{partition}: committed {committed.get((topic, partition))}, end {end}"
            for (topic, partition), end in sorted(ends.items())
            if committed.get((topic, partition)) != end
        ]

    async def close(self) -> None:
        """Disconnect."""
        if self._consumer is not None:
            await close_consumer(self._consumer, 5)

    def _places(self, *topics: str) -> list[TopicPartition]:
        return [TopicPartition(topic, number) for topic in topics for number in range(self._partitions)]


def read_told(record: ConsumerRecord) -> Told:
    """A sync result. Raises if it is none: a worker that writes such a thing has broken its contract."""
    body = orjson.loads(record.value)
    event, error = body["event"], body["error"]
    return Told(
        Place(event["topic"], event["partition"], event["offset"]),
        event["id"],
        record.timestamp / 1000,
        body["final"],
        body["status"],
        body["effect"],
        error["code"] if error else None,
    )


def read_letter(record: ConsumerRecord) -> Letter:
    """A record of the dead-letter topic."""
    at, key = Place(record.topic, record.partition, record.offset), (record.key or b"").decode("utf-8", "replace")
    if record.value is None:
        return Letter(at, key, None)
    letter = deadletter.read(record.value, record.headers)
    about = letter.about
    origin = None
    if about.topic is not None and about.partition is not None and about.offset is not None:
        origin = Place(about.topic, about.partition, about.offset)
    return Letter(at, key, about.state, about.code, origin, (letter.key, letter.value, letter.headers))
