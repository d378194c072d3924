"""A call budget: how many more turns a gate may give, from what is heard of somebody else's token bucket. Pure.

The bucket is the server's; others may take from it, too (another replica, another tool of the merchant). What is known
of it is what its answers tell: tokens left, and when the next one comes. So the pace follows the *level* of the bucket:

    pace = share x rate x level / target          (calls a second)

Everyone who shares the bucket and keeps to this settles, without a word between them, where all paces together are
what flows in: a level near `target`, above zero, where nobody is turned away; one who uses less leaves a higher level,
and so more pace, to the others. A full bucket is drawn down in a few seconds, without a burst at anyone's edge.

Until an answer has told a level, one call at a time goes out; where none ever tells, or none but those that turn a call
away, the documented rate is kept, and less after each of these.

Sources: Walmart's throttling page (token bucket per API and seller, gradual replenishment), and the headers
`X-Current-Token-Count` and `X-Next-Replenishment-Time`.
"""

from __future__ import annotations

import itertools
import math
from typing import Final

_TARGET: Final = 6.0
"""Tokens that are left in the bucket while everybody is backlogged: what others take between two answers of ours."""
_TARGET_S: Final = 0.5
"""Or so many seconds of the rate, where that is more."""
_TARGET_OF_SIZE: Final = 0.25
"""But no more than this part of the bucket."""
_TINY: Final = 4.0
"""In a bucket that holds less the level tells nothing: there the pace is our share of the rate."""
_MOST_CAUTION: Final = 4.0
_CAUTIOUS_FOR_S: Final = 900.0
"""A 429 raises the target by half, up to that factor; it is forgotten over so many seconds."""
_BLIND_BURST_S: Final = 5.0
"""Where no level is told, so many seconds' worth of calls may go out at once."""
_BLIND_LESS: Final = 0.7
_BLIND_MORE: Final = 0.0005
"""There a 429 lowers the pace to this part of it, and it comes back by so much of the rate a second."""
_LEAST_KEPT: Final = 0.1
_TINY_LESS: Final = 0.9
_TINY_MORE: Final = 0.004
"""Where a bucket holds next to nothing, calls meet in it that are nobody's fault: less is made of a 429."""
_STALE_S: Final = 15.0
"""What was heard longer ago may not be so any more: two calls at a time until the next answer."""
_STALE_CALLS: Final = 2
_UNTOLD: Final = 3
"""So many answers since then that tell no level: it is told no more, or only to whom is turned away."""
_OTHERS_OVER_S: Final = 30.0
"""What others take is averaged over so many seconds."""
_LEAST_INFLOW: Final = 0.05
"""They never take all: so much of the rate is believed to come."""
_LIE: Final = 3
_DISTRUST_S: Final = 600.0
"""An answer that turns a call away and tells so many tokens or more lies: no level is believed for so long."""
_OVERDRAFT: Final = 3.0
"""Calls by which one that a running turn needs may be ahead of the pace: that turn would have to begin anew."""
_SPILT: Final = 2.0
"""So many tokens that came and did not make it fuller than it was ever seen: it holds no more."""
_FILLS: Final = 12.0
"""A bucket is believed to be full after the time in which so many tokens come, or its size if that is more."""
_SET_BACK_S: Final = 1.0
"""Two looks that cross differ by less; by more, somebody has set the clock back."""
_FORGOTTEN_AFTER_S: Final = 900.0
_NEARLY: Final = 1e-9
_TICKETS: Final = itertools.count(1)
"""Never the same again: an account may be taken out and put in anew while calls of its earlier budget run."""


class Budget:
    """One bucket, as far as it is known. Times are epoch seconds; a clock that is set back moves all that was told.

    `rate`: documented calls a second. `size`: calls at once that a full bucket is believed to hold. `share`: our part
    of the rate while everybody wants more.
    """

    __slots__ = (
        "_at",
        "_begun",
        "_caution",
        "_caution_at",
        "_credit",
        "_distrust_until",
        "_documented",
        "_finished",
        "_heard_at",
        "_hoped",
        "_is_sure",
        "_less",
        "_level",
        "_others",
        "_refill_at",
        "_reserved",
        "_running",
        "_silent",
        "_size",
        "_untold",
        "rate",
        "share",
    )

    def __init__(self, rate: float, size: float, now: float, share: float = 1.0) -> None:
        self.rate, self.share = rate, share
        self._documented = self._size = max(1.0, size)
        self._is_sure = False
        """It holds no more than `_size`; else that is only the most that was seen."""
        self._hoped = -math.inf
        """What would be left in a larger bucket, since this one was seen as full as ever."""
        self._level = 1.0
        """Tokens believed to be left at `_at`; calls that are under way are taken off."""
        self._at = now
        self._refill_at = 0.0
        """No token is believed to come before."""
        self._credit = 1.0
        """Calls that the pace allows by now."""
        self._heard_at = -math.inf
        """When a level was told last."""
        self._silent = False
        """Answers came, and none has ever told a level."""
        self._untold = 0
        """Answers without a level since one was told."""
        self._less = 1.0
        """Part of the rate that is kept to, where no level is told."""
        self._caution, self._caution_at = 1.0, now
        self._others = 0.0
        """Tokens a second that others take."""
        self._distrust_until = -math.inf
        self._running: dict[int, int] = {}
        """Ticket -> calls that had ended when it began."""
        self._begun = self._finished = 0
        self._reserved: set[str] = set()

    # -- turns

    def admits(self, now: float) -> bool:
        """True if one more turn may begin."""
        self._move(now)
        if self._level - len(self._reserved) < 1 - _NEARLY or self._credit < 1 - _NEARLY:
            return False
        return self._outstanding_allowed(now)

    def next_at(self, now: float) -> float:
        """When one more turn may begin if nothing is heard until then; infinite while only an answer can tell."""
        self._move(now)
        if not self._outstanding_allowed(now):
            return math.inf
        now = self._at  # of two looks that cross, the later one
        wait = 0.0
        missing = 1 - (self._level - len(self._reserved))
        if missing > 0:
            still = 0.0 if self._silent else max(0.0, self._refill_at - now)
            wait = still + max(0.0, missing - (still > 0)) / self._inflow
        if self._credit < 1:
            wait = max(wait, self._until_credit(now))
        return now + wait

    def reserve(self, subject: str) -> None:
        """A turn begins: it may make one call. Give it back with `release`."""
        if subject not in self._reserved:
            self._reserved.add(subject)
            self._credit -= 1

    def release(self, subject: str) -> bool:
        """The turn is over. True if it made no call: another may have it."""
        if subject not in self._reserved:
            return False
        self._reserved.remove(subject)
        self._credit += 1
        return True

    def may_overdraw(self, now: float) -> bool:
        """True if a call beyond what turns reserved may go out: there is a token, and the pace is not far behind."""
        self._move(now)
        left = self._level - len(self._reserved)
        return left >= 1 - _NEARLY and self._credit > -_OVERDRAFT and self._outstanding_allowed(now)

    def is_reserved(self, subject: str) -> bool:
        """True while a turn has not made the call it may make."""
        return subject in self._reserved

    def set_rate(self, rate: float, size: float) -> None:
        """Other settings."""
        self.rate = rate
        self._documented = max(1.0, size)
        if self._heard_at == -math.inf:
            self._size = self._documented

    def within(self, seconds: float, now: float) -> float:
        """Calls that may begin within so many seconds, roughly."""
        self._move(now)
        kept = self._less if self._silent else 1.0
        return max(0.0, self._level) + self.rate * self.share * kept * seconds

    # -- calls

    def begun(self, subject: str, now: float) -> int:
        """A call goes out. Returns its ticket."""
        self._move(now)
        if subject in self._reserved:
            self._reserved.remove(subject)
        else:
            self._credit -= 1
        self._level -= 1
        self._hoped -= 1
        self._begun += 1
        ticket = next(_TICKETS)
        self._running[ticket] = self._finished
        return ticket

    def ended(
        self,
        ticket: int,
        now: float,
        left: int | None = None,
        refill_at: float | None = None,
        *,
        answered: bool = True,
    ) -> None:
        """It is over. `left`: tokens left as told; `refill_at`: epoch seconds of the next one."""
        finished_before = self._running.pop(ticket, None)
        if finished_before is None:
            return
        self._move(now)
        # Calls that ran beside this one may have been counted in its answer or not.
        beside = self._begun - finished_before - 1
        self._finished += 1
        if left is None or now < self._distrust_until:
            if answered:
                self._told_nothing(now)
            return
        first, self._untold = self._heard_at == -math.inf, 0
        self._learn_size(left, beside, now)
        self._learn_others(left, beside, now)
        self._silent = False
        self._heard_at = now
        self._level = float(left - min(beside, left)) if beside else float(left)
        self._refill_at = refill_at if refill_at is not None and refill_at > now else 0.0
        self._at = now
        self._credit = self._most_credit() if first else min(self._credit, self._most_credit())

    def throttled(self, now: float, until: float) -> None:
        """A call was turned away: nothing is left before `until`."""
        self._move(now)
        if self._level >= _LIE and self._heard_at == now:
            self._distrust_until = now + _DISTRUST_S
            self._heard_at, self._silent = -math.inf, True
        self._caution = min(_MOST_CAUTION, self._present_caution(now) * 1.5)
        self._caution_at = now
        self._level = min(self._level, 0.0)
        self._refill_at = max(self._refill_at, until)
        if not self._is_tiny:
            # It may have been taken for smaller than it is, and kept too low for those who share it.
            self._is_sure, self._hoped = False, -math.inf
        # In a tiny bucket it met another's call: from the next token on they take turns.
        self._credit = 1.0 if self._is_tiny and not self._silent else min(self._credit, 0.0)
        if self._silent or self._is_tiny:
            self._less = max(_LEAST_KEPT, self._less * (_TINY_LESS if self._is_tiny else _BLIND_LESS))

    # -- looking

    def left_at(self, now: float) -> float:
        """Tokens believed to be left by then. Only looked at: that keeps no budget in use."""
        passed = max(0.0, now - max(self._at, self._refill_at))
        most = self._blind_size if self._silent else max(self._size, self._level)
        return max(0.0, min(most, self._level + passed * self._inflow))

    @property
    def is_idle(self) -> bool:
        """True while no turn and no call depends on it."""
        return not self._running and not self._reserved

    def is_forgettable(self, now: float) -> bool:
        """True when nothing depends on it, and a new one would know as much: it was not used for so long."""
        return self.is_idle and now - self._at > min(_FORGOTTEN_AFTER_S, max(60.0, 2 * self._size / self.rate))

    # -- inside

    @property
    def _is_tiny(self) -> bool:
        return self._is_sure and self._size < _TINY

    @property
    def _inflow(self) -> float:
        """Tokens a second that are believed to come for us."""
        if self._silent:
            return self.rate * self.share * self._less
        return self.rate if self._is_tiny else max(_LEAST_INFLOW * self.rate, self.rate - self._others)

    def _outstanding_allowed(self, now: float) -> bool:
        outstanding = len(self._running) + len(self._reserved)
        if self._silent:
            return True
        if self._heard_at == -math.inf:
            return outstanding < 1
        return now - self._heard_at <= _STALE_S or outstanding < _STALE_CALLS

    def _target(self, now: float) -> float:
        # Every replica may take one between two answers of ours.
        wanted = max(_TARGET, self.rate * _TARGET_S) + 1 / self.share - 1
        most = (self._size if self._is_sure else max(self._size, self._documented)) * _TARGET_OF_SIZE
        return min(wanted, most) * self._present_caution(now)

    def _present_caution(self, now: float) -> float:
        passed = max(0.0, now - self._caution_at) / _CAUTIOUS_FOR_S
        return 1 + (self._caution - 1) * max(0.0, 1 - passed)

    def _most_credit(self) -> float:
        """What may go out at once: more of a fuller bucket."""
        if self._is_tiny:
            return 1.0
        return max(1.0, min(self._level, self._documented) / self._target(self._at))

    def _move(self, now: float) -> None:
        """Let the time pass: tokens flow in, and the pace allows more calls."""
        if now <= self._at:
            if now < self._at - _SET_BACK_S:
                self._set_back(self._at - now)
            return
        more = _TINY_MORE if self._is_tiny and not self._silent else _BLIND_MORE
        self._less = min(1.0, self._less + more * (now - self._at))
        if self._silent:
            self._level = min(self._blind_size, self._level + (now - self._at) * self._inflow)
            self._credit = math.inf
            self._at = now
            return
        if self._credit == math.inf:
            self._credit = 1.0
        pace = self.rate * self.share / self._target(now)
        flows_from = max(self._at, self._refill_at)
        if self._is_tiny:
            self._gain(self.rate * self.share * self._less * (now - self._at))
            pace = 0.0
        if flows_from > self._at:
            still = min(now, flows_from)
            self._gain(pace * max(0.0, self._level) * (still - self._at))
            if self._refill_at <= now:
                self._level = max(self._level, min(self._size, self._level + 1))
                self._hoped += 1
        if now > flows_from:
            seconds = now - flows_from
            inflow = self._inflow * seconds
            self._gain(pace * seconds * (max(0.0, self._level) + inflow / 2))
            self._level = min(max(self._size, self._level), self._level + inflow)
            # What others take is not known so well: half of it may have found no room instead.
            self._hoped += (inflow + self.rate * seconds) / 2
        self._at = now

    def _set_back(self, seconds: float) -> None:
        """The clock was: what was to come in a moment must not come hours later."""
        self._at -= seconds
        self._refill_at -= seconds
        self._heard_at -= seconds
        self._caution_at -= seconds
        self._distrust_until -= seconds

    def _gain(self, credit: float) -> None:
        self._credit = min(max(self._credit, self._most_credit()), self._credit + credit)

    def _until_credit(self, now: float) -> float:
        """Seconds until the pace allows a call: credit + pace x (level x t + rate x t^2 / 2) = 1."""
        if self._silent:
            return 0.0
        missing = 1 - self._credit
        if self._is_tiny:
            return missing / (self.rate * self.share * self._less)
        pace = self.rate * self.share / self._target(now)
        level = max(0.0, self._level)
        still = max(0.0, self._refill_at - now)
        if pace * level * still >= missing:
            return missing / (pace * level)
        missing -= pace * level * still
        if still:
            level += 1
        a, b = pace * self._inflow / 2, pace * level
        return still + (math.sqrt(b * b + 4 * a * missing) - b) / (2 * a)

    @property
    def _blind_size(self) -> float:
        return max(1.0, min(self._size, self.rate * self.share * _BLIND_BURST_S))

    def _told_nothing(self, now: float) -> None:
        """An answer came without a level.

        Where only what is turned away is told one, that is zero each time: believed on, the bucket would be taken for
        the smallest there is, and kept to a small part of its rate for good.
        """
        self._untold += 1
        if self._heard_at == -math.inf:
            self._silent = True
        elif self._untold >= _UNTOLD and now - self._heard_at > _STALE_S:
            if self._caution > 1 and self._caution_at >= self._heard_at:
                self._less = max(_LEAST_KEPT, self._less * _BLIND_LESS)
            self._heard_at, self._silent = -math.inf, True
            self._size, self._is_sure, self._hoped = self._documented, False, -math.inf

    def _learn_size(self, left: int, beside: int, now: float) -> None:
        """At least what was seen; no more, if it stays as full as ever while tokens come.

        One that tells of a few at first may be a large one that others, or we before a restart, have nearly emptied.
        Taken for a small one it would be kept that low, and those who share it would be turned away.
        """
        first, full = self._heard_at == -math.inf, left + 1
        fills = max(_FILLS, min(self._size, self._documented))
        should_be_full = first or (now - self._heard_at) * self._inflow >= fills
        if full > self._size or (full < self._size and should_be_full and not beside):
            self._size, self._is_sure, self._hoped = float(full), False, float(left)
        elif full == self._size:
            self._hoped = max(self._hoped, float(left))
            self._is_sure = self._is_sure or self._hoped - left >= _SPILT
        elif not beside:
            self._hoped = -math.inf

    def _learn_others(self, left: int, beside: int, now: float) -> None:
        """What is missing against what was expected others took."""
        if beside or self._heard_at == -math.inf or now <= self._heard_at:
            return
        passed = now - self._heard_at
        missing = self._level - left
        if 0 <= missing <= 1:
            taken = self._others / 2  # whole tokens are told
        else:
            taken = max(0.0, self._others + (missing if missing < 0 else missing - 1) / passed)
        self._others += (min(self.rate, taken) - self._others) * min(1.0, passed / _OTHERS_OVER_S)
