"""What commands print: text for people on a console, one JSON document for machines, errors on standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn

import typer

from worker.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_PIPED_WIDTH: Final = 180
"""Columns where nobody looks."""
_WIDE: Final = 2_000


def console(*, stderr: bool = False, wide: bool = False) -> Console:
    """A console on standard output or standard error as they are now.

    `wide`: lines are as long as they need to be; a terminal wraps them, and what is copied stays whole.
    """
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = _WIDE if wide else None if stream.isatty() or "COLUMNS" in os.environ else _PIPED_WIDTH
    return Console(file=stream, width=width, highlight=False)


def emit(document: Any) -> None:
    """One JSON document on standard output."""
    import orjson

    sys.stdout.write(orjson.dumps(document, option=orjson.OPT_INDENT_2, default=str).decode() + "\n")


def end(code: ExitCode, message: str | None = None, *, as_json: bool = False, lines: Sequence[str] = ()) -> NoReturn:
    """End the command, with a message (and details below it) where there is something to say."""
    if message is not None and as_json:
        emit({"error": message, "exit_code": int(code), **({"details": list(lines)} if lines else {})})
    elif message is not None:
        errors = console(stderr=True)
        errors.print(cell(message, 2_000, style="" if code is ExitCode.OK else "red"), soft_wrap=True)
        for line in lines:
            errors.print("  ", cell(line, 2_000), sep="", soft_wrap=True)
    raise typer.Exit(int(code))


def cell(value: object, limit: int = 300, *, style: str = "") -> Text:
    """Anything as text on one line: no markup in it counts, no control character reaches the terminal."""
    text = " ".join(_printable("" if value is None else str(value)).split())
    return _text(text if len(text) <= limit else text[: limit - 1] + "…", style)


def exact(value: str, *, style: str = "") -> Text:
    """A name that will be copied into the next command: whole, but without control characters."""
    return _text(_printable(value, "�"), style)


def _printable(text: str, instead: str = " ") -> str:
    return text if text.isprintable() else "".join(char if char.isprintable() else instead for char in text)


def _text(text: str, style: str) -> Text:
    from rich.text import Text

    return Text(text, style=style, overflow="fold")
