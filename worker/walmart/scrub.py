"""Walmart's error texts, made fit to be passed on: no e-mail, token, phone number or number that is not the order's.

Names and street names cannot be told from other words; what they come with (numbers, e-mail, phone) is taken out, and
texts are short.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

TEXT_LENGTH: Final = 300
"""Longest text that is passed on, in characters."""

_READ: Final = 4_000
"""Characters looked at; what lies beyond would be cut anyway."""

_HIDDEN: Final = "[hidden]"
_EMAIL: Final = re.compile(r"[^\s<>\"'(),;:@]*\s?(?:@|%40|&#64;)\s?[^\s<>\"'(),;]*", re.IGNORECASE)
_CREDENTIAL: Final = re.compile(
    r"(\b(?:bearer|basic)\s+|(?:token|secret|password|passwd|api[_-]?key|signature|authorization)[\"']?\s*[:=]\s*)"
    r"(?:(?:bearer|basic)\s+)?[^\s,;]+",
    re.IGNORECASE,
)
_JWT: Final = re.compile(r"eyJ[\w-]*(?:\.[\w-]*)*")
_RUN: Final = re.compile(r"[A-Za-z0-9_+/=-]{16,}")
_PHONE: Final = re.compile(r"\+?\(?\d(?:[\s().,\-/]{0,2}\d){6,}")
_WORD: Final = re.compile(r"[^\W_]{4,}")
_WORD_WITH_DIGITS: Final = re.compile(r"[^\W_]*\d[^\W_]*")
_ERROR_CODE: Final = re.compile(r"[A-Z]{2}-\d{4}")
_INVISIBLE: Final = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\ue000-\uf8ff]+")
_WORDS: Final = re.compile(r"(?:[A-Z]{0,5}[a-z]+)+[A-Z]{0,5}|[A-Z]+")
_LONGEST_WORD: Final = 23
"""`intentToCancelOverride` has 22 letters; what is longer is no word of Walmart's."""
_KEPT: Final = 0xE000


class Scrubber:
    """Takes out of a text what must not leave; knows the order's own numbers (kept) and live secrets (hidden).

    Kept are also numbers below 1,000 (quantities, hours, small line numbers) and Walmart's codes such as `LS-3101`.
    """

    def __init__(self, own_numbers: Iterable[str] = (), secrets: Iterable[str] = ()) -> None:
        # In a text a number such as "SF-44-1187" is met part by part.
        self._own = frozenset(
            part for number in own_numbers for part in (number, *_WORD.findall(number)) if len(part) >= 4
        )
        self._secrets = tuple(secret for secret in secrets if len(secret) >= 4)

    def __repr__(self) -> str:
        return f"Scrubber({len(self._own)} numbers, {len(self._secrets)} secrets)"

    def text(self, text: str, *, length: int = TEXT_LENGTH) -> str:
        """The text on one line, scrubbed, at most `length` characters."""
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        text = _INVISIBLE.sub(" ", text if len(text) <= _READ else text[:_READ]).strip()
        if len(text) == _READ:
            text = text.rpartition(" ")[0]  # half a secret at the cut would not be known as one
        if "@" in text or "%40" in text or "&#64;" in text:
            text = _EMAIL.sub(_HIDDEN, text)
        text = _CREDENTIAL.sub(lambda found: found[1] + _HIDDEN, text)
        text = _JWT.sub(_HIDDEN, text)
        text = _RUN.sub(self._run, text)
        kept: list[str] = []

        def keep(found: re.Match[str]) -> str:
            kept.append(found[0])
            return chr(_KEPT + len(kept) - 1)

        if self._own:
            text = _WORD.sub(lambda found: keep(found) if found[0] in self._own else found[0], text)
        text = _ERROR_CODE.sub(keep, text)
        text = _PHONE.sub(_HIDDEN, text)
        text = _WORD_WITH_DIGITS.sub(_word, text)
        if kept:
            text = "".join(kept[ord(c) - _KEPT] if 0 <= ord(c) - _KEPT < len(kept) else c for c in text)
        return text if len(text) <= length else text[: length - 1].rstrip() + "…"

    def _run(self, found: re.Match[str]) -> str:
        """A long run of letters and digits: kept where it is plainly words or one of our numbers."""
        run = found[0]
        if run in self._own:
            return run
        parts = [part for part in re.split(r"[_/+=-]+", run) if part]
        if any(part in self._own for part in parts) or not any(c.isalpha() for c in run):
            return run  # what else is in it is judged as words and numbers
        words = all(len(part) <= _LONGEST_WORD and _WORDS.fullmatch(part) for part in parts)
        return run if words else _HIDDEN


def _word(found: re.Match[str]) -> str:
    word = found[0]
    return word if sum(c.isdigit() for c in word) < 4 else _HIDDEN
