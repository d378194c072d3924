"""Orders per second with real calls: one process, two on two processors, and three where only waiting takes time."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any, Final

from tests.bench.contract import FLOORS, ORDER_SYNC, Contender
from tests.bench.effort import Effort
from tests.bench.figures import Figure, ratio
from tests.bench.fleet import fleet
from tests.bench.ground import Ground, tell
from tests.bench.process import FastWalmart, child, fast_walmart
from tests.bench.sampling import Done, Working, stretch

DELAY_S: Final = 0.05
"""How long Walmart takes to answer, in `throughput`."""
SLOW_S: Final = 0.25
"""How long in `workers`."""
SLOW_IN_FLIGHT: Final = 64
"""There a worker has at most this many orders under way: 128 orders a second, at GET and POST each."""
_US: Final = ORDER_SYNC.name
_TWO: Final = f"{_US}, two processes"


def _posts(walmart: FastWalmart) -> Done:
    async def done() -> tuple[float, int]:
        told = await walmart.counts()
        return told["now"], told["posts"]

    return done


async def throughput(ground: Ground, effort: Effort) -> list[Figure]:
    """Orders per second with GET and POST at 50 ms, 256 in flight; one process beside others, and two of ours."""
    rivals: list[tuple[str, Contender, int]] = [(one.name, one, 1) for one in ground.contenders("calls")]
    rivals.insert(1, (_TWO, ORDER_SYNC, 2))
    rates = {name: Figure("throughput", name, "events per second", "/s") for name, _, _ in rivals}
    costs = {name: Figure("throughput", name, "CPU per event", "µs") for name, _, _ in rivals}
    peaks = {name: Figure("throughput", name, "peak memory", "MB") for name, _, _ in rivals}
    load = Figure("throughput", "fast Walmart", "share of one processor", "")
    async with fast_walmart(DELAY_S) as walmart:
        for _ in range(effort.runs):
            for name, one, count in rivals:
                await walmart.reset()
                task = ground.task("calls", walmart=walmart.url)
                async with AsyncExitStack() as stack:
                    run = fleet(one, task, count) if one is ORDER_SYNC else child(one.run(task))
                    running: Working = await stack.enter_async_context(run)
                    busy = walmart.process.cpu_s
                    seen = await stretch(running, _posts(walmart), effort.throughput_events * count)
                    busy = walmart.process.cpu_s - busy
                    peaks[name].values.append(running.peak_mb)
                if name == _US:
                    load.values.append(busy / (seen.last.at - seen.first.at))
                rates[name].values.append(seen.rate)
                costs[name].values.append(seen.cost_us)
                tell(ground, rates[name])
    shares = [
        ratio("throughput", "events per second", rates[_US], rates[FLOORS["calls"].name], (">=", 0.9)),
        ratio("throughput", "events per second", rates[_TWO], rates[_US], (">=", 1.6)),
    ]
    return [*rates.values(), *shares, *costs.values(), *peaks.values(), load]


async def workers(ground: Ground, effort: Effort) -> list[Figure]:
    """Orders per second of one and of three workers of a group, where calls take 250 ms and 64 are in flight each."""
    rates = {
        count: Figure("workers", f"{_US}, {count} worker{'s' * (count > 1)}", "events per second", "/s")
        for count in (1, 3)
    }
    settings: dict[str, dict[str, Any]] = {"limits": {"max_in_flight_events": SLOW_IN_FLIGHT}}
    async with fast_walmart(SLOW_S) as walmart:
        for _ in range(effort.long_runs):
            for count, rate in rates.items():
                await walmart.reset()
                task = ground.task("calls", walmart=walmart.url, settings=settings)
                async with fleet(ORDER_SYNC, task, count) as running:
                    events = effort.events_per_worker * count
                    seen = await stretch(running, _posts(walmart), events)
                rate.values.append(seen.rate)
                tell(ground, rate)
    return [*rates.values(), ratio("workers", "events per second", rates[3], rates[1], (">=", 2.5))]
