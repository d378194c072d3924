"""`python -m tests.mutants`: deliberate bugs in the delivery core, one at a time, and who catches them.

The checkout is never changed. Exit code 1: a mutant survived; 2: the run itself says nothing (a mutant is stale, or the
catchers fail without one).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tests.mutants.catching import (
    Answer,
    BrokenRunError,
    ask_simulation,
    ask_tests,
    end_running,
    failing_seeds,
    failing_tests,
)
from tests.mutants.copies import copy_checkout, copy_for
from tests.mutants.every import MUTANTS
from tests.mutants.mutant import Mutant, StaleError
from tests.mutants.telling import Fate, as_json, summary, table


def main() -> int:
    """Run."""
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    mutants = [one for one in MUTANTS if not options.only or any(name in one.name for name in options.only)]
    if options.list or not mutants:
        print("\n".join(one.name for one in mutants) or "no mutant has such a name")
        return 0 if mutants else 2
    with tempfile.TemporaryDirectory(prefix="order-sync-mutants-") as folder:
        run = Run(options, Path(folder))
        try:
            fates = run.all(run.prepared(mutants))
        except BrokenRunError as error:
            print(error, file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            return 130
    if options.json:
        print(json.dumps(as_json(fates, run.problems), indent=1))
    else:
        print("\n".join(["", table(fates), "", *run.problems, summary(fates)]))
    if run.problems:
        return 2
    return 1 if any(fate.survived for fate in fates) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", action="append", metavar="NAME", help="mutants whose name contains this; repeatable")
    parser.add_argument("--list", action="store_true", help="print their names only")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="at once (default up to 2)")
    parser.add_argument("--runs", type=int, default=60, help="seeds the simulation tries at most (default 60)")
    parser.add_argument("--seed", type=int, default=1, help="its first seed (default 1)")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")
    who = parser.add_mutually_exclusive_group()
    who.add_argument("--sim-only", action="store_true", help="ask the simulation only")
    who.add_argument("--tests-only", action="store_true", help="ask the unit tests only")
    who.add_argument("--both", action="store_true", help="ask the simulation also about what the tests have caught")
    return parser.parse_args()


class Run:
    """One run over some mutants."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self._options = options
        self._folder = folder
        self._base = folder / "base"
        self._failing: list[str] = []
        self._failing_seeds: dict[int, str] = {}
        self._simulates = not options.tests_only
        self.problems: list[str] = []
        """Why the outcome is not to be relied on."""

    def prepared(self, mutants: Sequence[Mutant]) -> list[Mutant]:
        """Make the copy, and see that the catchers are silent without a mutant. Returns the mutants that apply."""
        copy_checkout(self._base)
        applying = [mutant for mutant in mutants if self._applies(mutant)]
        if not self._options.sim_only:
            paths = sorted({path for mutant in applying for path in mutant.tests})
            self._failing = failing_tests(self._base, paths)
            self.problems += [f"fails without a mutant, left out: {name}" for name in self._failing]
        if self._simulates:
            self._failing_seeds = failing_seeds(self._base, self._options.runs, self._options.seed)
            self.problems += [
                f"fails without a mutant, left out: seed {seed}: {promise}"
                for seed, promise in self._failing_seeds.items()
            ]
        return applying

    def _applies(self, mutant: Mutant) -> bool:
        try:
            mutant.apply((self._base / mutant.path).read_text())
        except StaleError as error:
            self.problems.append(f"stale: {error}")
            return False
        return True

    def all(self, mutants: Sequence[Mutant]) -> list[Fate]:
        """What came of them, in their order."""
        with ThreadPoolExecutor(self._options.jobs) as pool:
            waited = [pool.submit(self._one, mutant) for mutant in mutants]
            try:
                for number, future in enumerate(as_completed(waited), 1):
                    if not self._options.json:
                        print(f"{number:>3}/{len(mutants)} {future.result().line()}", flush=True)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                end_running()
                raise
            return [future.result() for future in waited]

    def _one(self, mutant: Mutant) -> Fate:
        root = self._folder / mutant.name
        copy_for(mutant, self._base, root)
        tests: Answer | None = None
        simulation: Answer | None = None
        seed, runs = self._options.seed, self._options.runs
        try:
            if not self._options.sim_only:
                tests = ask_tests(root, mutant.tests, without=self._failing)
            if self._simulates and (self._options.both or tests is None or tests.caught_by is None):
                simulation = ask_simulation(root, runs, seed, without=self._failing_seeds)
        except BrokenRunError as error:
            self.problems.append(f"{mutant.name}: {error}")
        shutil.rmtree(root)
        return Fate(mutant, tests, simulation)


if __name__ == "__main__":
    sys.exit(main())
