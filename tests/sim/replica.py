"""One worker process of the simulation: it starts, crashes, sleeps, wakes up, stops, and is started again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection
from typing import Any

from aiokafka.errors import KafkaError

from tests.sim.history import History
from tests.sim.virtual_loop import Process, VirtualLoop
from worker.app import StoppedError, Worker
from worker.clock import Clock
from worker.settings import Settings

RESTART_S = 1.0


class Replica:
    """A place for a worker, as a StatefulSet has them: the same name in every incarnation."""

    def __init__(
        self,
        name: str,
        loop: VirtualLoop,
        clock: Clock,
        settings: Settings,
        seed: str,
        history: History,
        broken: Callable[[str], None],
        died: Callable[[Process], None],
        *,
        clock_ahead_s: float = 0.0,
        taken: Callable[[Process, Settings], None] = lambda *_: None,
    ) -> None:
        """`taken` is told which settings a process works with from now on."""
        self.name, self._loop, self._clock, self._seed = name, loop, clock, seed
        self._settings, self._history, self._broken, self._died = settings, history, broken, died
        self._taken = taken
        self._incarnations = 0
        self.process: Process | None = None
        self.worker: Worker | None = None
        self.graveyard: list[Process] = []
        self.wanted = True
        """False once it is asked to stop for good."""
        self.clock_ahead_s = clock_ahead_s
        """Of its machine: every incarnation has the same wall clock."""
        self.twin: Replica | None = None
        """A second place with the same `group_instance_id`, by somebody's mistake."""

    @property
    def alive(self) -> bool:
        """Running or stalled."""
        return self.process is not None

    @property
    def runs(self) -> bool:
        """Neither stalled nor gone."""
        return self.process is not None and self.process.runs

    def start(self) -> None:
        """Start a fresh process."""
        if self.process is not None or not self.wanted:
            return
        self._incarnations += 1
        process = self.process = Process(f"{self.name}#{self._incarnations}")
        process.clock_ahead_s = self.clock_ahead_s
        self._history.add("starts", process)
        task = self._loop.begin(process, self._live(process), name=str(process))
        task.add_done_callback(lambda done: self._loop.in_world(0.0, self._ended, process, done))

    async def _live(self, process: Process) -> None:
        self._taken(process, self._settings)
        worker = self.worker = Worker(
            self._settings, clock=self._clock, random_source=random.Random(f"{self._seed} {process}")
        )
        await worker.run()

    def _ended(self, process: Process, task: asyncio.Task[Any]) -> None:
        if process.state == "dead":
            return
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        self._history.add("ended" + (f": {error!r}" if error is not None else ""), process)
        if self.process is process:
            self.process = self.worker = None
        if self.twin is not None and isinstance(error, StoppedError) and "taken over" in str(error):
            # Whoever watches over it must not start it again: the two would end each other for ever.
            self._history.count("ended for a process of the same name")
            self.wanted = False
        elif isinstance(error, KafkaError | TimeoutError):
            self._history.count("starts failed for want of Kafka")
        elif error is not None:
            self._history.count("workers that ended by themselves")
            self._broken(f"{process} ended by itself: {error!r}")
        if error is not None and self.wanted:
            self._loop.in_world(RESTART_S, self.start)

    # -- what happens to it

    def kill(self) -> None:
        """Kill -9."""
        process = self.process
        if process is None:
            return
        self._history.count("crashes")
        self._history.add("KILLED", process)
        self._loop.kill(process)
        self._died(process)
        self.graveyard.append(process)
        self.process = self.worker = None

    def stall(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT later."""
        process = self.process
        if process is None or not process.runs:
            return
        self._history.count("stalls")
        self._history.add(f"STALLED for {seconds:.1f} s", process)
        self._loop.stall(process)
        self._loop.in_world(seconds, self._wake, process)

    def _wake(self, process: Process) -> None:
        if process.state == "stalled":
            self._history.add(f"WAKES UP, {len(process.held)} callbacks late", process)
            self._loop.wake(process)

    def wake(self) -> None:
        """SIGCONT now."""
        if self.process is not None:
            self._wake(self.process)

    def set_clock(self, by_s: float) -> None:
        """Somebody (or NTP) sets the machine's clock; what runs on it sees it at once."""
        self._history.count("clocks set back" if by_s < 0 else "clocks set forward")
        self._history.add(f"the clock jumps by {by_s:+.1f} s", self.process or self.name)
        self.clock_ahead_s += by_s
        if self.process is not None:
            self.process.clock_ahead_s = self.clock_ahead_s

    def configure(self, change: Callable[[Settings], Settings], after_s: float, rotated: Collection[str] = ()) -> None:
        """Its settings file was changed; a worker that runs takes that some seconds later."""
        self._settings = change(self._settings)
        self._loop.in_world(after_s, self._take, self.process, rotated)

    def _take(self, process: Process | None, rotated: Collection[str]) -> None:
        if process is None or self.process is not process:
            return
        if not process.runs:
            self._loop.in_world(1.0, self._take, process, rotated)
            return
        self._history.count("settings taken while running")
        self._loop.begin(process, self._configure(process, self.worker, self._settings, rotated))

    async def _configure(
        self, process: Process, worker: Worker | None, settings: Settings, rotated: Collection[str]
    ) -> None:
        if worker is not None:
            worker.configure(settings, rotated=rotated)
            self._taken(process, settings)

    def stop(self, *, for_good: bool = False) -> None:
        """SIGTERM."""
        if for_good:
            self.wanted = False
        if self.process is None:
            return
        self._history.count("clean stops")
        self._history.add("SIGTERM", self.process)
        self._loop.begin(self.process, self._ask_to_stop(self.worker))

    @staticmethod
    async def _ask_to_stop(worker: Worker | None) -> None:
        if worker is not None:
            worker.stop()
