"""Steady load: the events of many orders mixed, some of them twice, and garbage between them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from random import Random
from typing import Final

import aiohttp
import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from tests.chaos.evidence import Headers, Place, Published
from tests.chaos.history import Mix, Step, history, sketch
from tests.mutations import example_records, mutate
from tests.system.stage import STRUCTURED
from worker.sandbox.walmart.control import ControlError, WalmartControl
from worker.sandbox.walmart.specs import FaultSpec
from worker.settings import TopicSettings

_AT_ONCE: Final = 30
"""Orders that events are mixed of."""
_ORDERS_AT_ONCE: Final = 40
_GARBAGE: Final = 0.03
_REPEATS: Final = 0.12
_STAY: Final = 0.4
"""How often the next event is one of the same order."""
_PARTIAL_REFUSED: Final = 40
"""Orders at a time for which Walmart refuses partial cancels."""


class Load:
    """Publishes until it is cancelled."""

    def __init__(
        self,
        chance: Random,
        mix: Mix,
        rate: float,
        producer: AIOKafkaProducer,
        topics: TopicSettings,
        control: WalmartControl,
        *,
        enough: Callable[[], bool],
    ) -> None:
        """`enough()`: so much is unfinished that nothing more is published for now."""
        self._chance, self._mix, self._rate = chance, mix, rate
        self._producer, self._topics, self._control = producer, topics, control
        self._enough = enough
        self.ordered: dict[str, dict[str, int]] = {}
        """Order -> line -> units."""
        self.steps: dict[bytes, Step] = {}
        """Value of a record -> what it says."""
        self.published: list[Published] = []
        """What was acknowledged; what was not may be there all the same."""
        self.partial_refused: deque[FaultSpec] = deque(maxlen=_PARTIAL_REFUSED)
        """Faults that must be switched on again when Walmart has been restarted."""
        self.kinds: Counter[str] = Counter()
        self._fresh: list[list[Step]] = []
        self._active: list[list[Step]] = []
        self._said: dict[str, list[tuple[Step, bytes]]] = {}
        self._values: dict[str, bytes] = {}
        """Event id -> value, once it was said."""
        self._examples = example_records()

    async def run(self) -> None:
        """Publish, at the rate, as long as it is not enough."""
        following: list[Step] | None = None
        due = time.monotonic()
        while True:
            due = max(due + 1 / self._rate, time.monotonic() - 1)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            while self._enough():
                await asyncio.sleep(0.5)
            if self._chance.random() < _GARBAGE:
                await self._garbage()
            following = await self._next(following)
            step = following[0]
            await self._say(step)
            # Only now: if this is cancelled meanwhile, `finish` says the same once more, a repeat.
            del following[0]
            if not following:
                self._active.remove(following)
                del self._said[step.order]
                following = None

    async def finish(self) -> None:
        """After `run` was cancelled: publish the shipments that cancels have announced. They would wait for ever."""
        for steps in self._active:
            if any(said.kind == "cancel ahead" for said, _ in self._said.get(steps[0].order, ())):
                for step in steps:
                    await self._say(step)

    async def _next(self, following: list[Step] | None) -> list[Step]:
        if following is not None and self._chance.random() < _STAY:
            return following
        while len(self._active) < _AT_ONCE:
            if not self._fresh:
                await self._order_more()
            self._active.append(self._fresh.pop())
        return self._chance.choice(self._active)

    async def _order_more(self) -> None:
        drawn = [sketch(self._chance, self._mix) for _ in range(_ORDERS_AT_ONCE)]
        while True:
            try:
                async with asyncio.timeout(10):
                    orders = await self._control.add_orders([one.spec for one in drawn])
                break
            except (aiohttp.ClientError, ControlError, TimeoutError):
                await asyncio.sleep(0.3)
        for order, one in zip(orders, drawn, strict=True):
            self.ordered[order] = {str(place): line.quantity for place, line in enumerate(one.spec.lines, start=1)}
            steps = history(self._chance, order, one, self._mix)
            if one.ahead:
                await self._refuse_partial(order)
            if steps:
                self._fresh.append(steps)

    async def _refuse_partial(self, order: str) -> None:
        fault = FaultSpec(kind="partial_cancel_refused", purchase_order_id=order)
        self.partial_refused.append(fault)
        try:
            await self._control.add_fault(fault)
        except (aiohttp.ClientError, ControlError, TimeoutError):
            return  # it is switched on when Walmart is back

    async def _say(self, step: Step) -> None:
        value = self._values.get(step.event_id) or orjson.dumps(step.event())
        self._values[step.event_id] = value
        self.steps[value] = step
        await self._publish(step, value, repeat=False)
        said = self._said.setdefault(step.order, [])
        if not step.must_fail:
            said.append((step, value))
        while said and self._chance.random() < _REPEATS:
            again, its_value = self._chance.choice(said)
            await self._publish(again, its_value, repeat=True)

    async def _publish(self, step: Step, value: bytes, *, repeat: bool) -> None:
        topic = self._topics.order_cancelled if step.is_cancel else self._topics.order_shipped
        self.kinds["repeated" if repeat else step.kind] += 1
        await self._send(topic, step.order.encode(), value, tuple(STRUCTURED), step, repeat=repeat)

    async def _garbage(self) -> None:
        headers, key, value = mutate(self._chance.choice(self._examples), self._chance)
        cancels = b"cancelled" in (value or b"")
        topic = self._topics.order_cancelled if cancels else self._topics.order_shipped
        self.kinds["garbage"] += 1
        await self._send(topic, key, value, tuple(headers), None, repeat=False)

    async def _send(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers, step: Step | None, *, repeat: bool
    ) -> None:
        """An order's events come one after another, so each is sent until it is acknowledged."""
        while True:
            try:
                async with asyncio.timeout(60):
                    sent = await self._producer.send_and_wait(topic, value, key=key, headers=list(headers))
                break
            except (KafkaError, TimeoutError):
                await asyncio.sleep(0.3)
        place = Place(topic, sent.partition, sent.offset)
        self.published.append(Published(place, sent.timestamp / 1000, key, value, headers, step, repeat))
