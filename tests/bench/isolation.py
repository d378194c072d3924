"""What one stuck order, one throttled, dead or hanging account costs all the others."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any, Final

from tests.bench.contract import ORDER_SYNC
from tests.bench.effort import Effort
from tests.bench.faults import AccountFault, Faults
from tests.bench.figures import Aim, Figure, percentile, ratio
from tests.bench.flood import Flood
from tests.bench.ground import Ground, RecordCount, tell
from tests.bench.merchants import settings_for
from tests.bench.orders import order_id
from tests.bench.process import Child, FastWalmart, child, fast_walmart
from tests.bench.traffic import produce_steadily
from worker.settings import TopicSettings

ACCOUNTS: Final = 50
OTHERS: Final = tuple(f"account-{number:02d}" for number in range(1, ACCOUNTS))
DISTURBED: Final = "account-00"
DELAY_S: Final = 0.05
"""How long Walmart takes to answer."""
RATE: Final = 98.0
"""Events per second of all the others together."""
FLOOD_RATE: Final = 100.0
"""Events per second of the disturbed account."""
STUCK_RATE: Final = 10.0
"""Events per second of the stuck order."""
TIMING: Final = {
    "slo_seconds": 86_400,
    "read_lag_seconds": 1,
    "park_after_seconds": 5,
    "probe_seconds": 2,
}
"""Shorter than the defaults: what happens within a minute happens within a run, and more often. What waits is parked
after 1.5 times (call timeout + read lag) = 16.5 s."""
_FLOOD_FROM: Final = 1_000_000
_BURST_FROM: Final = 2_000_000
_POLL_S: Final = 0.05
_PATIENCE_S: Final = 120.0
_CLEAN: Final = "clean"
_BUSY: Final = "as much, healthy"


@dataclass(frozen=True, slots=True)
class Scene:
    """What else goes on while the others' events are measured."""

    name: str
    fault: AccountFault | None = None
    flooded: bool = True
    one_order: bool = False
    """The flood is about one order of one of the others, which cannot be read."""

    @property
    def store(self) -> str:
        """Whose events the flood is made of."""
        return OTHERS[0] if self.one_order else DISTURBED

    @property
    def faults(self) -> Faults:
        """What Walmart does not serve."""
        stuck = [order_id(first) for first in (_FLOOD_FROM, _BURST_FROM)] if self.one_order else []
        return Faults({} if self.fault is None else {DISTURBED: self.fault}, stuck)

    def flood(self, bootstrap: str, topic: str, seconds: float) -> Flood:
        """Events that come all the time."""
        rate = STUCK_RATE if self.one_order else FLOOD_RATE
        return Flood(bootstrap, topic, self.store, _FLOOD_FROM, int(rate * seconds), rate, self.one_order)

    def burst(self, bootstrap: str, topic: str, count: int) -> Flood:
        """Events that come all at once."""
        count = count // 10 if self.one_order else count
        return Flood(bootstrap, topic, self.store, _BURST_FROM, count, 0, self.one_order)


SCENES: Final = (
    Scene(_CLEAN, flooded=False),
    Scene(_BUSY),
    Scene("stuck order", one_order=True),
    Scene("throttled account", "throttled"),
    Scene("dead account", "dead"),
    Scene("hanging account", "hangs"),
    Scene("refusing account", "refuses"),
)
"""The first is what all others are compared with; the second tells what the flood costs when nothing is wrong."""


@dataclass(slots=True)
class _Seen:
    """One run."""

    steady: list[float] = field(default_factory=list)
    """Milliseconds from event to POST, of the others' events."""
    burst: list[float] = field(default_factory=list)
    parked: int = 0
    faulty: int = 0


async def isolation(ground: Ground, effort: Effort) -> list[Figure]:
    """Event to POST of the other accounts' events while one order or account is in trouble."""
    figures: dict[tuple[str, str], Figure] = {}

    def note(scene: Scene, name: str, unit: str, value: float) -> None:
        figures.setdefault((scene.name, name), Figure("isolation", scene.name, name, unit)).values.append(value)

    async with fast_walmart(DELAY_S) as walmart:
        for _ in range(effort.long_runs):
            # Clean at both ends: what drifts within a round meets all alike.
            for scene in (*SCENES, SCENES[0]):
                seen = await _run(ground, effort, walmart, scene)
                for phase, times in (("steady", seen.steady), ("burst", seen.burst)):
                    for part in (50, 99):
                        note(scene, f"others, {phase}, p{part}", "ms", percentile(times, part / 100))
                note(scene, "parked", "events", seen.parked)
                note(scene, "calls not served", "", seen.faulty)
                tell(ground, figures[scene.name, "others, steady, p99"])
                tell(ground, figures[scene.name, "others, burst, p99"])
    return [*figures.values(), *ratios(figures)]


def ratios(figures: dict[tuple[str, str], Figure]) -> list[Figure]:
    """Each scene's p99 by that of the clean runs before and after it, round by round."""
    held = []
    phases: tuple[tuple[str, Aim | None], ...] = (("steady", ("<=", 1.05)), ("burst", None))
    for phase, aim in phases:
        name = f"others, {phase}, p99"
        values = figures[_CLEAN, name].values
        pairs = zip(values[::2], values[1::2], strict=True)
        clean = replace(figures[_CLEAN, name], values=[(before + after) / 2 for before, after in pairs])
        for scene in SCENES[1:]:
            # What a healthy account's flood costs is no fault of isolation.
            own_aim = None if scene.name == _BUSY else aim
            held.append(ratio("isolation", name, figures[scene.name, name], clean, own_aim))
    return held


def settings(url: str, side_url: str) -> dict[str, dict[str, Any]]:
    """Settings of a worker for all accounts, each with a store of its name; the disturbed one uses the side door."""
    names = (DISTURBED, *OTHERS)
    made = settings_for(names, lambda name: f"{side_url if name == DISTURBED else url}/{name}")
    return made | {"timing": TIMING}


async def _run(ground: Ground, effort: Effort, walmart: FastWalmart, scene: Scene) -> _Seen:
    topics = await ground.fresh_topics()
    await walmart.break_(Faults())
    await walmart.reset()
    task = ground.task("calls", walmart=walmart.url, topics=topics, settings=settings(walmart.url, walmart.side_url))
    async with ground.records(topics.dead_letter) as parked, child(ORDER_SYNC.run(task)) as process:
        others = _Others(ground, topics, walmart, process)
        # Every one of them has its token and its connections.
        await others.measure(3 * len(OTHERS) / RATE)
        await walmart.break_(scene.faults)
        await walmart.reset()
        seen = _Seen()
        if scene.flooded:
            flood = scene.flood(ground.bootstrap, topics.order_shipped, effort.isolation_seconds)
            seen.steady = await others.measure(effort.isolation_seconds, flood)
            burst = scene.burst(ground.bootstrap, topics.order_shipped, effort.burst_events)
            seen.burst = await others.measure(effort.burst_seconds, burst)
        else:
            seen.steady = await others.measure(effort.isolation_seconds)
            seen.burst = await others.measure(effort.burst_seconds)
        seen.parked = await _settled(parked) if scene.fault or scene.one_order else 0
        seen.faulty = (await walmart.counts())["faulty"]
        if (scene.fault or scene.one_order) and not (seen.parked or seen.faulty):
            raise RuntimeError(f"{scene.name}: no call was not served, and no event parked: no trouble")
    return seen


async def _settled(parked: RecordCount) -> int:
    """Records in the waiting room; the first ones are parked after `park_after_seconds`."""
    await asyncio.sleep(1.0)
    return await parked.now()


class _Others:
    """The accounts that nothing is wrong with."""

    def __init__(self, ground: Ground, topics: TopicSettings, walmart: FastWalmart, process: Child) -> None:
        self._ground, self._topic, self._walmart, self._process = ground, topics.order_shipped, walmart, process
        self._produced = 0

    async def measure(self, seconds: float, flood: Flood | None = None) -> list[float]:
        """Milliseconds from event to POST of each of their events, written for so long beside a flood."""
        if flood is None:
            return await self._measure(seconds)
        async with child(flood.command, output=True) as flooding:
            await flooding.first_line()
            times = await self._measure(seconds)
            await flooding.ended()
        return times

    async def _measure(self, seconds: float) -> list[float]:
        count, first = int(seconds * RATE), self._produced
        self._produced += count
        produced = await produce_steadily(
            self._ground.bootstrap, self._topic, per_second=RATE, count=count, first=first, stores=OTHERS
        )
        posted = await self._posted(produced)
        return [(posted[order] - at) * 1e3 for order, at in produced.items()]

    async def _posted(self, orders: dict[str, float]) -> dict[str, float]:
        """When each order's POST came."""
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                self._process.check()
                times = await self._walmart.times()
                if all(len(times.get(order, ())) >= 4 for order in orders):
                    return {order: times[order][2] for order in orders}
                await asyncio.sleep(_POLL_S)
