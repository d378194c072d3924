"""Consumers of aiokafka can go quiet, with nothing public to see: what to do when nothing moves. Pure.

Walmart does not matter here: where there is no room for more records, nothing is expected. Nor does a broker that is
away: a new client would not reach it either, and comes back no faster than the old one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Advice = Literal["ok", "rebuild", "fail"]
"""rebuild: a new consumer, in this process; fail: that did not help, the process should be restarted."""


@dataclass(frozen=True, slots=True)
class Signs:
    """What can be seen at one moment. Times are seconds of one clock."""

    now: float
    settled: bool
    """The group has given us an assignment, and we are not in a rebalance (nor in a rebuild)."""
    polled_at: float
    """When a poll last came back."""
    positions: Mapping[tuple[str, int], int | None]
    """Next offset of each partition that is asked for records just now. None: not known yet."""
    ends: Mapping[tuple[str, int], int] | None = None
    """End offsets of those, where the broker told; None: it was not asked."""
    broker_answers: bool | None = None
    """Asked with a client of its own; None: it was not asked."""


class Watchdog:
    """Look every second or so. Where `suspects` is true the broker should be asked before `look`."""

    def __init__(
        self, *, still_s: float = 120.0, unsettled_s: float = 180.0, poll_s: float = 60.0, fail_s: float = 180.0
    ) -> None:
        """Set the patience.

        Args:
            still_s: Records lie there and none is read. A fetch takes at most a request timeout (20 s) and one retry.
            unsettled_s: No assignment. A rebalance takes at most a session (30 s) and a rebalance timeout (60 s).
            poll_s: A poll that takes 0.2 s has not come back; liveness would turn red after 120 s.
            fail_s: How long a rebuild has to help: as long as a rebalance may take.
        """
        self._still_s = still_s
        self._unsettled_s = unsettled_s
        self._poll_s = poll_s
        self._fail_s = fail_s
        self._moved: dict[tuple[str, int], tuple[int | None, float]] = {}
        """Position and since when it has been that."""
        self._unsettled_since: float | None = None
        self._rebuilt_at: float | None = None
        """The first rebuild that has not helped yet, and below the latest one."""
        self._rebuilt_last_at: float | None = None
        self._excused_at = float("-inf")
        """The latest moment at which the broker did not answer."""
        self.hopeless = False
        """A rebuild has not helped: liveness should be red until things move again."""

    def suspects(self, signs: Signs) -> bool:
        """True if something has been still for half its time: worth asking the broker."""
        self._note(signs)
        return (
            self._for(self._unsettled_since, signs) > self._unsettled_s / 2
            or (signs.settled and signs.now - signs.polled_at > self._poll_s / 2)
            or any(self._for(since, signs) > self._still_s / 2 for _, since in self._moved.values())
        )

    def look(self, signs: Signs) -> Advice:
        """The advice now. Tell `rebuilding` when a rebuild begins."""
        self._note(signs)
        if signs.broker_answers is False:
            self._excused_at = signs.now
            return "ok"
        if not self._is_wrong(signs):
            self._forgive(signs)
            return "ok"
        if signs.broker_answers is None:
            return "ok"
        if self._rebuilt_at is None:
            return "rebuild"
        if self._for(self._rebuilt_at, signs) <= self._fail_s:
            return "ok"
        self.hopeless = True
        return "fail"

    def rebuilding(self, now: float) -> None:
        """A new consumer is being made: everything is given its time anew."""
        if self._rebuilt_at is None:
            self._rebuilt_at = now
        self._rebuilt_last_at = now
        self._moved.clear()
        self._unsettled_since = None

    # --

    def _note(self, signs: Signs) -> None:
        if signs.settled:
            self._unsettled_since = None
        elif self._unsettled_since is None:
            self._unsettled_since = signs.now
        wanted = signs.positions if signs.settled else {}
        for place, position in wanted.items():
            known = self._moved.get(place)
            end = (signs.ends or {}).get(place)
            if known is None or known[0] != position or (end is not None and position is not None and position >= end):
                self._moved[place] = (position, signs.now)
        for place in [place for place in self._moved if place not in wanted]:
            del self._moved[place]

    def _is_wrong(self, signs: Signs) -> bool:
        if self._for(self._unsettled_since, signs) > self._unsettled_s:
            return True
        if signs.settled and self._for(signs.polled_at, signs) > self._poll_s:
            return True
        return any(
            place in (signs.ends or {}) and self._for(since, signs) > self._still_s
            for place, (_, since) in self._moved.items()
        )

    def _forgive(self, signs: Signs) -> None:
        # Right after a rebuild nothing has had the time to look wrong.
        helped = signs.settled and not self.suspects(signs) and self._for(self._rebuilt_last_at, signs) > self._still_s
        if self._rebuilt_at is not None and helped:
            self._rebuilt_at = None
            self.hopeless = False

    def _for(self, since: float | None, signs: Signs) -> float:
        """How long it has been so, the broker being there."""
        return 0.0 if since is None else signs.now - max(since, self._excused_at)
