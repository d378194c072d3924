"""Exit codes of every command: the only place they are defined.

`worker/cli/README.md` holds the same table; a test fails when they drift.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class ExitCode(IntEnum):
    """What a command ends with."""

    OK = 0
    FAILED = 1
    MISTAKE = 2
    UNREACHABLE = 3
    RESTART = 4
    NO_ANSWER = 5
    BUG = 70
    INTERRUPTED = 130


MEANINGS: Final[dict[ExitCode, str]] = {
    ExitCode.OK: "everything asked for was done",
    ExitCode.FAILED: "an event failed, a check found a mistake, or a key is not there",
    ExitCode.MISTAKE: "a mistake in what was given: options, settings, an event file",
    ExitCode.UNREACHABLE: "Kafka or Walmart did not answer, or a topic is not there",
    ExitCode.RESTART: "the worker cannot go on (membership lost, or a part died): start it again",
    ExitCode.NO_ANSWER: "asked, but no final result in time; it may still come",
    ExitCode.BUG: "an unexpected error in order-sync: please report it",
    ExitCode.INTERRUPTED: "ended by Ctrl-C, or at once by a second signal",
}


def help_text() -> str:
    """The table for the end of a help page."""
    lines = (f"  {code.value:>3}  {meaning}" for code, meaning in MEANINGS.items())
    return "Exit codes:\n" + "\n".join(lines)


def markdown() -> str:
    """The table for the README."""
    rows = "\n".join(f"| {code.value} | {meaning} |" for code, meaning in MEANINGS.items())
    return f"| code | meaning |\n|---|---|\n{rows}\n"
