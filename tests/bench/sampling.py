"""A stretch of a run: how much was done in it, how fast, and what it cost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

Done = Callable[[], Awaitable[tuple[float, int]]]
"""(Monotonic seconds, how much is done by then)."""

WARM_UP: Final = 0.25
"""Part of the stretch that is worked off before it."""
_POLL_S: Final = 0.05
_PATIENCE_S: Final = 600.0


class Working(Protocol):
    """A process, or several."""

    @property
    def cpu_s(self) -> float:
        """Processor seconds so far. Raises ChildEndedError if one has ended."""

    @property
    def peak_mb(self) -> float:
        """The most memory that one of them ever had."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look."""

    at: float
    """Monotonic seconds."""
    done: int
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Stretch:
    """Between two looks."""

    first: Sample
    last: Sample

    @property
    def rate(self) -> float:
        """Events per second."""
        return (self.last.done - self.first.done) / (self.last.at - self.first.at)

    @property
    def cost_us(self) -> float:
        """Processor time per event, microseconds."""
        return (self.last.cpu_s - self.first.cpu_s) / (self.last.done - self.first.done) * 1e6


async def sample_when(who: Working, done: Done, wanted: int) -> Sample:
    """The first look at which at least so much is done."""
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            at, count = await done()
            cpu_s = who.cpu_s
            if count >= wanted:
                return Sample(at, count, cpu_s)
            await asyncio.sleep(_POLL_S)


async def stretch(who: Working, done: Done, count: int) -> Stretch:
    """So many events, after a quarter as many from now on to warm up."""
    _, before = await done()
    first = await sample_when(who, done, before + int(count * WARM_UP))
    return Stretch(first, await sample_when(who, done, first.done + count))
