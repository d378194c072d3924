"""Bytes of an error answer into single errors: every envelope Walmart is known to use, read leniently.

Orders service `{"errors": {"error": [...]}}`, gateway `{"error": [...]}`, generic `{"errors": [...]}`, one object
instead of an array, OAuth (`error`, `error_description`), problem+json (RFC 9457), XML, JSON that was cut off.
Texts are raw here; `error_reading` scrubs them.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson

Form = Literal["json", "xml", "html", "text", "empty"]

_MAX_ERRORS: Final = 20
_READ: Final = 65_536
_XML_ERROR: Final = re.compile(r"<(?:\w+:)?error(?:\s[^<>]*)?>(.*?)(?:</(?:\w+:)?error>|\Z)", re.DOTALL | re.IGNORECASE)
_XML_VALUE: Final = re.compile(r"<(?:\w+:)?(code|field|description|message)>([^<]*)", re.IGNORECASE)
_JSON_VALUE: Final = re.compile(r'"(code|field|description|message|detail)"\s*:\s*"((?:[^"\\]|\\.)*)')


@dataclass(frozen=True, slots=True)
class RawError:
    """One error as it stands in the body."""

    code: str | None = None
    field: str | None = None
    description: str | None = None
    category: str | None = None


@dataclass(frozen=True, slots=True)
class Envelope:
    """What kind of body it was and the errors in it."""

    form: Form
    errors: tuple[RawError, ...] = ()
    text: str | None = None
    """A bare text, where that was all."""


def read_envelope(body: bytes) -> Envelope:
    """Never raises; what cannot be made out is a bare text."""
    text = body[:_READ].decode("utf-8", "replace").lstrip("\ufeff").strip()
    if not text:
        return Envelope("empty")
    try:
        value = orjson.loads(text if len(body) > _READ else body)
    except ValueError:
        return _not_json(text)
    if isinstance(value, str):
        return Envelope("text", text=value.strip() or None)
    return Envelope("json", tuple(_errors(value)[:_MAX_ERRORS]))


def _not_json(text: str) -> Envelope:
    start = text[:1_000].lower()
    if start.startswith("<"):
        if "<html" in start or "<!doctype html" in start or "<body" in start or "<head" in start:
            return Envelope("html")
        found = [_xml_error(block) for block in _XML_ERROR.findall(text)[:_MAX_ERRORS]]
        return Envelope("xml", tuple(error for error in found if error is not None))
    if start[0] in "{[":
        return Envelope("json", tuple(_cut_off(text)))
    return Envelope("text", text=text)


def _errors(value: Any) -> list[RawError]:
    """The errors in a decoded body: below `errors` or `error`, else the body itself where it looks like one."""
    if isinstance(value, list):
        return [error for item in value[:_MAX_ERRORS] if (error := _one(item)) is not None]
    if not isinstance(value, dict):
        return []
    for name in ("errors", "error", "fault"):
        inner = value.get(name)
        if isinstance(inner, dict) and isinstance(inner.get("error"), list | dict):
            inner = inner["error"]
        if isinstance(inner, dict):
            inner = [inner]
        if isinstance(inner, list) and (found := _errors(inner)):
            return found
    error = _one(value)
    return [error] if error is not None else []


def _one(item: Any) -> RawError | None:
    if isinstance(item, str):
        return RawError(description=item) if item.strip() else None
    if not isinstance(item, dict):
        return None
    code = _first(item, "code", "errorCode", "error", "type")
    if code is not None and "://" in code:
        code = code.rstrip("/").rpartition("/")[2]  # RFC 9457: the type is a URI
    description = _first(
        item, "description", "message", "detail", "error_description", "errorMessage", "title", "faultstring", "info"
    )
    error = RawError(code, _first(item, "field"), description, _first(item, "category"))
    return error if error.code or error.field or error.description else None


def _first(item: dict[Any, Any], *names: str) -> str | None:
    for name in names:
        value = item.get(name)
        if isinstance(value, str) and value.strip() and value != "about:blank":
            return value.strip()
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**18:
            return str(value)
    return None


def _xml_error(block: str) -> RawError | None:
    values = {name.lower(): html.unescape(text).strip() for name, text in reversed(_XML_VALUE.findall(block))}
    return _one(values)


def _cut_off(text: str) -> list[RawError]:
    """What can be saved of JSON that ends too early: a name seen again begins the next error."""
    found: list[RawError] = []
    values: dict[str, str] = {}
    for name, value in _JSON_VALUE.findall(text):
        if name in values:
            found.append(_one(values) or RawError())
            values = {}
        values[name] = value.replace('\\"', '"')
    last = _one(values)
    if last is not None:
        found.append(last)
    return found[:_MAX_ERRORS]
