"""How long an event is on its way while there is nothing else to do."""

from __future__ import annotations

from typing import Final

from tests.bench.contract import ORDER_SYNC
from tests.bench.effort import Effort
from tests.bench.figures import Figure, percentile
from tests.bench.ground import Ground, tell, until_posted
from tests.bench.process import child, fast_walmart
from tests.bench.traffic import produce_steadily

DELAY_S: Final = 0.05
"""How long Walmart takes to answer."""
RATE: Final = 20.0
"""Events per second."""


async def latency(ground: Ground, effort: Effort) -> list[Figure]:
    """From an event handed to the producer to its POST at Walmart, at a quiet rate; and our own share of it."""
    name = ORDER_SYNC.name
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
            async with child(ORDER_SYNC.run(ground.task("calls", walmart=walmart.url, topics=topics))) as process:
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
