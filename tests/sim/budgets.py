"""Walmart's call budgets: how large they are, what headers say of them, who else uses them, and what came of it."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Final, Literal

from tests.sim.cluster import START
from tests.sim.history import History
from tests.sim.virtual_loop import VirtualLoop
from worker.sandbox.walmart.budget import PUBLISHED_PER_MINUTE, Bucket
from worker.sandbox.walmart.specs import Operation, Rate, SellerSpec
from worker.sandbox.walmart.world import World

HeaderStyle = Literal[
    "right", "none", "negative", "huge", "iso", "http_date", "seconds", "past", "garbage", "always_full", "frozen"
]
"""What an account's answers say of its budget. `always_full`: as many as the bucket holds, whatever is left.
`frozen`: what was true at the first answer, for ever."""

STYLES: Final[tuple[HeaderStyle, ...]] = (
    "right", "none", "negative", "huge", "iso", "http_date", "seconds", "past", "garbage", "always_full", "frozen",
)  # fmt: skip
SIZES: Final = (1, 5, 20, 60)
"""Calls that a bucket holds; Walmart does not publish it."""
FOREIGN_CALLS: Final[tuple[Operation, ...]] = ("get_order", "ship", "cancel", "acknowledge")
SEVERAL: Final = 3
"""So many orders of an account wait for the same kind of call: it could be made at any moment."""
SHORTEST_S: Final = 5.0
"""A shorter time with so many waiting says nothing about how well a budget is used."""

_COUNT: Final = "X-Current-Token-Count"
_NEXT: Final = "X-Next-Replenishment-Time"

Waiting = Mapping[tuple[str, Operation], int]
"""(Account, kind of call) -> orders that wait for it."""


@dataclass
class BudgetPlan:
    """What one seed decides about budgets."""

    limited: bool = False
    size: int = 60
    styles: dict[str, HeaderStyle] = field(default_factory=dict)
    """By account."""
    retry_after: float = 0.5
    """Chance that a 429 carries `Retry-After`."""
    foreign: str | None = None
    """The account that somebody else uses, too."""
    foreign_share: float = 0.0
    """Of its rate."""
    measured: bool = False
    """Nothing else goes wrong and many wait: what is used of the budget says how good the worker is at it."""
    stores: int | None = None
    """Only so many stores have orders; None: all of them."""

    @property
    def honest(self) -> bool:
        """All headers are right."""
        return all(style == "right" for style in self.styles.values())

    @property
    def is_shared_unseen(self) -> bool:
        """Somebody else uses an account whose headers do not tell what is left."""
        return self.foreign is not None and self.styles[self.foreign] != "right"

    def seller(self, name: str) -> SellerSpec:
        """An account with its keys and buckets."""
        rates = {operation: Rate(per_minute=rate, burst=self.size) for operation, rate in PUBLISHED_PER_MINUTE.items()}
        return SellerSpec(client_id=name, client_secret=f"secret-{name}", unlimited=not self.limited, rates=rates)


def draw(chance: random.Random, accounts: list[str]) -> BudgetPlan:
    """The plan of a seed."""
    fate = chance.random()
    if fate < 0.2:
        return BudgetPlan()
    plan = BudgetPlan(True, chance.choice(SIZES), dict.fromkeys(accounts, "right"), chance.choice((0.0, 0.5, 1.0)))
    if fate < 0.35:
        plan.measured, plan.stores = True, chance.choice((1, 1, 2))
        if chance.random() < 0.3:
            plan.foreign, plan.foreign_share = accounts[0], chance.uniform(0.1, 0.5)
        return plan
    if fate < 0.65:
        plan.styles = {account: chance.choice(STYLES) for account in accounts}
    if chance.random() < 0.4:
        plan.foreign, plan.foreign_share = chance.choice(accounts), chance.uniform(0.1, 0.5)
    return plan


class Meter:
    """One bucket: who used it, and what it would have allowed while several orders waited for it."""

    __slots__ = ("_bucket", "_since", "allowed", "foreign", "frozen", "ours", "throttled", "used")

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self.ours = self.throttled = self.foreign = 0
        """Calls of the workers', those that were refused, and calls of somebody else."""
        self.allowed = 0.0
        self.used = 0
        self.frozen: dict[str, str] | None = None
        self._since: tuple[float, float, int, int] | None = None
        """Since when several wait: loop time, tokens, our calls and foreign ones until then."""

    def look(self, waiting: bool, now: float) -> None:
        """Told once a second, whether several orders wait."""
        if waiting:
            if self._since is None:
                self._since = (now, self._bucket.left(now), self.ours, self.foreign)
            return
        since, self._since = self._since, None
        if since is None or now - since[0] < SHORTEST_S:
            return
        at, level, ours, foreign = since
        self.allowed += max(0.0, level + (now - at) * self._bucket._per_second - (self.foreign - foreign))
        self.used += self.ours - ours

    def take(self, now: float) -> None:
        """Somebody else calls."""
        if self._bucket.take(now):
            self.foreign += 1


@dataclass
class Figures:
    """What came of the budgets of a run."""

    size: int | None = None
    """Calls that each bucket holds; None: of several runs."""
    calls: int = 0
    """Of the workers', let through."""
    throttled: int = 0
    """429s because a bucket was empty."""
    foreign: int = 0
    allowed: float = 0.0
    """Calls that the buckets would have allowed while several orders waited for them."""
    used: int = 0
    """And calls made then."""

    def add(self, other: Figures) -> None:
        """Sum up."""
        self.calls += other.calls
        self.throttled += other.throttled
        self.foreign += other.foreign
        self.allowed += other.allowed
        self.used += other.used

    def as_json(self) -> dict[str, Any]:
        """With the two shares that count (null: nothing to measure)."""
        asked = self.calls + self.throttled
        return {
            **({} if self.size is None else {"size": self.size}),
            "calls": self.calls,
            "throttled": self.throttled,
            "throttled_share": round(self.throttled / asked, 5) if asked else None,
            "foreign": self.foreign,
            "allowed": round(self.allowed, 1),
            "used": self.used,
            "used_share": round(self.used / self.allowed, 4) if self.allowed else None,
        }


class Budgets:
    """Tells of the buckets as its plan says, uses them as others do, and counts."""

    def __init__(
        self, plan: BudgetPlan, world: World, loop: VirtualLoop, chance: random.Random, history: History
    ) -> None:
        self.plan, self._world, self._loop, self._chance, self._history = plan, world, loop, chance, history
        self.meters: dict[tuple[str, Operation], Meter] = {}
        if plan.foreign is not None:
            self._history.count("accounts shared with somebody else")
            for operation in FOREIGN_CALLS:
                self._somebody_calls(plan.foreign, operation)

    def answered(
        self, account: str, operation: Operation, headers: Mapping[str, str], *, refused: bool
    ) -> dict[str, str]:
        """A call met its bucket: count it, and say what the answer's headers say."""
        if not headers:
            return {}
        meter = self._meter(account, operation)
        if refused:
            meter.throttled += 1
            self._history.count("walmart: budget used up")
        else:
            meter.ours += 1
        style = self.plan.styles[account]
        if style != "right":
            self._history.count(f"budget headers: {style}")
        told = self._told(style, dict(headers), meter)
        if refused and self._chance.random() < self.plan.retry_after:
            told["Retry-After"] = self._retry_after(style, headers)
        return told

    def look(self, waiting: Waiting) -> None:
        """Once a second."""
        now = self._loop.time()
        for (account, operation), meter in self.meters.items():
            meter.look(waiting.get((account, operation), 0) >= SEVERAL, now)

    def figures(self) -> Figures:
        """At the end."""
        self.look({})
        figures = Figures(self.plan.size)
        for meter in self.meters.values():
            figures.add(Figures(None, meter.ours, meter.throttled, meter.foreign, meter.allowed, meter.used))
        return figures

    # -- inside

    def _meter(self, account: str, operation: Operation) -> Meter:
        meter = self.meters.get((account, operation))
        if meter is None:
            bucket = self._world.sellers[account].bucket(operation)
            assert bucket is not None
            meter = self.meters[account, operation] = Meter(bucket)
        return meter

    def _somebody_calls(self, account: str, operation: Operation) -> None:
        """Paced, and not quite regularly."""
        if account in self._world.sellers:
            self._meter(account, operation).take(self._loop.time())
        pause_s = 60 / (PUBLISHED_PER_MINUTE[operation] * self.plan.foreign_share)
        if operation == "get_order":
            pause_s = max(pause_s, 0.1)  # thousands of reads a minute change nothing but the length of a run
        self._loop.in_world(pause_s * self._chance.uniform(0.5, 1.5), self._somebody_calls, account, operation)

    def _told(self, style: HeaderStyle, headers: dict[str, str], meter: Meter) -> dict[str, str]:
        chance, now = self._chance, START + self._loop.time() - 1_000
        next_at = int(headers[_NEXT]) / 1000
        match style:
            case "none":
                return {}
            case "negative":
                return {_COUNT: str(-chance.randint(1, 60)), _NEXT: "-1"}
            case "huge":
                return {_COUNT: "9" * chance.choice((9, 12, 400)), _NEXT: "9" * chance.choice((17, 30, 400))}
            case "iso":
                headers[_NEXT] = datetime.fromtimestamp(next_at, UTC).isoformat().replace("+00:00", "Z")
            case "http_date":
                headers[_NEXT] = format_datetime(datetime.fromtimestamp(next_at, UTC), usegmt=True)
            case "seconds":
                headers[_NEXT] = f"{max(0.0, next_at - now):.3f}"
            case "past":
                headers[_NEXT] = str(int((now - chance.choice((1, 3_600, 10**9))) * 1000))
            case "garbage":
                return {_COUNT: chance.choice(("", "many", "1e999", "nan", "3 of 60")), _NEXT: "soon"}
            case "always_full":
                headers[_COUNT] = str(self.plan.size)
            case "frozen":
                if meter.frozen is None:
                    meter.frozen = headers
                return dict(meter.frozen)
        return headers

    def _retry_after(self, style: HeaderStyle, headers: Mapping[str, str]) -> str:
        now = START + self._loop.time() - 1_000
        if style in ("negative", "garbage", "past"):
            return self._chance.choice(("-1", "soon", "", "Thu, 01 Jan 1970 00:00:00 GMT"))
        return str(max(1, math.ceil(int(headers[_NEXT]) / 1000 - now - 0.01)))
