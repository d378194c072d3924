"""The measurements. Each runs the contenders in turn, so that a slow minute of the machine meets all of them.

Others have files of their own; `registry.py` names them all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from tests.bench.contract import WORKER_CALLS, WORKER_EVENTS, contenders
from tests.bench.effort import Effort
from tests.bench.figures import Figure, percentile, ratio
from tests.bench.ground import Ground, tell, until_posted
from tests.bench.process import Child, child, fast_walmart
from tests.bench.traffic import produce_steadily

DELAY_S: Final = 0.05
"""How long Walmart takes to answer, in `throughput` and `latency`."""
RATE: Final = 20.0
"""Events per second in `latency`."""
_POLL_S: Final = 0.05
_PATIENCE_S: Final = 180.0


_WARM_UP: Final = 0.25
"""Part of the window that is worked off before it is measured."""


@dataclass(frozen=True, slots=True)
class _Sample:
    at: float
    """Monotonic seconds."""
    done: int
    cpu_s: float


async def _sample_when(process: Child, done: Callable[[], Awaitable[tuple[float, int]]], wanted: int) -> _Sample:
    """The first sample with at least so many events done."""
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            at, count = await done()
            cpu_s = process.cpu_s
            if count >= wanted:
                return _Sample(at, count, cpu_s)
            await asyncio.sleep(_POLL_S)


async def cpu(ground: Ground, effort: Effort) -> list[Figure]:
    """Processor time per event of the whole process, with a mission that does nothing, while a backlog is read."""
    rivals = contenders("events")
    costs = {one.name: Figure("cpu", one.name, "CPU per event", "µs") for one in rivals}
    rates = {one.name: Figure("cpu", one.name, "events per second", "/s") for one in rivals}
    warm_up = int(effort.cpu_events * _WARM_UP)
    async with ground.records(ground.topics.sync_result) as results:

        async def done() -> tuple[float, int]:
            count = await results.now()
            return time.monotonic(), count

        for _ in range(effort.runs):
            for one in rivals:
                await results.reset()
                async with child(one.run(ground.task("events"))) as process:
                    first = await _sample_when(process, done, warm_up)
                    last = await _sample_when(process, done, warm_up + effort.cpu_events)
                events = last.done - first.done
                costs[one.name].values.append((last.cpu_s - first.cpu_s) / events * 1e6)
                rates[one.name].values.append(events / (last.at - first.at))
                tell(ground, costs[one.name])
    ours, theirs = rivals[0].name, rivals[-1].name
    return [*costs.values(), ratio("cpu", "CPU per event", costs[ours], costs[theirs]), *rates.values()]


async def throughput(ground: Ground, effort: Effort) -> list[Figure]:
    """Orders per second with GET and POST at 50 ms, 256 in flight."""
    rivals = contenders("calls")
    rates = {one.name: Figure("throughput", one.name, "events per second", "/s") for one in rivals}
    costs = {one.name: Figure("throughput", one.name, "CPU per event", "µs") for one in rivals}
    peaks = {one.name: Figure("throughput", one.name, "peak memory", "MB") for one in rivals}
    load = Figure("throughput", "fast Walmart", "share of one processor", "")
    warm_up = int(effort.throughput_events * _WARM_UP)
    async with fast_walmart(DELAY_S) as walmart:

        async def done() -> tuple[float, int]:
            told = await walmart.counts()
            return told["now"], told["posts"]

        for _ in range(effort.runs):
            for one in rivals:
                await walmart.reset()
                async with child(one.run(ground.task("calls", walmart=walmart.url))) as process:
                    first = await _sample_when(process, done, warm_up)
                    busy = walmart.process.cpu_s
                    last = await _sample_when(process, done, warm_up + effort.throughput_events)
                    load.values.append((walmart.process.cpu_s - busy) / (last.at - first.at))
                    peaks[one.name].values.append(process.peak_mb)
                events = last.done - first.done
                rates[one.name].values.append(events / (last.at - first.at))
                costs[one.name].values.append((last.cpu_s - first.cpu_s) / events * 1e6)
                tell(ground, rates[one.name])
    ours, theirs = rivals[0].name, rivals[-1].name
    share = ratio("throughput", "events per second", rates[ours], rates[theirs], aim=(">=", 0.85))
    return [*rates.values(), share, *costs.values(), *peaks.values(), load]


async def latency(ground: Ground, effort: Effort) -> list[Figure]:
    """From an event handed to the producer to its POST at Walmart, at a quiet rate; and our own share of it."""
    name = WORKER_CALLS.name
    whole = {part: Figure("latency", name, f"event to POST, p{part}", "ms") for part in (50, 99)}
    own = {
        part: Figure("latency", name, f"our own share, p{part}", "ms", aim=("<", 50.0) if part == 99 else None)
        for part in (50, 99)
    }
    warm_up, count = int(RATE), int(RATE * effort.latency_seconds)
    async with fast_walmart(DELAY_S) as walmart:
        for _ in range(effort.long_runs):
            await walmart.reset()
            topics = await ground.fresh_topics()
            async with child(WORKER_CALLS.run(ground.task("calls", walmart=walmart.url, topics=topics))) as process:
                await produce_steadily(ground.bootstrap, topics.order_shipped, per_second=RATE, count=warm_up, first=0)
                await until_posted(walmart, process, warm_up)
                produced = await produce_steadily(
                    ground.bootstrap, topics.order_shipped, per_second=RATE, count=count, first=warm_up
                )
                await until_posted(walmart, process, warm_up + count)
            times = await walmart.times()
            totals, shares = [], []
            for order, at in produced.items():
                got, answered, posted, _ = times[order]
                totals.append((posted - at) * 1e3)
                shares.append((posted - at - (answered - got)) * 1e3)
            for part in (50, 99):
                whole[part].values.append(percentile(totals, part / 100))
                own[part].values.append(percentile(shares, part / 100))
            tell(ground, own[99])
    return [*whole.values(), *own.values()]


async def memory(ground: Ground, effort: Effort) -> list[Figure]:
    """The most memory our process ever has while it drains the whole backlog."""
    peak = Figure("memory", WORKER_EVENTS.name, f"peak, {ground.backlog:,} events", "MB", aim=("<", 300.0))
    rate = Figure("memory", WORKER_EVENTS.name, "events per second", "/s")
    async with ground.records(ground.topics.sync_result) as results:

        async def done() -> tuple[float, int]:
            count = await results.now()
            return time.monotonic(), count

        for _ in range(effort.long_runs):
            await results.reset()
            async with child(WORKER_EVENTS.run(ground.task("events"))) as process:
                first = await _sample_when(process, done, 1)
                last = await _sample_when(process, done, ground.backlog)
                peak.values.append(process.peak_mb)
            rate.values.append((last.done - first.done) / (last.at - first.at))
            tell(ground, peak)
    return [peak, rate]
