"""What one seed means: orders and their events, how many workers, what goes wrong and when, and how patient all are."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Final

from tests.sim import budgets, commerce, mishaps
from tests.sim.budgets import BudgetPlan
from tests.sim.cluster import Trouble
from tests.sim.commerce import CANCELLED, SHIPPED, Message, OrderStory
from tests.sim.mishaps import Happening
from tests.sim.walmart import Weather
from worker.settings import LimitSettings, Settings, TimingSettings

__all__ = ["CANCELLED", "DEAD_LETTERS", "RESULTS", "SHIPPED", "Happening", "Message", "OrderStory", "Scenario", "make"]

RESULTS: Final = "walmart.sync-result.v1"
DEAD_LETTERS: Final = "walmart.dead-letter.v1"
GROUP: Final = "order-sync"
WAVE: Final = 0.25
"""Where the use of budgets is measured, everything is published in this part of the time: many wait."""
BUDGETED_PATIENCE_S: Final = 400.0
"""Where calls are limited, the longest backlog of a seed takes this long, also beside somebody else."""
UNSEEN_S: Final = 20.0
"""But for each event where it does not see what that one takes: it makes a tenth of Walmart's one shipment a second
there at least, and with a bucket of one every other of these is turned away."""


@dataclass
class Scenario:
    """Everything one seed decides before the run begins."""

    seed: int
    chance: random.Random
    partitions: int
    workers: int
    static: bool
    settings: Settings
    orders: dict[str, OrderStory]
    messages: list[Message]
    happenings: list[Happening]
    trouble: Trouble
    weather: Weather
    quiet_at: float
    """Seconds after the start from which nothing goes wrong any more."""
    patience: float
    """Seconds after that within which everything must be settled."""
    expected_failures: frozenset[str]
    """Error codes with which well-formed events may end here, because of what goes wrong."""
    quirks: tuple[str, ...] = ()
    budget: BudgetPlan = field(default_factory=BudgetPlan)
    clocks_ahead_s: tuple[float, ...] = ()
    """Of each machine in turn: by how much its wall clock is ahead of the true time at first."""

    @property
    def weather_kinds(self) -> tuple[str, ...]:
        """Faults that were possible, also once they are over."""
        return self.weather.kinds

    @property
    def accounts(self) -> list[str]:
        """Names of Walmart accounts."""
        return list(self.settings.accounts)

    @property
    def clocks_apart_s(self) -> float:
        """The most by which two clocks, or one clock and itself later, differ."""
        jumps = [happening.seconds for happening in self.happenings if happening.deed == "clock"]
        ahead = (0.0, *self.clocks_ahead_s)
        return max(ahead) - min(ahead) + sum(map(abs, jumps))

    @property
    def clock_lies(self) -> bool:
        """A clock is set forward: what was to wait for a while does not, so nothing is promised about old reads."""
        return any(happening.deed == "clock" and happening.seconds > 0 for happening in self.happenings)


def make(seed: int) -> Scenario:
    """The scenario of a seed."""
    chance = random.Random(f"order-sync {seed}")
    partitions = chance.choice((2, 3, 4))
    quiet_at = chance.choice((20.0, 40.0, 80.0))
    accounts = chance.randint(2, 5)
    static = chance.random() < 0.5
    settings = _settings(chance, accounts, static=static)
    budget = budgets.draw(random.Random(f"budget {seed}"), list(settings.accounts))
    stores = list(settings.stores)[: budget.stores]
    orders: dict[str, OrderStory] = {}
    messages: list[Message] = []
    for number in range(chance.randint(20, 60)):
        order = commerce.new_order(chance, str(1_815_367_000_000 + number), chance.choice(stores))
        orders[order.id] = order
        messages += commerce.messages_of(chance, order, quiet_at)
    messages += commerce.garbage(chance, quiet_at)
    messages.sort(key=lambda message: message.at)
    messages = commerce.repeated(chance, messages, quiet_at)
    rough = chance.choice((0.0, 0.3, 1.0, 1.0))
    weather, expected, quirks = mishaps.weather(chance, rough, settings)
    scenario = Scenario(
        seed=seed,
        chance=chance,
        partitions=partitions,
        workers=chance.choice((1, 2, 2, 3)),
        static=static,
        settings=settings,
        orders=orders,
        messages=messages,
        happenings=mishaps.happenings(chance, quiet_at, accounts, settings) if chance.random() < 0.85 else [],
        trouble=mishaps.trouble(chance),
        weather=weather,
        quiet_at=quiet_at,
        patience=0.0,
        expected_failures=expected,
        quirks=quirks,
        budget=budget,
        clocks_ahead_s=mishaps.clocks(random.Random(f"clocks {seed}")),
    )
    scenario.happenings += mishaps.more_happenings(random.Random(f"more {seed}"), quiet_at, static=static)
    scenario.happenings += mishaps.changed_settings(random.Random(f"settings {seed}"), quiet_at)
    if scenario.budget.measured:
        _measure(scenario)
    if scenario.budget.limited:
        timing = scenario.settings.timing
        patient = timing.model_copy(
            update={"give_up_after_hours": max(timing.give_up_after_hours, BUDGETED_PATIENCE_S / 3600)}
        )
        scenario.settings = scenario.settings.model_copy(update={"timing": patient})
    scenario.happenings.sort(key=lambda happening: happening.at)
    scenario.patience = scenario.settings.timing.give_up_after_hours * 3600 * 2 + 400
    if scenario.budget.is_shared_unseen:
        scenario.patience += UNSEEN_S * len(scenario.messages)
    return scenario


def _measure(scenario: Scenario) -> None:
    """Nothing goes wrong, everything comes at once, and nothing but Walmart's budgets limits the workers."""
    scenario.messages = [replace(message, at=message.at * WAVE) for message in scenario.messages]
    scenario.happenings, scenario.trouble, scenario.weather = [], Trouble(), Weather(lag_s=scenario.weather.lag_s)
    scenario.quirks, scenario.expected_failures, scenario.clocks_ahead_s = (), frozenset(), ()
    plenty = {"max_queued_events": 500, "max_queued_events_per_account": 500, "max_in_flight_events": 64}
    scenario.settings = scenario.settings.model_copy(
        update={"limits": scenario.settings.limits.model_copy(update=plenty)}
    )


def _settings(chance: random.Random, accounts: int, *, static: bool) -> Settings:
    read_lag = chance.choice((3.0, 6.0))
    timing: dict[str, float] = {
        "slo_seconds": chance.choice((10.0, 30.0)),
        "call_timeout_seconds": chance.choice((1.0, 2.0)),
        "connect_timeout_seconds": 1.0,
        "retry_base_seconds": 0.2,
        "retry_max_seconds": chance.choice((2.0, 8.0)),
        "park_after_seconds": chance.choice((1.0, 3.0, 10.0)),
        "parked_retry_max_seconds": chance.choice((5.0, 20.0)),
        "give_up_after_hours": chance.choice((160.0, 300.0)) / 3600,
        "probe_seconds": chance.choice((0.5, 3.0)),
        "read_lag_seconds": read_lag,
        "settle_seconds": chance.choice((0.0, 2.0, 6.0)),
    }
    limits: dict[str, int] = {
        "max_queued_events": chance.choice((10, 25, 500)),
        "max_queued_events_per_account": chance.choice((3, 10, 100)),
        "max_in_flight_events": chance.choice((2, 8, 64)),
        "max_parked_events": chance.choice((100, 10_000)),
        "min_tries": chance.choice((3, 5)),
    }
    names = [f"a{number}" for number in range(accounts)]
    stores = {f"store_{name}": {"account": name} for name in names}
    stores["store_extra"] = {"account": names[0]}
    return Settings.model_validate(
        {
            "kafka": {
                "group_id": GROUP,
                "session_timeout_seconds": chance.choice((3.0, 6.0)),
                "rebalance_timeout_seconds": 6.0,
                "request_timeout_seconds": chance.choice((1.0, 2.0)),
                "group_instance_id": "instance" if static else None,
            },
            "accounts": {
                name: {"client_id": name, "client_secret": f"secret-{name}", "base_url": f"http://{name}"}
                for name in names
            },
            "stores": stores,
            "timing": {name: value for name, value in timing.items() if name in TimingSettings.model_fields},
            "limits": {name: value for name, value in limits.items() if name in LimitSettings.model_fields},
        }
    )
