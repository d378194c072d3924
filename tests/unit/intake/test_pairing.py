"""Pairing: a cancel is read only where its shipments are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.intake.pairing import pair

places = st.frozensets(st.tuples(st.sampled_from("sc"), st.integers(0, 5)))


def test_pairs_are_read_whole() -> None:
    ours = {("s", 1), ("c", 1), ("s", 4), ("c", 4)}
    pairing = pair(ours, shipped="s", cancelled="c")
    assert pairing.readable == ours
    assert pairing.unpaired == frozenset()
    assert pairing.numbers == {1, 4}


@given(places)
def test_no_cancel_runs_blind_and_no_shipment_waits_for_want_of_cancels(ours: frozenset[tuple[str, int]]) -> None:
    pairing = pair(ours, shipped="s", cancelled="c")
    for number in range(6):
        shipped, cancelled = ("s", number) in ours, ("c", number) in ours
        assert (("s", number) in pairing.readable) == shipped
        assert (("c", number) in pairing.readable) == (shipped and cancelled)
        assert (number in pairing.unpaired) == (shipped != cancelled)
        assert (number in pairing.numbers) == shipped, "the waiting room goes with the shipments"
