"""What the measurements stand on: a real Kafka with a backlog of events in it, and fresh names where needed."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.bench.contract import CONTENDERS, Contender, Task, Work
from tests.bench.figures import Figure, short
from tests.bench.process import Child, FastWalmart
from tests.bench.traffic import produce_backlog
from worker.sandbox.kafka import EmbeddedKafka, create_topics
from worker.settings import TopicSettings

PARTITIONS = 6
"""One, two and three workers have equal shares."""
_POLL_S = 0.05
_PATIENCE_S = 180.0
_LAST_ANSWER_S = 0.1
_numbers = itertools.count(1)


class RecordCount:
    """How many records were written to a topic, from when it was made or reset."""

    def __init__(self, consumer: AIOKafkaConsumer, topic: str) -> None:
        self._consumer = consumer
        self._partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        self._before = 0

    async def reset(self) -> None:
        """Count from 0 again."""
        self._before += await self.now()

    async def now(self) -> int:
        """So many."""
        ends = await self._consumer.end_offsets(self._partitions)
        return int(sum(ends.values())) - self._before


@dataclass
class Ground:
    """Kafka and the backlog."""

    bootstrap: str
    say: Callable[[str], None]
    backlog: int
    """Events in the topics of `topics`."""
    topics: TopicSettings = field(default_factory=TopicSettings)
    peers: tuple[Contender, ...] = ()

    def contenders(self, work: Work) -> list[Contender]:
        """Everybody who does this kind of work; the first is ours."""
        return [one for one in (*CONTENDERS, *self.peers) if work in one.works]

    def task(
        self,
        work: Work,
        *,
        walmart: str = "",
        topics: TopicSettings | None = None,
        settings: dict[str, dict[str, Any]] | None = None,
        effects: str = "",
    ) -> Task:
        """A task with a group of its own."""
        names = topics or self.topics
        return Task(
            work,
            self.bootstrap,
            names.model_dump(),
            f"bench-{next(_numbers)}",
            walmart,
            settings=settings or {},
            effects=effects,
        )

    async def fresh_topics(self) -> TopicSettings:
        """Four empty topics."""
        number = next(_numbers)
        topics = TopicSettings(**{name: f"bench-{name}-{number}" for name in TopicSettings.model_fields})
        await create_topics(self.bootstrap, topics, partitions=PARTITIONS)
        return topics

    @asynccontextmanager
    async def records(self, topic: str) -> AsyncIterator[RecordCount]:
        """Count the records of a topic."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, enable_auto_commit=False)
        await consumer.start()
        try:
            count = RecordCount(consumer, topic)
            await count.reset()
            yield count
        finally:
            await consumer.stop()


@asynccontextmanager
async def ground(backlog: int, say: Callable[[str], None], peers: tuple[Contender, ...] = ()) -> AsyncIterator[Ground]:
    """Start Kafka and fill the backlog (0: nobody needs one)."""
    async with EmbeddedKafka(heap_mb=768, progress=say) as kafka:
        made = Ground(kafka.bootstrap_servers, say, backlog, peers=peers)
        made.topics = await made.fresh_topics()
        if backlog:
            say(f"writing a backlog of {backlog:,} events")
            await produce_backlog(made.bootstrap, made.topics.order_shipped, backlog)
        yield made


async def until_posted(walmart: FastWalmart, process: Child, count: int) -> None:
    """Wait until so many shipments have come, and the last one is answered."""
    async with asyncio.timeout(_PATIENCE_S):
        while (await walmart.counts())["posts"] < count:
            process.check()
            await asyncio.sleep(_POLL_S)
    await asyncio.sleep(_LAST_ANSWER_S)


def tell(ground: Ground, figure: Figure) -> None:
    """The latest value of a figure, while the measurement goes on."""
    latest = f"{short(figure.values[-1])} {figure.unit}".rstrip()
    ground.say(f"  {figure.measurement}, {figure.contender}: {figure.name} {latest}")
