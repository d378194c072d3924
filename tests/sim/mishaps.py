"""What goes wrong, drawn from a seed: Walmart's weather, Kafka's trouble, and what happens at a certain moment."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final, Literal

from tests.sim.cluster import Trouble
from tests.sim.reconfiguring import HOWS
from tests.sim.walmart import Weather
from worker.settings import Settings

SAFE_FAULTS: Final = ("refused", "slow_connect", "dropped_before", "dropped_after", "silent", "silent_after",
                      "500", "503", "423", "500_after", "garbage_after", "late_effect", "html", "429", "429_bare",
                      "401")  # fmt: skip
"""Faults that no event may fail by, however often they come, as long as they end in time."""

Deed = Literal[
    "kill", "stall", "stop", "join", "brokers", "cut_off", "account", "compact", "twin", "clock", "replay", "resolve",
    "settings",
]  # fmt: skip


MOST_AHEAD_S: Final = 2.5
"""Wall clocks of two machines differ by up to twice as much: five seconds."""
MOST_MACHINES: Final = 6
LONGEST_JUMP_S: Final = 60.0


@dataclass(frozen=True)
class Happening:
    """One thing that goes wrong."""

    at: float
    deed: Deed
    seconds: float
    """How long it lasts; of a clock, by how much it jumps."""
    which: int
    how: str = ""


def weather(chance: random.Random, rough: float, settings: Settings) -> tuple[Weather, frozenset[str], tuple[str, ...]]:
    timing = settings.timing
    kinds = [kind for kind in SAFE_FAULTS if chance.random() < 0.7]
    expected: set[str] = set()
    quirks: list[str] = []
    if chance.random() < 0.1:
        kinds.append("bare_400")
    if chance.random() < 0.1:
        kinds.append("403")
    if chance.random() < 0.15:
        quirks.append("partial_cancel_refused")
        expected.add("partial_cancel_refused")
    if chance.random() < 0.3:
        quirks.append("two_packages_refused")
    weather = Weather(
        faults=rough * chance.choice((0.05, 0.15, 0.35)),
        kinds=tuple(kinds),
        lag_s=chance.choice((0.0, 0.5, 0.95)) * timing.read_lag_seconds,
        slow=rough * chance.choice((0.0, 0.05)),
    )
    return weather, frozenset(expected), tuple(quirks)


def trouble(chance: random.Random) -> Trouble:
    if chance.random() < 0.3:
        return Trouble()
    return Trouble(
        lost_ack=chance.choice((0.0, 0.02)),
        not_written=chance.choice((0.0, 0.02)),
        delayed=chance.choice((0.0, 0.05)),
        late_commit=chance.choice((0.0, 0.1)),
        lost_commit_answer=chance.choice((0.0, 0.05)),
        lagging=chance.choice((0.0, 0.3)),
    )


def happenings(chance: random.Random, quiet_at: float, accounts: int, settings: Settings) -> list[Happening]:
    session = settings.kafka.session_timeout_seconds
    deeds: list[Deed] = ["kill", "kill", "stall", "stall", "stop", "join", "brokers", "cut_off", "account", "account"]
    happenings = []
    for _ in range(chance.randint(1, 10)):
        deed = chance.choice(deeds)
        seconds = chance.choice((0.5, 2.0, session * 0.8, session * 1.5, session * 3))
        how = ""
        if deed == "account":
            seconds = chance.choice((2.0, 10.0, 30.0))
            how = chance.choice(("refused", "503", "401", "429", "silent"))
        happenings.append(
            Happening(chance.uniform(0.0, quiet_at * 0.9), deed, seconds, chance.randrange(max(3, accounts)), how)
        )
    happenings += [Happening(chance.uniform(0, quiet_at), "compact", 0, 0) for _ in range(chance.randint(0, 5))]
    return sorted(happenings, key=lambda happening: happening.at)


def clocks(chance: random.Random) -> tuple[float, ...]:
    """By how much each machine's wall clock is ahead."""
    most = chance.choice((0.0, 0.0, 0.5, MOST_AHEAD_S))
    return tuple(chance.uniform(-most, most) for _ in range(MOST_MACHINES)) if most else ()


def more_happenings(chance: random.Random, quiet_at: float, *, static: bool) -> list[Happening]:
    """What people do, clocks that jump, and a second process under a worker's name."""
    happenings = []
    if chance.random() < 0.4:
        # Some of it when all is well again: what failed for what went wrong can succeed now.
        for _ in range(chance.randint(1, 4)):
            deed: Deed = chance.choice(("replay", "replay", "replay", "resolve"))
            how = chance.choice(("all", "all", "code", "order", "waiting")) if deed == "replay" else "some"
            wait_s = chance.choice((0.0, 2.0, 60.0))
            at = chance.uniform(0.2, 1.0) * quiet_at + chance.choice((0.0, 5.0, 40.0))
            happenings.append(Happening(at, deed, wait_s, chance.randrange(1_000), how))
    if chance.random() < 0.15:
        for _ in range(chance.randint(1, 2)):
            jump_s = chance.choice((-1, 1)) * chance.choice((2.0, 10.0, LONGEST_JUMP_S))
            happenings.append(Happening(chance.uniform(0.1, 0.9) * quiet_at, "clock", jump_s, chance.randrange(3)))
    if static and chance.random() < 0.25:
        happenings.append(Happening(chance.uniform(0.1, 0.9) * quiet_at, "twin", 0, chance.randrange(3)))
    return happenings


def changed_settings(chance: random.Random, quiet_at: float) -> list[Happening]:
    """Somebody changes the settings of all workers."""
    if chance.random() < 0.6:
        return []
    return [
        Happening(chance.uniform(0.05, 0.95) * quiet_at, "settings", 0, chance.randrange(1_000), chance.choice(HOWS))
        for _ in range(chance.randint(1, 6))
    ]
