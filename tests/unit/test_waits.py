"""What an event waited for, to the second, and which of it made it late."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import ERRORS
from worker.lanes.gates import Hold
from worker.waits import MEANINGS, OF_CODE, Cause, WaitReason, Waits

NOW = 1_000.0
REASONS = st.sampled_from(get_args(WaitReason))


def test_words_fit_together() -> None:
    assert set(MEANINGS) == set(get_args(WaitReason))
    assert set(get_args(Cause)) == {"failed", "calls", *get_args(WaitReason)} - {"slow"}
    assert set(get_args(Hold)) <= set(get_args(WaitReason))
    assert set(OF_CODE) <= set(ERRORS)


def test_what_gates_tell_of_a_wait_is_no_other_wait() -> None:
    waits = Waits()
    waits.begin("slots", NOW)
    waits.at_gate("budget", 40)
    waits.at_gate("starting", 1)
    assert waits.end(NOW + 50) == 9
    assert waits.seconds == {"budget": 40, "starting": 1, "slots": 9}


def test_between_two_waits_none_goes_on() -> None:
    """While its calls are made."""
    waits = Waits()
    waits.begin("order", NOW)
    assert waits.end(NOW + 5) == 5
    assert waits.end(NOW + 500) == 0
    waits.begin("retry", NOW + 600)
    assert waits.end(NOW + 601) == 1
    assert waits.seconds == {"order": 5, "retry": 1}


def test_a_clock_that_is_set_back_takes_nothing_away() -> None:
    waits = Waits()
    waits.begin("order", NOW)
    assert waits.end(NOW - 100) == 0
    waits.add("unread", -3)
    assert waits.seconds == {}


@pytest.mark.parametrize(
    ("seconds", "latency", "cause"),
    [
        ({"budget": 100.0, "closed": 250.0}, 400.0, "budget"),
        ({"budget": 60.0, "slow": 40.0, "closed": 250.0}, 400.0, "budget"),
        ({"budget": 99.0, "closed": 250.0}, 400.0, "closed"),
        ({"retry": 10.0, "closed": 250.0, "order": 120.0}, 400.0, "closed"),
        ({"unread": 3_600.0, "slots": 1.0}, 3_602.0, "unread"),
        ({"retry": 10.0}, 400.0, "calls"),
        ({}, 400.0, "calls"),
    ],
)
def test_the_budget_if_it_was_enough_else_the_longest_wait(
    seconds: dict[WaitReason, float], latency: float, cause: Cause
) -> None:
    waits = Waits(dict(seconds))
    assert waits.cause(latency, 300.0) == cause
    assert waits.seconds == seconds, "asking changes nothing"


def test_budget_waits_under_other_workers_count() -> None:
    assert Waits({"closed": 200.0}).cause(400.0, 300.0, budget_s=150.0) == "budget"


def test_an_event_that_waits_on_is_late_for_what_holds_it_as_well() -> None:
    waits = Waits({"retry": 20.0})
    waits.begin("slots", NOW)
    assert waits.cause(301.0, 300.0, now=NOW + 280, held_by="closed") == "closed"
    assert waits.cause(301.0, 300.0, budget_s=2.0, now=NOW + 280, held_by="closed") == "closed", "not for two seconds"
    assert waits.cause(301.0, 300.0, now=NOW + 10, held_by="closed") == "calls"
    assert waits.cause(301.0, 300.0, budget_s=150.0, now=NOW + 280, held_by="closed") == "budget", "half of its time"
    assert waits.end(NOW + 280) == 280


@given(
    steps=st.lists(st.tuples(REASONS, st.floats(0, 1e4), st.lists(st.tuples(REASONS, st.floats(0, 1e3)), max_size=3))),
    latency=st.floats(0, 1e6),
    slo=st.floats(1, 1e5),
)
def test_no_second_is_counted_twice_and_there_is_always_one_cause(
    steps: list[tuple[WaitReason, float, list[tuple[WaitReason, float]]]], latency: float, slo: float
) -> None:
    waits, now, waited = Waits(), NOW, 0.0
    for reason, seconds, at_gates in steps:
        waits.begin(reason, now)
        held = 0.0
        for gate, part in at_gates:
            part = min(part, seconds - held)
            waits.at_gate(gate, part)
            held += part
        now += seconds
        waited += seconds
        waits.end(now)
        now += 1.0
    assert sum(waits.seconds.values()) == pytest.approx(waited, abs=1e-3)
    assert waits.cause(latency, slo) in get_args(Cause)
