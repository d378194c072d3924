"""Plays the samples against the stage and holds what happened against what each sample file says."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import ConsumerRecord

from schemas.events import ORDER_SHIPPED_TYPE
from schemas.results import SyncResult
from worker.sandbox.sample import GARBAGE, Sample, Step, make_event
from worker.sandbox.stage import Stage
from worker.sandbox.walmart.control import ControlError
from worker.settings import TopicSettings

RESULT_WITHIN_S = 40.0
STRUCTURED = [("content-type", b"application/cloudevents+json; charset=UTF-8")]
TOPICS = TopicSettings()

Coordinates = tuple[str, int, int]


@dataclass(slots=True)
class Row:
    """One event, as a person sees it."""

    title: str
    order: str
    asks: str
    result: SyncResult | None = None
    walmart: str = ""
    problems: list[str] = field(default_factory=list)
    """How it differs from what the sample file says; empty: as expected (or nothing was said)."""


class Results:
    """Follows the result topic from its end and gives each result to whoever waits for it."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._waiting: dict[Coordinates, asyncio.Future[SyncResult]] = {}
        self._early: dict[Coordinates, SyncResult] = {}
        self.others: Callable[[SyncResult], None] | None = None
        """Told of results nobody waits for (events that a person sent)."""
        self._mine: set[Coordinates] = set()

    async def run(self) -> None:
        """Read until cancelled."""
        record: ConsumerRecord
        async for record in self._consumer:
            result = SyncResult.model_validate_json(record.value)
            event = result.event
            place = (event.topic, event.partition, event.offset)
            if not result.final:
                continue
            future = self._waiting.pop(place, None)
            if future is not None:
                if not future.done():
                    future.set_result(result)
            elif self.others is not None and place not in self._mine:
                self.others(result)
            else:
                self._early[place] = result

    async def final(self, place: Coordinates) -> SyncResult:
        """The final result of the event at this place. Raises TimeoutError."""
        self._mine.add(place)
        early = self._early.pop(place, None)
        if early is not None:
            return early
        future = self._waiting[place] = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(RESULT_WITHIN_S):
            result: SyncResult = await future
            return result


class Show:
    """One performance: all samples side by side, each with an order of its own; `done` is given each complete row."""

    def __init__(self, stage: Stage, done: Callable[[Row], None] = lambda _: None) -> None:
        self._stage = stage
        self._done = done
        self._run = uuid.uuid4().hex[:6]
        self.rows: list[Row] = []
        self.results: Results | None = None

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[AIOKafkaProducer]:
        """A producer for the samples; results are followed meanwhile."""
        consumer = AIOKafkaConsumer(
            TOPICS.sync_result, bootstrap_servers=self._stage.bootstrap_servers, auto_offset_reset="earliest"
        )
        producer = AIOKafkaProducer(bootstrap_servers=self._stage.bootstrap_servers, acks="all")
        async with consumer, producer:
            self.results = Results(consumer)
            following = asyncio.create_task(self.results.run())
            try:
                yield producer
            finally:
                following.cancel()
                await asyncio.wait({following})

    async def play(self, samples: dict[str, Sample], producer: AIOKafkaProducer) -> None:
        """Play all samples to their ends."""
        orders = await self._stage.control.add_orders([sample.order for sample in samples.values()])
        rows: dict[str, list[Row]] = {}
        for order, (name, sample) in zip(orders, samples.items(), strict=True):
            rows[name] = [Row(sample.title, order, step.asks) for step in sample.steps]
            self.rows += rows[name]
        async with asyncio.TaskGroup() as group:
            for number, (order, (name, sample)) in enumerate(zip(orders, samples.items(), strict=True), start=1):
                group.create_task(self._play_one(producer, number, name, sample, order, rows[name]))

    async def _play_one(
        self, producer: AIOKafkaProducer, number: int, name: str, sample: Sample, order: str, rows: list[Row]
    ) -> None:
        for fault in sample.faults:
            await self._stage.control.add_fault(fault.model_copy(update={"purchase_order_id": order}))
        sent: tuple[str, bytes] | None = None
        for at, (step, row) in enumerate(zip(sample.steps, rows, strict=True), start=1):
            sent = self._record(step, sent, number=number, order=order, event_id=f"{name}-{at}-{self._run}")
            topic, value = sent
            metadata = await producer.send_and_wait(topic, value, key=order.encode(), headers=STRUCTURED)
            assert self.results is not None
            try:
                row.result = await self.results.final((topic, metadata.partition, metadata.offset))
            except TimeoutError:
                row.problems.append(f"no final result within {RESULT_WITHIN_S:.0f} s")
            else:
                row.problems += step.expect.differences(row.result)
            row.walmart = await self.walmart(order)
            if at == len(sample.steps):
                row.problems += await self._compare(sample, order)
            self._done(row)

    @staticmethod
    def _record(
        step: Step, before: tuple[str, bytes] | None, *, number: int, order: str, event_id: str
    ) -> tuple[str, bytes]:
        if step.special == "garbage":
            return TOPICS.order_shipped, GARBAGE
        if step.special == "repeat":
            assert before is not None, "the first step of a sample cannot be a repeat"
            return before
        event = make_event(step, number=number, order=order, event_id=event_id)
        shipped = event["type"] == ORDER_SHIPPED_TYPE
        return (TOPICS.order_shipped if shipped else TOPICS.order_cancelled), orjson.dumps(event)

    async def walmart(self, order: str) -> str:
        """What Walmart shows now, in one line per order line; empty where it has no such order."""
        texts = []
        try:
            state = await self._stage.control.order(order)
        except ControlError:
            return ""
        for line in state.lines:
            parts = [f"{units} open" for units in [line.created + line.acknowledged] if units]
            parts += [f"{units} shipped {number}" for number, units in line.tracking.items()]
            parts += [f"{line.cancelled} cancelled" for _ in range(1) if line.cancelled]
            texts.append(f"{line.line_number} {line.sku}: {', '.join(parts)}")
        return "\n".join(texts)

    async def _compare(self, sample: Sample, order: str) -> list[str]:
        state = await self._stage.control.order(order)
        problems = []
        for wanted in sample.walmart:
            line = state.line(wanted.line_number)
            found = (line.created + line.acknowledged, line.cancelled, line.tracking)
            if found != (wanted.open, wanted.cancelled, wanted.shipped):
                problems.append(f"Walmart's line {wanted.line_number} shows open, cancelled, shipped {found}")
        return problems
