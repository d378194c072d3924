"""Texts made safe to show: e-mail addresses and secrets taken out, one line, a bounded length."""

from __future__ import annotations

import re
from typing import Final

_EMAIL: Final = re.compile(r"[^\s@<>\"'(),;:=]{1,64}@[^\s@<>\"'(),;]{1,255}")
_SECRET: Final = re.compile(
    r"\beyJ[\w-]{8,}(?:\.[\w-]*)*"  # JSON web tokens
    r"|\b(?:bearer|basic)\s+[\w.~+/=-]{8,}"
    r"|(?P<name>\b[\w-]*(?:secret|passw(?:or)?d|token|authorization|api[_-]?key)[\w-]*[\"']?\s*[=:]\s*)[\"']?[^\s\"',;&}]+",
    re.IGNORECASE,
)
_SPACES: Final = re.compile(r"\s+")


def scrub(text: str) -> str:
    """The text without e-mail addresses and without what looks like a secret."""
    if "@" in text:
        text = _EMAIL.sub("(e-mail)", text)
    return _SECRET.sub(lambda match: f"{match['name'] or ''}(secret)", text)


def one_line(text: str, limit: int) -> str:
    """The text scrubbed, on one line, at most `limit` characters, and encodable as UTF-8."""
    # Cut generously first: scrubbing a megabyte to show a line would be work for nothing.
    text = scrub(_SPACES.sub(" ", text[: 4 * limit]).strip())
    if not text.isprintable():  # control characters, lone surrogates, invisible ones that turn the writing direction
        text = "".join(character if character.isprintable() else "\ufffd" for character in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"
