"""What an event costs in the lanes, however many others wait."""

from __future__ import annotations

import sys
from typing import Final, get_args

from tests.bench.effort import Effort
from tests.bench.figures import Figure, ratio
from tests.bench.ground import Ground, tell
from tests.bench.lanes_runner import Mode
from tests.bench.process import child

SIZES: Final = (10, 1_000, 100_000)
"""Lanes that wait meanwhile."""
_FLAT: Final = 1.5
"""A machine reaches less of 100,000 objects in its caches than of 10; what is O(log n) grows by five times that."""


async def lanes(ground: Ground, effort: Effort) -> list[Figure]:
    """Processor time per event of lanes and gates alone, beside 10 to 100,000 lanes that wait."""
    figures = {
        (mode, size): Figure("lanes", f"{size:,} lanes", f"CPU per event, the others {_TEXTS[mode]}", "µs")
        for mode in get_args(Mode)
        for size in SIZES
    }
    for _ in range(effort.runs):
        for (mode, size), figure in figures.items():
            command = (sys.executable, "-m", "tests.bench.lanes_runner", str(size), str(effort.lanes_events), mode)
            async with child(command, output=True) as process:
                figure.values.append(float(await process.first_line()))
            tell(ground, figure)
    most, fewest = max(SIZES), min(SIZES)
    ratios = [
        ratio("lanes", f"CPU per event, the others {text}", figures[mode, most], figures[mode, fewest], ("<", _FLAT))
        for mode, text in _TEXTS.items()
    ]
    return [*figures.values(), *ratios]


_TEXTS: Final[dict[Mode, str]] = {"ready": "wait for a slot", "held": "are held"}
