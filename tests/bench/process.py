"""Child processes of a run, and what the system says they cost (Linux: `/proc`)."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson

from tests.bench.faults import Faults

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_STOP_S: Final = 30.0
_PR_SET_PDEATHSIG: Final = 1
_libc: Final = ctypes.CDLL(None)


class ChildEndedError(Exception):
    """A child ended although it should run; the text holds what it said last."""


def cpu_seconds(pid: int) -> float:
    """Processor seconds of a process so far, user and system, all threads; counted in steps of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


class Child:
    """A running child process."""

    def __init__(self, process: asyncio.subprocess.Process, errors: Path) -> None:
        self._process = process
        self._errors = errors

    def check(self) -> None:
        """Raise ChildEndedError if it has ended."""
        if self._process.returncode is not None:
            said = self._errors.read_text(errors="replace")[-2_000:]
            raise ChildEndedError(f"exit code {self._process.returncode}\n{said}")

    @property
    def cpu_s(self) -> float:
        """Processor seconds so far."""
        self.check()
        return cpu_seconds(self._process.pid)

    @property
    def peak_mb(self) -> float:
        """The most resident memory it ever had, in MB (10^6 bytes)."""
        return self._memory_mb("VmHWM:")

    @property
    def memory_mb(self) -> float:
        """Its resident memory now, in MB (10^6 bytes)."""
        return self._memory_mb("VmRSS:")

    def _memory_mb(self, name: str) -> float:
        self.check()
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024 / 1e6
        raise ChildEndedError("it has no memory any more")

    async def first_line(self) -> str:
        """The first line of its output (`output` must be wanted)."""
        assert self._process.stdout is not None
        async with asyncio.timeout(_STOP_S):
            return (await self._process.stdout.readline()).decode().strip()

    async def ended(self) -> None:
        """Wait until it has done what it was started for. Raises ChildEndedError where it failed."""
        if await self._process.wait() != 0:
            self.check()

    async def stop(self) -> None:
        """SIGTERM; SIGKILL when that takes too long."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(_STOP_S):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()


def _end_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@asynccontextmanager
async def child(command: Sequence[str], *, output: bool = False) -> AsyncIterator[Child]:
    """Run a command for the length of a block, and no longer than this process: a killed benchmark leaves none behind.

    Its output goes to /dev/null unless it is wanted.
    """
    with tempfile.TemporaryDirectory(prefix="order-sync-bench-") as folder:
        errors = Path(folder, "stderr")
        stdout = asyncio.subprocess.PIPE if output else asyncio.subprocess.DEVNULL
        with errors.open("wb") as file:  # noqa: ASYNC230  # a small file, between two measurements
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=stdout,
                stderr=file,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        running = Child(process, errors)
        try:
            yield running
        finally:
            await running.stop()


class FastWalmart:
    """The running `fast_walmart` and its counters."""

    def __init__(self, process: Child, ports: Sequence[str], session: aiohttp.ClientSession) -> None:
        self.process = process
        self.url, self.side_url = (f"http://127.0.0.1:{port}" for port in ports)
        self._session = session

    async def counts(self) -> dict[str, Any]:
        """`now` (monotonic), `gets`, `posts`, and `faulty`: calls that were not served."""
        return await self._ask("counts")

    async def times(self) -> dict[str, list[float]]:
        """Order id -> GET came, GET answered, POST came, POST answered (monotonic)."""
        return await self._ask("times")

    async def reset(self) -> None:
        """Count from 0 again."""
        await self._ask("reset")

    async def break_(self, faults: Faults) -> None:
        """From now on these are its faults; none: it is as new."""
        await self._ask("faults", orjson.dumps(asdict(faults)))

    async def _ask(self, what: str, content: bytes | None = None) -> dict[str, Any]:
        async with self._session.post(f"{self.url}/bench/{what}", data=content or b"") as answer:
            told: dict[str, Any] = await answer.json()
            return told


@asynccontextmanager
async def fast_walmart(delay_s: float) -> AsyncIterator[FastWalmart]:
    """Run one for the length of a block."""
    command = (sys.executable, "-m", "tests.bench.fast_walmart", str(delay_s))
    async with child(command, output=True) as process, aiohttp.ClientSession() as session:
        yield FastWalmart(process, (await process.first_line()).split(), session)
