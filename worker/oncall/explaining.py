"""The story of one event, put together from what is known of it in different places. Pure.

Where it is known: its dead-letter and waiting records (with the story they carry), its sync results, the canonical log
lines, and the memory of a running worker. They overlap; a step told twice is told once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from schemas.results import SyncResult
from worker.oncall.letters import Letter, RawRecord, key_text, read_letter
from worker.oncall.telling import safe, time_text
from worker.story import is_gap, step_text

Witness = Literal["worker", "dead letter", "result", "log"]

MAX_CASES: Final = 200
"""Events that are told at once; a word that fits more is too vague."""
MAX_STEPS: Final = 2_000
"""Per event."""
_SAME_S: Final = 0.05
"""The same words within this time are the same step, told by two."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is looked for: `event` is an id, `source|id`, a dead-letter key, coordinates or a purchase order id."""

    event: str
    order: str | None = None
    """Only events of this order."""

    def fits(self, key: str, coordinates: str, order: str | None) -> bool:
        """True for an event that is meant. `key`: its identity `topic|source|id`, or its coordinates."""
        if self.order is not None and order != self.order:
            return False
        return self.event in (key, coordinates, order) or key.endswith(f"|{self.event}")

    @property
    def needle(self) -> bytes | None:
        """Bytes that stand in any JSON text about it; None where that cannot be said. Saves reading all the others."""
        tail = self.event.rpartition("|")[2]
        topic, _, place = self.event.partition("/")
        if "|" not in self.event and topic and place.replace("/", "", 1).isdigit():
            tail = place.rpartition("/")[2]
        plain = tail and tail.isascii() and tail.isprintable() and '"' not in tail and "\\" not in tail
        return tail.encode() if plain else None


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happened. `at`: epoch seconds."""

    at: float
    by: Witness
    what: str


@dataclass(slots=True)
class Case:
    """All that is known of one event."""

    coordinates: str
    key: str
    order: str | None = None
    store: str | None = None
    event_type: str | None = None
    shipment: str | None = None
    steps: list[Step] = field(default_factory=list)
    letter: Letter | None = None
    """Where it lies in the dead-letter topic; None once settled, or where it never lay there."""
    result: SyncResult | None = None
    """The newest one."""
    memory: str | None = None
    """Its state in a running worker."""
    finished: bool = False
    """A log line says it is settled."""
    left_out: int = 0

    def tell(self, at: float, by: Witness, what: str) -> None:
        """Add a step, within bounds."""
        if len(self.steps) < MAX_STEPS:
            self.steps.append(Step(at, by, step_text(what)))
        else:
            self.left_out += 1

    def story(self) -> list[Step]:
        """Oldest first, each step once."""
        told: list[Step] = []
        seen: dict[str, float] = {}
        gaps = [step for step in self.steps if is_gap(step.what)]
        for step in sorted(self.steps, key=lambda step: step.at):
            if is_gap(step.what) and step is not gaps[-1]:  # the newest story knows how much is missing
                continue
            before = seen.get(step.what)
            if before is None or step.at - before > _SAME_S:
                told.append(step)
            seen[step.what] = step.at
        return told


class Explaining:
    """Takes in evidence piece by piece; what is not about the event asked for is let go at once."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.too_many = False
        self._cases: dict[str, Case] = {}
        self._by_key: dict[str, Case] = {}

    def cases(self) -> list[Case]:
        """The events found, in the order they began."""
        return sorted(self._cases.values(), key=lambda case: min((step.at for step in case.steps), default=0.0))

    def add_letter(self, record: RawRecord) -> None:
        """The next record of a partition of the dead-letter topic."""
        letter = read_letter(record)
        if letter is None:
            case = self._by_key.get(key_text(record.key))
            if case is not None and case.letter is not None:
                case.letter = None
                case.tell(record.timestamp_ms / 1000, "dead letter", "settled: taken out of the dead-letter topic")
            return
        about = letter.about
        parts = (about.topic, about.partition, about.offset)
        coordinates = letter.key if None in parts else "/".join(map(str, parts))
        if letter.state == "corrected" or not self.asked.fits(letter.key, coordinates, about.order):
            return
        case = self._case(coordinates, letter.key, about.order, about.store)
        if case is None:
            return
        self._by_key[letter.key] = case
        case.letter = letter.without_bytes()
        case.shipment = case.shipment or about.shipment
        for at, what in about.story:
            case.tell(at, "worker", safe(what) or "")
        if not about.story and about.first_seen is not None:
            case.tell(about.first_seen, "dead letter", "first read by a worker")
        case.tell(letter.written_ms / 1000, "dead letter", _letter_told(letter))

    def add_result(self, result: SyncResult) -> None:
        """A sync result."""
        event = result.event
        coordinates = f"{event.topic}/{event.partition}/{event.offset}"
        named = event.source is not None and event.id is not None
        key = f"{event.topic}|{event.source}|{event.id}" if named else coordinates
        if not self.asked.fits(key, coordinates, result.purchase_order_id):
            return
        case = self._case(coordinates, key, result.purchase_order_id, result.store)
        if case is None:
            return
        case.event_type = case.event_type or event.type
        case.shipment = case.shipment or result.shipment_id
        if case.result is None or result.completed_at >= case.result.completed_at:
            case.result = result
        if event.time is not None:
            case.tell(event.time.timestamp(), "result", "happened (the event's own time)")
        case.tell(result.received_at.timestamp(), "result", f"read by a worker at {coordinates}")
        case.tell(result.completed_at.timestamp(), "result", _result_told(result))

    def add_log_line(self, line: Mapping[str, Any]) -> None:
        """A line of the worker's log, decoded; others than those about an event's outcome are passed over."""
        if line.get("event") not in ("event_finished", "event_retried"):
            return
        parts = [line.get(name) for name in ("topic", "partition", "offset")]
        coordinates = "/".join(map(str, parts))
        source, event_id, order = (_text(line.get(name)) for name in ("source", "event_id", "order"))
        key = f"{parts[0]}|{source}|{event_id}" if source and event_id else coordinates
        at = _epoch(line.get("time"))
        if None in parts or at is None or not self.asked.fits(key, coordinates, order):
            return
        case = self._case(coordinates, key, order, _text(line.get("store")))
        if case is None:
            return
        case.event_type = case.event_type or _text(line.get("type"))
        code, message = line.get("code"), line.get("message")
        if line["event"] == "event_retried":
            case.tell(at, "log", f"not settled, {code}: {message}")
            return
        case.finished = True
        begun_at, story = _epoch(line.get("story_begun_at")), line.get("story")
        told = _story_of_lines(begun_at, story) if begun_at is not None and isinstance(story, list) else []
        for when, what in told:
            case.tell(when, "worker", what)
        if not told:
            more = f", {code}: {message}" if code else ""
            case.tell(at, "log", f"{line.get('status')}, {line.get('effect')}{more}")

    def add_memory(self, told: Iterable[Mapping[str, Any]]) -> None:
        """What a running worker answers: `{key, order, topic, partition, offset, received_at, state, story}` each."""
        for event in told:
            coordinates = "/".join(str(event.get(name)) for name in ("topic", "partition", "offset"))
            key, order = _text(event.get("key")) or coordinates, _text(event.get("order"))
            if not self.asked.fits(key, coordinates, order):
                continue
            case = self._case(coordinates, key, order, _text(event.get("store")))
            if case is None:
                return
            case.memory = safe(_text(event.get("state"))) or "in memory"
            steps = list(_steps(event.get("story")))
            for at, what in steps:
                case.tell(at, "worker", what)
            received_at = event.get("received_at")
            if not steps and isinstance(received_at, int | float):
                case.tell(received_at, "worker", "received")

    def _case(self, coordinates: str, key: str, order: str | None, store: str | None) -> Case | None:
        case = self._cases.get(coordinates)
        if case is None:
            if len(self._cases) >= MAX_CASES:
                self.too_many = True
                return None
            case = self._cases[coordinates] = Case(coordinates, key)
        case.order, case.store = case.order or order, case.store or store
        return case


def _letter_told(letter: Letter) -> str:
    about = letter.about
    place = f"(partition {letter.place.partition}, offset {letter.place.offset})"
    why = f"{about.code}: {safe(about.reason)}" if about.code else "its headers cannot be read"
    if letter.state == "waiting":
        until = f"; next try at {time_text(about.next_try)}" if about.next_try else ""
        return f"parked as waiting {place}{until}; {why}"
    if letter.state == "replay":
        return f"replay {about.replay_number} asked for by {safe(about.by)} {place}: {safe(about.why)}"
    return f"dead letter {place}; {why}" if letter.state == "dead" else f"kept {place}; {why}"


def _result_told(result: SyncResult) -> str:
    why = f"; {result.error.code}: {result.error.message}" if result.error is not None else ""
    shown = f", order {result.walmart_status}" if result.walmart_status else ""
    seen = "observed, " if result.observed else ""
    after = f"{result.latency_seconds:.1f} s after the event, try {result.attempts}"
    return f"result {seen}{result.status}, {result.effect}{shown} ({after}){why}"


def _story_of_lines(begun_at: float, lines: list[Any]) -> list[tuple[float, str]]:
    """`+1.234 s what`, as the log line has them."""
    steps = []
    for line in lines:
        offset, _, what = line.partition(" s ") if isinstance(line, str) else ("", "", "")
        seconds = _number(offset.removeprefix("+"))
        if seconds is not None and what:
            steps.append((begun_at + seconds, what))
    return steps


def _steps(story: object) -> Iterable[tuple[float, str]]:
    for step in story if isinstance(story, list) else ():
        match step:
            case [int() | float() as at, str(what)]:
                yield float(at), safe(what) or ""


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _converted(convert: Callable[[str], float], value: object) -> float | None:
    try:
        return convert(value) if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None


def _number(value: object) -> float | None:
    return _converted(float, value)


def _epoch(value: object) -> float | None:
    return _converted(lambda text: datetime.fromisoformat(text).timestamp(), value)
