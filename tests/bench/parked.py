"""A hundred thousand parked events: their memory, how soon their table stands, how fast they are taken up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from aiokafka import AIOKafkaProducer

from schemas import deadletter
from tests.bench.contract import CLIENT_ID, CLIENT_SECRET, ORDER_SYNC, STORE
from tests.bench.effort import Effort
from tests.bench.faults import Faults
from tests.bench.figures import Figure, ratio
from tests.bench.fleet import free_port, is_ready
from tests.bench.ground import PARTITIONS, Ground, tell
from tests.bench.orders import order_id
from tests.bench.process import Child, FastWalmart, child, fast_walmart
from tests.bench.traffic import STRUCTURED, event, produce_backlog
from worker.delivery import Delivery, Record
from worker.errors import Failure
from worker.intake.decode import Decoder
from worker.parked import letters
from worker.settings import TopicSettings

DELAY_S: Final = 0.05
"""How long Walmart takes to answer."""
ACCOUNT: Final = "main"
TIMING: Final = {"slo_seconds": 86_400, "probe_seconds": 1}
BUDGET: Final = 20.0
"""Writes a second that Walmart grants the account at the end: 20 times what it grants in fact."""
_BUDGET_S: Final = 20.0
_AT_ONCE: Final = 2_000
_POLL_S: Final = 0.1
_PATIENCE_S: Final = 240.0
_REST_S: Final = 3.0
"""After the table has caught up: what the fetches took is given back, the gate is closed."""
_WARM_UP: Final = 0.25


def parked_record(topic: str, number: int, now: float) -> tuple[bytes, bytes, list[tuple[str, bytes | None]], int]:
    """Key, value, headers and partition of the n-th parked event, as the worker writes them."""
    partition, offset = number % PARTITIONS, number // PARTITIONS
    record = Record(
        topic, partition, offset, int(now * 1000), order_id(number).encode(), event(number), tuple(STRUCTURED)
    )
    delivery: Delivery = Decoder(TopicSettings(order_shipped=topic)).decode(record, now=now)
    assert delivery.event is not None, delivery.refusal
    delivery.progress.story.add(now, "received")
    delivery.progress.story.add(now, "parked: credentials_rejected")
    why = Failure("credentials_rejected", "its account is turned away")
    about = letters.waiting(delivery, why, next_try=0.0, first_parked=None, now=now)
    value, headers = deadletter.write(about, record.value, record.headers)
    return delivery.key.encode(), value, headers, partition


async def produce_parked(bootstrap: str, topics: TopicSettings, count: int) -> None:
    """Write so many parked events, one order each."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=5, max_batch_size=262_144)
    await producer.start()
    try:
        for first in range(0, count, _AT_ONCE):
            now, sent = time.time(), []
            for number in range(first, min(first + _AT_ONCE, count)):
                key, value, headers, partition = parked_record(topics.order_shipped, number, now)
                sent.append(
                    await producer.send(topics.dead_letter, value, key=key, headers=headers, partition=partition)
                )
            await asyncio.gather(*sent)
    finally:
        await producer.stop()


@dataclass(frozen=True, slots=True)
class _Stand:
    """A worker whose account is turned away, once its table has caught up."""

    ready_s: float
    """From the start of the process."""
    memory_mb: float
    peak_mb: float


@dataclass(frozen=True, slots=True)
class _TakenUp:
    """How it goes on once the account is served."""

    first_after_s: float
    rate: float
    cost_us: float
    budget_used: float
    """Part of a small budget that ships something."""
    refused: float
    """Calls answered 429 per shipment then."""


async def parked(ground: Ground, effort: Effort) -> list[Figure]:
    """Memory and start with events parked; the rate at which they are taken up once their account is served."""
    us, count = ORDER_SYNC.name, effort.parked_events
    empty = Figure("parked", f"{us}, none parked", "memory", "MB")
    full = Figure("parked", f"{us}, {count:,} parked", "memory", "MB")
    more = Figure("parked", us, f"memory of {count:,} parked events", "MB", aim=("<", 100.0))
    peak = Figure("parked", us, "the same, peak", "MB")
    start = Figure("parked", us, "start to table caught up", "s")
    delay = Figure("parked", us, "the same, beyond a start without any", "s")
    taken = Figure("parked", f"{us}, taken up", "events per second", "/s")
    read = Figure("parked", f"{us}, read from the input", "events per second", "/s")
    taken_cost = Figure("parked", f"{us}, taken up", "CPU per event", "µs")
    read_cost = Figure("parked", f"{us}, read from the input", "CPU per event", "µs")
    first_after = Figure("parked", us, "account served to first event", "s")
    used = Figure("parked", us, f"shipped of a budget of {BUDGET:g} a second", "", aim=(">=", 0.9))
    refused = Figure("parked", us, "calls refused per shipment then", "")
    async with fast_walmart(DELAY_S) as walmart:
        for _ in range(effort.long_runs):
            await walmart.break_(Faults({ACCOUNT: "dead"}))
            nothing, _ = await _run(ground, effort, walmart, await ground.fresh_topics(), take_up=0)
            topics = await ground.fresh_topics()
            await produce_parked(ground.bootstrap, topics, count)
            stood, went_on = await _run(ground, effort, walmart, topics, take_up=effort.taken_up_events)
            assert went_on is not None
            empty.values.append(nothing.memory_mb)
            full.values.append(stood.memory_mb)
            more.values.append(stood.memory_mb - nothing.memory_mb)
            peak.values.append(stood.peak_mb - nothing.peak_mb)
            start.values.append(stood.ready_s)
            delay.values.append(stood.ready_s - nothing.ready_s)
            taken.values.append(went_on.rate)
            taken_cost.values.append(went_on.cost_us)
            first_after.values.append(went_on.first_after_s)
            used.values.append(went_on.budget_used)
            refused.values.append(went_on.refused)
            rate, cost = await _from_input(ground, effort, walmart)
            read.values.append(rate)
            read_cost.values.append(cost)
            for figure in (more, delay, taken, read, used, refused):
                tell(ground, figure)
    share = ratio("parked", "events per second", taken, read)
    return [
        empty,
        full,
        more,
        peak,
        start,
        delay,
        first_after,
        taken,
        read,
        share,
        taken_cost,
        read_cost,
        used,
        refused,
    ]


def _settings(walmart: FastWalmart, port: int) -> dict[str, dict[str, Any]]:
    account = {
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "base_url": f"{walmart.url}/{ACCOUNT}",
        "ship_calls_per_minute": BUDGET * 60,
    }
    return {
        "accounts": {ACCOUNT: account},
        "stores": {STORE: {"account": ACCOUNT}},
        "timing": TIMING,
        # The table must not be full with what lies there already.
        "limits": {"max_parked_events": 200_000},
        "http": {"port": port},
    }


async def _run(
    ground: Ground, effort: Effort, walmart: FastWalmart, topics: TopicSettings, *, take_up: int
) -> tuple[_Stand, _TakenUp | None]:
    """Start a worker on these topics; then serve its account until so many parked events are shipped."""
    await walmart.reset()
    port = free_port()
    task = ground.task("calls", walmart=walmart.url, topics=topics, settings=_settings(walmart, port))
    begun = time.monotonic()
    async with child(ORDER_SYNC.run(task)) as process, aiohttp.ClientSession() as session:
        await _until(lambda: is_ready(session, port), process)
        ready_s = time.monotonic() - begun
        await asyncio.sleep(_REST_S)
        stand = _Stand(ready_s, process.memory_mb, process.peak_mb)
        if not take_up:
            return stand, None
        await walmart.break_(Faults())
        served = time.monotonic()
        first_at = await _until_posts(walmart, process, 1)
        rate, cost = await _rate(walmart, process, take_up)
        used, refused = await _budget(walmart, process, effort.budget_settles_seconds)
        return stand, _TakenUp(first_at - served, rate, cost, used, refused)


async def _budget(walmart: FastWalmart, process: Child, settles_s: float) -> tuple[float, float]:
    """With a small budget: the part of it that is used, and the calls beyond it per one that is served."""
    await walmart.break_(Faults(budgets={ACCOUNT: BUDGET}))
    await asyncio.sleep(settles_s)
    first = await walmart.counts()
    await asyncio.sleep(_BUDGET_S)
    last = await walmart.counts()
    process.check()
    shipped = last["posts"] - first["posts"]
    granted = BUDGET * (last["now"] - first["now"])
    return shipped / granted, (last["faulty"] - first["faulty"]) / max(1, shipped)


async def _from_input(ground: Ground, effort: Effort, walmart: FastWalmart) -> tuple[float, float]:
    """The same events at the same Walmart, read from the input topic."""
    await walmart.break_(Faults())
    await walmart.reset()
    topics = await ground.fresh_topics()
    await produce_backlog(ground.bootstrap, topics.order_shipped, 2 * effort.taken_up_events)
    settings = _settings(walmart, free_port())
    task = ground.task("calls", walmart=walmart.url, topics=topics, settings=settings)
    async with child(ORDER_SYNC.run(task)) as process:
        return await _rate(walmart, process, effort.taken_up_events)


async def _rate(walmart: FastWalmart, process: Child, count: int) -> tuple[float, float]:
    """Events per second and microseconds of processor time per event, over `count` events after some to warm up."""
    warm_up = int(count * _WARM_UP)
    begun = await _until_posts(walmart, process, warm_up)
    cpu_s, first = process.cpu_s, (await walmart.counts())["posts"]
    ended = await _until_posts(walmart, process, warm_up + count)
    cpu_s, last = process.cpu_s - cpu_s, (await walmart.counts())["posts"]
    return (last - first) / (ended - begun), cpu_s / (last - first) * 1e6


async def _until_posts(walmart: FastWalmart, process: Child, count: int) -> float:
    """When, by the server's clock, so many shipments had come."""
    at = 0.0

    async def enough() -> bool:
        nonlocal at
        told = await walmart.counts()
        at = float(told["now"])
        return bool(told["posts"] >= count)

    await _until(enough, process)
    return at


async def _until(condition: Callable[[], Awaitable[bool]], process: Child) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        while not await condition():
            process.check()
            await asyncio.sleep(_POLL_S)
