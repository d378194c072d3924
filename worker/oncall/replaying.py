"""Replaying dead letters: writes what was planned, at most so many a second, and waits for each one's final result."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import MessageSizeTooLargeError

from worker.kafka import NotPublishedError
from worker.oncall import kafka as shell
from worker.oncall.answers import read_result
from worker.oncall.replay import Item, Plan, Watch, asking_record
from worker.oncall.snapshot import raw
from worker.report.publisher import Publisher
from worker.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Who asks, why, and how gently."""

    by: str
    why: str
    rate: float
    """Records written per second, at most."""
    wait_s: float
    """How long to wait for final results after the last record was written; 0: not at all."""


class Replaying:
    """One replay command. It may be cancelled at any time: what was written stays asked for, once."""

    def __init__(
        self,
        settings: Settings,
        plan: Plan,
        marks: dict[TopicPartition, int],
        asking: Asking,
        *,
        progress: Callable[[Sequence[Item]], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._plan = plan
        self._marks = marks
        self._asking = asking
        self._progress = progress
        self._awaited = [item for item in plan.items if item.became is None]
        self._watch = Watch(self._awaited)
        self._lost: shell.KafkaUnreachableError | None = None
        self._caught_up = asyncio.Event()

    async def run(self) -> None:
        """Write and wait; every item ends with what became of it.

        Raises KafkaUnreachableError when Kafka goes away meanwhile; the items tell how far it came.
        """
        try:
            async with shell.reader(self._settings.kafka, dict(self._marks)) as consumer:
                ends = await shell.end_offsets(self._settings.kafka, consumer, self._marks)
                following = asyncio.create_task(self._follow(consumer, ends))
                try:
                    await self._caught_up.wait()
                    await self._write()
                    await self._wait()
                finally:
                    following.cancel()
                    await asyncio.wait({following}, timeout=shell.CLOSE_S)
        finally:
            self._conclude()
        if self._lost is not None:
            raise self._lost

    async def _write(self) -> None:
        publisher = Publisher(self._settings.kafka)
        loop = asyncio.get_running_loop()
        next_at = loop.time()
        try:
            for item in self._plan.fresh:
                await asyncio.sleep(max(0.0, next_at - loop.time()))
                next_at = max(next_at, loop.time()) + 1 / self._asking.rate
                if self._lost is not None:
                    return
                if item.became is None:  # the watch may have seen that it changed
                    await self._write_one(publisher, item)
                self._progress(self._plan.items)
        except NotPublishedError as error:
            self._lost = shell.KafkaUnreachableError(
                f"Kafka at {self._settings.kafka.bootstrap_servers} did not take a record: {error}"
            )
        finally:
            await publisher.stop()

    async def _write_one(self, publisher: Publisher, item: Item) -> None:
        value, headers = asking_record(item, by=self._asking.by, why=self._asking.why)
        # Set before the write: the worker may answer before the acknowledgement is here, and a write that is not
        # acknowledged may have happened all the same.
        item.written = True
        try:
            await publisher.send(
                self._settings.topics.dead_letter,
                key=item.letter.raw_key,
                value=value,
                headers=headers,
                partition=item.letter.place.partition,
            )
        except NotPublishedError as error:
            if isinstance(error.__cause__, MessageSizeTooLargeError):
                item.written, item.became, item.note = False, "not_written", "too large for the dead-letter topic"
                return
            item.note = "Kafka did not acknowledge it; run the command again"
            raise

    async def _wait(self) -> None:
        if self._asking.wait_s <= 0 or self._lost is not None:
            return
        loop = asyncio.get_running_loop()
        until = loop.time() + self._asking.wait_s
        while self._watch.open and loop.time() < until and self._lost is None:
            await asyncio.sleep(0.1)
            self._watch.close(loop.time())
            self._progress(self._plan.items)

    async def _follow(self, consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> None:
        loop = asyncio.get_running_loop()
        behind = {partition for partition, end in ends.items() if end > self._marks[partition]}
        try:
            while True:
                if not behind:
                    self._caught_up.set()
                for record in await shell.poll(self._settings.kafka, consumer):
                    if record.topic == self._settings.topics.dead_letter:
                        self._watch.see_letter(raw(record), loop.time())
                    elif (result := read_result(record.value)) is not None:
                        self._watch.see_result(result)
                for partition in list(behind):
                    position = await shell.bounded(self._settings.kafka, "reading", consumer.position(partition))
                    if position >= ends[partition]:
                        behind.discard(partition)
        except shell.KafkaUnreachableError as error:
            self._lost = error
        finally:
            self._caught_up.set()

    def _conclude(self) -> None:
        """Whatever happened: no item is left without a word."""
        for item in self._awaited:
            if item.became is not None:
                continue
            if item.closed_as is not None:
                item.became = item.closed_as
            elif not item.written and not item.earlier:
                item.became = "not_written"
            elif self._asking.wait_s <= 0:
                item.became = "asked"
            else:
                item.became = "no_answer"
