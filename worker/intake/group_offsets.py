"""What the broker tells about our group and topics, asked with a client of its own.

`AIOKafkaConsumer.committed()` drops the metadata of a commit; the admin client keeps it. And whether a broker answers
at all is not to be asked through a consumer that may be the one that is stuck.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Protocol

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from worker.kafka import client_options
from worker.settings import KafkaSettings

Place = tuple[str, int]

_CLOSE_S = 2.0


class Asks(Protocol):
    """The two questions."""

    async def committed(self, places: Iterable[Place]) -> dict[Place, tuple[int, str]]:
        """Committed offset (-1: none) and metadata of each. Raises KafkaError, TimeoutError or OSError."""
        ...

    async def led(self, topics: Iterable[str]) -> frozenset[Place]:
        """Partitions that have a leader. Raises as `committed`."""
        ...


class GroupOffsets:
    """Implements `Asks` over one short-lived admin client per question, each within the request timeout."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings

    async def committed(self, places: Iterable[Place]) -> dict[Place, tuple[int, str]]:
        asked = [TopicPartition(*place) for place in places]
        if not asked:
            return {}
        async with self._admin() as admin:
            answer = await admin.list_consumer_group_offsets(self._settings.group_id, partitions=asked)
        missing = [one for one in asked if one not in answer]
        if missing:
            # A coordinator that is loading, or has moved, says so in a field that the client does not look at.
            raise KafkaError(f"the group's coordinator left out {len(missing)} of {len(asked)} partitions")
        return {(one.topic, one.partition): (answer[one].offset, answer[one].metadata or "") for one in asked}

    async def led(self, topics: Iterable[str]) -> frozenset[Place]:
        async with self._admin() as admin:
            described = await admin.describe_topics(list(topics))
        return frozenset(
            (topic["topic"], partition["partition"])
            for topic in described
            for partition in topic["partitions"]
            if partition["leader"] >= 0
        )

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = AIOKafkaAdminClient(**client_options(self._settings))
        try:
            async with asyncio.timeout(self._settings.request_timeout_seconds):
                await admin.start()
                yield admin
        except AttributeError as error:
            # What it does with an error code of a single partition: it reads a field that is not there.
            raise KafkaError("a partition of the group could not be told") from error
        finally:
            await _close(admin)


async def _close(admin: AIOKafkaAdminClient) -> None:
    closing = asyncio.ensure_future(admin.close())
    await asyncio.wait({closing}, timeout=_CLOSE_S)
    if not closing.done():
        closing.cancel()
    elif not closing.cancelled():
        closing.exception()
