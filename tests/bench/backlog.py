"""The memory it takes to drain a backlog, and one five times as large."""

from __future__ import annotations

import time
from typing import Final

from tests.bench.contract import ORDER_SYNC, Contender
from tests.bench.effort import Effort
from tests.bench.figures import Figure
from tests.bench.ground import Ground, tell
from tests.bench.process import child
from tests.bench.sampling import Stretch, sample_when
from tests.bench.traffic import produce_backlog
from worker.settings import TopicSettings

_US: Final = ORDER_SYNC.name
_MORE: Final = 5


async def memory(ground: Ground, effort: Effort) -> list[Figure]:
    """The most memory a process ever has while it drains a backlog; and ours with one five times as large, once."""
    count, many = ground.backlog, _MORE * ground.backlog
    rivals = ground.contenders("events")
    peaks = {one.name: Figure("memory", one.name, f"peak, {count:,} events", "MB") for one in rivals}
    rates = {one.name: Figure("memory", one.name, f"events per second, {count:,} events", "/s") for one in rivals}
    peaks[_US].aim = ("<", 150.0)
    for _ in range(effort.long_runs):
        for one in rivals:
            peak_mb, rate = await _drain(ground, one, ground.topics, count)
            peaks[one.name].values.append(peak_mb)
            rates[one.name].values.append(rate)
            tell(ground, peaks[one.name])
    ground.say(f"  writing a backlog of {many:,} events")
    topics = await ground.fresh_topics()
    await produce_backlog(ground.bootstrap, topics.order_shipped, many)
    peak_mb, rate = await _drain(ground, ORDER_SYNC, topics, many)
    large = Figure("memory", _US, f"peak, {many:,} events", "MB", [peak_mb])
    large_rate = Figure("memory", _US, f"events per second, {many:,} events", "/s", [rate])
    tell(ground, large)
    share = Figure(
        "memory", _US, f"peak, {many:,} / {count:,} events", "", [peak_mb / peaks[_US].median], aim=("<=", 1.1)
    )
    return [*peaks.values(), large, share, *rates.values(), large_rate]


async def _drain(ground: Ground, one: Contender, topics: TopicSettings, count: int) -> tuple[float, float]:
    """(Peak memory in MB, events per second from the first to the last)."""
    async with (
        ground.records(topics.sync_result) as results,
        child(one.run(ground.task("events", topics=topics))) as process,
    ):

        async def done() -> tuple[float, int]:
            finished = await results.now()
            return time.monotonic(), finished

        first = await sample_when(process, done, 1)
        last = await sample_when(process, done, count)
        return process.peak_mb, Stretch(first, last).rate
