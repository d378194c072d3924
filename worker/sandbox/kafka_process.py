"""One broker's process: started with its own log, signalled, waited for; it does not outlive whoever started it."""

from __future__ import annotations

import asyncio
import ctypes
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def end_with_parent() -> Callable[[], None] | None:
    """For `preexec_fn`: the child is killed when the thread that starts it ends (Linux; None elsewhere)."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)  # loaded here: between fork and exec nothing may be

    def ask_the_kernel() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    return ask_the_kernel


class BrokerProcess:
    """A broker as a child process in a process group of its own, so that a Ctrl-C at the terminal does not reach it."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self.log = log
        self._command = list(command)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether the process exists (a paused one does)."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it; its output is appended to the log."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_parent(),
            )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; a process that is gone gets none."""
        if self._process is not None and self.running:
            self._process.send_signal(number)

    def wait(self, timeout_s: float = 10) -> None:
        """Block until it is gone. Only after SIGKILL, which takes no time."""
        if self._process is not None:
            self._process.wait(timeout_s)

    async def ended(self, grace_s: float) -> None:
        """Wait until it is gone; after `grace_s` seconds it is killed."""
        try:
            async with asyncio.timeout(grace_s):
                while self.running:  # noqa: ASYNC110  # a child's end has no portable event outside the main thread
                    await asyncio.sleep(0.02)
        except TimeoutError:
            self.signal(signal.SIGKILL)
            self.wait()

    def log_tail(self, lines: int = 30) -> str:
        """The end of the log."""
        if not self.log.exists():
            return "(no log)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
