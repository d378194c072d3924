"""What events wait for, and which of it made one miss its time. Pure: the time is passed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

WaitReason = Literal["unread", "order", "slots", "starting", "budget", "slow", "closed", "shut", "shipments", "retry"]
"""Why a gate does not admit a turn (`worker.lanes.gates.Hold`), and what an event waits for where no gate holds it."""
Cause = Literal[
    "failed", "unread", "order", "slots", "starting", "budget", "closed", "shut", "shipments", "retry", "calls"
]

MEANINGS: Final[Mapping[WaitReason, str]] = {
    "unread": "in Kafka, before it was read",
    "order": "behind earlier events of its order",
    "slots": "for a slot of the worker, or as many of its account were in flight as may",
    "starting": "for its account's access token",
    "budget": "for a call that the account's budget has left",
    "slow": "after a 429, as long as told",
    "closed": "its gate was: credentials, a scope, or Walmart unavailable",
    "shut": "paused, or a run of bugs",
    "shipments": "a cancellation, for shipments of its order",
    "retry": "between tries",
}
OF_CODE: Final[Mapping[str, WaitReason]] = {
    "throttled": "budget",
    "credentials_rejected": "closed",
    "scope_missing": "closed",
    "walmart_unavailable": "closed",
    "paused": "shut",
    "waiting_for_shipments": "shipments",
    "not_started": "order",
}
"""Code an event waits (or is parked) with -> reason. Any other: it is between tries."""


@dataclass(slots=True)
class Waits:
    """The waits of one event, in seconds; those that are over, and the present one."""

    seconds: dict[WaitReason, float] = field(default_factory=dict)
    reason: WaitReason = "slots"
    """Of the present wait, as far as no gate tells another."""
    since: float = 0.0
    """Epoch seconds when it began; 0: it does not wait."""
    at_gates: float = 0.0
    """Seconds of the present wait that gates have told of."""

    def add(self, reason: WaitReason, seconds: float) -> None:
        """A wait is over."""
        if seconds > 0:
            self.seconds[reason] = self.seconds.get(reason, 0.0) + seconds

    def begin(self, reason: WaitReason, now: float) -> None:
        """It waits from now on."""
        self.reason, self.since, self.at_gates = reason, now, 0.0

    def at_gate(self, reason: WaitReason, seconds: float) -> None:
        """So much of the present wait was at a gate."""
        self.add(reason, seconds)
        self.at_gates += seconds

    def end(self, now: float) -> float:
        """The present wait is over; returns the seconds that no gate has told of (of `reason`)."""
        rest = self._rest(now)
        self.since = 0.0
        self.add(self.reason, rest)
        return rest

    @property
    def mostly_for_budget(self) -> bool:
        """True if at least half of what gates and waits that are over have told was for calls the account may make."""
        budget = self.seconds.get("budget", 0.0) + self.seconds.get("slow", 0.0)
        return budget > 0 and budget >= sum(self.seconds.values()) / 2

    def cause(
        self,
        latency_s: float,
        slo_s: float,
        *,
        budget_s: float = 0.0,
        now: float = 0.0,
        held_by: WaitReason | None = None,
    ) -> Cause:
        """What made an event late. `held_by`: why it waits at this moment, `now`.

        `budget_s`: what it waited for budgets in all, other workers that had it included.

        The budget, if it would have been in time but for that (one that waits on: if it was half of its time); else
        what it waited for longest; `calls`: it did not wait for as long as its calls took.
        """
        seconds = dict(self.seconds)
        if held_by is not None:
            seconds[held_by] = seconds.get(held_by, 0.0) + self._rest(now)
        seconds["budget"] = max(budget_s, seconds.get("budget", 0.0) + seconds.pop("slow", 0.0))
        # One that waits on has just missed its time: for whatever short wait it had, it would have been in time.
        if held_by is None and 0 < latency_s - slo_s <= seconds["budget"]:
            return "budget"
        if held_by is not None and seconds["budget"] >= slo_s / 2:
            return "budget"
        longest = max(seconds, key=seconds.__getitem__)
        # Most of its time may have been no wait at all.
        if longest == "slow" or seconds[longest] <= max(0.0, latency_s - sum(seconds.values())):
            return "calls"
        return longest

    def _rest(self, now: float) -> float:
        return max(0.0, now - self.since - self.at_gates) if self.since else 0.0
