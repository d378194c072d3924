"""The counting is not blind: everything that must be zero is made not zero by hand, and is found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest

from schemas.deadletter import State
from tests.chaos.evidence import Effect, Evidence, Letter, Moved, Place, Published, Told
from tests.chaos.history import Kind, Mix, Step, Units, history, sketch
from tests.chaos.judge import ZERO, judge, still_waiting, unfinished

ORDER = "1815367000001"
SHIPPED, CANCELLED, ROOM = "shipped", "cancelled", "room"


def step(number: int, kind: Kind, *units: Units, shipment: str = "s") -> Step:
    return Step(ORDER, f"{ORDER}-{number}", kind, units, {"shipment_id": shipment})


FIRST = step(0, "partial with total", Units("1", "A", 1, 0))
SAME_BOX = step(1, "partial with total", Units("1", "A", 1, 1))
SECOND = step(2, "partial", Units("1", "B", 2, 0))
CANCEL = step(3, "cancel", Units("1", None, 1, 0))
CANCEL_MORE = step(4, "cancel", Units("1", None, 1, 1))
NUMBERLESS = step(5, "number missing", shipment="late")
NUMBERED = step(6, "number added", Units("1", "C", 1, 0), shipment="late")


class Case:
    """An order of ten units and a run of it in which all went well; tests break it."""

    def __init__(self, *steps: Step) -> None:
        self.published: list[Published] = []
        self.told: list[Told] = []
        self.letters: list[Letter] = []
        self.effects: list[Effect] = []
        for one in steps:
            published = self.publish(one)
            if one.must_fail:
                self.tell(published, "failed")
                self.letters.append(self.letter(published))
                continue
            self.tell(published)
            self.move(*[Moved(units.line, units.number, units.quantity) for units in one.units])
            if one.kind == "number added":
                self.letters.append(Letter(Place(ROOM, 0, 99), self.letters[-1].key, None))

    def publish(self, one: Step | None, *, repeat: bool = False) -> Published:
        topic = CANCELLED if one is not None and one.is_cancel else SHIPPED
        at = float(len(self.published))
        place = Place(topic, 0, len(self.published))
        made = Published(place, at, b"key", b"value", (("h", b"1"), ("h", None)), one, repeat)
        self.published.append(made)
        return made

    def tell(self, published: Published, status: str = "succeeded", *, at: float | None = None) -> None:
        event_id = published.step.event_id if published.step else None
        at = published.at + 0.5 if at is None else at
        effect = "applied" if status == "succeeded" else "none"
        self.told.append(Told(published.place, event_id, at, status != "retrying", status, effect, None))

    def letter(self, published: Published) -> Letter:
        kept = (published.key, published.value, published.headers)
        name = published.step.event_id if published.step else "/".join(map(str, published.place))
        return Letter(Place(ROOM, 0, len(self.letters)), name, "dead", "a_code", published.place, kept)

    def move(self, *units: Moved) -> None:
        self.effects.append(Effect(len(self.effects) + 1, 0.0, ORDER, units))

    def counts(self, ordered: int = 10, uncommitted: Sequence[str] = ()) -> dict[str, int]:
        """What is not zero."""
        evidence = Evidence(self.published, self.told, self.letters, self.effects, {ORDER: {"1": ordered}}, uncommitted)
        return {kind: count for kind, count in judge(evidence).counts.items() if count}


def test_nothing_is_found_where_all_went_well() -> None:
    case = Case(FIRST, SAME_BOX, SECOND, CANCEL, CANCEL_MORE, NUMBERLESS, NUMBERED)
    assert case.counts() == {}
    garbage = case.publish(None)
    case.tell(garbage, "failed")
    case.letters.append(case.letter(garbage))
    assert case.counts() == {}


# -- results


def test_an_event_without_a_final_result_is_lost() -> None:
    case = Case(FIRST, CANCEL)
    del case.told[1]
    case.tell(case.published[1], "retrying")
    assert case.counts() == {"lost": 1, "results_missing": 1}
    assert [one.step for one in unfinished(case.published, case.told)] == [CANCEL]


def test_garbage_without_a_final_result_is_lost() -> None:
    case = Case(FIRST)
    case.publish(None)
    assert case.counts() == {"lost": 1}


def test_a_repeat_is_spoken_for_only_by_what_was_told_after_it() -> None:
    case = Case(FIRST)
    repeat = case.publish(FIRST, repeat=True)
    assert case.counts() == {"lost": 1}
    case.tell(case.published[0], at=repeat.at + 1)
    assert case.counts() == {}


def test_an_effect_that_no_result_tells_of() -> None:
    case = Case(FIRST, SECOND)
    case.told[0] = replace(case.told[0], status="failed", effect="none")
    case.letters.append(case.letter(case.published[0]))
    assert case.counts() == {"results_missing": 1, "failed_wrongly": 1}
    case.told[0] = replace(case.told[0], effect="partly_applied")
    assert case.counts() == {"failed_wrongly": 1}


def test_a_dead_letter_that_was_never_told() -> None:
    case = Case(FIRST)
    garbage = case.publish(None)
    case.tell(garbage)
    case.letters.append(case.letter(garbage))
    assert case.counts() == {"results_missing": 1}


@pytest.mark.parametrize(("one", "status"), [(FIRST, "failed"), (NUMBERLESS, "succeeded")])
def test_an_event_that_ended_otherwise_than_it_should(one: Step, status: str) -> None:
    case = Case()
    published = case.publish(one)
    case.tell(published, status)
    case.letters.append(case.letter(published))
    assert case.counts()["failed_wrongly"] == 1


# -- effects


@pytest.mark.parametrize("again", [Moved("1", "A", 1), Moved("1", "Z", 1), Moved("1", None, 1)])
def test_units_beyond_what_commerce_said(again: Moved) -> None:
    """Under the same number, under one nobody said, or cancelled."""
    case = Case(FIRST, CANCEL)
    case.move(again)
    assert case.counts() == {"applied_twice": 1, "wrong_end_state": 1}


def test_units_count_once_each() -> None:
    case = Case(SECOND)
    case.move(Moved("1", "B", 2))
    assert case.counts() == {"applied_twice": 2, "wrong_end_state": 1}


def test_units_of_an_order_nobody_spoke_of() -> None:
    case = Case(FIRST)
    case.effects.append(Effect(9, 0.0, "another order", (Moved("1", "A", 1),)))
    assert case.counts() == {"applied_twice": 1, "wrong_end_state": 1}


def test_an_effect_that_is_missing() -> None:
    case = Case(FIRST, CANCEL)
    del case.effects[1]
    assert case.counts() == {"wrong_end_state": 1}


def test_a_shipped_unit_is_cancelled() -> None:
    case = Case(FIRST, CANCEL)
    case.move(Moved("1", None, 1))
    assert case.counts(ordered=3) == {"applied_twice": 1, "wrong_end_state": 1}, "it was open"
    assert case.counts(ordered=2) == {"applied_twice": 1, "wrong_end_state": 1, "cancelled_in_a_box": 1}


# -- order


def test_effects_in_the_wrong_order() -> None:
    case = Case(FIRST, SECOND)
    case.effects = [replace(effect, n=n) for n, effect in enumerate(reversed(case.effects))]
    assert case.counts() == {"inversions": 1}


@pytest.mark.parametrize("steps", [(FIRST, SAME_BOX), (CANCEL, CANCEL_MORE)])
def test_a_later_event_that_did_the_earlier_ones_work(steps: tuple[Step, Step]) -> None:
    """Totals: it must have run first."""
    case = Case(*steps)
    number = steps[0].units[0].number
    case.effects = [Effect(1, 0.0, ORDER, (Moved("1", number, 2),))]
    assert case.counts() == {"inversions": 1}


def test_an_event_in_the_middle_of_another_ones_effects() -> None:
    whole = step(7, "full", Units("1", "D", 1, 0), Units("2", "D", 1, 0))
    case = Case(whole, FIRST)
    case.effects = [
        Effect(1, 0.0, ORDER, (Moved("1", "D", 1),)),
        Effect(2, 0.0, ORDER, (Moved("1", "A", 1),)),
        Effect(3, 0.0, ORDER, (Moved("2", "D", 1),)),
    ]
    assert case.counts() == {"inversions": 1}


def test_the_two_topics_have_no_order_between_them_and_a_dead_letter_is_passed() -> None:
    case = Case(FIRST, CANCEL)
    case.effects = [replace(effect, n=n) for n, effect in enumerate(reversed(case.effects))]
    assert case.counts() == {}
    case = Case(FIRST, SECOND)
    case.effects = [replace(effect, n=n) for n, effect in enumerate(reversed(case.effects))]
    case.told[0] = replace(case.told[0], status="failed", effect="partly_applied")
    case.letters.append(case.letter(case.published[0]))
    assert "inversions" not in case.counts()


# -- dead letters


@pytest.mark.parametrize(
    "broken",
    [
        (None, b"value", (("h", b"1"), ("h", None))),
        (b"key", b"valu", (("h", b"1"), ("h", None))),
        (b"key", b"value", (("h", None), ("h", b"1"))),
    ],
)
def test_a_dead_letter_with_other_bytes(
    broken: tuple[bytes | None, bytes | None, tuple[tuple[str, bytes], ...]],
) -> None:
    case = Case(NUMBERLESS)
    case.letters[0] = replace(case.letters[0], kept=broken)
    assert case.counts() == {"dead_letters_not_identical": 1}


def test_a_failed_event_without_a_dead_letter() -> None:
    case = Case(NUMBERLESS)
    case.letters.clear()
    assert case.counts() == {"dead_letters_not_identical": 1}


def test_a_dead_letter_of_something_settled() -> None:
    case = Case(NUMBERLESS, NUMBERED)
    del case.letters[1]
    assert case.counts() == {"dead_letters_left": 1}, "its shipment has succeeded with the number"
    case = Case(FIRST)
    case.letters.append(case.letter(case.published[0]))
    case.told.insert(0, replace(case.told[0], status="failed"))
    assert case.counts() == {"dead_letters_left": 1}, "it has succeeded itself"


@pytest.mark.parametrize("state", ["waiting", "replay"])
def test_what_waits_in_the_end(state: State) -> None:
    case = Case(FIRST)
    waiting = replace(case.letter(case.published[0]), state=state)
    case.letters = [waiting]
    assert case.counts() == {"still_waiting": 1}
    assert still_waiting(case.letters) == [waiting]
    case.letters.append(Letter(Place(ROOM, 0, 9), waiting.key, None))
    assert case.counts() == {}


def test_offsets_behind() -> None:
    assert Case(FIRST).counts(uncommitted=["shipped/0: committed 0, end 1"]) == {"uncommitted": 1}


def test_every_kind_is_counted_here() -> None:
    """A count that no test makes more than zero could be blind."""
    with open(__file__, encoding="utf-8") as file:
        text = file.read()
    assert [kind for kind in ZERO if f'"{kind}": ' not in text and f'["{kind}"]' not in text] == []


# -- on histories as a run makes them


def perfect(seed: int) -> Case:
    """A made-up history that went well."""
    chance = Random(seed)
    return Case(*history(chance, ORDER, sketch(chance, Mix()), Mix()))


def judged(case: Case) -> dict[str, int]:
    lines = {moved.line for effect in case.effects for moved in effect.units}
    ordered = {ORDER: dict.fromkeys(lines, 100)}
    evidence = Evidence(case.published, case.told, case.letters, case.effects, ordered)
    return {kind: count for kind, count in judge(evidence).counts.items() if count}


def swap(effects: list[Effect], place: int) -> None:
    """Let an effect and the next one come in the other order."""
    one, other = effects[place : place + 2]
    effects[place : place + 2] = [replace(other, n=one.n), replace(one, n=other.n)]


@pytest.mark.parametrize("seed", range(150))
def test_each_mishap_in_a_made_up_history_is_found(seed: int) -> None:
    case = perfect(seed)
    assert judged(case) == {}
    for number, effect in enumerate(case.effects):
        case.effects.append(replace(effect, n=100))
        assert judged(case).keys() >= {"applied_twice", "wrong_end_state"}
        case.effects.pop()
        del case.effects[number]
        assert judged(case).keys() >= {"wrong_end_state"}
        case.effects.insert(number, effect)
    for number, told in enumerate(case.told):
        del case.told[number]
        assert judged(case).keys() >= {"lost"}
        case.told.insert(number, told)
    moved = [one.step for one in case.published if one.step is not None and one.step.units]
    for place, (earlier, later) in enumerate(pairwise(moved)):
        swap(case.effects, place)
        same_topic = earlier.is_cancel is later.is_cancel
        # Units under one number, or cancelled, are alike: whose they were cannot be told when two have swapped them.
        alike = {(units.line, units.number) for units in earlier.units} & {
            (units.line, units.number) for units in later.units
        }
        if same_topic and not alike:
            assert judged(case) == {"inversions": 1}
        swap(case.effects, place)
    assert judged(case) == {}
