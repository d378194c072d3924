"""Makes a failing scenario smaller: fewer orders, fewer faults, as long as it still fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.sim.budgets import BudgetPlan
from tests.sim.cluster import Trouble
from tests.sim.scenario import Scenario, make
from tests.sim.simulation import Ran, run

_MOST_RUNS: Final = 120

Change = Callable[[Scenario], None]


def shrunk(seed: int) -> Ran:
    """The run of the smallest scenario found that still fails, with its history."""
    changes: list[Change] = []
    runs = 0

    def fails(more: Change) -> bool:
        nonlocal runs
        runs += 1
        return runs <= _MOST_RUNS and bool(run(seed, change=_all_of([*changes, more])).violations)

    candidates: list[Change] = [_no_trouble, _no_faults, _no_budgets, _true_clocks]
    changes.extend(change for change in candidates if fails(change))
    _halve(seed, changes, fails, lambda scenario: len(scenario.happenings), _without_happenings)
    _halve(seed, changes, fails, lambda scenario: len(scenario.orders), _without_orders)
    return run(seed, change=_all_of(changes), keep_history=True)


def _halve(
    seed: int,
    changes: list[Change],
    fails: Callable[[Change], bool],
    count: Callable[[Scenario], int],
    without: Callable[[frozenset[int]], Change],
) -> None:
    sizes: list[int] = []
    sizes.append(count(make(seed)))
    left = list(range(sizes[0]))
    gone: set[int] = set()
    step = max(1, len(left) // 2)
    while True:
        for start in range(0, len(left), step):
            fewer = frozenset(gone.union(left[start : start + step]))
            if fails(without(fewer)):
                gone = set(fewer)
        left = [number for number in left if number not in gone]
        if step == 1:
            break
        step = max(1, step // 2)
    changes.append(without(frozenset(gone)))


def _all_of(changes: list[Change]) -> Change:
    def change(scenario: Scenario) -> None:
        for each in changes:
            each(scenario)

    return change


def _no_trouble(scenario: Scenario) -> None:
    scenario.trouble = Trouble()


def _no_faults(scenario: Scenario) -> None:
    scenario.weather.faults = scenario.weather.slow = 0.0


def _no_budgets(scenario: Scenario) -> None:
    scenario.budget = BudgetPlan()


def _true_clocks(scenario: Scenario) -> None:
    scenario.clocks_ahead_s = ()


def _without_happenings(gone: frozenset[int]) -> Change:
    def change(scenario: Scenario) -> None:
        scenario.happenings = [each for number, each in enumerate(scenario.happenings) if number not in gone]

    return change


def _without_orders(gone: frozenset[int]) -> Change:
    def change(scenario: Scenario) -> None:
        names = {name for number, name in enumerate(list(scenario.orders)) if number in gone}
        scenario.messages = [message for message in scenario.messages if message.order not in names]
        scenario.orders = {name: order for name, order in scenario.orders.items() if name not in names}

    return change
