"""The workers: killed, frozen, stopped and started again, as a supervisor would start them."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from tests.chaos.deeds import Deeds
from worker.sandbox.worker_process import WorkerProcess

_LOOK_S: Final = 0.3
_START_S: Final = 3.0
_ASK_S: Final = 0.5
_STOP_S: Final = 25.0


@dataclass(eq=False)
class Member:
    """One worker's place: a process at a time, one settings file, one log."""

    name: str
    process: WorkerProcess
    ready: bool = False
    frozen: bool = False
    resting: bool = True
    """Not to be looked after: it is down on purpose."""
    started_at: float = 0.0
    """Monotonic seconds."""

    @property
    def alive(self) -> bool:
        """A process is there."""
        return self.process.started and self.process.exit_code is None

    @property
    def up(self) -> bool:
        """It has had the time to start and is not frozen: results can be expected, also during a rebalance."""
        return self.alive and not self.frozen and time.monotonic() - self.started_at > _START_S


class Troop:
    """All of them. `settings_of(instance id or None)` makes a worker's settings."""

    def __init__(self, folder: Path, settings_of: Callable[[str | None], dict[str, Any]], deeds: Deeds) -> None:
        self._folder, self._settings_of, self._deeds = folder, settings_of, deeds
        self.members: list[Member] = []
        self._guests = 0

    def enlist(self, name: str, *, static: bool) -> Member:
        """A new place; nothing is started yet."""
        settings = self._settings_of(f"chaos-{name}" if static else None)
        member = Member(name, WorkerProcess(self._folder, settings, name=name))
        self.members.append(member)
        return member

    @property
    def logs(self) -> list[Path]:
        """Of all that ever ran."""
        return [member.process.log for member in self.members]

    async def start(self, member: Member) -> None:
        """Start it; looked after from now on."""
        await member.process.spawn()
        member.started_at = time.monotonic()
        member.resting = False
        self._deeds.note(f"start {member.name}, pid {member.process.pid}")

    async def kill(self, member: Member) -> None:
        """Kill -9."""
        member.resting, member.ready = True, False
        self._deeds.killed("worker", member.name)
        await member.process.kill()

    async def stop(self, member: Member) -> None:
        """SIGTERM, and wait."""
        member.resting, member.ready = True, False
        code = await member.process.stop(_STOP_S)
        self._deeds.ends[f"stopped {code}"] += 1
        self._deeds.note(f"stopped {member.name}: {code}")

    async def join(self) -> Member:
        """A guest with dynamic membership."""
        self._guests += 1
        guest = self.enlist(f"guest-{self._guests}", static=False)
        await self.start(guest)
        return guest

    def freeze(self, member: Member) -> None:
        """SIGSTOP."""
        member.frozen, member.ready = True, False
        member.process.send_signal(signal.SIGSTOP)

    def thaw(self, member: Member) -> None:
        """SIGCONT."""
        member.frozen = False
        member.process.send_signal(signal.SIGCONT)

    async def look_after(self) -> None:
        """Start again who died by itself; know who is ready; note the times when nobody is up."""
        timeout = aiohttp.ClientTimeout(total=_ASK_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                while await self._look(session):
                    await asyncio.sleep(_LOOK_S)
                with self._deeds.unwell("no worker is up"):
                    while not await self._look(session):
                        await asyncio.sleep(_LOOK_S)

    async def _look(self, session: aiohttp.ClientSession) -> bool:
        """True if one is up."""
        for member in [one for one in self.members if not one.resting]:
            if member.alive:
                member.ready = await member.process.is_ready(session) and not member.frozen and member.alive
            else:
                await self._died(member)
        return any(member.up for member in self.members)

    async def _died(self, member: Member) -> None:
        member.ready = False
        if member.resting or member.alive:
            return
        self._deeds.ends[f"died {member.process.exit_code}"] += 1
        self._deeds.note(f"{member.name} died: {member.process.exit_code}")
        await self.start(member)

    async def muster(self, within_s: float) -> None:
        """Everybody up; wait until all are ready. Raises TimeoutError."""
        for member in self.members:
            if member.frozen:
                self.thaw(member)
            if not member.alive and not member.name.startswith("guest"):
                await self.start(member)
        async with asyncio.timeout(within_s):
            while not all(member.ready for member in self.members if not member.resting):
                await asyncio.sleep(_LOOK_S)

    async def end(self) -> None:
        """Kill whatever still runs."""
        for member in self.members:
            member.resting = True
            with contextlib.suppress(ProcessLookupError):
                await member.process.kill()
