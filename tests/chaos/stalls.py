"""The longest time nothing came out although something was there to do and the world was well. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Span(NamedTuple):
    """From, to; epoch seconds."""

    begin: float
    end: float


class Stall(NamedTuple):
    """How long, and from when (epoch seconds)."""

    seconds: float
    begin: float


def longest_stall(finals: Iterable[float], owed: Sequence[Span], unwell: Sequence[Span], until: float) -> Stall:
    """The longest wait for any final result.

    Args:
        finals: When a final result was given.
        owed: Of each event: when it was published, and when it got its (first) final result; infinity if never.
        unwell: When the broker, Walmart, or every worker was away: this time starts the wait anew.
        until: The end of the watch.
    """
    marks: list[tuple[float, int, int]] = [(at, 0, 0) for at in finals]
    for span in owed:
        marks += [(span.begin, 1, 0), (span.end, -1, 0)]
    for span in unwell:
        marks += [(span.begin, 0, 1), (span.end, 0, -1)]
    open_events = sick = 0
    since: float | None = None
    longest = Stall(0.0, 0.0)
    for at, events, illness in sorted(mark for mark in [*marks, (until, 0, 0)] if mark[0] <= until):
        if since is not None:
            longest = max(longest, Stall(at - since, since))
        open_events += events
        sick += illness
        waiting = open_events > 0 and not sick
        if not waiting:
            since = None
        elif events <= 0 or since is None:
            since = at
    return longest
