"""What comes up next of the rows that wait to be run again. Pure: the time is passed in, nothing is fetched here.

    add ──▶ IDLE ──(its time has come, nobody before it)──▶ READY ──take──▶ TAKEN ──▶ gone, or a newer row of its event
              ▲                                                               │
              └──────────────────────────── untake ───────────────────────────┘

A row that is later than the objective, or whose time is up, is taken whatever its account's gates say. Rows of a
partition begin to come up once its table is whole (`activate`). Every operation is O(log n) or better, `activate`
excepted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, Literal

from worker.parked.queues import Queues
from worker.parked.space import NO_BOUND, Space
from worker.parked.timers import Timers
from worker.parked.unfinished import NEVER, Stage, Unfinished

Why = Literal["turn", "late", "expired", "replay"]

AGAIN_S: Final = 1.0
"""What was taken in vain is not taken again at once."""
MOST_LATE: Final = 200
"""Rows in memory at one moment only to be told late."""
MOST_EXPIRED: Final = 200
"""Rows in memory at one moment because their time is over: whatever the gates and windows say, but not all at once."""
_MOST: Final[dict[str, int]] = {"late": MOST_LATE, "expired": MOST_EXPIRED}
_SWEEP_ABOVE: Final = 1_000
_REPLAY_S: Final = 60.0


class Waiting:
    """Rows with the state `waiting` or `replay`."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Everything is read afresh: nothing comes up until it is activated again."""
        self.queues = Queues()
        self.parked = 0
        """Rows with the state `waiting`."""
        self._active: set[int] = set()
        self._tries = Timers()
        self._lates = Timers()
        self._ready: dict[tuple[str, bool], Timers] = {}
        """By store and whether it ships (other gates): who comes up as soon as there is room, least time left first."""
        self._late: deque[Unfinished] = deque()
        self._expired: deque[Unfinished] = deque()
        self._taken: dict[tuple[int, int], Why] = {}
        self._overdue_taken = {"late": 0, "expired": 0}
        self._count = 0
        self._gone = 0
        self._served = 0

    def __len__(self) -> int:
        return self._count

    # -- what is there

    def add(self, row: Unfinished, now: float) -> None:
        """A row that is the newest record of its event."""
        self._count += 1
        if row.state == "waiting":
            self.parked += 1
            if row.order:
                before = self.queues.fronts(row.order)
                self.queues.add(row)
                self._news(row.order, before, now)
        if row.partition in self._active:
            self._begin(row, now)

    def remove(self, row: Unfinished, now: float) -> None:
        """The row is overruled, or its partition is no longer ours."""
        self._count -= 1
        row.stage = Stage.GONE
        self._release(row)
        if row.state == "waiting":
            self.parked -= 1
            if row.order:
                before = self.queues.fronts(row.order)
                self.queues.remove(row)
                self._news(row.order, before, now)
        self._gone += 1
        if self._gone > max(_SWEEP_ABOVE, self._count // 4):
            self._sweep()

    def activate(self, partition: int, rows: Iterable[Unfinished], now: float) -> None:
        """The table of this partition is whole: its `rows` begin to come up."""
        if partition in self._active:
            return
        self._active.add(partition)
        for row in rows:
            self._begin(row, now)

    def look_again(self, rows: Iterable[Unfinished], now: float) -> None:
        """Times of rows have changed; `rows` are all there are."""
        self._tries, self._lates, self._ready = Timers(), Timers(), {}
        self._late.clear()
        self._expired.clear()
        for row in rows:
            if row.stage is Stage.READY:
                row.stage = Stage.IDLE
            if row.partition in self._active:
                self._begin(row, now)

    def is_front(self, row: Unfinished) -> bool:
        """Nobody of its order stands before it whom it may not pass. Replays stand in no queue."""
        return row.state == "replay" or not row.order or self.queues.is_front(row)

    # -- what comes up

    def take(
        self,
        now: float,
        most: int,
        *,
        group_of: Callable[[str, bool], str],
        allowance: Callable[[str, float], int],
        space: Space = NO_BOUND,
    ) -> list[tuple[Unfinished, Why]]:
        """Up to `most` rows that come up now; they are TAKEN until a newer record or `untake`."""
        self._ring(now)
        taken: list[tuple[Unfinished, Why]] = []
        self._take_overdue(self._expired, "expired", now, most, space.overdue, taken)
        self._take_overdue(self._late, "late", now, max(1, most // 2), space.overdue, taken)
        # Each group's allowance knows nothing of what the groups before it have just got.
        most = min(most, len(taken) + space.turns)
        groups = self._groups(group_of)
        # Whoever was served first is served last the next time.
        start = self._served % len(groups) if groups else 0
        self._served += 1
        names = list(groups)
        for number, name in enumerate(names[start:] + names[:start]):
            left = most - len(taken)
            if left <= 0:
                break
            share = max(1, left // (len(names) - number))
            self._take_ready(groups[name], min(share, allowance(name, now)), taken)
        return taken

    def untake(self, row: Unfinished, now: float, after_s: float = AGAIN_S) -> None:
        """It was taken in vain: it comes up again, not before `after_s`."""
        if row.stage is not Stage.TAKEN:
            return
        self._release(row)
        row.stage = Stage.IDLE
        # It may still stand in queues from before: whoever meets it there looks at these times.
        row.next_try = max(row.next_try, now + after_s)
        row.late_at = max(row.late_at, now + after_s)
        row.expires_at = max(row.expires_at, now + after_s)
        if row.partition in self._active:
            self._begin(row, now)

    def wake(self, order: str, now: float) -> None:
        """The order's cancels that wait for shipments come up now."""
        for row in self.queues.of(order):
            if row.lets_pass:
                row.next_try = 0.0
                if row.stage is Stage.IDLE and row.partition in self._active and self.is_front(row):
                    self._come_up(row, now)

    def next_at(self) -> float | None:
        """When the next row's time comes; None: none has one. Rows that only wait for room are not counted."""
        firsts = [self._tries.first(_waits), self._lates.first(_not_gone)]
        firsts += [ready.first(self._is_ready) for ready in self._ready.values()]
        times = (first[0] for first in firsts if first is not None)
        return min((at for at in times if at < NEVER), default=None)

    @property
    def has_ready(self) -> bool:
        """Somebody waits only for room."""
        return bool(self._ready or self._late or self._expired)

    # -- inside

    def _begin(self, row: Unfinished, now: float) -> None:
        if row.late_at < NEVER:
            self._lates.push(row.late_at, row)
        if row.stage is Stage.IDLE and self.is_front(row):
            self._schedule(row, now)

    def _news(self, order: str, before: tuple[Unfinished, ...], now: float) -> None:
        """Whoever has come to the front of its order is looked at."""
        for row in self.queues.fronts(order):
            known = any(row is one for one in before)
            if not known and row.stage is Stage.IDLE and row.partition in self._active:
                self._schedule(row, now)

    def _schedule(self, row: Unfinished, now: float) -> None:
        if row.due_at > now:
            self._tries.push(row.due_at, row)
        else:
            self._come_up(row, now)

    def _come_up(self, row: Unfinished, now: float) -> None:
        if row.is_expired(now):
            self._expired.append(row)
            return
        row.stage = Stage.READY
        ready = self._ready.get((row.store, row.ships))
        if ready is None:
            ready = self._ready[row.store, row.ships] = Timers()
        ready.push(_urgency(row), row)

    def _ring(self, now: float) -> None:
        while (first := self._tries.first(_waits)) is not None and first[0] <= now:
            row = self._tries.pop()
            if self.is_front(row):
                self._come_up(row, now)
        while (first := self._lates.first(_not_gone)) is not None and first[0] <= now:
            row = self._lates.pop()
            if row.stage is not Stage.TAKEN:
                self._late.append(row)
        for ready in self._ready.values():
            while (first := ready.first(self._is_ready)) is not None and first[0] <= now:
                row = ready.pop()
                if row.is_expired(now):
                    row.stage = Stage.IDLE
                    self._expired.append(row)
                else:
                    # A replay that nobody had room for stays among the first.
                    ready.push(now + _REPLAY_S, row)

    def _take_overdue(
        self,
        queue: deque[Unfinished],
        why: Why,
        now: float,
        most: int,
        at_once: int,
        taken: list[tuple[Unfinished, Why]],
    ) -> None:
        at_once = min(at_once, _MOST[why])
        while queue and len(taken) < most and self._overdue_taken[why] < at_once:
            row = queue.popleft()
            due = now >= row.late_at if why == "late" else row.is_expired(now) and self.is_front(row)
            if due and row.stage in (Stage.IDLE, Stage.READY):
                self._mark(row, why, taken)

    def _groups(self, group_of: Callable[[str, bool], str]) -> dict[str, list[Timers]]:
        groups: dict[str, list[Timers]] = {}
        for (store, ships), ready in list(self._ready.items()):
            if ready.first(self._is_ready) is None:
                del self._ready[store, ships]
            else:
                groups.setdefault(group_of(store, ships), []).append(ready)
        return groups

    def _take_ready(self, stores: list[Timers], most: int, taken: list[tuple[Unfinished, Why]]) -> None:
        for _ in range(most):
            firsts = [(first, ready) for ready in stores if (first := ready.first(self._is_ready)) is not None]
            if not firsts:
                return
            (_, row), ready = min(firsts, key=lambda one: (one[0][0], one[0][1].offset))
            ready.pop()
            self._mark(row, "replay" if row.state == "replay" else "turn", taken)

    def _is_ready(self, row: Unfinished) -> bool:
        if row.stage is not Stage.READY:
            return False
        if self.is_front(row):
            return True
        # Somebody has come to stand before it; it is looked at again when that one is gone.
        row.stage = Stage.IDLE
        return False

    def _mark(self, row: Unfinished, why: Why, taken: list[tuple[Unfinished, Why]]) -> None:
        row.stage = Stage.TAKEN
        self._taken[row.partition, row.offset] = why
        if why in self._overdue_taken:
            self._overdue_taken[why] += 1
        taken.append((row, why))

    def _release(self, row: Unfinished) -> None:
        why = self._taken.pop((row.partition, row.offset), None)
        if why in self._overdue_taken:
            self._overdue_taken[why] -= 1

    def _sweep(self) -> None:
        self._gone = 0
        for timers in (self._tries, self._lates, *self._ready.values()):
            timers.sweep()
        self._late = deque(row for row in self._late if row.stage is not Stage.GONE)
        self._expired = deque(row for row in self._expired if row.stage is not Stage.GONE)


def _urgency(row: Unfinished) -> float:
    """When it has to come up whatever its account says: who has the least time left comes first."""
    return row.expires_at if row.state == "replay" else row.given_up_at


def _waits(row: Unfinished) -> bool:
    return row.stage is Stage.IDLE


def _not_gone(row: Unfinished) -> bool:
    return row.stage is not Stage.GONE
