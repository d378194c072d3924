"""What a run of chaos is asked for."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.chaos.history import Mix


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One run. The seed draws orders, events and faults; when exactly they meet is the machine's affair."""

    seed: int = 1
    minutes: float = 2.0
    """Time with load and faults."""
    kills: int | None = None
    """The faults end after so many kills, if that comes sooner."""
    nodes: int = 1
    workers: int = 3
    partitions: int = 6
    rate: float = 20.0
    """Events per second."""
    pace_seconds: float = 4.5
    """Between two kills of workers, on average."""
    lag_seconds: float = 3.0
    """Reads show an order as it was so long ago: longer than a killed worker needs to be back."""
    allowance_seconds: float = 4.0
    """`read_lag_seconds` of the workers: more than the lag and a late effect (0.4 s) together."""
    delay_seconds: float = 0.2
    """Every answer of Walmart's takes so long, after the effect: the window in which a kill loses an answer."""
    park_after_seconds: float = 8.0
    quiet_minutes: float = 6.0
    """Longest wait for everything to settle; it is over as soon as it has."""
    mix: Mix = field(default_factory=Mix)
    artefacts: Path | None = None
    """Keeps logs, journal and the list of faults; absent: a temporary folder that stays only if something is wrong."""

    @classmethod
    def read(cls, arguments: list[str] | None = None) -> tuple[Self, bool]:
        """From the command line; and whether JSON is wanted."""
        usual = Mix()
        parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Break everything, then count.")
        parser.add_argument("--seed", type=int, default=1)
        parser.add_argument("--minutes", type=_minutes, default=2.0, help="of load and faults (then it gets quiet)")
        parser.add_argument("--kills", type=int, help="stop after at least so many kills, if that comes sooner")
        parser.add_argument("--nodes", type=int, choices=(1, 2, 3), default=1, help="of Kafka")
        parser.add_argument("--workers", type=int, choices=(2, 3), default=3)
        parser.add_argument("--partitions", type=int, default=6)
        parser.add_argument("--rate", type=float, default=20.0, help="events per second")
        parser.add_argument("--pace", type=float, default=4.5, help="seconds between two kills of workers, on average")
        parser.add_argument("--lag", type=float, default=3.0, help="seconds by which reads lag")
        parser.add_argument("--allowance", type=float, default=4.0, help="read_lag_seconds of the workers")
        parser.add_argument("--delay", type=float, default=0.2, help="seconds from an effect to its answer")
        parser.add_argument("--park-after", type=float, default=8.0, help="park_after_seconds of the workers")
        parser.add_argument("--quiet-minutes", type=_minutes, default=6.0, help="longest wait for all to settle")
        parser.add_argument(
            "--rests", type=float, default=usual.rests, help="share of orders with a cancel without items"
        )
        parser.add_argument("--plain", type=float, default=usual.plain, help="share of partial shipments without total")
        parser.add_argument("--ahead", type=float, default=usual.ahead, help="share of orders whose cancel comes first")
        parser.add_argument("--artefacts", type=Path, help="folder for logs, journal and faults")
        parser.add_argument("--json", action="store_true", help="the figures as JSON on standard output")
        asked = parser.parse_args(arguments)
        options = cls(
            seed=asked.seed,
            minutes=asked.minutes,
            kills=asked.kills,
            nodes=asked.nodes,
            workers=asked.workers,
            partitions=asked.partitions,
            rate=asked.rate,
            pace_seconds=asked.pace,
            lag_seconds=asked.lag,
            allowance_seconds=asked.allowance,
            delay_seconds=asked.delay,
            park_after_seconds=asked.park_after,
            quiet_minutes=asked.quiet_minutes,
            mix=Mix(rests=asked.rests, plain=asked.plain, ahead=asked.ahead),
            artefacts=asked.artefacts,
        )
        return options, asked.json


def _minutes(text: str) -> float:
    minutes = float(text)
    if not 0 < minutes <= 600:
        raise argparse.ArgumentTypeError("more than 0 and at most 600")
    return minutes
