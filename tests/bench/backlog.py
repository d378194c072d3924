"""The memory of a worker that drains a backlog, and of one that drains five times as much."""

from __future__ import annotations

import time
from typing import Final

from tests.bench.contract import ORDER_SYNC
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
    """The most memory a process ever has while it drains a backlog; and one five times as large, once."""
    count, many = ground.backlog, _MORE * ground.backlog
    peak = Figure("memory", _US, f"peak, {count:,} events", "MB", aim=("<", 150.0))
    rate = Figure("memory", _US, f"events per second, {count:,} events", "/s")
    for _ in range(effort.long_runs):
        peak_mb, drained = await _drain(ground, ground.topics, count)
        peak.values.append(peak_mb)
        rate.values.append(drained.rate)
        tell(ground, peak)
    ground.say(f"  writing a backlog of {many:,} events")
    topics = await ground.fresh_topics()
    await produce_backlog(ground.bootstrap, topics.order_shipped, many)
    peak_mb, drained = await _drain(ground, topics, many)
    large = Figure("memory", _US, f"peak, {many:,} events", "MB", [peak_mb])
    tell(ground, large)
    name = f"peak, {many:,} / {count:,} events"
    share = Figure("memory", _US, name, "", [peak_mb / peak.median], aim=("<=", 1.1))
    large_rate = Figure("memory", _US, f"events per second, {many:,} events", "/s", [drained.rate])
    return [peak, large, share, rate, large_rate]


async def _drain(ground: Ground, topics: TopicSettings, count: int) -> tuple[float, Stretch]:
    """(Peak memory in MB, from the first event to the last)."""
    async with (
        ground.records(topics.sync_result) as results,
        child(ORDER_SYNC.run(ground.task("events", topics=topics))) as process,
    ):

        async def done() -> tuple[float, int]:
            finished = await results.now()
            return time.monotonic(), finished

        first = await sample_when(process, done, 1)
        last = await sample_when(process, done, count)
        return process.peak_mb, Stretch(first, last)
