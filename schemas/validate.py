"""Check events before they are sent: what `order-sync schemas validate FILE` says. Pure: text in, report out.

A file holds structured CloudEvents: one, a JSON array of them, or JSON lines. Each is read exactly as the worker reads
it, and what is legal but likely to disappoint is told as advice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from schemas.advice import advice_on
from schemas.cloudevents import ContractError, read_envelope
from schemas.jsontext import NotJson, parse
from schemas.problems import Problem


@dataclass(frozen=True, slots=True)
class EventReport:
    """What there is to say about one event of the file."""

    place: str
    """`event`, `event 3` of an array, or `line 3` (counted from 1)."""
    id: str | None = None
    source: str | None = None
    type: str | None = None
    purchase_order_id: str | None = None
    error: ContractError | None = None
    advice: tuple[Problem, ...] = ()
    """Legal, but the outcome may not be what the sender expects."""

    @property
    def ok(self) -> bool:
        """The worker would take this event."""
        return self.error is None

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Every mistaken field."""
        return () if self.error is None else self.error.problems


@dataclass(frozen=True, slots=True)
class Report:
    """What there is to say about a file."""

    events: tuple[EventReport, ...]
    unreadable: str | None = None
    """Why there is no event in the file at all."""

    @property
    def ok(self) -> bool:
        """There is an event, and the worker would take all of them."""
        return bool(self.events) and all(event.ok for event in self.events)


def validate(text: str | bytes) -> Report:
    """Check a file. Never raises, whatever is in it."""
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if not raw.strip():
        return Report((), "the file is empty")
    body = parse(raw)
    if isinstance(body, list):
        return _report(_check(f"event {number}", entry) for number, entry in enumerate(body, 1))
    if not isinstance(body, NotJson):
        return _report(iter([_check("event", body)]))
    lines = [(number, line) for number, line in enumerate(raw.split(b"\n"), 1) if line.strip()]
    if len(lines) > 1 and all(line.lstrip()[:1] == b"{" and line.rstrip()[-1:] == b"}" for _, line in lines):
        return _report(_check(f"line {number}", parse(line)) for number, line in lines)
    return Report((), body.message)


def _check(place: str, body: Any) -> EventReport:
    if isinstance(body, NotJson):
        problem = Problem("value", body.message)
        return EventReport(place, error=ContractError("event_undecodable", str(problem), (problem,)))
    read = read_envelope(body)
    if isinstance(read, ContractError):
        known = read.known
        return EventReport(place, known.id, known.source, known.type, known.purchase_order_id, read)
    event, data = read
    return EventReport(
        place, event.id, event.source, event.type, data.purchase_order_id, advice=tuple(advice_on(event, data))
    )


def _report(events: Iterator[EventReport]) -> Report:
    """The report, with advice on identities that stand in the file more than once."""
    first: dict[tuple[str, str, str], str] = {}
    told: list[EventReport] = []
    for event in events:
        if event.id is not None and event.source is not None and event.type is not None:
            before = first.setdefault((event.type, event.source, event.id), event.place)
            if before != event.place:
                problem = Problem("id", f"the same source and id as {before}: it counts as the same event, sent again")
                event = replace(event, advice=(*event.advice, problem))
        told.append(event)
    return Report(tuple(told), None if told else "the array is empty")
