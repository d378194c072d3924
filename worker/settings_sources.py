"""The raw tree of the settings: one TOML file, environment variables over it, and where each value came from."""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from worker.settings_schema import (
    ENV_CONFIG,
    ENV_PREFIX,
    NAME,
    PARTS,
    Key,
    Part,
    alike,
    at,
    dotted,
    env_name,
    every_field,
    field_of,
    is_mapping,
    is_optional,
    is_secret,
    leaves,
)

_MISPLACED: Final = "secrets do not belong into the settings file: set {env} in the environment{or_file}"


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing wrong with the settings. `value` is never a secret; None where it is one, or where there is none."""

    source: str
    """File or environment variable."""
    key: str
    value: str | None
    message: str

    def __str__(self) -> str:
        told = f"{self.key} = {self.value}" if self.value is not None else self.key
        return f"{self.source}: {told}: {self.message}" if told else f"{self.source}: {self.message}"


@dataclass(slots=True)
class Raw:
    """What was given, before it is understood."""

    tree: dict[str, Any] = field(default_factory=dict)
    sources: dict[Key, str] = field(default_factory=dict)
    """Of what came from the environment; everything else came from `file`."""
    file: str | None = None
    mistakes: list[Mistake] = field(default_factory=list)
    mistaken: set[Key] = field(default_factory=set)
    """Keys that a mistake was found for already."""

    def source_of(self, key: Key) -> str:
        """Where the value of a key came from, or where a missing one belongs."""
        if key in self.sources:
            return self.sources[key]
        below = sorted({source for given, source in self.sources.items() if given[: len(key)] == key})
        if below and not (self.file is not None and at(self.tree, key) is None):
            return below[0]
        return self.file if self.file is not None else "environment"

    def mistake(self, key: Key, message: str, *, source: str | None = None, show: bool = True) -> None:
        """Note one, with the value where it may be shown."""
        self.mistaken.add(key)
        value = shown(key, at(self.tree, key)) if show else None
        self.mistakes.append(Mistake(source or self.source_of(key), dotted(key), value, message))


def read(path: Path | None, env: Mapping[str, str]) -> Raw:
    """Everything that was given. `path` absent: the file named by `ORDER_SYNC_CONFIG`, if any."""
    raw = Raw()
    if path is None and env.get(ENV_CONFIG):
        path = Path(env[ENV_CONFIG])
    if path is not None:
        raw.file = os.fspath(path)
        _read_file(path, raw)
    for name in sorted(env):
        if name.startswith(ENV_PREFIX) and name != ENV_CONFIG:
            _read_variable(name, env[name], raw)
    return raw


def _read_file(path: Path, raw: Raw) -> None:
    file = os.fspath(path)
    try:
        raw.tree = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raw.mistakes.append(Mistake(file, "", None, f"cannot be read: {error.strerror or type(error).__name__}"))
    except UnicodeDecodeError as error:
        raw.mistakes.append(Mistake(file, "", None, f"is not UTF-8 (byte {error.start})"))
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"\(at (?:line (\d+), column \d+|end of document)\)", str(error))
        where = f"{file}:{place.group(1)}" if place is not None and place.group(1) else file
        raw.mistakes.append(Mistake(where, "", None, f"is no TOML: {error}"))
    for key, _ in list(leaves(raw.tree)):
        found = field_of(key)
        if found is not None and is_secret(found):
            sibling = (*key[:-1], f"{key[-1]}_file")
            or_file = f", or {dotted(sibling)}" if field_of(sibling) is not None else ""
            raw.mistake(key, _MISPLACED.format(env=env_name(key), or_file=or_file), source=file)
            at(raw.tree, key[:-1]).pop(key[-1])


def _read_variable(name: str, value: str, raw: Raw) -> None:
    rest = name.removeprefix(ENV_PREFIX).lower()
    part_name, separator, rest = rest.partition("__")
    if not separator:
        _one_underscore(name, value, raw)
        return
    part = PARTS.get(part_name)
    if part is None:
        raw.mistakes.append(Mistake(name, part_name, None, f"there is no such section{did_you_mean(part_name, PARTS)}"))
        return
    key = _key(name, part, rest, raw)
    if key is None:
        return
    found = field_of(key)
    parsed: object = value
    if found is not None and value == "":
        if is_secret(found):
            raw.mistake(key, "is empty", source=name)
            return
        if is_optional(found):
            parsed = None
    elif found is not None and is_mapping(found) and key[-1] in part.section.model_fields:
        try:
            parsed = json.loads(value)
        except ValueError:
            raw.mistake(key, 'must be a JSON object, such as {"ups": "UPS"}', source=name, show=False)
            return
    _put(raw, key, parsed, name)


def _key(variable: str, part: Part, rest: str, raw: Raw) -> Key | None:
    if not part.named:
        return (part.name, rest)
    given = at(raw.tree, (part.name,))
    known = [name for name in given if rest.startswith(f"{alike(name)}__")] if isinstance(given, dict) else []
    if len({alike(name) for name in known}) < len(known):
        both = " and ".join(sorted(known))
        raw.mistakes.append(
            Mistake(variable, part.name, None, f"a variable cannot tell {both} apart; rename one of them")
        )
        return None
    name = max(known, key=len, default=rest.partition("__")[0])
    setting = rest[len(name) + 2 :]
    if not setting:
        raw.mistakes.append(
            Mistake(variable, f"{part.name}.{name}", None, f"names no setting: {env_name((part.name, NAME, 'KEY'))}")
        )
        return None
    first, separator, inner = setting.partition("__")
    found = part.section.model_fields.get(first)
    if separator and found is not None and is_mapping(found):
        table = at(raw.tree, (part.name, name, first))
        names = table if isinstance(table, dict) else {}
        return (part.name, name, first, next((one for one in names if alike(one) == inner), inner))
    return (part.name, name, setting)


def _put(raw: Raw, key: Key, value: object, source: str) -> None:
    node = raw.tree
    for part in key[:-1]:
        below = node.setdefault(part, {})
        if not isinstance(below, dict):  # the file has something else there: told when it is validated
            return
        node = below
    node[key[-1]] = value
    raw.sources[key] = source


def _one_underscore(name: str, value: str, raw: Raw) -> None:
    # Kubernetes sets variables such as ORDER_SYNC_PORT for a service called order-sync: what is none of ours is let be.
    if value.startswith("tcp://"):
        return
    given = name.removeprefix(ENV_PREFIX).lower()
    for key, _ in every_field():
        if NAME in key:
            close = given.startswith(f"{key[0]}_") and given.endswith(f"_{key[-1]}")
        else:
            close = given == "_".join(key)
        if close:
            message = f"would be ignored; it is spelt with two underscores: {env_name(key)}"
            raw.mistakes.append(Mistake(name, dotted(key), None, message))
            return


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean …?`, or nothing where nothing is close."""
    by_alike = {alike(one): one for one in known}
    close = difflib.get_close_matches(alike(name), by_alike, n=1, cutoff=0.6)
    return f'; did you mean "{by_alike[close[0]]}"?' if close else ""


def shown(key: Key, value: object) -> str | None:
    """A value as a person may see it; None for a secret, for what is no known key, and for whole tables."""
    found = field_of(key)
    if found is None or is_secret(found) or value is None or isinstance(value, dict):
        return None
    text = json.dumps(value, ensure_ascii=False, default=str)
    # A password in a URL is a secret in the wrong place.
    text = re.sub(r"//[^/@\s\"]*@", "//***@", text)
    return text if len(text) <= 200 else f"{text[:197]}..."
