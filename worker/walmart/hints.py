"""What Walmart's headers say about waiting: `Retry-After`, the replenishment time and the tokens left.

Both spellings seen (`X-Next-Replenishment-Time`, `x-next-replenish-time`) are read, as epoch milliseconds or seconds,
ISO 8601, HTTP date or plain seconds. Header names count without regard to case.

A moment is one on Walmart's clock. Where that and ours differ, the answer's own `Date` tells by how much: otherwise a
clock that is a minute late would wait a minute for every token.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final

from multidict import istr

MAX_WAIT_S: Final = 300.0
"""Longest wait believed, in seconds: a header never stops an account for longer."""

_ABSURD_S: Final = 7 * 86_400.0
_LONGEST_TEXT: Final = 100
_REPLENISH: Final = (istr("X-Next-Replenishment-Time"), istr("X-Next-Replenish-Time"))
_LEFT: Final = istr("X-Current-Token-Count")
_DATE: Final = istr("Date")
_DATE_EXACT_S: Final = 1.0
"""`Date` has whole seconds, and the answer has travelled: a smaller difference says nothing."""
_DATE_FARTHEST_S: Final = 3_600.0
"""A larger one is not a clock's."""


def retry_after_s(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait, at most `MAX_WAIT_S`: the longest any header asks for; None where none says anything usable.

    `now`: epoch seconds. Times in the past and absurd ones are ignored.
    """
    theirs = _walmarts_now(headers, now)
    moments = [_moment(_get(headers, name), theirs) for name in ("Retry-After", *_REPLENISH)]
    waits = [moment - theirs for moment in moments if moment is not None]
    return min(max(waits), MAX_WAIT_S) if waits else None


def replenish_at(headers: Mapping[str, str], now: float) -> float | None:
    """Epoch seconds (on our clock) at which the next call is granted, at most `MAX_WAIT_S` from now; or None."""
    theirs = _walmarts_now(headers, now)
    for name in _REPLENISH:
        moment = _moment(_get(headers, name), theirs)
        if moment is not None:
            return now + min(moment - theirs, MAX_WAIT_S)
    return None


def budget_left(headers: Mapping[str, str]) -> int | None:
    """Calls left in the bucket, or None."""
    text = _get(headers, _LEFT)
    if text is None:
        return None
    try:
        left = int(float(text))
    except (ValueError, OverflowError):
        return None
    return left if 0 <= left < 10**9 else None


def _get(headers: Mapping[str, str], name: str) -> str | None:
    value = headers.get(name)
    if value is None and isinstance(headers, dict):
        lower = name.lower()
        value = next((value for key, value in headers.items() if key.lower() == lower), None)
    return value


def _walmarts_now(headers: Mapping[str, str], now: float) -> float:
    """Epoch seconds on Walmart's clock when it answered; ours, where nothing tells that they differ."""
    text = _get(headers, _DATE)
    date = _date(text.strip()) if text is not None and len(text) <= _LONGEST_TEXT else None
    if date is None:
        return now
    theirs = date + 0.5
    return theirs if _DATE_EXACT_S < abs(theirs - now) <= _DATE_FARTHEST_S else now


def _moment(text: str | None, now: float) -> float | None:
    """Epoch seconds, or None where it is missing, unreadable, not later than now, or absurd."""
    if text is None or len(text) > _LONGEST_TEXT:
        return None
    moment = _number(text.strip(), now)
    if moment is None:
        moment = _date(text.strip())
    return moment if moment is not None and now < moment <= now + _ABSURD_S else None


def _number(text: str, now: float) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    if not math.isfinite(number):
        return None
    if number >= 1e11:
        return number / 1_000
    return number if number >= 1e9 else now + number


@lru_cache(maxsize=64)  # hundreds of answers have the same second's date
def _date(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            moment = parsedate_to_datetime(text)
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        return moment.timestamp()
    except (ValueError, OverflowError):
        return None
