"""How many calls an event takes, where no acknowledgement, no inventory and no unknown outcome is in it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from tests.bench.contract import ORDER_SYNC
from tests.bench.effort import Effort
from tests.bench.figures import Aim, Figure
from tests.bench.ground import Ground, tell
from tests.bench.merchants import merchants
from tests.bench.orders import order_id
from tests.bench.process import child
from tests.bench.traffic import event, new_order, produce
from worker.sandbox.walmart.specs import NewLine, NewOrder, Rate

DELAY_S: Final = 0.05
PLENTY: Final = Rate(per_minute=1e6, burst=100_000)
SELLER: Final = "seller"
SEVERAL: Final = 3
"""Events per order, each ships one line of it."""
_POLL_S: Final = 0.1
_PATIENCE_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class Scene:
    """Orders, and how many events come for each, one after another."""

    name: str
    each: int
    template: NewOrder
    aim: Aim

    def event(self, number: int) -> tuple[str, bytes]:
        """The n-th event and its order."""
        order = order_id(number // self.each)
        if self.each == 1:
            return order, event(number, store=SELLER, order=order)
        return order, event(number, store=SELLER, order=order, items=[(number % self.each + 1, 1)])


SCENES: Final = (
    Scene("one event per order", 1, new_order(), ("<=", 2.0)),
    Scene(
        "three events per order",
        SEVERAL,
        NewOrder(lines=tuple(NewLine(sku=f"SKU-{place}", quantity=1) for place in range(SEVERAL))),
        ("<", 1.6),
    ),
)


async def calls(ground: Ground, effort: Effort) -> list[Figure]:
    """Calls to Walmart per event, by its own count, with one event per order and with three."""
    all_calls = {one: Figure("calls", one.name, "calls per event", "", aim=one.aim) for one in SCENES}
    reads = {one: Figure("calls", one.name, "of these reads", "") for one in SCENES}
    for _ in range(effort.long_runs):
        for scene in SCENES:
            counts = await _run(ground, effort.calls_events, scene)
            all_calls[scene].values.append(sum(counts.values()))
            reads[scene].values.append(counts.get("get_order", 0.0))
            tell(ground, all_calls[scene])
    return [*all_calls.values(), *reads.values()]


async def _run(ground: Ground, events: int, scene: Scene) -> dict[str, float]:
    """Operation -> calls per event."""
    orders = events // scene.each
    events = orders * scene.each
    topics = await ground.fresh_topics()
    async with merchants([SELLER], delay_s=DELAY_S, rates={"ship": PLENTY, "get_order": PLENTY}) as walmart:
        await walmart.add_orders(range(orders), [scene.template])
        await produce(ground.bootstrap, topics.order_shipped, map(scene.event, range(events)))
        task = ground.task("calls", walmart=walmart.url, topics=topics, settings=walmart.settings())
        async with ground.records(topics.sync_result) as results, child(ORDER_SYNC.run(task)) as process:
            async with asyncio.timeout(_PATIENCE_S):
                while await results.now() < events:
                    process.check()
                    await asyncio.sleep(_POLL_S)
        counts = await walmart.control.requests()
        shipped = counts.total("ship", 200)
        if shipped != events:
            raise RuntimeError(f"{shipped} of {events} events were shipped: something else happened, too")
        told: dict[str, float] = {}
        for one in counts.counts:
            if one.operation != "token":
                told[one.operation] = told.get(one.operation, 0.0) + one.count / events
        return told
