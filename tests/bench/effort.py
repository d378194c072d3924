"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Effort:
    """Events per run are those of the window; what comes before warms up."""

    runs: int
    cpu_events: int
    throughput_runs: int
    throughput_events: int
    latency_runs: int
    latency_seconds: float
    backlog: int
    backlog_runs: int
    isolation_runs: int
    isolation_seconds: float
    """Of the steady flow."""
    burst_events: int
    burst_seconds: float
    lanes_runs: int
    lanes_events: int
    parked_runs: int
    parked_events: int
    taken_up_events: int


FULL: Final = Effort(
    runs=5,
    cpu_events=20_000,
    throughput_runs=5,
    throughput_events=6_000,
    latency_runs=3,
    latency_seconds=30,
    backlog=200_000,
    backlog_runs=3,
    isolation_runs=3,
    isolation_seconds=16,
    burst_events=2_000,
    burst_seconds=6,
    lanes_runs=5,
    lanes_events=100_000,
    parked_runs=3,
    parked_events=100_000,
    taken_up_events=12_000,
)
QUICK: Final = Effort(
    runs=3,
    cpu_events=6_000,
    throughput_runs=3,
    throughput_events=2_000,
    latency_runs=1,
    latency_seconds=10,
    backlog=30_000,
    backlog_runs=1,
    isolation_runs=1,
    isolation_seconds=16,
    burst_events=1_500,
    burst_seconds=5,
    lanes_runs=3,
    lanes_events=30_000,
    parked_runs=1,
    parked_events=20_000,
    taken_up_events=4_000,
)
