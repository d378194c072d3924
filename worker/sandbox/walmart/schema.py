"""A JSON Schema, compiled into plain functions: a few microseconds per body instead of hundreds.

Only the keywords that Walmart's request schemas use. An unknown keyword is an error at compile time, so nothing is
skipped silently; a property test compares the verdicts with those of the `jsonschema` library.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

_ANNOTATIONS: Final = frozenset({"description", "default", "format", "xml", "writeOnly"})
_RULES: Final = frozenset({"type", "required", "properties", "items", "enum"})


@dataclass(slots=True)
class Mismatch:
    """The first place where a value breaks its schema."""

    kind: Literal["type", "required", "enum"]
    problem: str
    path: list[str | int] = field(default_factory=list)
    """From the root to the value; for `required`, the last step is the absent property."""

    @property
    def field(self) -> str:
        """Name of the property concerned."""
        return next((step for step in reversed(self.path) if isinstance(step, str)), "body")

    def under(self, step: str | int) -> Mismatch:
        """The same, seen from one level up."""
        self.path.insert(0, step)
        return self


Check = Callable[[Any], "Mismatch | None"]


def compile_schema(schema: dict[str, Any]) -> Check:
    """Compile. Raises ValueError on a keyword or type that is not supported."""
    unknown = set(schema) - _ANNOTATIONS - _RULES
    if unknown:
        raise ValueError(f"keywords not supported: {', '.join(sorted(unknown))}")
    checks: list[Check] = []
    if "type" in schema:
        checks.append(_type(schema["type"]))
    if "enum" in schema:
        checks.append(_enum(schema["enum"]))
    if "required" in schema or "properties" in schema:
        checks.append(_object(schema.get("required", []), schema.get("properties", {})))
    if "items" in schema:
        checks.append(_items(compile_schema(schema["items"])))
    if len(checks) == 1:
        return checks[0]

    def check(value: Any) -> Mismatch | None:
        for each in checks:
            mismatch = each(value)
            if mismatch is not None:
                return mismatch
        return None

    return check


def _is_integer(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (isinstance(value, float) and value.is_integer())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TYPES: Final[dict[str, Callable[[Any], bool]]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": _is_integer,
    "number": _is_number,
}


def _type(name: str) -> Check:
    if name not in _TYPES:
        raise ValueError(f"type not supported: {name}")
    is_it = _TYPES[name]
    return lambda value: None if is_it(value) else Mismatch("type", f"is not of type {name}")


def _enum(values: list[Any]) -> Check:
    if not all(isinstance(value, str) for value in values):
        raise ValueError("only enumerations of text are supported")
    allowed = frozenset(values)
    return lambda value: (
        None if isinstance(value, str) and value in allowed else Mismatch("enum", "is not one of the allowed values")
    )


def _object(required: list[str], properties: dict[str, Any]) -> Check:
    compiled = [(name, compile_schema(schema)) for name, schema in properties.items()]

    def check(value: Any) -> Mismatch | None:
        if not isinstance(value, dict):
            return None
        for name in required:
            if name not in value:
                return Mismatch("required", "is required", [name])
        for name, inner in compiled:
            if name in value:
                mismatch = inner(value[name])
                if mismatch is not None:
                    return mismatch.under(name)
        return None

    return check


def _items(inner: Check) -> Check:
    def check(value: Any) -> Mismatch | None:
        if not isinstance(value, list):
            return None
        for index, item in enumerate(value):
            mismatch = inner(item)
            if mismatch is not None:
                return mismatch.under(index)
        return None

    return check
