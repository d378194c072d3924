"""The one thin async driver of the lanes: gives turns, bounds how many run, and waits for the next one due."""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from worker.clock import Clock
from worker.lanes.gates import Hold
from worker.lanes.lanes import Entry, Lanes

T = TypeVar("T")
R = TypeVar("R")

_SET_BACK_S = 1.0
"""By less a clock is corrected without anybody noticing."""
_AT_ONCE = 100
"""Evicted entries begun before the event loop is given to others."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Try the entry again, not before `at` (epoch seconds)."""

    at: float
    lets_pass: bool = False
    behind: tuple[str, ...] = ()
    """Gates it stands behind from now on, besides those it has."""


class Engine(Generic[T, R]):
    """Runs `attempt` for each turn, then `conclude` on what it returned.

    An attempt holds one of `max_running` slots and counts at its gates; a conclusion (publishing) holds only its lane.
    For an entry that was evicted `evicted` says what becomes of it, without an attempt. `waited` is told before a turn
    how many seconds gates held the entry, and why. None of them may raise: they
    turn failures into values. What raises all the same reaches `failed`, and the entry is retried in a second.
    """

    def __init__(
        self,
        lanes: Lanes[T],
        *,
        attempt: Callable[[T], Awaitable[R]],
        conclude: Callable[[T, R], Awaitable[Retry | None]],
        failed: Callable[[T, BaseException], None],
        clock: Clock,
        max_running: int,
        evicted: Callable[[T], R] | None = None,
        waited: Callable[[T, Mapping[Hold, float]], None] | None = None,
    ) -> None:
        self.lanes = lanes
        self._attempt = attempt
        self._conclude = conclude
        self._evicted = evicted
        self._waited = waited
        self._failed = failed
        self._clock = clock
        self._max_running = max_running
        self._wake = asyncio.Event()
        self._tasks: dict[Entry[T], asyncio.Task[None]] = {}
        self._attempting: set[Entry[T]] = set()
        self._stopped = False
        self._ahead_s = -math.inf
        """Of the clock, against the loop's, which only ever runs on."""
        lanes.on_wake(self._wake.set)

    @property
    def in_flight(self) -> int:
        """Attempts running right now."""
        return len(self._attempting)

    @property
    def running(self) -> list[T]:
        """Items whose attempt or conclusion runs right now."""
        return [entry.item for entry in self._tasks]

    @property
    def busy(self) -> int:
        """Entries whose attempt or conclusion runs right now."""
        return len(self._tasks)

    def add(self, entry: Entry[T]) -> None:
        """Put an entry into its lane and see to it."""
        self.lanes.add(entry)

    def configure(self, max_running: int) -> None:
        """Take a new bound; turns that run beyond it end as they are."""
        self._max_running = max_running
        self._wake.set()

    def wake(self) -> None:
        """Look again: the clock was changed. What happens to lanes and gates is noticed without it."""
        self._wake.set()

    async def run(self) -> None:
        """Give turns until `stop`, or until cancelled."""
        while not self._stopped:
            self._heed_clock()
            if self._give_evicted():
                await asyncio.sleep(0)
                continue
            now = self._clock.now()
            while len(self._attempting) < self._max_running and (entry := self.lanes.take(now)) is not None:
                self._begin(entry)
            # Nothing was awaited since the lanes were looked at: whatever comes from here on is noticed.
            self._wake.clear()
            due = self.lanes.next_at(now) if len(self._attempting) < self._max_running else None
            try:
                # Later than `now`, but maybe not later than the clock by now: never without giving others the loop.
                async with asyncio.timeout(None if due is None else max(0.001, due - self._clock.now())):
                    await self._wake.wait()
            except TimeoutError:
                pass

    def _heed_clock(self) -> None:
        ahead_s = self._clock.now() - asyncio.get_running_loop().time()
        if ahead_s < self._ahead_s - _SET_BACK_S:
            self.lanes.set_back(self._ahead_s - ahead_s)
        self._ahead_s = ahead_s

    def _give_evicted(self) -> bool:
        """Begin some turns of evicted entries: they need no slot. False: there is none left."""
        for _ in range(_AT_ONCE):
            entry = self.lanes.take_evicted()
            if entry is None:
                return False
            self._begin(entry)
        return True

    def _begin(self, entry: Entry[T]) -> None:
        if not entry.evicted_turn:
            self._attempting.add(entry)
        self._tasks[entry] = task = asyncio.create_task(self._turn(entry))
        task.add_done_callback(functools.partial(self._ended, entry))

    async def _turn(self, entry: Entry[T]) -> None:
        try:
            if self._waited is not None and (waited := self.lanes.waits(entry, self._clock.now())):
                self._waited(entry.item, waited)
            if entry.evicted_turn and self._evicted is not None:
                result = self._evicted(entry.item)
            else:
                result = await self._attempt(entry.item)
                self._attempting.discard(entry)
                self._wake.set()
                self.lanes.attempted(entry)
            retry = await self._conclude(entry.item, result)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # A client leaked a cancellation of its own: nobody let go of this entry.
            self._fail(entry, error)
        except Exception as error:  # noqa: BLE001  # the last net: an entry must never vanish from its lane
            self._fail(entry, error)
        else:
            if retry is None:
                self.lanes.settle(entry)
            else:
                self.lanes.retry(entry, at=retry.at, lets_pass=retry.lets_pass, behind=retry.behind)

    def _fail(self, entry: Entry[T], error: BaseException) -> None:
        self._failed(entry.item, error)
        self.lanes.retry(entry, at=self._clock.now() + 1.0)

    def _ended(self, entry: Entry[T], task: asyncio.Task[None]) -> None:
        # Not in `_turn`: a task that is cancelled before its first step never enters its coroutine.
        if self._tasks.get(entry) is not task:
            # It has its next turn already: one that was evicted meanwhile gets it in the step that ended this one.
            return
        if task.cancelled():
            # Dropped on a rebalance or stop: its offset is not finished, so it will be read again.
            self.lanes.settle(entry)
        self._attempting.discard(entry)
        del self._tasks[entry]
        self._wake.set()

    async def release(
        self, wanted: Callable[[T], bool], *, must_finish: Callable[[T], bool], budget_s: float
    ) -> list[T]:
        """Let go of the wanted items: queued ones are forgotten, running ones end within `budget_s` seconds.

        An attempt is cancelled unless it `must_finish` at this moment (a write is on its way); a conclusion is waited
        for. What is still running after the budget is cancelled, too. Returns the forgotten items.
        """
        dropped = [entry.item for entry in self.lanes.drop(lambda entry: wanted(entry.item))]
        deadline = asyncio.get_running_loop().time() + budget_s
        while tasks := {entry: task for entry, task in self._tasks.items() if wanted(entry.item)}:
            over = asyncio.get_running_loop().time() >= deadline
            for entry, task in tasks.items():
                if over or (entry in self._attempting and not must_finish(entry.item)):
                    task.cancel()
                    dropped.append(entry.item)
            await asyncio.wait(tasks.values(), timeout=0.02)
            # Retries put back meanwhile belong to what is let go of.
            dropped += [entry.item for entry in self.lanes.drop(lambda entry: wanted(entry.item))]
        return dropped

    async def finish(self, keep: Callable[[T], bool], budget_s: float) -> None:
        """Finish what runs and what is to be kept of the queued, within `budget_s` seconds; then give no more turns.

        What is kept but waits (for a retry, at a gate) is not waited for; what is evicted leaves.
        """
        self.lanes.drop(lambda entry: not keep(entry.item))
        deadline = asyncio.get_running_loop().time() + budget_s
        idle = 0
        while idle < 2 and asyncio.get_running_loop().time() < deadline:
            self._wake.set()
            # Twice without anything running: whatever could have its turn has had it.
            idle = 0 if self._tasks else idle + 1
            if self._tasks:
                await asyncio.wait(list(self._tasks.values()), timeout=0.02)
            else:
                await asyncio.sleep(0.02)
        self._stopped = True
        self._wake.set()
