"""Dead letters made by hand."""

from __future__ import annotations

from typing import Any

from schemas import deadletter
from schemas.deadletter import DeadLetterHeaders
from worker.oncall.letters import Letter, RawRecord, read_letter

TOPIC = "commerce.order-shipped.v1"
SEEN = 1_795_000_000.0


def record(
    number: int = 1,
    *,
    state: str = "dead",
    key: str | None = None,
    value: bytes | None = b"{}",
    headers: tuple[tuple[str, bytes | None], ...] = (),
    place: tuple[int, int] | None = None,
    **about: Any,
) -> RawRecord:
    """The dead letter of event number `number`."""
    given = {
        "state": state, "key": b"PO1", "code": "carrier_unmapped", "reason": "no name", "store": "us", "order": "PO1",
        "topic": TOPIC, "partition": 0, "offset": number, "timestamp_ms": 1_795_000_000_000,
        "first_seen": SEEN + number, "attempts": 1,
    }  # fmt: skip
    written, kept = deadletter.write(DeadLetterHeaders(**{**given, **about}), value, headers)
    partition, offset = place or (0, 100 + number)
    name = key or f"{TOPIC}|/commerce|{number}"
    return RawRecord(partition, offset, 1_795_000_001_000, name.encode(), written, tuple(kept))


def letter(number: int = 1, **given: Any) -> Letter:
    """The same, read."""
    read = read_letter(record(number, **given))
    assert read is not None
    return read


def tombstone(of: RawRecord, offset: int) -> RawRecord:
    """What settles it."""
    return of._replace(offset=offset, value=None, headers=())
