"""Field tables of the README, from the models: what a commerce developer looks up."""

from __future__ import annotations

import re
from typing import Any, Final

import schemas.generators.shapes as shapes
from schemas.deadletter import HEADERS
from schemas.events import ORDER_CANCELLED_TYPE, ORDER_SHIPPED_TYPE
from schemas.results import SYNC_RESULT_TYPE

Json = dict[str, Any]
_MARKED: Final = re.compile(r"(<!-- generated: (?P<name>\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def fill(text: str) -> str:
    """The text with every marked place filled: `<!-- generated: NAME --> … <!-- end -->`."""
    return _MARKED.sub(lambda match: f"{match[1]}\n{table(match['name'])}\n{match[3]}", text)


def table(name: str) -> str:
    """One table by its name: a type of events or results, or `dead-letter-headers`."""
    if name == "dead-letter-headers":
        return _rows(
            ("header", "value", "meaning"),
            [(f"`{header.name}`", header.kind.name, header.meaning) for header in HEADERS],
        )
    schema = shapes.SHAPES[name]()
    return _rows(("field", "type", "needed", "meaning"), _fields(schema, schema.get("$defs", {}), "", name))


def _fields(schema: Json, models: Json, prefix: str, name: str) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    needed = schema.get("required", [])
    for field, shape in schema["properties"].items():
        kinds = [kind for kind in shape.get("anyOf", [shape]) if kind.get("type") != "null"]
        kind = kinds[0]
        listed = kind.get("type") == "array"
        inner = kind["items"] if listed else kind
        model = models.get(str(inner.get("$ref", "")).removeprefix("#/$defs/"))
        path = f"{prefix}{field}" + ("[]" if listed else "")
        nullable = len(shape.get("anyOf", ())) > len(kinds)
        rows.append(
            (
                f"`{path}`",
                ("list of objects" if listed else "object") if model else _kind(kind),
                _needed(name, is_needed=field in needed, nullable=nullable),
                shape.get("description") or (model or {}).get("description", ""),
            )
        )
        if model:
            rows += _fields(model, models, path + ".", name)
    return rows


def _needed(name: str, *, is_needed: bool, nullable: bool) -> str:
    if name == SYNC_RESULT_TYPE:
        return "may be null" if nullable else "always"
    return "yes" if is_needed and not nullable else ""


def _kind(kind: Json) -> str:
    if "enum" in kind:
        return " · ".join(f"`{value}`" for value in kind["enum"])
    types = kind.get("type", "any")
    if isinstance(types, list):
        types = types[0]
    if kind.get("format") == "date-time":
        return "time"
    match types:
        case "string":
            if "minLength" in kind:
                return f"text, 1–{kind['maxLength']}"
            if "maxLength" in kind:
                return f"text, ≤ {kind['maxLength']}"
            return "text"
        case "integer":
            return f"whole number ≥ {kind['minimum']}" if "minimum" in kind else "whole number"
        case "boolean":
            return "true or false"
        case "array":
            return "list"
    return str(types)


def _rows(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


EVENT_TABLES: Final = (ORDER_SHIPPED_TYPE, ORDER_CANCELLED_TYPE, SYNC_RESULT_TYPE, "dead-letter-headers")
