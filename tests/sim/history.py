"""What happened, when and to whom: kept only where somebody is going to read it. And how often, always."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import structlog

from tests.sim.virtual_loop import PROCESS, Process


class History:
    """One line per happening, and counters of what was covered."""

    current: History | None = None
    """Where the product's own log lines go."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, keep: bool) -> None:
        self._loop = loop
        self.keep = keep
        self.lines: list[str] = []
        self.counts: Counter[str] = Counter()

    def count(self, what: str, by: int = 1) -> None:
        """Note that it was covered."""
        self.counts[what] += by

    def add(self, what: str, who: Process | str | None = None) -> None:
        """Note a happening, where notes are kept."""
        if self.keep:
            process = who if who is not None else PROCESS.get()
            self.lines.append(f"{self._loop.time() - 1_000:9.3f} {process or 'world'!s:>10}  {what}")


class HistoryLogger(structlog.BoundLoggerBase):
    """Takes the product's own log lines: counted, and told in the history where one is kept."""

    def _take(self, level: str, event: str, more: dict[str, Any]) -> None:
        history = History.current
        if history is None:
            return
        history.counts[f"log: {event}"] += 1
        if history.keep:
            error = more.pop("exc_info", None)
            more.pop("story", None)
            told = " ".join(f"{key}={value}" for key, value in {**self._context, **more}.items())
            history.add(f"log {level} {event} {told}" + (f" {error!r}" if error else ""))

    def debug(self, event: str = "", **more: Any) -> None:
        self._take("debug", event, more)

    def info(self, event: str = "", **more: Any) -> None:
        self._take("info", event, more)

    def warning(self, event: str = "", **more: Any) -> None:
        self._take("warning", event, more)

    def error(self, event: str = "", **more: Any) -> None:
        self._take("error", event, more)

    critical = error

    @staticmethod
    def canonical(_: object, line: dict[str, Any]) -> None:
        """The product's lines of outcomes, which go past structlog."""
        taken = {key: value for key, value in line.items() if value is not None and key != "time"}
        HistoryLogger(None, (), {})._take(taken.pop("level"), taken.pop("event"), taken)

    def exception(self, event: str = "", **more: Any) -> None:
        self._take("error", event, more)
