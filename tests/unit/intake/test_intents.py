"""Intents: what is written fits, what is read back is what was written, and no text of anybody breaks the reading."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.intake.intents import MAX_AHEAD_S, MAX_BYTES, Intents, mark_of, read_intents, write_intents

PLACE = ("shipped", 3)
OTHER = ("cancelled", 3)
NOW = 1_764_000_000.0


def book(*places: tuple[str, int], text: str = "", max_bytes: int = MAX_BYTES) -> Intents:
    intents = Intents(keep_s=40, max_bytes=max_bytes)
    intents.assign(places or (PLACE,))
    for place in places or (PLACE,):
        assert intents.read_back(place, text, NOW) is None
    return intents


@given(st.dictionaries(st.text().map(mark_of), st.integers(0, 2**36), max_size=30))
def test_what_is_written_is_read_back(deadlines: dict[str, int]) -> None:
    assert read_intents(write_intents(deadlines)) == (deadlines, None)


@given(st.text())
@pytest.mark.parametrize("head", ["", "order-sync-intents/1 ", "order-sync-intents/2 ", "order-sync-intents/"])
def test_no_text_breaks_the_reading(head: str, text: str) -> None:
    found, problem = read_intents(head + text)
    entries = (head + text).split(" ")[1:]
    assert problem is not None or set(found) == {entry.partition(":")[0] for entry in entries}


def test_a_deadline_is_never_read_back_earlier_than_it_is() -> None:
    found, _ = read_intents(write_intents({mark_of("k"): NOW + 0.001}))
    assert found[mark_of("k")] >= NOW + 0.001


def test_of_a_broken_or_newer_text_what_looks_right_is_used() -> None:
    good = f"{mark_of('k')}:12"
    for text in (f"order-sync-intents/1 {good} rubbish", f"order-sync-intents/9 {good} new:thing"):
        found, problem = read_intents(text)
        assert found == {mark_of("k"): 12}
        assert problem is not None


def test_foreign_metadata_is_told_and_yields_nothing() -> None:
    intents = Intents(keep_s=40)
    intents.assign([PLACE])
    problem = intents.read_back(PLACE, "consumer-lag-exporter was here", NOW)
    assert problem is not None
    assert intents.is_known(PLACE)
    assert intents.text(PLACE, NOW) == ""


@pytest.mark.parametrize("limit", [MAX_BYTES, 100])
def test_the_text_never_exceeds_the_limit_and_the_rest_waits_its_turn(limit: int) -> None:
    intents = book(max_bytes=limit)
    added = [n for n in range(300) if intents.add(PLACE, n, mark_of(str(n)), NOW + 10, NOW)]
    text = intents.text(PLACE, NOW)
    assert len(text.encode()) <= limit
    assert len(read_intents(text)[0]) == len(added) > 0
    assert intents.end(added[0], NOW)
    assert intents.add(PLACE, "next", mark_of("next"), NOW + 10, NOW)


def test_full_means_145_running_calls_of_one_partition() -> None:
    intents = book()
    assert sum(intents.add(PLACE, n, mark_of(str(n)), NOW + 10, NOW) for n in range(300)) == 145


def test_nothing_is_written_over_what_was_not_read_yet() -> None:
    intents = Intents(keep_s=40)
    intents.assign([PLACE])
    assert not intents.add(PLACE, "me", mark_of("k"), NOW + 10, NOW)
    assert intents.unwritten(NOW) == []


def test_an_intent_counts_when_a_commit_that_carried_it_was_taken() -> None:
    intents = book()
    intents.add(PLACE, "me", mark_of("k"), NOW + 10, NOW)
    before = ""
    intents.carried(PLACE, before)
    assert not intents.is_written(PLACE, "me")
    intents.carried(PLACE, intents.text(PLACE, NOW))
    assert intents.is_written(PLACE, "me")
    assert intents.unwritten(NOW) == []
    intents.add(PLACE, "me", mark_of("k"), NOW + 20, NOW)
    assert not intents.is_written(PLACE, "me"), "the second call has a later deadline"


def test_a_withdrawn_intent_leaves_an_earlier_one_standing() -> None:
    """The first call's answer may still be unknown when the second one's fence is refused."""
    intents = book()
    intents.add(PLACE, "me", mark_of("k"), NOW + 10, NOW)
    intents.carried(PLACE, first := intents.text(PLACE, NOW))
    intents.add(PLACE, "me", mark_of("k"), NOW + 20, NOW)
    intents.withdraw(PLACE, "me")
    assert intents.text(PLACE, NOW) == first
    intents.add(PLACE, "new", mark_of("n"), NOW + 20, NOW)
    intents.withdraw(PLACE, "new")
    assert intents.text(PLACE, NOW) == first


def test_one_that_ends_does_not_drop_the_other_ones_intent() -> None:
    """Two events of one order have one mark: each drops its own."""
    intents = book()
    intents.add(PLACE, "first", mark_of("k"), NOW + 10, NOW)
    intents.add(PLACE, "second", mark_of("k"), NOW + 12, NOW)
    assert intents.end("second", NOW)
    assert not intents.end("second", NOW)
    assert mark_of("k") in read_intents(intents.text(PLACE, NOW + 1_000))[0]


def test_an_ended_intent_is_told_while_reads_may_be_old() -> None:
    """Killed right after its result, before its offset was committed: the next owner must doubt what it reads."""
    intents = book()
    intents.add(PLACE, "me", mark_of("k"), NOW + 10, NOW)
    intents.end("me", NOW + 1, offset=9)
    assert mark_of("k") in intents.text(PLACE, NOW + 1, resume_at=9)
    assert mark_of("k") in intents.text(PLACE, NOW + 1, resume_at=10), "a repeat of the event may come"
    assert intents.next_expiry() == NOW + 1 + 40
    assert intents.text(PLACE, NOW + 41) == ""


def test_where_there_is_no_room_those_that_are_read_again_come_first() -> None:
    intents = book()
    for number in range(145):
        intents.add(PLACE, number, mark_of(str(number)), NOW + 10, NOW)
        intents.end(number, NOW, offset=number)
    assert len(read_intents(intents.text(PLACE, NOW, resume_at=0))[0]) == 145
    assert not intents.add(PLACE, "next", mark_of("next"), NOW + 10, NOW)
    intents.text(PLACE, NOW, resume_at=100)
    assert intents.add(PLACE, "next", mark_of("next"), NOW + 10, NOW)
    told = read_intents(intents.text(PLACE, NOW))[0]
    assert {mark_of("next"), *(mark_of(str(number)) for number in range(100, 145))} <= set(told)
    assert 130 < len(told) <= 145


def test_found_intents_are_carried_on_until_they_expire() -> None:
    intents = book(PLACE, OTHER, text=write_intents({mark_of("k"): NOW + 5}))
    found = intents.found("k", NOW)
    assert found is not None
    assert (found.deadline, found.found_at) == (NOW + 5, NOW)
    assert intents.found("other", NOW) is None
    assert mark_of("k") in intents.text(PLACE, NOW + 44)
    assert intents.unwritten(NOW + 44) == []
    assert intents.found("k", NOW + 45) is None
    assert intents.text(PLACE, NOW + 45) == ""
    assert intents.unwritten(NOW + 45) == [PLACE, OTHER], "to be cleaned"


@pytest.mark.parametrize(("deadline", "gone_after"), [(NOW - 86_400, 40), (NOW + 10**6, MAX_AHEAD_S + 40)])
def test_a_clock_that_was_wrong_shortens_or_prolongs_nothing_beyond_reason(deadline: float, gone_after: float) -> None:
    """Counted from when it was found, at least; and not for days."""
    intents = book(text=write_intents({mark_of("k"): deadline}))
    assert intents.found("k", NOW + gone_after - 1) is not None
    assert intents.found("k", NOW + gone_after) is None


def test_a_broker_that_takes_less_gets_less() -> None:
    """Offsets must go on: what was acknowledged stays, found ones go first."""
    intents = book(text=write_intents({mark_of(f"old{n}"): NOW + 5 for n in range(10)}))
    intents.add(PLACE, "me", mark_of("k"), NOW + 10, NOW)
    intents.carried(PLACE, intents.text(PLACE, NOW))
    intents.max_bytes = 80
    text = intents.text(PLACE, NOW)
    assert len(text) <= 80
    assert mark_of("k") in text


def test_a_commit_without_an_answer_leaves_the_partition_to_be_cleaned() -> None:
    intents = book()
    assert intents.unwritten(NOW) == []
    intents.doubtful(PLACE)
    assert intents.unwritten(NOW) == [PLACE]
    intents.carried(PLACE, "")
    assert intents.unwritten(NOW) == []


def test_what_belongs_to_an_older_assignment_is_ignored() -> None:
    intents = book()
    intents.add(PLACE, "me", mark_of("k"), NOW + 10, NOW)
    intents.assign([OTHER])
    assert not intents.is_written(PLACE, "me")
    intents.withdraw(PLACE, "me")
    intents.carried(PLACE, "")
    intents.doubtful(PLACE)
    assert intents.read_back(PLACE, "x", NOW) is None
    assert not intents.end("me", NOW)
    assert intents.text(PLACE, NOW) == ""
