"""What an unfinished event carries along besides its bytes: the JSON of the header `order-sync-progress`.

Everything the next worker needs to go on as if the event had never left memory: a write whose outcome is unknown, what
is held back until an old read can be ruled out, how often and how long it has waited. `v` is the version of the shape:
fields that a reader does not know are passed over, another version is not read at all (then a person must look).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Final, NamedTuple

import orjson

VERSION: Final = 1
MAX_PROGRESS_BYTES: Final = 32_768
"""Of the whole JSON; whoever writes it has to say the same in fewer words before (`worker.parked.carried`)."""


class Confirmed(NamedTuple):
    """Units of a line that Walmart confirmed for this event: shipped under a number, or cancelled (number is null)."""

    line_number: str
    quantity: int
    tracking_number: str | None


class Refused(NamedTuple):
    """Units that Walmart has refused, on a line and under a number (null: to cancel), and why."""

    line_number: str
    tracking_number: str | None
    quantity: int
    code: str
    message: str
    http_status: int | None
    final_at: float
    """Epoch seconds: until then the order may be an old read."""
    partial: bool
    """Only a part of what was open was to be cancelled."""
    correction: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A write whose outcome is unknown."""

    expected: tuple[Confirmed, ...]
    """Per line and number, what the order shows in total once it has worked."""
    believe_at: float
    """Epoch seconds before which a read that does not show it is not believed."""
    leaves_open: bool
    """True: Walmart would not refuse a repeat."""
    correction: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """The content of the header. Times are epoch seconds; what is absent has the default."""

    counts_from: float = 0.0
    """Replays: when it was taken up; the time to give up counts from here."""
    happened_at: float = 0.0
    """The event's own time; 0: that of the record."""
    told_retrying: bool = False
    parked_at: float = 0.0
    unsettled: Intent | None = None
    doubted: tuple[Confirmed, ...] = ()
    """Expected of a call that was taken for lost."""
    hold_until: float = 0.0
    """Nothing that leaves units open is sent before."""
    read_twice: bool = False
    """And then only after two reads."""
    applied: bool = False
    """Something was changed at Walmart by an earlier try."""
    one_by_one: int = 0
    refused: tuple[Refused, ...] = ()
    """Not sent again; otherwise an event that is parked before the last of several refusals is final never ends."""
    failed_tries: int = 0
    waits: int = 0
    calls: int = 0
    waited_budget_s: float = 0.0
    waited_retry_s: float = 0.0
    trouble: str = ""
    """Why it waits, as the worker classes it."""
    operation: str = ""
    walmart_status: str = ""
    warned: tuple[tuple[str, str], ...] = ()
    """Warnings so far: code and message."""


NOTHING: Final = Carried()


def write_carried(carried: Carried) -> bytes:
    """The JSON; fields that have their default are left out."""
    told: dict[str, Any] = {"v": VERSION}
    for name, default in _DEFAULTS.items():
        value = getattr(carried, name)
        if value != default:
            told[name] = _told(value)
    return orjson.dumps(told)


def read_carried(raw: bytes) -> Carried:
    """Read the JSON. Raises ValueError with the reason."""
    told = orjson.loads(raw)
    if not isinstance(told, dict) or told.get("v") != VERSION:
        raise ValueError(f"must be a JSON object with v = {VERSION}")
    values: dict[str, Any] = {}
    for name, default in _DEFAULTS.items():
        if name in told:
            values[name] = _value(name, told[name], default)
    return Carried(**values)


def _told(value: Any) -> Any:
    if isinstance(value, Intent):
        return {field.name: _told(getattr(value, field.name)) for field in fields(Intent)}
    return [list(part) for part in value] if isinstance(value, tuple) else value


def _value(name: str, value: Any, default: Any) -> Any:
    if name == "unsettled":
        return _intent(value)
    if name == "doubted":
        return _units(value)
    if name == "refused":
        return _refusals(value)
    if name == "warned":
        return _pairs(value)
    return _plain(name, value, default)


def _plain(name: str, value: Any, default: Any) -> Any:
    match default:
        case bool():
            if isinstance(value, bool):
                return value
        case int():
            if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53:
                return value
        case float():
            if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0:
                return float(value)
        case str():
            if isinstance(value, str):
                return value
    raise ValueError(f"{name} is not a {type(default).__name__}")


def _intent(value: Any) -> Intent:
    match value:
        case {"expected": expected, "believe_at": believe_at, "leaves_open": bool(leaves_open)}:
            correction = _plain("unsettled.correction", value.get("correction", False), False)
            at = _plain("unsettled.believe_at", believe_at, 0.0)
            return Intent(expected=_units(expected), believe_at=at, leaves_open=leaves_open, correction=correction)
    raise ValueError("unsettled must have expected, believe_at and leaves_open")


def _units(value: Any) -> tuple[Confirmed, ...]:
    if not isinstance(value, list):
        raise ValueError("units must be a list")
    return tuple(_unit(unit) for unit in value)


def _unit(value: Any) -> Confirmed:
    match value:
        case [str(line), int(quantity), str() | None as number] if quantity >= 0 and not isinstance(quantity, bool):
            return Confirmed(line, quantity, number)
    raise ValueError("units must be [line number, quantity, tracking number or null]")


def _refusals(value: Any) -> tuple[Refused, ...]:
    if not isinstance(value, list):
        raise ValueError("refused must be a list")
    return tuple(_refusal(refusal) for refusal in value)


def _refusal(value: Any) -> Refused:
    match value:
        case [
            str(line), str() | None as number, int(quantity), str(code), str(message), int() | None as status,
            int() | float() as final_at, bool(partial), bool(correction),
        ] if not isinstance(quantity, bool) and quantity >= 0:  # fmt: skip
            at = _plain("refused.final_at", final_at, 0.0)
            return Refused(line, number, quantity, code, message, status, at, partial, correction)
    raise ValueError(
        "refused must be [line number, number or null, quantity, code, message, status, time, partial, correction]"
    )


def _pairs(value: Any) -> tuple[tuple[str, str], ...]:
    match value:
        case [*pairs] if all(
            isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair) for pair in pairs
        ):
            return tuple((code, message) for code, message in pairs)
    raise ValueError("warned must be a list of [code, message]")


_DEFAULTS: Final[dict[str, Any]] = {field.name: field.default for field in fields(Carried)}
