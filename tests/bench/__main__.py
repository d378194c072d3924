"""`python -m tests.bench`: measure, print a table, and (with `--json`) keep everything in a file."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.bench.effort import FULL, QUICK, Effort
from tests.bench.figures import Figure, show, to_json
from tests.bench.ground import ground
from tests.bench.measurements import MEASUREMENTS, NEED_THE_BACKLOG
from worker.sandbox.kafka_jars import KAFKA_VERSION

_LIBRARIES = ("aiohttp", "aiokafka", "orjson", "pydantic", "structlog", "prometheus_client")


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure the worker (Linux).")
    parser.add_argument("names", nargs="*", metavar="MEASUREMENT", help=f"of {', '.join(MEASUREMENTS)}; all by default")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures here, too")
    parser.add_argument("--quick", action="store_true", help="a few minutes, and noisier")
    parser.add_argument("--only", action="append", choices=tuple(MEASUREMENTS), help="the same (repeatable)")
    asked = parser.parse_args()
    names = [*asked.names, *(asked.only or ())] or list(MEASUREMENTS)
    if unknown := set(names) - set(MEASUREMENTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))} (there are {', '.join(MEASUREMENTS)})")
    if sys.platform != "linux":
        raise SystemExit("the benchmarks read /proc: Linux only")
    logging.basicConfig(level=logging.ERROR)  # fresh topics make the Kafka client complain, and try again
    begun = time.monotonic()
    figures = asyncio.run(_measure(names, QUICK if asked.quick else FULL))
    _say("")
    show(figures, _say)
    about = {**_about(), "quick": asked.quick, "seconds": round(time.monotonic() - begun)}
    _say("\n" + ", ".join(f"{name} {value}" for name, value in about.items()))
    if asked.json is not None:
        asked.json.write_bytes(to_json(about, figures))


async def _measure(names: list[str], effort: Effort) -> list[Figure]:
    figures: list[Figure] = []
    async with ground(effort.backlog if NEED_THE_BACKLOG & set(names) else 0, _say) as made:
        for name in names:
            _say(f"{name}: {(MEASUREMENTS[name].__doc__ or '').strip()}")
            figures += await MEASUREMENTS[name](made, effort)
    return figures


def _about() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "kafka": KAFKA_VERSION,
        "processors": os.cpu_count(),
        "machine": platform.machine(),
        "load before": "{:.1f} {:.1f} {:.1f}".format(*os.getloadavg()),
        **{name: version(name) for name in _LIBRARIES},
    }


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
