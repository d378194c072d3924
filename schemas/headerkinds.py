"""How values stand in the text headers of a dead letter. Readers raise ValueError with a reason."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import orjson

from schemas.base import parse_time
from schemas.scrub import one_line

MAX_LINE: Final = 500
MAX_NAME: Final = 300
MAX_STEP: Final = 200
MAX_STEPS: Final = 64
MAX_STORY_BYTES: Final = 8_192
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LARGEST: Final = 2**63 - 1


class Kind(NamedTuple):
    """How a header's value is written."""

    name: str
    write: Callable[[Any], bytes]
    read: Callable[[bytes], Any]


def _read_whole(raw: bytes) -> int:
    text = raw.decode("ascii", "replace")
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= _LARGEST):
        raise ValueError("must be a whole number from 0")
    return int(text)


def _read_seconds(raw: bytes) -> float:
    seconds = float(raw) if len(raw) <= 40 else math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError("must be a number of seconds from 0")
    return seconds


def _write_time(milliseconds: int) -> bytes:
    try:
        time = _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return str(milliseconds).encode()
    if not 2000 <= time.year < 2200:
        return str(milliseconds).encode()
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z").encode()


def _read_time(raw: bytes) -> int:
    text = raw.decode()
    if text.lstrip("-").isdigit() and text.isascii() and len(text) <= 20:
        return int(text)
    return round((parse_time(text) - _EPOCH) / timedelta(milliseconds=1))


def _read_flag(raw: bytes) -> bool:
    if raw in (b"true", b"false"):
        return raw == b"true"
    raise ValueError("must be true or false")


def _name(text: str) -> bytes:
    # Names are compared with those of events, so they are not scrubbed; events' names have no control characters.
    return text[:MAX_NAME].encode("utf-8", "replace")


def _write_story(steps: Sequence[tuple[float, str]]) -> bytes:
    told = [(round(at, 3), one_line(what, MAX_STEP)) for at, what in steps][:MAX_STEPS]
    # The middle is what is missed least: how it began and how it ended stay.
    while len(raw := orjson.dumps(told)) > MAX_STORY_BYTES:
        del told[len(told) // 2]
    return raw


def _read_story(raw: bytes) -> tuple[tuple[float, str], ...]:
    told = orjson.loads(raw)
    if not isinstance(told, list) or len(told) > MAX_STEPS:
        raise ValueError(f"must be a JSON list of at most {MAX_STEPS} steps")
    return tuple(_step(step) for step in told)


def _step(step: Any) -> tuple[float, str]:
    match step:
        case [int() | float() as at, str(what)] if not isinstance(at, bool) and math.isfinite(at):
            return float(at), what
    raise ValueError("must be a list of [epoch seconds, text]")


BYTES: Final = Kind("bytes", bytes, bytes)
NAME: Final = Kind(f"text, at most {MAX_NAME} characters", _name, bytes.decode)
LINE: Final = Kind(
    f"one line, scrubbed, at most {MAX_LINE} characters", lambda text: one_line(text, MAX_LINE).encode(), bytes.decode
)
# An e-mail address as a person's name is cut to what stands before the @: who it was stays known, no address is kept.
PERSON: Final = Kind("text", lambda text: one_line(text.partition("@")[0], MAX_NAME).encode(), bytes.decode)
WHOLE: Final = Kind("whole number", lambda number: str(number).encode(), _read_whole)
SECONDS: Final = Kind("seconds, may be a fraction", lambda seconds: f"{seconds:.3f}".encode(), _read_seconds)
TIME_MS: Final = Kind("RFC 3339 time", _write_time, _read_time)
TIME_S: Final = Kind(
    "RFC 3339 time", lambda seconds: _write_time(round(seconds * 1000)), lambda raw: _read_time(raw) / 1000
)
FLAG: Final = Kind("`true`", lambda flag: b"true" if flag else b"false", _read_flag)
STORY: Final = Kind(f"JSON list of [epoch seconds, text], at most {MAX_STORY_BYTES} bytes", _write_story, _read_story)
