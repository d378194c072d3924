"""The dead-letter record: the original key, value and headers, untouched, plus headers of ours (`order-sync-…`, text).

    key      identity `topic|source|id`, or `topic/partition/offset` (never null: the topic is compacted)
    value    the original value; a null one is written as an empty one, with `order-sync-null-value`
    headers  the original ones, then ours; an original header that begins with `order-sync-` is kept with `original-`
             before it, and gets its own name back when the record is read

A record without a value (a tombstone) means: settled. Writing and reading are pure; reading survives foreign, old and
broken metadata and tells what is broken. Times in headers are RFC 3339 text in UTC with milliseconds, which a person
can read in any Kafka tool; epoch milliseconds are understood too. `HEADERS` is the one table of them.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal, NamedTuple, get_args

import orjson

from schemas.carried import NOTHING, Carried, read_carried, write_carried
from schemas.carried import Confirmed as Confirmed
from schemas.headerkinds import BYTES, FLAG, LINE, NAME, PERSON, SECONDS, STORY, TIME_MS, TIME_S, WHOLE, Kind
from schemas.problems import Problem, shown

PREFIX: Final = "order-sync-"
ORIGINAL: Final = "original-"
State = Literal["dead", "waiting", "replay", "corrected", "settled", "heartbeat"]
AnyHeaders = Sequence[tuple[str, bytes | None]]

MAX_NAMED_BYTES: Final = 131_072
"""Above it `confirmed` is written as lists instead of objects."""
UNREADABLE: Final = b"unreadable"
"""Stands for a header that could not be read and without which nothing may be sent: it must not be taken for absent
later."""
_NEEDED: Final = ("confirmed", "progress")

_OURS_BEFORE_US: Final = re.compile(rf"(?:{ORIGINAL})*{PREFIX}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterHeaders:
    """Our headers of one dead-letter record. What is not there is None, 0 or empty; meanings stand in `HEADERS`."""

    state: State | None
    key: bytes | None = None
    code: str | None = None
    reason: str | None = None
    store: str | None = None
    order: str | None = None
    shipment: str | None = None
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    timestamp_ms: int | None = None
    first_seen: float | None = None
    attempts: int = 0
    confirmed: tuple[Confirmed, ...] | None = ()
    """None: the header is there but cannot be read, so nothing may be sent for this event without a person."""
    progress: Carried | None = NOTHING
    """None: as with `confirmed`."""
    next_try: float | None = None
    first_parked: int | None = None
    paused_seconds: float = 0.0
    null_value: bool = False
    replay_number: int = 0
    result_id: str | None = None
    by: str | None = None
    why: str | None = None
    story: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One record of the dead-letter topic, read: what we noted, and the event as it came."""

    about: DeadLetterHeaders
    value: bytes | None
    """The original value."""
    headers: tuple[tuple[str, bytes | None], ...]
    """The original headers, under their own names."""
    problems: tuple[Problem, ...] = ()
    """Headers of ours that could not be read; they count as absent."""

    @property
    def key(self) -> bytes | None:
        """The original key."""
        return self.about.key


def write(
    about: DeadLetterHeaders, value: bytes | None, headers: AnyHeaders
) -> tuple[bytes, list[tuple[str, bytes | None]]]:
    """Value and headers of the record that keeps this event. The topic's own key is the caller's."""
    about = replace(about, null_value=value is None)
    kept = [(ORIGINAL + name if _OURS_BEFORE_US.match(name) else name, raw) for name, raw in headers]
    return value or b"", [*kept, *encode(about)]


def read(value: bytes | None, headers: AnyHeaders, *, without: Container[str] = ()) -> DeadLetter:
    """Read a record of the dead-letter topic, whoever wrote it; headers named in `without` are not. Never raises."""
    about, problems = decode(headers, without=without)
    original = tuple(
        (name.removeprefix(ORIGINAL) if _OURS_BEFORE_US.match(name) else name, raw)
        for name, raw in headers
        if not name.startswith(PREFIX)
    )
    if value is None:
        about = replace(about, state="settled")
    elif about.null_value:
        if value:
            problems = (*problems, Problem(PREFIX + "null-value", "ignored: the record has a value", "true"))
            about = replace(about, null_value=False)
        else:
            value = None
    return DeadLetter(about, value, original, problems)


def encode(about: DeadLetterHeaders) -> list[tuple[str, bytes]]:
    """Our headers, in the order of the table; what is absent is left out, what could not be read stays so."""
    headers: list[tuple[str, bytes]] = []
    for header in HEADERS:
        value = getattr(about, header.attribute)
        if value is None and header.attribute in _NEEDED:
            headers.append((header.name, UNREADABLE))
        elif value is not None and value != header.absent:
            headers.append((header.name, header.kind.write(value)))
    return headers


def decode(headers: AnyHeaders, *, without: Container[str] = ()) -> tuple[DeadLetterHeaders, tuple[Problem, ...]]:
    """Our headers among these, and what is wrong with them. Of a header that stands twice the last one counts."""
    values: dict[str, Any] = {"state": None}
    problems: list[Problem] = []
    seen: set[str] = set()
    for name, raw in headers:
        if not name.startswith(PREFIX) or name in without:
            continue
        header = _BY_NAME.get(name)
        if header is None:
            problems.append(Problem(name, "unknown header (written by another version of order-sync?)"))
            continue
        if name in seen:
            problems.append(Problem(name, "stands twice; the last one counts"))
        seen.add(name)
        try:
            values[header.attribute] = header.kind.read(raw or b"")
        except ValueError as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
            # Values of people's texts are not told: what is not UTF-8 has not been scrubbed by us.
            problems.append(Problem(name, _reason(error), shown((raw or b"").decode("utf-8", "replace"))))
            values[header.attribute] = None if header.attribute in ("state", *_NEEDED) else header.absent
    if PREFIX + "state" not in seen:
        problems.append(Problem(PREFIX + "state", "missing: not written by order-sync, or its headers were lost"))
    return DeadLetterHeaders(**values), tuple(problems)


def _reason(error: ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "is not UTF-8"
    if isinstance(error, orjson.JSONDecodeError):
        return "is not JSON"
    return str(error)


class Header(NamedTuple):
    """One row of the table."""

    name: str
    attribute: str
    kind: Kind
    meaning: str
    absent: Any


def _read_state(raw: bytes) -> State:
    text = raw.decode()
    for state in get_args(State):
        if text == state:
            return state  # type: ignore[no-any-return]
    raise ValueError("unknown state; known are " + ", ".join(get_args(State)))


def _write_confirmed(confirmed: Iterable[Confirmed]) -> bytes:
    listed = list(confirmed)
    raw = orjson.dumps([units._asdict() for units in listed])
    # Thousands of items: without the names, so that the record fits wherever its event did.
    return raw if len(raw) <= MAX_NAMED_BYTES else orjson.dumps([list(units) for units in listed])


def _read_confirmed(raw: bytes) -> tuple[Confirmed, ...]:
    told = orjson.loads(raw)
    if not isinstance(told, list):
        raise ValueError("must be a JSON list")
    return tuple(_confirmed(units) for units in told)


def _confirmed(units: Any) -> Confirmed:
    match units:
        case {"line_number": str(line), "quantity": int(quantity)} if quantity > 0 and not isinstance(quantity, bool):
            number = units.get("tracking_number")
            if number is None or isinstance(number, str):
                return Confirmed(line, quantity, number)
        case [str(line), int(quantity), str() | None as number] if quantity > 0 and not isinstance(quantity, bool):
            return Confirmed(line, quantity, number)
    raise ValueError("must be a list of {line_number, quantity, tracking_number}")


_STATE: Final = Kind("state", str.encode, _read_state)
_PROGRESS: Final = Kind("JSON object, see `schemas/carried.py`", write_carried, read_carried)
_JSON: Final = Kind("JSON list of {line_number, quantity, tracking_number}", _write_confirmed, _read_confirmed)


_STATES: Final = (
    "`dead`: needs a person; `waiting`: the worker takes it up again; `replay`: a person asked for it; "
    "`corrected`: marks a number corrected away; `settled`: tombstones; `heartbeat`: keeps compaction going"
)


def _headers() -> tuple[Header, ...]:
    rows: dict[str, tuple[Kind, str]] = {
        "state": (_STATE, _STATES),
        "key": (BYTES, "the original key; absent where it was null"),
        "code": (NAME, "the error code"),
        "reason": (LINE, "what went wrong"),
        "store": (NAME, "the event's store"),
        "order": (NAME, "Walmart's purchase order id"),
        "shipment": (NAME, "the shipment id: its later success closes this dead letter"),
        "topic": (NAME, "topic the event came from"),
        "partition": (WHOLE, "its partition"),
        "offset": (WHOLE, "its offset"),
        "timestamp_ms": (TIME_MS, "its record time"),
        "first_seen": (TIME_S, "when a worker first read it"),
        "attempts": (WHOLE, "tries so far"),
        "confirmed": (_JSON, "what Walmart confirmed for it; a replay never sends these units again"),
        "progress": (_PROGRESS, "how far it has come: a call whose outcome is unknown, what is held back, its waits"),
        "next_try": (TIME_S, "waiting: not taken up before; absent: as soon as its account allows"),
        "first_parked": (
            WHOLE,
            "waiting again: offset of its first such record, its age among its order's; absent: this is it",
        ),
        "paused_seconds": (SECONDS, "time it waited because its account or store was paused"),
        "null_value": (FLAG, "the original value was null"),
        "replay_number": (WHOLE, "how often a person asked for a replay"),
        "result_id": (NAME, "id of the sync result that tells of it"),
        "by": (PERSON, "who asked for the replay or settled it"),
        "why": (LINE, "and why"),
        "story": (STORY, "what happened to it, step by step"),
    }
    absent = {field.name: field.default for field in fields(DeadLetterHeaders) if field.name != "state"}
    return tuple(
        Header(
            PREFIX + attribute.removesuffix("_ms").replace("_", "-"), attribute, kind, meaning, absent.get(attribute)
        )
        for attribute, (kind, meaning) in rows.items()
    )


HEADERS: Final[tuple[Header, ...]] = _headers()
"""Every header of ours: name, kind and meaning."""

_BY_NAME: Final = {header.name: header for header in HEADERS}
