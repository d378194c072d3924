"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final


@dataclass(frozen=True, slots=True)
class Effort:
    """Events per run are those of the window; what comes before warms up."""

    runs: int
    """Rounds of a measurement whose runs take seconds."""
    long_runs: int
    """Rounds of one whose runs take a minute and more."""
    cpu_events: int
    order_events: int
    throughput_events: int
    events_per_worker: int
    """In `workers`."""
    calls_events: int
    latency_seconds: float
    backlog: int
    isolation_seconds: float
    """Of the steady flow."""
    burst_events: int
    burst_seconds: float
    lanes_events: int
    parked_events: int
    taken_up_events: int
    budget_settles_seconds: float
    """In `parked`: its bucket is full at first."""
    budget_accounts: int
    budget_speed_up: float
    """Times 60 calls a minute."""
    budget_warm_up_seconds: float
    budget_seconds: float
    accounts_count: int
    accounts_token_seconds: float
    """Life of a token."""

    def with_runs(self, runs: int) -> Effort:
        """So many rounds of everything."""
        return replace(self, runs=runs, long_runs=runs)


FULL: Final = Effort(
    runs=5,
    long_runs=3,
    cpu_events=20_000,
    order_events=20_000,
    throughput_events=6_000,
    events_per_worker=2_000,
    calls_events=3_000,
    latency_seconds=30,
    backlog=200_000,
    isolation_seconds=20,
    burst_events=2_000,
    burst_seconds=6,
    lanes_events=100_000,
    parked_events=100_000,
    taken_up_events=12_000,
    budget_settles_seconds=15,
    budget_accounts=50,
    budget_speed_up=10,
    budget_warm_up_seconds=15,
    budget_seconds=100,
    accounts_count=5_000,
    accounts_token_seconds=80,
)
QUICK: Final = Effort(
    runs=1,
    long_runs=1,
    cpu_events=2_000,
    order_events=3_000,
    throughput_events=1_000,
    events_per_worker=300,
    calls_events=300,
    latency_seconds=3,
    backlog=10_000,
    isolation_seconds=5,
    burst_events=200,
    burst_seconds=2,
    lanes_events=10_000,
    parked_events=5_000,
    taken_up_events=1_000,
    budget_settles_seconds=8,
    budget_accounts=5,
    budget_speed_up=10,
    budget_warm_up_seconds=4,
    budget_seconds=5,
    accounts_count=300,
    accounts_token_seconds=6,
)
"""Everything runs once, and nothing long enough to be believed: for whoever changes the benchmarks."""
