"""Health is judged from progress; nothing outside the process decides about liveness."""

from __future__ import annotations

import pytest

from worker.telemetry.health import Vitals, judge


def working() -> Vitals:
    vitals = Vitals(max_internal_errors=3, assigned=True, table_caught_up=True, producer_up=True)
    vitals.watch("intake", silent_after_seconds=30, now=0)
    return vitals


def test_a_working_worker_is_live_and_ready() -> None:
    health = judge(working(), now=30)
    assert health.live
    assert health.ready
    assert health.not_live == health.not_ready == ()


def test_a_loop_that_stands_still_is_neither() -> None:
    vitals = working()
    health = judge(vitals, now=31)
    assert not health.live
    assert not health.ready
    assert health.not_live == ("the intake loop has not turned for 31 s",)
    vitals.beat("intake", 31)
    assert judge(vitals, now=60).live


def test_a_loop_that_ended_as_planned_is_not_missed() -> None:
    vitals = working()
    vitals.rest("intake")
    vitals.beat("intake", 5)
    assert judge(vitals, now=1_000_000).live


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"assigned": False}, "assignment"),
        ({"table_caught_up": False}, "dead-letter"),
        ({"producer_up": False}, "acknowledged"),
        ({"internal_errors_in_row": 3}, "exceptions"),
        ({"stopping": True}, "stopping"),
    ],
)
def test_trouble_outside_makes_it_unready_but_never_dead(change: dict[str, object], reason: str) -> None:
    vitals = working()
    for name, value in change.items():
        setattr(vitals, name, value)
    health = judge(vitals, now=1)
    assert health.live
    assert not health.ready
    assert len(health.not_ready) == 1
    assert reason in health.not_ready[0]


def test_fewer_internal_errors_than_the_limit_are_no_reason() -> None:
    vitals = working()
    vitals.internal_errors_in_row = 2
    assert judge(vitals, now=1).ready


def test_a_fatal_end_asks_for_a_restart() -> None:
    vitals = working()
    vitals.fatal = "the committer ended"
    assert judge(vitals, now=1).not_live == ("the committer ended",)


def test_all_reasons_are_told_at_once() -> None:
    assert len(judge(Vitals(), now=0).not_ready) == 2
