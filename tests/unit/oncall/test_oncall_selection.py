from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oncall_samples import SEEN, letter

from worker.oncall.selection import Selection, counts_by_code, in_order, parse_since


@pytest.mark.parametrize(
    ("selection", "matches"),
    [
        (Selection(), True),
        (Selection(codes=frozenset({"carrier_unmapped", "internal"})), True),
        (Selection(codes=frozenset({"internal"})), False),
        (Selection(categories=frozenset({"mapping"}), stores=frozenset({"us"})), True),
        (Selection(categories=frozenset({"mapping"}), stores=frozenset({"ca"})), False),
        (Selection(orders=frozenset({"PO1"})), True),
        (Selection(keys=frozenset({"another"})), False),
        (Selection(states=frozenset({"waiting"})), False),
        (Selection(since=SEEN), True),
        (Selection(since=SEEN + 2), False),
    ],
)
def test_filters(selection: Selection, matches: bool) -> None:
    assert selection.matches(letter()) is matches


def test_markers_are_shown_only_when_asked_for() -> None:
    marker = letter(state="corrected")
    assert not Selection().matches(marker)
    assert Selection(states=frozenset({"corrected"})).matches(marker)


@pytest.mark.parametrize(
    ("text", "expected"), [("90m", 1_000_000 - 5_400), ("1.5h", 1_000_000 - 5_400), ("2 d", 827_200)]
)
def test_since_as_a_span(text: str, expected: float) -> None:
    assert parse_since(text, 1_000_000) == expected


def test_since_as_a_time() -> None:
    assert parse_since("2026-11-20T15:00:00+01:00", 0) == 1_795_183_200


@pytest.mark.parametrize("text", ["yesterday", "2026-11-20", "5", "-2h", "2026-11-20T15:00:00"])
def test_since_says_how_it_is_written(text: str) -> None:
    with pytest.raises(ValueError, match="neither a span"):
        parse_since(text, 0)


def test_oldest_first_across_orders_and_topics() -> None:
    letters = [
        letter(7, order="B", first_seen=SEEN + 30),
        letter(8, order="A", topic="cancelled", first_seen=SEEN + 20),
        letter(9, order="A", first_seen=SEEN + 10),
    ]
    assert [one.about.offset for one in in_order(letters)] == [9, 8, 7]


def test_a_late_first_sight_never_turns_an_order_round() -> None:
    """After a redelivery the earlier offset may have been seen later."""
    letters = [letter(5, first_seen=SEEN), letter(4, first_seen=SEEN + 60), letter(3, order="B", first_seen=SEEN + 30)]
    assert [one.about.offset for one in in_order(letters)] == [3, 4, 5]


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.sampled_from("AB"), st.sampled_from("st"), st.integers(0, 9)), max_size=12
    )
)
def test_offsets_of_one_order_and_topic_always_rise(rows: list[tuple[int, str, str, int]]) -> None:
    letters = [
        letter(offset, order=order, topic=topic, first_seen=SEEN + seen, place=(0, place))
        for place, (offset, order, topic, seen) in enumerate(rows)
    ]
    ordered = in_order(letters)
    assert sorted(map(id, ordered)) == sorted(map(id, letters))
    for pair in {(one.about.order, one.about.topic) for one in letters}:
        offsets = [one.about.offset or 0 for one in ordered if (one.about.order, one.about.topic) == pair]
        assert offsets == sorted(offsets)


def test_counts_most_first() -> None:
    letters = [letter(1), letter(2), letter(3, code=None)]
    assert counts_by_code(letters) == [("carrier_unmapped", 2), ("(none)", 1)]
