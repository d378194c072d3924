"""`python -m tests.sim --seed 1 --runs 1000`: thousands of fault schedules, each judged by the promises.

The same seed is the same run: `--runs 1` of a failing one replays it and prints what happened.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Final

_HASHES: Final = "PYTHONHASHSEED"
_BATCH: Final = 10
"""Seeds that a child process takes at once."""
_BATCHES_PER_POOL: Final = 40
_SHOWN: Final = 3
"""Failing seeds whose history is printed."""


def main() -> int:
    """0: no promise was broken; 1: one was."""
    if os.environ.get(_HASHES) != "0":
        # Sets of texts would come in another order in every process.
        os.environ[_HASHES] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.sim", *sys.argv[1:]])
    options = _options()
    started = time.perf_counter()
    total = Total()
    for ran in _all(options.seed, options.runs, options.jobs):
        total.add(ran)
        if not options.json and sys.stderr.isatty():
            print(f"\r{total.progress(time.perf_counter() - started)}", end="", file=sys.stderr, flush=True)
    wall = time.perf_counter() - started
    if sys.stderr.isatty():
        print(file=sys.stderr)
    if options.json:
        print(json.dumps(total.as_json(wall), indent=1))
    else:
        _print(total, wall, shrink=options.shrink)
    return 1 if total.failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed (default 1)")
    parser.add_argument("--runs", type=int, default=100, help="how many seeds (default 100)")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="processes (default up to 2)")
    parser.add_argument("--json", action="store_true", help="print figures as JSON")
    parser.add_argument(
        "--shrink", action="store_true", help="make a failing seed's scenario smaller before it is told"
    )
    return parser.parse_args()


class Total:
    """Sums over all seeds."""

    def __init__(self) -> None:
        self.seeds = self.events = self.calls = 0
        self.virtual_s = 0.0
        self.cpu_s = 0.0
        self.counts: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.failed: dict[int, list[str]] = {}
        self.budgets: dict[int, Any] = {}
        """Seed -> figures, where calls were limited."""
        self.measured: set[int] = set()
        """Seeds in which nothing but the budget was in the way."""

    def add(self, ran: Any) -> None:
        """One more seed."""
        self.seeds += 1
        self.events += ran.events
        self.calls += ran.calls
        self.virtual_s += ran.virtual_seconds
        self.cpu_s += ran.seconds
        most = max(self.counts["most events in memory"], ran.counts["most events in memory"])
        self.counts += ran.counts
        self.counts["most events in memory"] = most
        self.failures += ran.failures
        if ran.budget.calls:
            self.budgets[ran.seed] = ran.budget
            if ran.measured:
                self.measured.add(ran.seed)
        if ran.violations:
            self.failed[ran.seed] = ran.violations

    def progress(self, wall_s: float) -> str:
        """One line."""
        rate = self.events / max(wall_s, 0.001)
        return f"{self.seeds} seeds, {self.events:,} events, {rate:,.0f} events/s, {len(self.failed)} seeds failed "

    def as_json(self, wall_s: float) -> dict[str, Any]:
        """For machines."""
        return {
            "seeds": self.seeds,
            "events": self.events,
            "calls": self.calls,
            "virtual_hours": round(self.virtual_s / 3600, 2),
            "seconds": round(wall_s, 1),
            "events_per_core_second": round(self.events / max(self.cpu_s, 0.001)),
            "failed_seeds": self.failed,
            "failure_codes": dict(self.failures.most_common()),
            "coverage": dict(sorted(self.counts.items())),
            "budgets": {
                "all": self._budget(self.budgets),
                "measured": self._budget(self.measured),
                "measured_by_size": {
                    size: self._budget(seed for seed in self.measured if self.budgets[seed].size == size)
                    for size in sorted({self.budgets[seed].size for seed in self.measured})
                },
                "seeds": {
                    seed: figures.as_json() | {"measured": seed in self.measured}
                    for seed, figures in self.budgets.items()
                },
            },
        }

    def _budget(self, seeds: Iterable[int]) -> dict[str, Any]:
        from tests.sim.budgets import Figures

        total = Figures()
        for seed in seeds:
            total.add(self.budgets[seed])
        return total.as_json()


def _all(first: int, runs: int, jobs: int) -> Iterator[Any]:
    from tests.sim.simulation import run_many

    batches = [range(start, min(start + _BATCH, first + runs)) for start in range(first, first + runs, _BATCH)]
    if jobs <= 1 or len(batches) == 1:
        for batch in batches:
            yield from run_many(batch)
        return
    # Fresh processes now and then: what killed workers held is never quite given back.
    for start in range(0, len(batches), _BATCHES_PER_POOL):
        with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
            for rans in pool.map(run_many, batches[start : start + _BATCHES_PER_POOL]):
                yield from rans


def _print(total: Total, wall_s: float, *, shrink: bool) -> None:
    from tests.sim.shrinking import shrunk
    from tests.sim.simulation import run

    figures = total.as_json(wall_s)
    for seed in list(total.failed)[:_SHOWN]:
        print(f"\n──── seed {seed}: what happened (seconds, who, what) ────")
        ran = shrunk(seed) if shrink else run(seed, keep_history=True)
        print("\n".join(ran.lines))
    for name, value in figures["coverage"].items():
        print(f"  {value:>12,}  {name}")
    print("final results `failed`, by code:", figures["failure_codes"])
    print("calls with a budget:", figures["budgets"]["all"])
    print("where nothing else is in the way:", figures["budgets"]["measured"])
    for seed, violations in total.failed.items():
        print(f"seed {seed}: {len(violations)} promises broken: make sim SEED={seed} RUNS=1")
        for violation in violations[:5]:
            print(f"    {violation}")
    print(
        f"{total.seeds:,} seeds, {total.events:,} events, {total.calls:,} calls, {figures['virtual_hours']} virtual "
        f"hours in {wall_s:.1f} s ({figures['events_per_core_second']} events/s per core): "
        f"{len(total.failed)} seeds failed"
    )


if __name__ == "__main__":
    sys.exit(main())
