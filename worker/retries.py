"""What is tried again, how long, and what ends it: one row per class of trouble. Pure.

`worker/RETRIES.md` is generated from `RULES`. In every class an event that waits longer than `park_after_seconds` is
parked. One that is not settled `give_up_after_hours` after it was first seen (paused time not counted) and was tried
`min_tries` times becomes a dead letter under its own code; a closed gate's probes count as tries.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final, Literal

from worker.delivery import Delivery
from worker.lanes.backoff import Backoff
from worker.outcome import Again, Trouble
from worker.settings import LimitSettings, TimingSettings

PARKED_BACKOFF: Final = "backoff up to parked_retry_max_seconds"


@dataclass(frozen=True, slots=True)
class Rule:
    """One row."""

    tried: str
    """What the next try does."""
    ends: str
    """What ends it besides success and giving up."""
    wait: Literal["backoff", "told", "probe", "gate"]
    """`backoff`: exponential with full jitter, or as Walmart or the mission tells; `told`: as told, plus the jitter of
    a backoff; `probe`: every probe_seconds; `gate`: at once, when its gate gives the turn."""
    behind_gate: bool
    """Its gate decides when it goes on: parked, it comes back as soon as that opens."""
    lets_pass: bool = False
    """Shipments of its order may overtake it."""


RULES: Final[dict[Trouble, Rule]] = {
    Trouble.NOT_SENT: Rule(
        "the same call, after reading the order", "nothing else: nothing was written", "backoff", behind_gate=False
    ),
    Trouble.THROTTLED: Rule(
        "the same call, when Walmart's headers allow it", "nothing else", "told", behind_gate=True
    ),
    Trouble.BUDGET: Rule(
        "the same call, after reading the order, when the budget has it", "nothing else: it is no failed try", "gate",
        behind_gate=True,
    ),
    Trouble.CREDENTIALS: Rule(
        "one event at a time as the probe of its account's gate", "nothing else", "probe", behind_gate=True
    ),
    Trouble.UNKNOWN: Rule(
        "the order is read; the call is sent again only when old reads are ruled out (read_lag_seconds, read twice)",
        "the order shows the effect",
        "backoff",
        behind_gate=False,
    ),
    Trouble.NO_CAUSE: Rule(
        "the same call, after reading the order", "min_tries refusals without a named cause", "backoff",
        behind_gate=False,
    ),
    Trouble.SHIPMENTS: Rule(
        "looks again when a shipment of its order was settled, at the latest after probe_seconds",
        "the announced shipments are there",
        "probe",
        behind_gate=False,
        lets_pass=True,
    ),
    Trouble.OURS: Rule("everything anew", "nothing else", "backoff", behind_gate=False),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class NextTry:
    """When an event that is not settled goes on."""

    at: float
    """Epoch seconds of the next turn, if it stays in memory."""
    delay_s: float
    park: bool
    """It would wait too long in memory."""
    parked_until: float
    """Epoch seconds before which it is not taken up when parked (0: as soon as its gate is open)."""


class Retries:
    """Applies the table."""

    def __init__(self, timing: TimingSettings, limits: LimitSettings, random_source: random.Random) -> None:
        self._random = random_source
        self.configure(timing, limits)

    def configure(self, timing: TimingSettings, limits: LimitSettings) -> None:
        """Take new settings."""
        self._timing, self._limits = timing, limits
        self._short = Backoff(timing.retry_base_seconds, timing.retry_max_seconds)
        self._long = Backoff(timing.retry_base_seconds, timing.parked_retry_max_seconds)

    def publishing_delay(self, tries: int) -> float:
        """Seconds before a record that Kafka did not take is written again."""
        return self._short.delay(tries, self._random)

    def next_try(self, delivery: Delivery, again: Again, now: float) -> NextTry:
        """After a try that did not settle the event; `progress.failed_tries` counts it already, where it failed."""
        rule, progress = RULES[again.trouble], delivery.progress
        delay = self._delay(rule, again, progress.failed_tries)
        until = 0.0
        if not rule.behind_gate:
            until = now + max(delay, self._long.delay(progress.failed_tries, self._random))
        elif again.after_s is not None:
            until = now + again.after_s
        waited = now - delivery.waiting_since
        return NextTry(now + delay, delay, waited + delay > self._timing.longest_in_memory_seconds, until)

    def _delay(self, rule: Rule, again: Again, failed_tries: int) -> float:
        if rule.wait == "gate":
            return 0.0
        backoff = self._short.delay(failed_tries, self._random)
        probe = self._timing.probe_seconds * (0.8 + 0.4 * self._random.random())
        if rule.wait == "probe":
            return probe if again.after_s is None else again.after_s
        if again.after_s is None:
            return backoff
        return again.after_s + (backoff if rule.wait == "told" else 0.0)

    def given_up(self, delivery: Delivery, now: float, *, probes: int) -> bool:
        """True when the event's time is over and it had its tries. `probes`: failed probes of the gate it waits at."""
        # A replay has its own time: what was first seen days ago would be given up at the first hiccup.
        since = delivery.replayed_at if delivery.replay_number else delivery.first_seen
        over = now - since - delivery.progress.paused_s >= self._timing.give_up_after_hours * 3600
        return over and delivery.progress.attempts + probes >= self._limits.min_tries


def markdown() -> str:
    """The table, for people."""
    rows = "\n".join(
        f"| `{trouble.value}` | {_DOCS[trouble]} | {rule.tried} | {_WAITS[rule.wait]} | "
        f"{'its gate opens' if rule.behind_gate else PARKED_BACKOFF} | {rule.ends} |"
        for trouble, rule in RULES.items()
    )
    return (
        "# What is tried again\n\n"
        "In every class: longer than `park_after_seconds` in memory is parked; "
        "`give_up_after_hours` after first sight (kept in the record, paused time not counted) and after at least "
        "`min_tries` tries, a closed gate's probes included, it becomes a dead letter under its own code.\n\n"
        "| class | what happened | what is tried | wait in memory | parked until | ended by |\n"
        "|---|---|---|---|---|---|\n" + rows + "\n"
    )


_WAITS: Final[dict[str, str]] = {
    "backoff": "backoff with full jitter up to `retry_max_seconds`, or as told",
    "told": "as Walmart's headers tell, plus jitter",
    "probe": "`probe_seconds`, or as told",
    "gate": "none of its own: its turn comes when the budget has a call left",
}

_DOCS: Final[dict[Trouble, str]] = {
    Trouble.NOT_SENT: "the call never reached Walmart's service, or was a read",
    Trouble.THROTTLED: "429: the account's budget is used up",
    Trouble.BUDGET: "the worker's own count says that the account's budget is used up",
    Trouble.CREDENTIALS: "401, 403: the account is turned away as a whole",
    Trouble.UNKNOWN: "a write may or may not have worked (timeout, 5xx, broken connection)",
    Trouble.NO_CAUSE: "refused without a named cause; may be an outage",
    Trouble.SHIPMENTS: "a cancellation waits for shipments of its order",
    Trouble.OURS: "something of ours is not ready (Kafka, a fence that was refused)",
}
