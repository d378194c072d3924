"""What reading, keeping order and publishing cost, with a handler that does nothing or nearly nothing."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Final

from tests.bench.contract import FLOORS, ORDER_SYNC
from tests.bench.effort import Effort
from tests.bench.figures import Figure, ratio
from tests.bench.ground import Ground, RecordCount, tell
from tests.bench.handlers import KEYS, effects_count, violations
from tests.bench.orders import order_id
from tests.bench.process import child
from tests.bench.sampling import Done, stretch
from tests.bench.traffic import event, produce

_US: Final = ORDER_SYNC.name


def _counted(results: RecordCount) -> Done:
    async def done() -> tuple[float, int]:
        count = await results.now()
        return time.monotonic(), count

    return done


async def cpu(ground: Ground, effort: Effort) -> list[Figure]:
    """Processor time per event of the whole process, with a handler that does nothing, while a backlog is read."""
    rivals = ground.contenders("events")
    costs = {one.name: Figure("cpu", one.name, "CPU per event", "µs") for one in rivals}
    rates = {one.name: Figure("cpu", one.name, "events per second", "/s") for one in rivals}
    async with ground.records(ground.topics.sync_result) as results:
        for _ in range(effort.runs):
            for one in rivals:
                async with child(one.run(ground.task("events"))) as process:
                    seen = await stretch(process, _counted(results), effort.cpu_events)
                costs[one.name].values.append(seen.cost_us)
                rates[one.name].values.append(seen.rate)
                tell(ground, costs[one.name])
    floor = FLOORS["events"].name
    share = ratio("cpu", "CPU per event", costs[_US], costs[floor], ("<=", 1.5))
    return [*costs.values(), share, *rates.values()]


async def order(ground: Ground, effort: Effort) -> list[Figure]:
    """Events per second of 1,000 orders with a handler of 0 to 5 ms; whether each order's effects come in order."""
    rivals = ground.contenders("handler")
    rates = {one.name: Figure("order", one.name, "events per second", "/s") for one in rivals}
    costs = {one.name: Figure("order", one.name, "CPU per event", "µs") for one in rivals}
    wrong = {one.name: Figure("order", one.name, "effects out of order", "") for one in rivals}
    wrong[_US].aim = ("<=", 0)
    topics = await ground.fresh_topics()
    orders = ((number, order_id(number % KEYS)) for number in range(2 * effort.order_events))
    await produce(ground.bootstrap, topics.order_shipped, ((order, event(n, order=order)) for n, order in orders))
    with tempfile.TemporaryDirectory(prefix="order-sync-bench-") as folder:
        for run in range(effort.runs):
            for one in rivals:
                effects = Path(folder, f"{one.name}-{run}")

                async def done(effects: Path = effects) -> tuple[float, int]:
                    return time.monotonic(), effects_count(effects)

                task = ground.task("handler", topics=topics, effects=str(effects))
                async with child(one.run(task)) as process:
                    seen = await stretch(process, done, effort.order_events)
                rates[one.name].values.append(seen.rate)
                costs[one.name].values.append(seen.cost_us)
                wrong[one.name].values.append(violations(effects)[1])
                tell(ground, rates[one.name])
    share = ratio("order", "events per second", rates[_US], rates[FLOORS["handler"].name], (">=", 0.8))
    return [*rates.values(), share, *costs.values(), *wrong.values()]
