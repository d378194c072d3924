"""How much of what a bucket allowed was used, by the server's own count. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reading:
    """One bucket at one moment."""

    at: float
    """Monotonic seconds."""
    left: float
    """Calls it would let through."""
    taken: int
    """Calls it has let through."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What an account might have called, and what it did."""

    account: str
    allowed: float
    flowed_in: float
    """The part of it that was not there at the beginning."""
    used: int

    @property
    def share(self) -> float:
        """1: everything that was there."""
        return self.used / self.allowed


def usage(account: str, first: Reading, last: Reading, per_second: float, foreign: int = 0) -> Usage:
    """Between two readings: what was left and what flowed in, less what somebody else took of it (`foreign`).

    What a full bucket could not take counts as allowed: whoever lets it run over has wasted it.
    """
    flowed_in = per_second * (last.at - first.at) - foreign
    return Usage(account, first.left + flowed_in, flowed_in, last.taken - first.taken - foreign)


def together(usages: list[Usage]) -> float:
    """The share of all of them, weighed by what was allowed."""
    return sum(one.used for one in usages) / sum(one.allowed for one in usages)
