"""The shape of the settings, read off the models: which keys there are, which are secret, what they are called outside.

A key is a path of names, `("timing", "slo_seconds")` or `("accounts", "main", "client_id")`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

import annotated_types
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from worker.settings import Section, Settings

Key = tuple[str, ...]

ENV_PREFIX: Final = "ORDER_SYNC_"
ENV_CONFIG: Final = "ORDER_SYNC_CONFIG"
NAME: Final = "<NAME>"
"""Stands for the name of an account or store where a key is described in general."""


@dataclass(frozen=True, slots=True)
class Part:
    """One top-level part of the settings: a section, or a table of sections that each have a name."""

    name: str
    section: type[Section]
    named: bool


def _part(name: str, field: FieldInfo) -> Part:
    annotation = field.annotation
    if get_origin(annotation) is dict:
        return Part(name, get_args(annotation)[1], named=True)
    assert isinstance(annotation, type)
    assert issubclass(annotation, Section)
    return Part(name, annotation, named=False)


PARTS: Final[dict[str, Part]] = {name: _part(name, field) for name, field in Settings.model_fields.items()}


def field_of(key: Key) -> FieldInfo | None:
    """The field a key is for; a key inside a mapping (`carriers`) belongs to the mapping's field."""
    part = PARTS.get(key[0]) if key else None
    at = 2 if part is not None and part.named else 1
    if part is None or len(key) <= at:
        return None
    field = part.section.model_fields.get(key[at])
    return field if field is not None and (len(key) == at + 1 or is_mapping(field)) else None


def is_mapping(field: FieldInfo) -> bool:
    """A table of texts, such as `carriers`."""
    return get_origin(field.annotation) is dict


def is_secret(field: FieldInfo) -> bool:
    """Environment only, never shown."""
    return SecretStr in (field.annotation, *get_args(field.annotation))


def is_file(field: FieldInfo) -> bool:
    """Names a file whose content counts."""
    return Path in (field.annotation, *get_args(field.annotation))


def is_optional(field: FieldInfo) -> bool:
    """May be absent."""
    return type(None) in get_args(field.annotation)


def every_field() -> Iterator[tuple[Key, FieldInfo]]:
    """All keys there are, names of accounts and stores as `<NAME>`."""
    for part in PARTS.values():
        for name, field in part.section.model_fields.items():
            yield ((part.name, NAME, name) if part.named else (part.name, name)), field


def dotted(key: Key) -> str:
    """As in TOML: `stores.default.carriers."freight_co:ltl"`."""
    return ".".join(part if re.fullmatch(r"[A-Za-z0-9_<>-]+", part) else f'"{part}"' for part in key)


def env_name(key: Key) -> str:
    """The environment variable for a key."""
    return ENV_PREFIX + "__".join(re.sub(r"[^A-Za-z0-9_<>]", "_", part).upper() for part in key)


def alike(name: str) -> str:
    """The same for names that a variable cannot tell apart: case, `-`, `_`, `.` and spaces do not count."""
    return re.sub(r"[^a-z0-9_]", "_", name.lower())


def at(tree: Any, key: Key) -> Any:
    """What a raw tree holds there; None where nothing."""
    for part in key:
        if not isinstance(tree, dict):
            return None
        tree = tree.get(part)
    return tree


def files_named(settings: Settings) -> dict[Key, Path]:
    """The files that settings name, by the key that names them."""
    found: dict[Key, Path] = {}
    for part in PARTS.values():
        given = getattr(settings, part.name)
        names = [name for name, field in part.section.model_fields.items() if is_file(field)]
        if names:
            sections = {(part.name, name): one for name, one in given.items()} if part.named else {(part.name,): given}
            for key, section in sections.items():
                found |= {(*key, name): path for name in names if (path := getattr(section, name)) is not None}
    return found


def leaves(tree: Mapping[str, Any], above: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Every value of a raw tree that is no table, by its key."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, (*above, name))
        else:
            yield (*above, name), value


def type_name(field: FieldInfo) -> str:
    """What a value looks like, with its range: for people."""
    kinds = [kind for kind in get_args(field.annotation) if kind is not type(None)]
    kind = kinds[0] if is_optional(field) else field.annotation
    if get_origin(kind) is Literal:
        return " · ".join(f"`{choice}`" for choice in get_args(kind))
    if is_mapping(field):
        return "table of texts"
    words: dict[Any, str] = {
        bool: "`true` · `false`",
        int: "whole number",
        float: "number",
        Path: "file",
        SecretStr: "secret",
    }
    return words.get(kind, "text") + _range(field)


def _range(field: FieldInfo) -> str:
    least = next((one.ge for one in field.metadata if isinstance(one, annotated_types.Ge)), None)
    most = next((one.le for one in field.metadata if isinstance(one, annotated_types.Le)), None)
    return "" if least is None and most is None else f", {_plain(least)} to {_plain(most)}"


def _plain(edge: object) -> str:
    return f"{edge:,}" if isinstance(edge, int) else str(edge)
