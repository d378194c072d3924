"""How much of Walmart's call budgets is used, and how often Walmart has to say no, with every account backlogged."""

from __future__ import annotations

import asyncio
import statistics
from dataclasses import dataclass
from typing import Final

from tests.bench.contract import ORDER_SYNC
from tests.bench.effort import Effort
from tests.bench.figures import Aim, Figure
from tests.bench.fleet import Fleet, fleet
from tests.bench.foreign import ForeignClient, foreign_client
from tests.bench.ground import Ground, tell
from tests.bench.merchants import Merchants, merchants
from tests.bench.orders import order_id
from tests.bench.shares import Reading, Usage, together, usage
from tests.bench.traffic import event, produce
from worker.sandbox.walmart.specs import Rate

WORKERS: Final = (1, 3)
SHIP: Final = Rate(per_minute=60, burst=60)
"""Walmart's published rate. The size is not published: a minute's worth, as in the sandbox; sped up, it refills faster
and holds no more."""
FOREIGN_PART: Final = 0.3
"""Of the shared account's rate, used by somebody else."""
DELAY_S: Final = 0.05
"""How long Walmart takes to answer."""
TIMING: Final = {"slo_seconds": 86_400}
_FOREIGN_FROM: Final = 5_000_000
_SLACK: Final = 1.4
"""So many times the events that the buckets allow, so that no account runs dry in any partition."""
_START_S: Final = 10.0
"""From the first call to the end of producing, roughly."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One run."""

    usages: list[Usage]
    """Of the accounts that only we use."""
    shared: Usage
    calls: int
    """Over the whole run, from the start of the workers: reads and shipments, without the foreign client's."""
    ships: int
    refused: int
    """429s among them."""
    foreign_refused: float
    """Part of the foreign client's calls."""
    workers_load: float
    """Of one processor, all together; a full processor is no matter of budgets."""
    walmart_load: float


async def budget(ground: Ground, effort: Effort) -> list[Figure]:
    """Share of Walmart's call budgets that is used, and 429s, with every account backlogged and one shared."""
    figures: dict[tuple[int, str], Figure] = {}

    def note(workers: int, name: str, unit: str, value: float, aim: Aim | None = None) -> None:
        who = f"order-sync, {workers} worker{'s' * (workers > 1)}"
        figures.setdefault((workers, name), Figure("budget", who, name, unit, aim=aim)).values.append(value)

    for _ in range(effort.long_runs):
        for workers in WORKERS:
            seen = await _run(ground, effort, workers)
            shares = [one.share for one in seen.usages]
            accounts = [*seen.usages, seen.shared]
            note(workers, "allowed calls used", "", together(accounts), (">=", 0.98))
            of_inflow = sum(one.used for one in accounts) / sum(one.flowed_in for one in accounts)
            note(workers, "the same, of what flowed in", "", of_inflow)
            note(workers, "the same, median account", "", statistics.median(shares))
            note(workers, "the same, least account", "", min(shares))
            note(workers, "the same, shared account", "", seen.shared.share)
            note(workers, "429 per call", "", seen.refused / max(1, seen.calls), ("<=", 0.001))
            note(workers, "429 per ship call", "", seen.refused / max(1, seen.ships))
            note(workers, "foreign client's calls refused", "", seen.foreign_refused)
            note(workers, "workers, share of one processor", "", seen.workers_load)
            note(workers, "simulated Walmart, share of one processor", "", seen.walmart_load)
            for name in ("allowed calls used", "429 per call"):
                tell(ground, figures[workers, name])
    return list(figures.values())


def rates(speed_up: float) -> dict[str, float]:
    """What the worker is told of the budgets: Walmart's, as much faster as they are here."""
    return {"read_calls_per_minute": 5_000 * speed_up, "ship_calls_per_minute": SHIP.per_minute * speed_up}


async def _run(ground: Ground, effort: Effort, workers: int) -> Seen:
    names = [f"seller-{number:02d}" for number in range(effort.budget_accounts)]
    per_second = SHIP.per_minute / 60 * effort.budget_speed_up
    foreign_rate = FOREIGN_PART * per_second
    seconds = _START_S + effort.budget_warm_up_seconds + effort.budget_seconds
    assert SHIP.burst is not None
    each = int((SHIP.burst + per_second * seconds) * _SLACK)
    events = range(each * len(names))
    async with merchants(names, delay_s=DELAY_S, rates={"ship": SHIP}, speed_up=effort.budget_speed_up) as walmart:
        await walmart.add_orders(events)
        foreign_orders = range(_FOREIGN_FROM, _FOREIGN_FROM + int(2 * foreign_rate * seconds) + 10)
        await walmart.only(names[0]).add_orders(foreign_orders)
        topics = await ground.fresh_topics()
        settings = walmart.settings(**rates(effort.budget_speed_up)) | {"timing": TIMING}
        task = ground.task("calls", walmart=walmart.url, topics=topics, settings=settings)
        async with (
            fleet(ORDER_SYNC, task, workers) as running,
            foreign_client(walmart.url, names[0], foreign_rate, _FOREIGN_FROM) as foreign,
        ):
            backlog = ((order_id(number), event(number, store=walmart.seller_of(number))) for number in events)
            await produce(ground.bootstrap, topics.order_shipped, backlog)
            await asyncio.sleep(effort.budget_warm_up_seconds)
            return await _measure(walmart, running, foreign, effort.budget_seconds, per_second, each)


async def _measure(
    walmart: Merchants, running: Fleet, foreign: ForeignClient, seconds: float, per_second: float, each: int
) -> Seen:
    async def look() -> tuple[dict[str, Reading], int, float, float]:
        return await walmart.readings("ship"), foreign.served, running.cpu_s, walmart.cpu_s

    first, served_first, ours_first, theirs_first = await look()
    await asyncio.sleep(seconds)
    last, served_last, ours_last, theirs_last = await look()
    if set(first) != set(walmart.names):
        raise RuntimeError(f"only {len(first)} of {len(walmart.names)} accounts had calls when measuring began")
    shared = walmart.names[0]
    taken_by_others = {shared: served_last - served_first}
    usages = [usage(name, first[name], last[name], per_second, taken_by_others.get(name, 0)) for name in walmart.names]
    if dry := [name for name in walmart.names if last[name].taken > 0.95 * each]:
        raise RuntimeError(f"accounts ran out of events: {', '.join(dry)}")
    counts = await walmart.control.requests()
    ships = counts.total("ship") - foreign.served - foreign.refused
    return Seen(
        usages=[one for one in usages if one.account != shared],
        shared=next(one for one in usages if one.account == shared),
        calls=ships + counts.total("get_order"),
        ships=ships,
        refused=counts.total(status=429) - foreign.refused,
        foreign_refused=foreign.refused / max(1, foreign.served + foreign.refused),
        workers_load=(ours_last - ours_first) / seconds,
        walmart_load=(theirs_last - theirs_first) / seconds,
    )
