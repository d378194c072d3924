"""Help pages that teach: what a command does, then examples that can be copied, then where exit codes are explained."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TypeVar

_Command = TypeVar("_Command", bound=Callable[..., object])

_AS_IT_IS = "\b\n"
"""Before a paragraph whose lines are not to be filled."""


def page(text: str, *examples: str) -> str:
    """A help page. Square brackets would be read as markup."""
    # Each paragraph on one line, so that it is filled to the width of the terminal.
    paragraphs = [" ".join(paragraph.split()) for paragraph in inspect.cleandoc(text).split("\n\n")]
    shown = "\n".join(f"  {line}" for line in examples)
    return "\n\n".join([*paragraphs, f"{_AS_IT_IS}Examples:\n{shown}\n"]).replace("[", r"\[")


def teaches(*examples: str) -> Callable[[_Command], _Command]:
    """Give a command's help page its examples."""

    def decorate(command: _Command) -> _Command:
        command.__doc__ = page(command.__doc__ or "", *examples) + "\nExit codes: see order-sync --help."
        return command

    return decorate
