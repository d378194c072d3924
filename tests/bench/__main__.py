"""`python -m tests.bench`: measure, print a table, and keep everything in a file."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from pathlib import Path
from typing import Final

from tests.bench.contract import Contender
from tests.bench.effort import FULL, QUICK, Effort
from tests.bench.figures import Figure, aims, show, to_json
from tests.bench.ground import ground
from tests.bench.machine import about_machine
from tests.bench.peers import install as peers_install
from tests.bench.registry import MEASUREMENTS

OUT: Final = Path("bench-out/bench.json")


def main(arguments: list[str] | None = None) -> None:
    """Measure what was asked for."""
    asked = _parser().parse_args(arguments)
    names = asked.names or list(MEASUREMENTS)
    if unknown := set(names) - set(MEASUREMENTS):
        _parser().error(f"unknown: {', '.join(sorted(unknown))} (there are {', '.join(MEASUREMENTS)})")
    if sys.platform != "linux":
        raise SystemExit("the benchmarks read /proc: Linux only")
    logging.basicConfig(level=logging.ERROR)  # fresh topics make the Kafka client complain, and try again
    effort = QUICK if asked.quick else FULL
    if asked.runs:
        effort = effort.with_runs(asked.runs)
    about, begun = about_machine(), time.monotonic()
    peers = peers_install(_say) if asked.peers else ()
    figures = asyncio.run(_measure(names, effort, peers))
    about |= {"quick": asked.quick, "seconds": round(time.monotonic() - begun)}
    _say("")
    show(figures, _say)
    _say("")
    aims(figures, _say)
    _say("\n" + ", ".join(f"{name} {value}" for name, value in about.items()))
    asked.json.parent.mkdir(parents=True, exist_ok=True)
    asked.json.write_bytes(to_json(about, figures))
    _say(f"all values: {asked.json}")


def _parser() -> argparse.ArgumentParser:
    rows = (f"  {name:<12}{one.minutes:>4g} min  {one.title}" for name, one in MEASUREMENTS.items())
    whole = sum(one.minutes for one in MEASUREMENTS.values())
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Measure the worker (Linux).",
        epilog="\n".join(("measurements:", *rows, f"  all of them{whole:>5g} min")),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="MEASUREMENT", help="all by default")
    parser.add_argument("--json", type=Path, default=OUT, metavar="FILE", help=f"all values (default: {OUT})")
    parser.add_argument("--quick", action="store_true", help="a tiny run: shows that it works, not how fast")
    parser.add_argument("--peers", action="store_true", help="measure other libraries, too; installed on demand")
    parser.add_argument("--runs", type=int, metavar="N", help="so many rounds of everything")
    return parser


async def _measure(names: list[str], effort: Effort, peers: tuple[Contender, ...]) -> list[Figure]:
    figures: list[Figure] = []
    backlog = effort.backlog if any(MEASUREMENTS[name].reads_backlog for name in names) else 0
    async with ground(backlog, _say, peers) as made:
        for name in names:
            _say(f"{name}: {MEASUREMENTS[name].title}")
            figures += await MEASUREMENTS[name].measure(made, effort)
    return figures


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
