"""What Walmart's headers say about waiting: `Retry-After`, the replenishment time and the tokens left.

Both spellings seen (`X-Next-Replenishment-Time`, `x-next-replenish-time`) are read, as epoch milliseconds or seconds,
ISO 8601, HTTP date or plain seconds. Header names count without regard to case.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

MAX_WAIT_S: Final = 300.0
"""Longest wait believed, in seconds: a header never stops an account for longer."""

_ABSURD_S: Final = 7 * 86_400.0
_REPLENISH: Final = ("X-Next-Replenishment-Time", "X-Next-Replenish-Time")
_LEFT: Final = "X-Current-Token-Count"


def retry_after_s(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait, at most `MAX_WAIT_S`: the longest any header asks for; None where none says anything usable.

    `now`: epoch seconds. Times in the past and absurd ones are ignored.
    """
    moments = [_moment(_get(headers, name), now) for name in ("Retry-After", *_REPLENISH)]
    waits = [moment - now for moment in moments if moment is not None and moment > now]
    return min(max(waits), MAX_WAIT_S) if waits else None


def replenish_at(headers: Mapping[str, str], now: float) -> float | None:
    """Epoch seconds at which the next call is granted, or None."""
    for name in _REPLENISH:
        moment = _moment(_get(headers, name), now)
        if moment is not None:
            return moment
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


def _moment(text: str | None, now: float) -> float | None:
    """Epoch seconds, or None where it is missing, unreadable, not later than now, or absurd."""
    if text is None or len(text) > 100:
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
