"""What `order-sync check` finds: values, printed by the command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "mistake"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    level: Level
    """`mistake`: the worker will not work as it is; `warning`: it will, but read this."""
    subject: str
    message: str
    action: str | None = None
    """One line, what to do; None with `ok`."""


def ok(subject: str, message: str) -> Finding:
    """As it should be."""
    return Finding("ok", subject, message)


def warning(subject: str, message: str, action: str) -> Finding:
    """It works, but."""
    return Finding("warning", subject, message, action)


def mistake(subject: str, message: str, action: str) -> Finding:
    """It does not work."""
    return Finding("mistake", subject, message, action)
