"""Contenders that come from elsewhere: installed on demand, in an environment of their own beside the results."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.bench.contract import Contender, module

LOCK: Final = Path("deploy/requirements/peers.txt")
HOME: Final = Path("bench-out/peers")
PYTHON: Final = HOME / "bin" / "python"

FASTSTREAM: Final = Contender(
    "faststream-concurrent", ("events", "handler", "calls"), module("peer_faststream", str(PYTHON))
)
PEERS: Final = (FASTSTREAM,)


def install(say: Callable[[str], None]) -> tuple[Contender, ...]:
    """Make the environment, unless it is there and as new as its lock. Raises CalledProcessError."""
    stamp = HOME / ".installed"
    if not stamp.exists() or stamp.read_bytes() != LOCK.read_bytes():
        say("installing the peers (once)")
        uv = str(Path(sys.executable).parent / "uv")
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(HOME)], check=True)
        subprocess.run(
            [uv, "pip", "install", "--quiet", "--python", str(PYTHON), "--require-hashes", "-r", str(LOCK)], check=True
        )
        stamp.write_bytes(LOCK.read_bytes())
    return PEERS
