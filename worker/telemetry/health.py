"""Whether the worker lives and is ready, judged from its progress. Pure: the time is passed in.

How the app uses it: one `Vitals`, written by the rooms; `/livez` and `/readyz` call `judge(vitals, now)`::

    vitals = Vitals(max_internal_errors=settings.limits.max_internal_errors)
    vitals.watch("intake", silent_after_seconds=30, now=clock.now())   # before the loop starts
    vitals.beat("intake", clock.now())                                 # each turn of the loop, also an idle one
    vitals.rest("intake")                                              # at its planned end
    vitals.assigned = True; vitals.table_caught_up = True; vitals.producer_up = True

Liveness asks one thing: do our own loops still turn? A restart cures a stuck loop. It does not cure Walmart, a broker
or a bug that an event triggers, so none of them is asked about here.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Health:
    """The judgement. Reasons say what is wrong; empty where nothing is."""

    not_live: tuple[str, ...]
    not_ready: tuple[str, ...]

    @property
    def live(self) -> bool:
        """False: restart the process."""
        return not self.not_live

    @property
    def ready(self) -> bool:
        """False: it takes no part in the work just now."""
        return not self.not_ready


@dataclass(slots=True)
class _Loop:
    silent_after_seconds: float
    turned_at: float


@dataclass(slots=True)
class Vitals:
    """What the rooms tell about themselves. Times are epoch seconds."""

    max_internal_errors: int = 10
    """From as many unexpected exceptions in a row the worker is not ready."""
    assigned: bool = False
    """The consumer holds an assignment (also an empty one: more replicas than partitions)."""
    table_caught_up: bool = False
    """The dead-letter partitions are read to the end they had at assignment."""
    intents_known: bool = True
    """What the earlier owners of our partitions were about to send is read back."""
    stalled: str | None = None
    """Nothing moves although the broker answers, and a new consumer did not help. Ends by itself when things move."""
    misassigned: bool = False
    """The two input topics' partitions do not go together: some cancellations are left in Kafka."""
    producer_up: bool = False
    """The latest write to Kafka was acknowledged."""
    internal_errors_in_row: int = 0
    """Unexpected exceptions without a finished event between."""
    stopping: bool = False
    """A clean stop has begun."""
    fatal: str | None = None
    """Why the worker cannot go on without a restart (a main task died, the group fenced this instance)."""
    _loops: dict[str, _Loop] = field(default_factory=dict)

    def watch(self, loop: str, *, silent_after_seconds: float, now: float) -> None:
        """From now on `loop` is expected to turn at least this often."""
        self._loops[loop] = _Loop(silent_after_seconds, now)

    def beat(self, loop: str, now: float) -> None:
        """`loop` has turned. Ignored while it is not watched."""
        watched = self._loops.get(loop)
        if watched is not None:
            watched.turned_at = now

    def rest(self, loop: str) -> None:
        """`loop` has ended as planned."""
        self._loops.pop(loop, None)

    def silent(self, now: float) -> dict[str, float]:
        """Loops that have not turned for too long, and for how many seconds."""
        return {
            name: now - loop.turned_at
            for name, loop in self._loops.items()
            if now - loop.turned_at > loop.silent_after_seconds
        }


def judge(vitals: Vitals, now: float) -> Health:
    """The judgement at `now` (epoch seconds)."""
    not_live = [f"the {name} loop has not turned for {seconds:.0f} s" for name, seconds in vitals.silent(now).items()]
    not_live += [reason for reason in (vitals.fatal, vitals.stalled) if reason is not None]
    not_ready = list(not_live)
    if vitals.stopping:
        not_ready.append("stopping")
    if not vitals.assigned:
        not_ready.append("no assignment from the consumer group yet")
    elif not vitals.intents_known:
        not_ready.append("the intents of the partitions' earlier owners are not read back yet")
    elif not vitals.table_caught_up:
        not_ready.append("the dead-letter topic is not read to its end yet")
    if vitals.misassigned:
        not_ready.append("the input topics' partitions are not in pairs (counts differ, or a foreign assignor)")
    if not vitals.producer_up:
        not_ready.append("the latest write to Kafka was not acknowledged")
    if vitals.internal_errors_in_row >= vitals.max_internal_errors:
        not_ready.append(f"{vitals.internal_errors_in_row} unexpected exceptions in a row; intake is stopped")
    return Health(tuple(not_live), tuple(not_ready))
