"""An event loop whose time is a number: nothing is ever waited for, and every callback belongs to a process.

A process is a contextvar. What it schedules carries it along, so that a *stalled* process (SIGSTOP) has its callbacks
held back until it wakes up, all at once and late, and a *dead* one (kill -9) never runs another: no finally block, no
goodbye. Broker and Walmart live in no process at all.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final, Literal

PROCESS: Final[contextvars.ContextVar[Process | None]] = contextvars.ContextVar("process", default=None)

_EPSILON: Final = 1e-7
_MANY_CANCELLED: Final = 200
_MOST_STEPS_AT_ONCE: Final = 500_000


class IdleError(RuntimeError):
    """Time stands still: everybody waits for somebody else, or somebody spins."""


class Process:
    """Something that can be stopped, woken up and killed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state: Literal["running", "stalled", "dead"] = "running"
        self.held: list[asyncio.Handle] = []
        """Callbacks that are due, while it is stalled."""
        self.cut_off_until = 0.0
        """Loop time until which it reaches nobody."""
        self.tasks: list[asyncio.Task[Any]] = []
        """Of a dead process: kept, so that nobody closes their coroutines (which would run their finally blocks)."""
        self.clock_ahead_s = 0.0
        """By how much its wall clock is ahead of the true time. The loop's own time is the same for all."""

    def __repr__(self) -> str:
        return self.name

    @property
    def runs(self) -> bool:
        """True unless it is stalled or dead."""
        return self.state == "running"


class _NoSelector:
    """Stands where the base class expects one; nothing is ever selected."""

    def close(self) -> None:
        """Nothing to close."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Seconds pass by being counted."""

    # asyncio's own, of which the types say nothing.
    _ready: deque[Any]
    _scheduled: list[Any]
    _timer_cancelled_count: int

    def __init__(self) -> None:
        super().__init__()
        self._now = 1_000.0
        self._selector = _NoSelector()
        self._nowhere = contextvars.Context()
        self._owners: weakref.WeakKeyDictionary[asyncio.Future[Any], Process | None] = weakref.WeakKeyDictionary()
        self.steps = 0
        """Callbacks run so far."""
        self._moment = (0.0, 0)

    def time(self) -> float:
        return self._now

    def in_world(self, delay_s: float, act: Callable[..., object], *args: Any) -> asyncio.TimerHandle:
        """Call later, outside of any process."""
        return self.call_at(self._now + delay_s, act, *args, context=self._nowhere)

    def begin(
        self, process: Process, coroutine: Coroutine[Any, Any, Any], name: str | None = None
    ) -> asyncio.Task[Any]:
        """Run a coroutine as (part of) a process."""
        context = contextvars.Context()
        context.run(PROCESS.set, process)
        task: asyncio.Task[Any] = self.create_task(coroutine, name=name, context=context)
        return task

    def create_task(self, coro: Any, *, name: object = None, context: contextvars.Context | None = None) -> Any:
        task = super().create_task(coro, name=name, context=context)
        self._owners[task] = PROCESS.get() if context is None else context.get(PROCESS)
        return task

    def owner(self, task: asyncio.Future[Any]) -> Process | None:
        """The process a task belongs to."""
        return self._owners.get(task)

    # -- what can happen to a process

    def stall(self, process: Process) -> None:
        """SIGSTOP."""
        if process.state == "running":
            process.state = "stalled"

    def wake(self, process: Process) -> None:
        """SIGCONT: what was due happens now."""
        if process.state == "stalled":
            process.state = "running"
            self._ready.extend(process.held)
            process.held.clear()

    def kill(self, process: Process) -> None:
        """SIGKILL."""
        process.state = "dead"
        process.held.clear()
        process.tasks = [task for task in asyncio.all_tasks(self) if self._owners.get(task) is process]

    def bury(self, process: Process) -> None:
        """Free what a dead process holds, once the loop has stopped. Whatever it says in its last moment is ignored."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for task in process.tasks:
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                coroutine = task.get_coro()
                for _ in range(50):
                    try:
                        coroutine.close()
                    except BaseException:  # noqa: BLE001  # a finally block that awaits is asked again
                        continue
                    break
            process.tasks.clear()

    # -- asyncio's inner workings

    def _run_once(self) -> None:
        ready, scheduled = self._ready, self._scheduled
        if self._timer_cancelled_count > _MANY_CANCELLED and self._timer_cancelled_count * 2 > len(scheduled):
            kept = []
            for timer in scheduled:
                if timer._cancelled:
                    timer._scheduled = False
                else:
                    kept.append(timer)
            heapq.heapify(kept)
            self._scheduled = scheduled = kept
            self._timer_cancelled_count = 0
        while scheduled and scheduled[0]._cancelled:
            self._timer_cancelled_count -= 1
            heapq.heappop(scheduled)._scheduled = False
        if not ready:
            if not scheduled:
                raise IdleError("nothing is left to happen")
            self._now = max(self._now, scheduled[0]._when)
        since, steps = self._moment
        if self._now != since:
            self._moment = (self._now, self.steps)
        elif self.steps - steps > _MOST_STEPS_AT_ONCE:
            raise IdleError(f"somebody spins: {list(ready)[:5]}")
        end = self._now + _EPSILON
        while scheduled and scheduled[0]._when < end:
            timer = heapq.heappop(scheduled)
            timer._scheduled = False
            ready.append(timer)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            process = handle._context.get(PROCESS)
            if process is not None and process.state != "running":
                if process.state == "stalled":
                    process.held.append(handle)
                continue
            self.steps += 1
            handle._run()

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody else is there to be woken."""
