"""Bytes of JSON to Python values, with a reason instead of an exception where they are none.

Stricter than most parsers on purpose: UTF-8 without byte order mark, no NaN, no lone surrogates, and no key twice in
one object (readers differ on which of the two counts, and here a quantity charges a buyer).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

import orjson

from schemas.problems import shown

_DEEPEST: Final = 254
"""Levels of nesting that orjson writes; json.loads reads twice as many."""


@dataclass(frozen=True, slots=True)
class NotJson:
    """Why the bytes are no JSON of ours."""

    message: str


class _KeyTwiceError(Exception):
    """Left json.loads through a hook: the only way out of it."""


def parse(value: bytes) -> Any | NotJson:
    """The JSON value, or NotJson with a reason that names the place. Never raises on any bytes."""
    try:
        parsed = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        return NotJson(_reason(value, str(error)))
    twice = _key_twice(value, parsed)
    return parsed if twice is None else NotJson(twice)


def _reason(value: bytes, told: str) -> str:
    if value[:3] == b"\xef\xbb\xbf":
        return "the value begins with a byte order mark; send UTF-8 without one"
    if value[:2] in (b"\xff\xfe", b"\xfe\xff") or value[:2].count(0) == 1 and value[:5].count(0) == 2:  # noqa: RUF021
        return "the value looks like UTF-16; send UTF-8"
    if value[:1] == b"\x00":
        return "the value begins with a zero byte, as with a schema registry's wire format; send plain JSON"
    if value[:2] == b"\x1f\x8b":
        return "the value looks like gzip; send plain JSON (Kafka's own compression is fine)"
    try:
        value.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"the value is not UTF-8 (byte {error.start})"
    return f"the value is not JSON: {told}"


def _key_twice(value: bytes, parsed: Any) -> str | None:
    # orjson keeps the last of two equal keys silently.
    try:
        written = orjson.dumps(parsed)
    except orjson.JSONEncodeError:
        return f"the value is nested deeper than {_DEEPEST} levels"
    # What was dropped is not written. Nothing is where the two are equal, nor where they have as many colons: without
    # escapes a text is written as it was, and a dropped key takes its colon along.
    if value == written or (b"\\" not in value and value.count(b":") == written.count(b":")):
        return None
    try:
        json.loads(value, object_pairs_hook=_unique, parse_int=len, parse_float=len)
    except _KeyTwiceError as error:
        return f"the key {shown(str(error))} stands twice in one object"
    return None


def _unique(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _KeyTwiceError(name)
            seen.add(name)
