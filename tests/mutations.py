"""Broken records from good ones: what lies in a real topic sooner or later. All chance is the caller's rng.

`mutate` breaks a record on one of the levels below, sometimes on several; now and then the result is still valid.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import schemas

EXAMPLES = Path(schemas.__file__).parent / "examples"
Headers = list[tuple[str, bytes | None]]


class ExampleRecord(NamedTuple):
    """A record as a producer would write it."""

    headers: Headers
    key: bytes | None
    value: bytes | None


def example_events() -> list[dict[str, Any]]:
    """Every example event, as a structured envelope."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(EXAMPLES.glob("order-*.json"))]


def record_of(event: dict[str, Any], *, binary: bool) -> ExampleRecord:
    """An example event as a record, in either mode."""
    key = event["data"]["purchase_order_id"].encode()
    if binary:
        names = ("specversion", "id", "source", "type", "time")
        headers: Headers = [(f"ce_{name}", event[name].encode()) for name in names]
        return ExampleRecord([*headers, ("content-type", b"application/json")], key, _bytes(event["data"]))
    return ExampleRecord([("content-type", b"application/cloudevents+json; charset=UTF-8")], key, _bytes(event))


def example_records() -> list[ExampleRecord]:
    """Every example event in both modes."""
    return [record_of(event, binary=binary) for event in example_events() for binary in (True, False)]


def mutate(record: ExampleRecord, rng: Random) -> ExampleRecord:
    """The record with one to three things wrong."""
    headers, key, value = list(record.headers), record.key, record.value
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        level = rng.random()
        if level < 0.25:
            headers = _break_headers(headers, rng)
        elif level < 0.35:
            key = rng.choice((None, b"", b"\xff\xfe", b"0", rng.randbytes(12)))
        elif level < 0.55:
            value = _break_bytes(value or b"{}", rng)
        else:
            value = _break_fields(value, rng)
    return ExampleRecord(headers, key, value)


_TEXTS = (
    "", " ", "\x00", "a\nb", "\u202e", "é" * 40, "💥", "x" * 201, "x" * 5_000, "null", "1", "2026-13-45T99:99:99Z",
    "2026-11-20T15:03:58", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "1763650000", "../../etc", "a|b|c",
    "someone@mail.example", "Bearer abcdefghijklmnop", "${jndi:ldap://x}", "%s%n{0}",
)  # fmt: skip
_ENCODINGS = ("utf-16", "utf-16-le", "utf-32-be", "cp037", "utf-7")
_NUMBERS = (0, -1, 1, 2**31, 2**53 + 1, 2**63, 2**64, 10**30, 1.5, 2.0, -0.0, 1e308)


def _odd(rng: Random) -> Any:
    """A value that seldom fits where it is put."""
    match rng.randrange(7):
        case 0:
            return None
        case 1:
            return rng.choice((True, False))
        case 2:
            return rng.choice(_NUMBERS)
        case 3 | 4:
            return rng.choice(_TEXTS)
        case 5:
            return rng.choice(([], [[]], [None], [1, "2"], [{}] * 201, [{}] * 600))
        case _:
            return rng.choice(({}, {"": None}, {"code": {}}, {"items": []}, {"specversion": "1.0", "type": "x"}))


def _break_fields(value: bytes | None, rng: Random) -> bytes | None:
    try:
        body = json.loads(value or b"null")
        places = _places(body)
        _bytes(body)
    except (ValueError, RecursionError):
        return _break_bytes(value or b"", rng)
    if not places:
        return _bytes(_odd(rng))
    holder, step = rng.choice(places)
    old = holder[step]
    match rng.randrange(6):
        case 0:
            del holder[step]
        case 1:
            holder[step] = None
        case 2 if isinstance(holder, dict):
            holder[rng.choice(("unknown", "Quantity", "items", "sku", "data_base64", "line_number"))] = _odd(rng)
        case 3:
            holder[step] = str(old) if isinstance(old, int) else rng.choice(([old], {"value": old}))
        case 4 if isinstance(holder, list):
            holder.extend([old] * rng.choice((1, 3, 600)))
        case _:
            holder[step] = _odd(rng)
    return _bytes(body, rng)


def _places(body: Any) -> list[tuple[Any, Any]]:
    """Every (holder, key) of a JSON value, outermost first."""
    found: list[tuple[Any, Any]] = []
    steps = list(body) if isinstance(body, dict) else range(len(body)) if isinstance(body, list) else []
    for step in steps:
        found.append((body, step))
        found.extend(_places(body[step]))
    return found


def _break_bytes(value: bytes, rng: Random) -> bytes | None:
    at = rng.randrange(len(value) + 1)
    breakers: tuple[Callable[[], bytes | None], ...] = (
        lambda: None,
        lambda: b"",
        lambda: value[:at],
        lambda: value[at:],
        lambda: value[:at] + rng.randbytes(rng.randrange(1, 9)) + value[at:],
        lambda: value[:at] + bytes(byte ^ 1 << rng.randrange(8) for byte in value[at : at + 1]) + value[at + 1 :],
        lambda: b"\xef\xbb\xbf" + value,
        lambda: b"\x00\x00\x00\x00\x07" + value,
        lambda: value.decode("utf-8", "replace").encode(rng.choice(_ENCODINGS), "replace"),
        lambda: b"\x1f\x8b\x08" + value,
        lambda: value.replace(b":", b":" + rng.choice((b"NaN", b"Infinity", b"-", b"01", b"1e999", b"9" * 5_000)), 1),
        lambda: value.replace(b'"', b'"' + rng.choice((b"\\ud800", b"\\u0000", b"\\x", b"\xed\xa0\x80", b"\xff")), 1),
        lambda: value.replace(b"{", b'{"quantity":1,"quantity":2,', 1),
        lambda: value + value,
        lambda: b"[" + value + b"]",
        lambda: rng.choice((b"[", b'{"a":')) * rng.choice((200, 900, 5_000)),
        lambda: b"[" * 900 + b"]" * 900,
        lambda: b'{"data":' * 300 + b"1" + b"}" * 300,
        lambda: json.dumps(value.decode("utf-8", "replace")).encode(),
        lambda: rng.randbytes(rng.randrange(64)),
        lambda: rng.choice((b"null", b"true", b"0", b'""', b"{}", b"[]", b"<event/>", b" \n")),
    )
    return rng.choice(breakers)()


def _break_headers(headers: Headers, rng: Random) -> Headers:
    if not headers:
        return [("ce_id", rng.randbytes(4))]
    headers = list(headers)
    at = rng.randrange(len(headers))
    name, raw = headers[at]
    match rng.randrange(9):
        case 0:
            del headers[at]
        case 1:
            return []
        case 2:
            headers.insert(at, (name, rng.choice((raw, None, b"", rng.randbytes(6)))))
        case 3:
            headers[at] = (name, rng.choice((None, b"", b" ", b"\xff\xfe\x00", rng.randbytes(20))))
        case 4:
            headers[at] = (name, rng.choice(_TEXTS).encode())
        case 5:
            headers[at] = (
                rng.choice((name.upper(), "", name + "x", name.replace("ce_", "ce-"), "order-sync-state")),
                raw,
            )
        case 6:
            content_types = (
                b"application/cloudevents-batch+json", b"application/cloudevents+xml", b"APPLICATION/CLOUDEVENTS+JSON",
                b"application/cloudevents+json;charset=utf-16", b"application/xml", b"avro/binary", b"\xff", b";;=",
                b"application/cloudevents", b"text/plain; charset=\"utf-8\"",
            )  # fmt: skip
            headers = [header for header in headers if header[0] != "content-type"]
            headers.insert(rng.randrange(len(headers) + 1), ("content-type", rng.choice(content_types)))
        case 7:
            headers += [(rng.choice(("traceparent", "order-sync-state", "original-order-sync-x")), rng.randbytes(9))]
        case _:
            rng.shuffle(headers)
    return headers


def _bytes(body: Any, rng: Random | None = None) -> bytes:
    """As different producers write it: compact, spaced, or with escapes."""
    if rng is not None and rng.random() < 0.3:
        return json.dumps(body, indent=rng.choice((None, 0)), ensure_ascii=rng.random() < 0.5).encode(
            "utf-8", "surrogatepass"
        )
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
