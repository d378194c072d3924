"""What was done to the system, and when: a log for people, counts, and the times when the world was not well."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from tests.chaos.stalls import Span

Victim = Literal["worker", "broker", "walmart"]


@dataclass
class Deeds:
    """Of one run."""

    log: Path
    kills: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    """Everything but kills, by kind."""
    ends: Counter[str] = field(default_factory=Counter)
    """How workers ended that were not killed: `stopped 0`, `died 1`, …"""
    lines: list[tuple[float, str]] = field(default_factory=list)
    _unwell: list[Span] = field(default_factory=list)
    _ill_since: dict[str, float] = field(default_factory=dict)

    def note(self, text: str) -> None:
        """Write it down."""
        now = time.time()
        self.lines.append((now, text))
        with self.log.open("a") as file:
            file.write(f"{clock(now)} {text}\n")

    def killed(self, victim: Victim, name: str) -> None:
        """Count a kill -9."""
        self.kills[victim] += 1
        self.note(f"kill -9 {name}")

    def did(self, fault: str, particulars: str = "") -> None:
        """Count another fault."""
        self.faults[fault] += 1
        self.note(f"{fault} {particulars}".rstrip())

    @contextmanager
    def unwell(self, what: str, grace_s: float = 0.0) -> Iterator[None]:
        """While this lasts, and a little longer, nobody can expect results."""
        begin = time.time()
        self._ill_since[what] = begin
        try:
            yield
        finally:
            del self._ill_since[what]
            self._unwell.append(Span(begin, time.time() + grace_s))

    def unwell_spans(self) -> list[Span]:
        """So far."""
        return [*self._unwell, *(Span(begin, float("inf")) for begin in self._ill_since.values())]

    def around(self, begin: float, end: float) -> list[str]:
        """What was done between two moments (epoch seconds)."""
        return [f"{clock(at)} {text}" for at, text in self.lines if begin <= at <= end]


def clock(at: float) -> str:
    """Epoch seconds as the worker's logs have them."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
