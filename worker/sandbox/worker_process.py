"""A real worker as a process of its own, with a settings file made for it: for the sandbox, tests and benchmarks."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any, Final

import aiohttp

from worker.sandbox.kafka_config import free_port
from worker.sandbox.kafka_process import end_with_parent

SECRET = "sandbox-secret"


class WorkerDiedError(Exception):
    """The worker process ended although it should run; the text holds the end of its log."""


def to_toml(tree: dict[str, Any], prefix: str = "") -> str:
    """A tree of tables, texts, numbers and booleans as TOML."""
    plain = {name: value for name, value in tree.items() if not isinstance(value, dict)}
    lines = [f"[{prefix}]"] if prefix and plain else []
    for name, value in plain.items():
        shown = str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else value
        lines.append(f"{name} = {shown}")
    for name, value in tree.items():
        if isinstance(value, dict):
            lines.append(to_toml(value, f"{prefix}.{name}" if prefix else name))
    return "\n".join(lines) + "\n"


class WorkerProcess:
    """`order-sync run` with a settings file and a log file in `folder`."""

    def __init__(self, folder: Path, settings: dict[str, Any], *, name: str = "worker") -> None:
        """`settings` as in the settings file; the HTTP port is chosen here."""
        self.port = free_port()
        self.config = folder / f"{name}.toml"
        self.log = folder / f"{name}.log"
        self.write(settings)
        self._process: asyncio.subprocess.Process | None = None

    def write(self, settings: dict[str, Any]) -> None:
        """Write the settings file; a worker that runs takes it by itself, or on SIGHUP."""
        self.config.write_text(to_toml({**settings, "http": {"host": "127.0.0.1", "port": self.port}}))

    @property
    def metrics_url(self) -> str:
        """Where Prometheus would scrape it."""
        return f"http://127.0.0.1:{self.port}/metrics"

    @property
    def pid(self) -> int:
        """Process id of the running worker."""
        assert self._process is not None
        return self._process.pid

    @property
    def started(self) -> bool:
        """True once it was started, also when it has ended."""
        return self._process is not None

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return None if self._process is None else self._process.returncode

    async def spawn(self) -> None:
        """Start it (again) and do not wait. It ends with the thread that started it (on Linux)."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "worker.cli.main", "run", "--config", str(self.config),
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                preexec_fn=end_with_parent(),
            )  # fmt: skip

    async def start(self, *, ready_within_s: float = 30) -> None:
        """Start it and wait until it says it is ready. Raises WorkerDiedError."""
        await self.spawn()
        deadline = asyncio.get_running_loop().time() + ready_within_s
        async with aiohttp.ClientSession() as session:
            while asyncio.get_running_loop().time() < deadline:
                if self.exit_code is not None:
                    raise WorkerDiedError(f"exit code {self.exit_code}\n{self.log_tail()}")
                if await self.is_ready(session):
                    return
                await asyncio.sleep(0.05)
        raise WorkerDiedError(f"not ready after {ready_within_s:.0f} s\n{self.log_tail()}")

    async def is_ready(self, session: aiohttp.ClientSession) -> bool:
        """Whether it says so; False also when it does not answer. How long that may take is the session's choice."""
        try:
            async with session.get(f"http://127.0.0.1:{self.port}/readyz") as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    def send_signal(self, number: signal.Signals) -> None:
        """Such as SIGKILL, SIGSTOP, SIGCONT."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def wait(self, timeout_s: float = 30) -> int:
        """Wait for its end; return its exit code."""
        assert self._process is not None
        async with asyncio.timeout(timeout_s):
            return await self._process.wait()

    async def stop(self, timeout_s: float = 30) -> int | None:
        """Stop it cleanly (SIGTERM); kill it when that takes longer than `timeout_s`. Returns its exit code."""
        if self._process is None or self._process.returncode is not None:
            return self.exit_code
        self.send_signal(signal.SIGTERM)
        try:
            return await self.wait(timeout_s)
        except TimeoutError:
            await self.kill()
            return self.exit_code

    async def kill(self) -> None:
        """Kill -9."""
        self.send_signal(signal.SIGKILL)
        if self._process is not None:
            await self._process.wait()

    def log_tail(self, lines: int = 20) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""


UNLIMITED: Final = {
    f"{group}_calls_per_minute": 1_000_000 for group in ("read", "ship", "cancel", "acknowledge", "inventory")
}
"""For an account whose simulated Walmart has no budgets: it tells of none, and the documented ones would be kept."""


def sandbox_settings(
    bootstrap: str, walmart_url: str, secret_file: Path, *, has_budgets: bool = False, **more: Any
) -> dict[str, Any]:
    """Settings of a worker for the simulated Walmart: one account, one store, short times.

    `has_budgets`: that Walmart counts calls as the real one does.
    """
    tree: dict[str, Any] = {
        "kafka": {"bootstrap_servers": bootstrap, "group_id": "order-sync-sandbox", "session_timeout_seconds": 10},
        "accounts": {
            "main": {
                "client_id": "sandbox-client",
                "client_secret_file": str(secret_file),
                "base_url": walmart_url,
                **({} if has_budgets else UNLIMITED),
            }
        },
        "stores": {"sandbox": {"account": "main"}},
        "timing": {
            "call_timeout_seconds": 2,
            "retry_base_seconds": 0.2,
            "retry_max_seconds": 2,
            "parked_retry_max_seconds": 60,
            "read_lag_seconds": 2,
            "probe_seconds": 1,
        },
    }
    for section, values in more.items():
        tree[section] = {**tree.get(section, {}), **values}
    return tree
