"""The simulated Walmart as a child process: start, stop, kill -9, start again with the same journal and ports."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import orjson

START_SECONDS = 20.0
"""Longest wait for the address line."""


class WalmartDidNotStartError(RuntimeError):
    """The process ended, or said nothing, before it told its address; why is on its standard error."""


class WalmartProcess:
    """One process and how to start it again. Use `start_walmart` or `running_walmart`."""

    def __init__(self, arguments: Sequence[str], host: str) -> None:
        self.host = host
        self.port = 0
        self.control_port = 0
        self._arguments = list(arguments)
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """Address of the API; `/_sim` answers here too while it accepts connections."""
        return f"http://{self.host}:{self.port}"

    @property
    def control_url(self) -> str:
        """Address of `/_sim`, open also while the API refuses connections."""
        return f"http://{self.host}:{self.control_port}"

    @property
    def pid(self) -> int:
        """Process id of the latest process."""
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def running(self) -> bool:
        """True until the process has ended."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start; after the first time, on the ports it had. Raises WalmartDidNotStartError."""
        if self.running:
            raise RuntimeError("it is running already")
        ports = ["--host", self.host, "--port", str(self.port), "--control-port", str(self.control_port)]
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "worker.sandbox.walmart",
            *ports,
            "--watch-stdin",
            *self._arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(START_SECONDS):
                line = await self._process.stdout.readline()
            address = orjson.loads(line)
        except (TimeoutError, orjson.JSONDecodeError) as error:
            await self.kill()
            raise WalmartDidNotStartError("the simulated Walmart did not start; see its standard error") from error
        self.port, self.control_port = address["port"], address["control_port"]

    async def stop(self, timeout: float = 10.0) -> int:
        """SIGTERM and wait; its exit code (negative: a signal). Killed when it takes longer."""
        process = self._process
        assert process is not None, "not started"
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(timeout):
                return await process.wait()
        except TimeoutError:
            await self.kill()
            return await process.wait()

    async def kill(self) -> None:
        """SIGKILL (`kill -9`) and wait until it is gone."""
        assert self._process is not None, "not started"
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def restart(self) -> None:
        """Kill -9 (if it still runs) and start again: same ports, same journal."""
        await self.kill()
        await self.start()


async def start_walmart(
    journal: Path | None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    control_port: int = 0,
    sellers: Sequence[str] = (),
    delay_seconds: float = 0.0,
    unlimited: bool = False,
    arguments: Sequence[str] = (),
) -> WalmartProcess:
    """Start a simulated Walmart and wait until it answers.

    `journal` None: no journal. `sellers`: `id:secret[:market]`, default `sandbox-client:sandbox-secret`.
    `arguments`: any further ones of `python -m worker.sandbox.walmart`. The process ends with its parent.
    Raises WalmartDidNotStartError.
    """
    command = ["--no-journal"] if journal is None else ["--journal", str(journal)]
    for seller in sellers:
        command += ["--seller", seller]
    if delay_seconds:
        command += ["--delay-seconds", str(delay_seconds)]
    if unlimited:
        command.append("--unlimited")
    process = WalmartProcess([*command, *arguments], host)
    process.port, process.control_port = port, control_port
    await process.start()
    return process


@contextlib.asynccontextmanager
async def running_walmart(
    journal: Path | None,
    *,
    sellers: Sequence[str] = (),
    unlimited: bool = False,
    arguments: Sequence[str] = (),
) -> AsyncIterator[WalmartProcess]:
    """A simulated Walmart for the length of a block; stopped at its end."""
    process = await start_walmart(journal, sellers=sellers, unlimited=unlimited, arguments=arguments)
    try:
        yield process
    finally:
        await process.stop()
