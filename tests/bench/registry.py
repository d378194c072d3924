"""The measurements, in the order in which they are taken."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from tests.bench.accounts import accounts
from tests.bench.backlog import memory
from tests.bench.budget import budget
from tests.bench.calls import calls
from tests.bench.effort import Effort
from tests.bench.events import cpu, order
from tests.bench.figures import Figure
from tests.bench.ground import Ground
from tests.bench.isolation import isolation
from tests.bench.lanes_cost import lanes
from tests.bench.latency import latency
from tests.bench.parked import parked
from tests.bench.throughput import throughput, workers

Measure = Callable[[Ground, Effort], Awaitable[list[Figure]]]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One of them. Its docstring's first line is said when it begins."""

    measure: Measure
    minutes: float
    """About how long it takes with full effort on two quiet processors."""
    reads_backlog: bool = False
    """It reads the events of `Ground.topics`, so these must be written before."""

    @property
    def title(self) -> str:
        """What it measures, in a line."""
        return (self.measure.__doc__ or "").strip().partition("\n")[0]


MEASUREMENTS: Final[dict[str, Measurement]] = {
    "budget": Measurement(budget, 13),
    "isolation": Measurement(isolation, 16),
    "cpu": Measurement(cpu, 2, reads_backlog=True),
    "order": Measurement(order, 3),
    "throughput": Measurement(throughput, 4, reads_backlog=True),
    "workers": Measurement(workers, 3, reads_backlog=True),
    "calls": Measurement(calls, 1),
    "latency": Measurement(latency, 2),
    "memory": Measurement(memory, 11, reads_backlog=True),
    "parked": Measurement(parked, 7),
    "accounts": Measurement(accounts, 16),
    "lanes": Measurement(lanes, 1),
}
"""By name. Whoever adds one writes a function `(ground, effort) -> figures` in a file of its own, and a line here."""
