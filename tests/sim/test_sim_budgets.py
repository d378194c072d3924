"""The simulation's own measures of call budgets: a good caller uses all, a lazy one is told, headers lie as drawn."""

from __future__ import annotations

import random

import pytest

from tests.sim import budgets
from tests.sim.budgets import SEVERAL, SIZES, STYLES, BudgetPlan, Budgets, Figures, HeaderStyle
from tests.sim.cluster import START
from tests.sim.history import History
from tests.sim.virtual_loop import VirtualLoop
from tests.sim.walmart import LoopTime, on_loop_time
from worker.sandbox.walmart.journal import Journal
from worker.sandbox.walmart.world import World
from worker.walmart.hints import budget_left, replenish_at, retry_after_s

NAME = "a0"
WAITING = {(NAME, "ship"): SEVERAL}


class Shop:
    """One account with its buckets, and a clock that is turned by hand."""

    def __init__(self, plan: BudgetPlan) -> None:
        self.loop = VirtualLoop()
        self.world = World(Journal(None, keep=False))
        self.history = History(self.loop, keep=False)
        self.budgets = Budgets(plan, self.world, self.loop, random.Random(1), self.history)
        self.world.add_seller(plan.seller(NAME))

    def call(self) -> dict[str, str]:
        """One call to ship; the headers of its answer."""
        bucket = self.world.sellers[NAME].bucket("ship")
        assert bucket is not None
        refused = not bucket.take(self.loop.time())
        return self.budgets.answered(NAME, "ship", bucket.headers(), refused=refused)

    def run(self, seconds: int, calls_each_second: int) -> Figures:
        """So many seconds in which several orders wait, and then no more."""
        with on_loop_time(LoopTime(self.loop)):
            for _ in range(seconds):
                self.budgets.look(WAITING)  # type: ignore[arg-type]
                for _ in range(calls_each_second):
                    self.call()
                self.loop._now += 1.0
            figures = self.budgets.figures()
        self.loop.close()
        return figures


def plan(style: HeaderStyle = "right", size: int = 5) -> BudgetPlan:
    return BudgetPlan(True, size, {NAME: style}, retry_after=1.0)


def test_who_calls_whenever_it_may_uses_nearly_all() -> None:
    figures = Shop(plan()).run(60, 1)
    assert (figures.calls, figures.throttled, figures.used) == (60, 0, 59)
    assert figures.allowed == 64, "from the first call on: five were in the bucket, one a second flows in"


def test_who_asks_too_often_is_counted() -> None:
    figures = Shop(plan()).run(60, 2)
    assert figures.calls + figures.throttled == 120
    assert (figures.calls, figures.used, figures.allowed) == (64, 62, 63)
    assert figures.as_json()["throttled_share"] == pytest.approx(56 / 120, abs=1e-4)


def test_who_does_not_call_has_used_nothing() -> None:
    figures = Shop(plan()).run(60, 0)
    assert figures.calls == 0, "nobody asked for a bucket, so there is none to judge"
    lazy = Shop(plan())
    with on_loop_time(LoopTime(lazy.loop)):
        lazy.call()
    assert lazy.run(60, 0).as_json()["used_share"] == 0


def test_a_time_in_which_nobody_waits_is_not_judged() -> None:
    shop = Shop(plan())
    with on_loop_time(LoopTime(shop.loop)):
        for _ in range(60):
            shop.budgets.look({})
            shop.call()
            shop.loop._now += 5.0
    figures = shop.run(3, 0)
    assert figures.calls == 60
    assert (figures.allowed, figures.used) == (0, 0), "nor is a moment"


def test_somebody_else_takes_a_share() -> None:
    shared = plan(size=60)
    shared.foreign, shared.foreign_share = NAME, 0.5
    shop = Shop(shared)
    with on_loop_time(LoopTime(shop.loop)):
        shop.call()
        shop.loop.call_later(60, shop.loop.stop)
        shop.loop.run_forever()
        figures = shop.budgets.figures()
        assert 24 <= shop.budgets.meters[NAME, "ship"].foreign <= 36
    assert figures.foreign > figures.calls == 1
    shop.loop.close()


def test_right_headers_are_what_the_worker_reads() -> None:
    shop = Shop(plan())
    with on_loop_time(LoopTime(shop.loop)):
        now = START + shop.loop.time() - 1_000
        told = [shop.call() for _ in range(6)]
    assert [budget_left(headers) for headers in told] == [4, 3, 2, 1, 0, 0]
    at = replenish_at(told[-1], now)
    assert at is not None
    assert 0 < at - now <= 1.01
    assert retry_after_s(told[-1], now) == pytest.approx(1.0, abs=0.01)
    shop.loop.close()


@pytest.mark.parametrize("style", [style for style in STYLES if style != "right"])
def test_each_way_to_be_wrong_is_another_one(style: HeaderStyle) -> None:
    shop = Shop(plan(style))
    with on_loop_time(LoopTime(shop.loop)):
        answers = [shop.call() for _ in range(9)]
        right = Shop(plan())
        truth = [right.call() for _ in range(9)]
    assert answers != truth
    assert all("Retry-After" in answer for answer in answers[5:]), "refused"
    assert shop.history.counts[f"budget headers: {style}"] == 9
    shop.loop.close()
    right.loop.close()


def test_seeds_differ_in_all_of_it() -> None:
    plans = [budgets.draw(random.Random(f"budget {seed}"), [NAME, "a1"]) for seed in range(1, 151)]
    assert {each.size for each in plans if each.limited} == set(SIZES)
    assert {style for each in plans for style in each.styles.values()} == set(STYLES)
    assert 10 < sum(each.measured for each in plans) < 60
    assert any(each.foreign for each in plans if each.measured)
    assert all(each.honest for each in plans if each.measured)
    assert all(0 < each.foreign_share <= 0.5 for each in plans if each.foreign)
