"""What is wrong with an event, field by field, in words its sender understands.

Pydantic's errors are translated here once; values are shown shortened and scrubbed, and never where they are personal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from schemas.base import VISIBLE
from schemas.scrub import one_line

SHOWN_LENGTH: Final = 60
MAX_TOLD: Final = 20
"""A text names this many problems and counts the rest."""

_PERSONAL: Final = frozenset({"return_center_address"})
"""Nothing below a field of these names is ever shown."""

_KINDS: Final[dict[type, str]] = {
    str: "a text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "an object",
    type(None): "null",
}
_WANTED: Final[dict[str, str]] = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "dict_type": "an object",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistaken field."""

    field: str
    """Where: `data.packages.0.items.1.quantity`; `ce_time` in binary mode, `time` in structured mode."""
    message: str
    """What is wrong with it."""
    value_shown: str | None = None
    """The value as JSON, shortened; None where there is none or it must not be shown."""

    def __str__(self) -> str:
        value = "" if self.value_shown is None else f" = {self.value_shown}"
        return f"{self.field}{value}: {self.message}"


def told(problems: Sequence[Problem]) -> str:
    """All problems in one line."""
    text = "; ".join(str(problem) for problem in problems[:MAX_TOLD])
    rest = len(problems) - MAX_TOLD
    return text if rest <= 0 else f"{text}; and {rest} more"


def shown(value: Any) -> str:
    """A value for people: JSON, at most about 60 characters, containers only by their size."""
    if isinstance(value, str):
        text = one_line(value, SHOWN_LENGTH)
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return one_line(f"{value:.6g}" if abs(value) > 10**18 else repr(value), SHOWN_LENGTH)
    if isinstance(value, list | tuple):
        return f"[{len(value)} entries]" if value else "[]"
    if isinstance(value, dict):
        return f"{{{len(value)} fields}}" if value else "{}"
    return f"({type(value).__name__})"


def problems_of(error: ValidationError, prefix: str) -> tuple[Problem, ...]:
    """The problems of a failed validation, in the order of the fields."""
    return tuple(
        _problem(details, prefix)
        for details in error.errors(include_url=False)
        # A list whose entries are all mistaken is also reported as empty, which it is not.
        if details["type"] != "too_short" or not details["input"]
    )


def _problem(details: ErrorDetails, prefix: str) -> Problem:
    location = details["loc"]
    field = ".".join(part for part in (prefix, *(str(step) for step in location)) if part)
    value = details["input"]
    kind = details["type"]
    if kind == "missing":
        return Problem(field, "missing")
    personal = any(step in _PERSONAL for step in location)
    # JSON inside a text could hold anything, an address too.
    hidden = personal or _encoded_twice(value)
    message = _message(kind, details, value)
    if personal:
        message = message.partition(": write ")[0]
    if value is None and message.startswith("missing"):
        hidden = True
    return Problem(field, message, None if hidden else shown(value))


def _message(kind: str, details: ErrorDetails, value: Any) -> str:
    if kind in _WANTED:
        wanted = _WANTED[kind]
        if value is None:
            return f"must be {wanted} (null counts as missing)"
        if wanted == "a whole number" and isinstance(value, float):
            return "must be a whole number, written without fraction or exponent"
        hint = " (JSON inside a text: it was encoded twice)" if _encoded_twice(value) else ""
        if wanted == "a text" and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**18:
            hint = f': write "{value}"'
        return f"must be {wanted}, not {_KINDS.get(type(value), type(value).__name__)}{hint}"
    limits = details.get("ctx", {})
    match kind:
        case "greater_than_equal":
            return f"must be at least {limits['ge']}"
        case "less_than_equal":
            return f"must be at most {limits['le']}"
        case "string_too_short":
            return "must not be empty"
        case "string_too_long":
            return f"must have at most {limits['max_length']} characters, has {len(value)}"
        case "string_pattern_mismatch":
            if limits["pattern"] == VISIBLE:
                return "must not contain control characters"
            return "must be 1 to 64 letters, digits, - or _, beginning with a letter or digit"
        case "too_short":
            return "must not be an empty list"
        case "too_long":
            return f"must have at most {limits['max_length']} entries, has {limits.get('actual_length')}"
        case "value_error":
            return str(limits["error"])
    return details["msg"]


def _encoded_twice(value: Any) -> bool:
    return isinstance(value, str) and value.lstrip().startswith(("{", "["))
