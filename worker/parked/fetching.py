"""Fetches records of the dead-letter topic by their place, with a consumer of its own.

Places are asked for in the order of their offsets: what lies close together is read in one go, what lies far apart is
sought. Nothing is read while nobody asks.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Final

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CorruptRecordException, OffsetOutOfRangeError
from aiokafka.structs import ConsumerRecord

from worker.delivery import Place
from worker.kafka import client_options, close_consumer
from worker.settings import Settings

log = structlog.get_logger()

NEAR: Final = 50
"""Offsets that are read over rather than sought past."""
BATCH_RECORDS: Final = 50
POLL_S: Final = 1.0
FETCH_BYTES: Final = 65_536
"""Asked for at once; a larger record comes all the same, alone."""


class Missing(Enum):
    """Why there is no record at a place."""

    GONE = "gone"
    """Compacted away: a newer record of its key overrules it."""
    UNREADABLE = "unreadable"
    """The client cannot take its batch apart."""


Got = Callable[[Place, "ConsumerRecord | Missing"], bool]
"""Told of each place; False: enough for now."""


class Fetcher:
    """Owns one consumer, connected when it is needed."""

    def __init__(self, settings: Settings) -> None:
        self._kafka, self._topic = settings.kafka, settings.topics.dead_letter
        self._consumer: AIOKafkaConsumer | None = None

    async def fetch(self, places: Iterable[Place], got: Got) -> None:
        """Fetch these; `got` is told of each one, in no order of partitions.

        Raises KafkaError or TimeoutError where a broker does not answer; `close` then, and ask again.
        """
        wanted: dict[int, list[int]] = {}
        for place in places:
            wanted.setdefault(place.partition, []).append(place.offset)
        consumer = self._consumer or await self._connect()
        topic = self._topic
        for partition, offsets in wanted.items():
            whole = TopicPartition(topic, partition)
            # One partition at a time: what others have buffered would only lie there.
            consumer.assign([whole])
            try:
                if not await self._fetch(consumer, whole, deque(sorted(offsets)), got):
                    return
            finally:
                consumer.pause(whole)

    async def _fetch(self, consumer: AIOKafkaConsumer, whole: TopicPartition, left: deque[int], got: Got) -> bool:
        consumer.seek(whole, left[0])
        sought = True
        while left:
            try:
                records, position = await self._read(consumer, whole, left[0])
            except OffsetOutOfRangeError:
                return self._all(whole, left, Missing.GONE, got)
            except (CorruptRecordException, ValueError) as error:
                # Where it was sought it is its own batch that cannot be read, else one on the way.
                if sought:
                    log.warning("parked_record_unreadable", partition=whole.partition, detail=str(error)[:200])
                    if not got(Place(whole.partition, left.popleft()), Missing.UNREADABLE):
                        return False
                if left:
                    consumer.seek(whole, left[0])
                sought = True
                continue
            sought = False
            for record in records:
                while left and left[0] < record.offset:
                    if not got(Place(whole.partition, left.popleft()), Missing.GONE):
                        return False
                if left and left[0] == record.offset:
                    left.popleft()
                    if not got(Place(whole.partition, record.offset), record):
                        return False
            while left and left[0] < position:
                if not got(Place(whole.partition, left.popleft()), Missing.GONE):
                    return False
            if left and left[0] - position > NEAR:
                consumer.seek(whole, left[0])
                sought = True
        return True

    async def _read(
        self, consumer: AIOKafkaConsumer, whole: TopicPartition, wanted: int
    ) -> tuple[list[ConsumerRecord], int]:
        """The next records, and the position behind them (it moves past what was compacted away, too)."""
        async with asyncio.timeout(self._kafka.request_timeout_seconds):
            while True:
                batches = await consumer.getmany(whole, timeout_ms=int(POLL_S * 1000), max_records=BATCH_RECORDS)
                records = batches.get(whole, [])
                if records:
                    return records, records[-1].offset + 1
                position = await consumer.position(whole)
                if position > wanted:
                    return [], position
                # A log that has lost its end (an unclean election) answers nothing at all there.
                ends = await consumer.end_offsets([whole])
                if wanted >= ends[whole]:
                    return [], wanted + 1

    @staticmethod
    def _all(whole: TopicPartition, left: deque[int], missing: Missing, got: Got) -> bool:
        return all(got(Place(whole.partition, offset), missing) for offset in left)

    async def _connect(self) -> AIOKafkaConsumer:
        kafka = self._kafka
        consumer = AIOKafkaConsumer(
            **client_options(kafka),
            group_id=None,
            enable_auto_commit=False,
            # A place that is out of range is told, never looked for from the beginning.
            auto_offset_reset="none",
            max_partition_fetch_bytes=FETCH_BYTES,
            fetch_max_bytes=FETCH_BYTES,
            # A fetch at the end of the log holds up the next one on its connection for as long as it waits.
            fetch_max_wait_ms=50,
        )
        try:
            async with asyncio.timeout(kafka.request_timeout_seconds * 2):
                await consumer.start()
        except BaseException:
            await close_consumer(consumer, kafka.request_timeout_seconds)
            raise
        self._consumer = consumer
        return consumer

    async def close(self) -> None:
        """Close the consumer, within a bound; the next fetch connects anew."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await close_consumer(consumer, self._kafka.request_timeout_seconds)
