"""Secrets are found wherever they stand, however many there are; the look costs what the text costs."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.telemetry.needles import Needles
from worker.telemetry.scrub import Scrubber

FEW_LETTERS = st.text("ab", min_size=1, max_size=24)
"""Of two letters, so that pieces of one are found in others all the time."""


@settings(max_examples=500, deadline=None)
@given(
    needles=st.lists(FEW_LETTERS, max_size=40),
    others=st.integers(0, 40),
    text=st.text("ab", max_size=80),
)
def test_as_if_each_were_looked_for(needles: list[str], others: int, text: str) -> None:
    """`others`: there are many or few of them."""
    given_ones = [*needles, *(f"another-secret-{number:04}" for number in range(others))]
    made: Needles[str] = Needles()
    in_bytes: Needles[bytes] = Needles()
    for needle in given_ones:
        made.add(needle)
        in_bytes.add(needle.encode())
    there = any(needle in text for needle in given_ones)
    assert made.are_in(text) is there
    assert in_bytes.are_in(text.encode()) is there
    assert set(made.longest_first) == set(given_ones)
    assert [len(each) for each in made.longest_first] == sorted(map(len, set(given_ones)), reverse=True)


@pytest.mark.parametrize("length", [4, 10, 11, 12, 40])
@pytest.mark.parametrize("number", [1, 16, 17, 500])
def test_a_secret_is_masked_at_every_place_of_a_text(length: int, number: int) -> None:
    letters = (string.ascii_letters + string.digits) * 2
    secret = letters[:length]
    scrubber = Scrubber([f"#{one:05}-{letters}"[: max(8, length)] for one in range(number)])
    scrubber.register(secret)
    for before in range(20):
        text = f"{'.' * before}{secret}{'.' * (20 - before)}"
        assert secret not in scrubber.text(text), before
        assert not scrubber.is_clean(text), before
    assert scrubber.is_clean("." * 60)


def test_an_empty_one_is_nowhere_and_the_same_one_is_one() -> None:
    made: Needles[str] = Needles()
    for needle in ("", "abcd", "abcd"):
        made.add(needle)
    assert len(made) == 1
    assert not made.are_in("x")


def test_what_one_costs_is_bounded_and_nothing_is_looked_for_one_after_another() -> None:
    made: Needles[str] = Needles()
    for number in range(5_000):
        made.add(f"{number:05}-client-secret-of-an-account")
    assert made._one_by_one == ()
    assert len(made._pieces) <= 4 * len(made)
    made.add("short")
    assert made._one_by_one == ("short",)
