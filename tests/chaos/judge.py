"""The verdict: the promises, counted over what is known when everything is quiet. Pure.

Judged where the effect is: at Walmart's journal, not by what the worker says about itself.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple

from tests.chaos.evidence import Effect, Evidence, Letter, Place, Published, Told
from tests.chaos.history import Step

ZERO: Final = {
    "lost": "events without a final result",
    "applied_twice": "units charged or cancelled beyond what commerce said",
    "inversions": "pairs of events of one order and topic whose effects came in the wrong order",
    "results_missing": "effects and dead letters that no final result tells of",
    "dead_letters_not_identical": "failed events that are not kept byte for byte",
    "dead_letters_left": "dead letters of events that are settled",
    "failed_wrongly": "events that Walmart could have been made to agree with, but failed",
    "still_waiting": "unfinished events in the dead-letter topic",
    "cancelled_in_a_box": "units cancelled that commerce has shipped",
    "wrong_end_state": "orders that are not as commerce says",
    "uncommitted": "input partitions whose committed offset is not their end",
}
"""What must be zero, and what it counts."""


class Violation(NamedTuple):
    """One broken promise."""

    kind: str
    """A key of `ZERO`."""
    text: str
    order: str | None = None
    place: Place | None = None
    units: int = 1
    """What it adds to the count."""


@dataclass
class Judgement:
    """The violations, and their sums."""

    violations: list[Violation] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """By kind, in the order of `ZERO`."""
        found: Counter[str] = Counter()
        for violation in self.violations:
            found[violation.kind] += violation.units
        return {name: found[name] for name in ZERO}


def judge(evidence: Evidence) -> Judgement:
    """Count."""
    finals = Finals(evidence.told)
    found = Judgement()
    found.violations += _lost(evidence.published, finals)
    found.violations += _orders(evidence, finals)
    found.violations += _letters(evidence, finals)
    found.violations += [Violation("uncommitted", text) for text in evidence.uncommitted]
    return found


class Finals:
    """The final results, by the event's place and by its id."""

    def __init__(self, told: Iterable[Told]) -> None:
        self.by_place: dict[Place, list[Told]] = defaultdict(list)
        self.by_id: dict[str, list[Told]] = defaultdict(list)
        for one in told:
            if one.final:
                self.by_place[one.place].append(one)
                if one.event_id is not None:
                    self.by_id[one.event_id].append(one)

    def of(self, published: Published) -> Told | None:
        """The latest final result of an event; for a repeat also one of the same event given since it was published.

        (A repeat of an event that waits is not run on its own: the waiting one speaks for both.)
        """
        own = self.by_place.get(published.place)
        if own:
            return own[-1]
        if published.step is None or not published.repeat:
            return None
        since = [one for one in self.by_id[published.step.event_id] if one.at >= published.at]
        return since[-1] if since else None


def unfinished(published: Iterable[Published], told: Iterable[Told]) -> list[Published]:
    """Events without a final result so far."""
    finals = Finals(told)
    return [one for one in published if finals.of(one) is None]


def still_waiting(letters: Iterable[Letter]) -> list[Letter]:
    """Unfinished events in the dead-letter topic, as it is now."""
    return [letter for letter in _latest(letters).values() if letter.state in ("waiting", "replay")]


def _latest(letters: Iterable[Letter]) -> dict[str, Letter]:
    return {letter.key: letter for letter in letters}


def _lost(published: Sequence[Published], finals: Finals) -> list[Violation]:
    return [
        Violation("lost", _name(one), one.step.order if one.step else None, one.place)
        for one in published
        if finals.of(one) is None
    ]


# -- orders


def _orders(evidence: Evidence, finals: Finals) -> list[Violation]:
    found: list[Violation] = []
    events: dict[str, list[Published]] = defaultdict(list)
    for one in evidence.published:
        if one.step is not None:
            events[one.step.order].append(one)
    effects: dict[str, list[Effect]] = defaultdict(list)
    for effect in evidence.effects:
        effects[effect.order].append(effect)
    for order in sorted({*events, *effects}):
        its = _Order(order, events[order], effects[order], evidence.ordered.get(order, {}), finals)
        found += its.violations()
    return found


class _Order:
    def __init__(
        self,
        order: str,
        events: Sequence[Published],
        effects: Sequence[Effect],
        ordered: Mapping[str, int],
        finals: Finals,
    ) -> None:
        self.order, self.events, self.ordered, self.finals = order, events, ordered, finals
        self.steps = {one.step.event_id: one.step for one in events if one.step is not None}
        self.told: Counter[tuple[str, str | None]] = Counter()
        for step in self.steps.values():
            for units in step.units:
                self.told[units.line, units.number] += units.quantity
        self.moved: Counter[tuple[str, str | None]] = Counter()
        self.spans: dict[tuple[str, str | None], list[tuple[int, int, int]]] = defaultdict(list)
        """(Line, number) -> of each effect: journal number, units before it, units after it."""
        for effect in effects:
            for line, number, quantity in effect.units:
                before = self.moved[line, number]
                self.moved[line, number] += quantity
                self.spans[line, number].append((effect.n, before, before + quantity))

    def violations(self) -> list[Violation]:
        return [*self._beyond(), *self._end_state(), *self._inversions(), *self._untold(), *self._failed()]

    def _say(self, kind: str, text: str, units: int = 1) -> Violation:
        return Violation(kind, f"order {self.order}: {text}", self.order, None, units)

    def _beyond(self) -> list[Violation]:
        found = []
        for (line, number), units in self.moved.items():
            said = self.told[line, number]
            if units > said:
                what = "cancelled" if number is None else f"charged under {number}"
                found.append(self._say("applied_twice", f"line {line}: {units} {what}, said {said}", units - said))
        for line, ordered in self.ordered.items():
            left = sum(units for (of, number), units in self.told.items() if of == line and number is not None)
            boxed = self.moved[line, None] - (ordered - left)
            if boxed > 0:
                text = f"line {line}: {boxed} of {left} shipped unit(s) cancelled"
                found.append(self._say("cancelled_in_a_box", text, boxed))
        return found

    def _end_state(self) -> list[Violation]:
        wrong = [
            f"line {line} {'cancelled' if number is None else number}: {self.moved[line, number]}"
            f" instead of {self.told[line, number]}"
            for line, number in sorted({*self.told, *self.moved}, key=str)
            if self.moved[line, number] != self.told[line, number]
        ]
        return [self._say("wrong_end_state", "; ".join(wrong))] if wrong else []

    def _entries(self, step: Step) -> list[int]:
        """Journal numbers of the effects that moved units of this step."""
        return [
            n
            for units in step.units
            for n, before, after in self.spans[units.line, units.number]
            if before < units.before + units.quantity and after > units.before
        ]

    def _inversions(self) -> list[Violation]:
        found = []
        for is_cancel in (False, True):
            first: dict[str, Published] = {}
            for one in self.events:
                if one.step is not None and one.step.is_cancel is is_cancel and one.step.units:
                    first.setdefault(one.step.event_id, one)
            passed = [one for one in first.values() if self._status(one) != "failed"]
            steps = [one.step for one in sorted(passed, key=lambda one: one.place.offset) if one.step is not None]
            done = [(step, entries) for step in steps if (entries := self._entries(step))]
            for (earlier, before), (later, after) in pairwise(done):
                # One effect with units of both: the later event ran first and did the earlier one's work, too.
                if min(after) <= max(before):
                    text = f"{later.event_id} at {min(after)} is not after {earlier.event_id} at {max(before)}"
                    found.append(self._say("inversions", text))
        return found

    def _status(self, one: Published) -> str | None:
        final = self.finals.of(one)
        return None if final is None else final.status

    def _untold(self) -> list[Violation]:
        """Something was moved for an event that no final result calls succeeded, or partly applied."""
        found = []
        for step in self.steps.values():
            told = [one for one in self.finals.by_id.get(step.event_id, ()) if _tells_of_effect(one)]
            if self._entries(step) and not told:
                found.append(self._say("results_missing", f"{step.kind} {step.event_id} has moved units, untold"))
        return found

    def _failed(self) -> list[Violation]:
        found = []
        for one in self.events:
            final = self.finals.of(one)
            if one.step is not None and final is not None and (final.status == "failed") != one.step.must_fail:
                text = f"{_name(one)} ended {final.status} ({final.code})"
                found.append(Violation("failed_wrongly", text, self.order, one.place))
        return found


def _tells_of_effect(told: Told) -> bool:
    return told.status == "succeeded" or told.effect == "partly_applied"


# -- dead letters


def _letters(evidence: Evidence, finals: Finals) -> list[Violation]:
    found: list[Violation] = []
    events = {one.place: one for one in evidence.published}
    dead: dict[Place, list[Letter]] = defaultdict(list)
    for letter in evidence.letters:
        if letter.state == "dead" and letter.origin is not None:
            dead[letter.origin].append(letter)
    for place, one in events.items():
        final = finals.by_place.get(place)
        if final and final[-1].status == "failed":
            kept = dead[place]
            if not kept:
                found.append(_of("dead_letters_not_identical", one, "has no dead letter"))
            elif any(letter.kept != (one.key, one.value, one.headers) for letter in kept):
                found.append(_of("dead_letters_not_identical", one, "is kept with other bytes"))
    for place, letters in dead.items():
        if letters and not any(told.status == "failed" for told in finals.by_place.get(place, ())):
            text = f"dead letter {letters[-1].key} of {'/'.join(map(str, place))} was never told"
            found.append(Violation("results_missing", text, _order_of(events.get(place)), place))
    added = {
        (one.step.order, one.step.data["shipment_id"]): one
        for one in evidence.published
        if one.step is not None and one.step.kind == "number added" and not one.repeat
    }
    for letter in _latest(evidence.letters).values():
        kept_event = events.get(letter.origin) if letter.origin is not None else None
        if letter.state in ("waiting", "replay"):
            text = f"{letter.key} is {letter.state} ({letter.code})"
            found.append(Violation("still_waiting", text, _order_of(kept_event), letter.origin))
        elif letter.state == "dead" and kept_event is not None and _settled(kept_event, added, finals):
            found.append(_of("dead_letters_left", kept_event, f"is settled, but its dead letter {letter.key} is left"))
    return found


def _settled(one: Published, added: Mapping[tuple[str, str], Published], finals: Finals) -> bool:
    """Its latest final result is a success, or its shipment has succeeded with the number that was missing."""
    if one.step is None:
        return False
    told_by = added.get((one.step.order, one.step.data["shipment_id"])) if one.step.must_fail else one
    final = finals.of(told_by) if told_by is not None else None
    return final is not None and final.status == "succeeded"


def _of(kind: str, one: Published, text: str) -> Violation:
    return Violation(kind, f"{_name(one)} {text}", _order_of(one), one.place)


def _order_of(one: Published | None) -> str | None:
    return one.step.order if one is not None and one.step is not None else None


def _name(one: Published) -> str:
    where = "/".join(map(str, one.place))
    if one.step is None:
        return f"garbage at {where}"
    return f"{'repeated ' if one.repeat else ''}{one.step.kind} {one.step.event_id} at {where}"
