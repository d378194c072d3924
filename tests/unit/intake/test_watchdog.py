"""The watchdog: rebuilds what is stuck, fails only what a rebuild did not help, and never for others' troubles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from worker.intake.watchdog import Advice, Signs, Watchdog

P, Q = ("shipped", 0), ("cancelled", 0)


class Run:
    """A watchdog looked at once a second."""

    def __init__(self) -> None:
        self.dog = Watchdog(still_s=120, unsettled_s=180, poll_s=60, fail_s=180)
        self.now = 1_000.0
        self.asked = 0
        self.advice: list[tuple[float, Advice]] = []

    def seconds(self, many: int, signs: Callable[[float], dict[str, Any]]) -> list[Advice]:
        """What it advised, "ok" left out. A rebuild that is advised is begun at once."""
        told = []
        for _ in range(many):
            self.now += 1
            given = {"settled": True, "polled_at": self.now, "positions": {}, **signs(self.now)}
            ends, answers = given.pop("ends", {}), given.pop("broker", True)
            plain = Signs(now=self.now, **given)
            if self.dog.suspects(plain):
                self.asked += 1
                plain = Signs(now=self.now, **given, ends=ends if answers else None, broker_answers=answers)
            advice = self.dog.look(plain)
            if advice != "ok":
                told.append(advice)
                self.dog.rebuilding(self.now)
        return told


def test_records_that_nobody_reads_rebuild_then_fail() -> None:
    run = Run()
    still = {"positions": {P: 5}, "ends": {P: 6}}
    assert run.seconds(119, lambda _: still) == []
    assert run.seconds(5, lambda _: still) == ["rebuild"]
    assert not run.dog.hopeless
    assert run.seconds(170, lambda _: still) == []
    assert run.seconds(20, lambda _: still) == ["fail"]
    assert run.dog.hopeless


def test_a_rebuild_that_helped_is_forgiven() -> None:
    run = Run()
    assert run.seconds(125, lambda _: {"positions": {P: 5}, "ends": {P: 6}}) == ["rebuild"]
    assert run.seconds(300, lambda now: {"positions": {P: int(now)}}) == []
    assert run.seconds(125, lambda _: {"positions": {P: 5}, "ends": {P: 6}}) == ["rebuild"], "the first again"


def test_hope_returns_when_things_move_again() -> None:
    run = Run()
    run.seconds(400, lambda _: {"positions": {P: 5}, "ends": {P: 6}})
    assert run.dog.hopeless
    assert run.seconds(300, lambda now: {"positions": {P: int(now)}}) == []
    assert not run.dog.hopeless


def test_one_stuck_partition_is_seen_although_the_other_one_moves() -> None:
    run = Run()
    assert run.seconds(125, lambda now: {"positions": {P: 5, Q: int(now)}, "ends": {P: 6}}) == ["rebuild"]


def test_a_quiet_topic_is_fine_and_the_broker_is_hardly_asked() -> None:
    run = Run()
    assert run.seconds(3_600, lambda _: {"positions": {P: 5}, "ends": {P: 5}}) == []
    assert run.asked <= 3_600 / 60


def test_walmart_being_down_does_not_matter() -> None:
    """The windows are full: nothing is asked for, whatever lies there."""
    assert Run().seconds(10_000, lambda _: {"positions": {}, "ends": {P: 99}}) == []


def test_a_partition_without_a_leader_is_not_ours_to_mend() -> None:
    """The broker tells no end for it."""
    assert Run().seconds(3_600, lambda _: {"positions": {P: 5}, "ends": {}}) == []


def test_a_position_that_is_never_known_is_stuck() -> None:
    assert Run().seconds(125, lambda _: {"positions": {P: None}, "ends": {P: 1}}) == ["rebuild"]


def test_a_group_that_does_not_settle() -> None:
    run = Run()
    assert run.seconds(180, lambda _: {"settled": False, "polled_at": 0.0}) == []
    assert run.seconds(5, lambda _: {"settled": False, "polled_at": 0.0}) == ["rebuild"]
    assert run.seconds(175, lambda _: {"settled": False, "polled_at": 0.0}) == []
    assert run.seconds(10, lambda _: {"settled": False, "polled_at": 0.0})[:1] == ["fail"]


def test_many_rebalances_in_a_row_are_no_unsettled_group() -> None:
    assert Run().seconds(3_600, lambda now: {"settled": int(now) % 90 == 0}) == []


def test_a_poll_that_does_not_come_back() -> None:
    run = Run()
    begun = run.now
    assert run.seconds(65, lambda _: {"polled_at": begun}) == ["rebuild"]


def test_a_broker_that_is_away_for_an_hour_fails_nothing_and_gets_time_when_it_is_back() -> None:
    run = Run()
    away = {"positions": {P: 5}, "broker": False}
    assert run.seconds(3_600, lambda _: away) == []
    assert run.seconds(3_600, lambda _: {"settled": False, "polled_at": 0.0, "broker": False}) == []
    assert not run.dog.hopeless
    assert run.seconds(89, lambda _: {"settled": False, "polled_at": 0.0}) == []
    assert run.seconds(100, lambda _: {"settled": False, "polled_at": 0.0}) == ["rebuild"]


def test_nothing_is_advised_without_having_asked_the_broker() -> None:
    dog = Watchdog()
    for now in range(10_000):
        assert dog.look(Signs(float(now), False, 0.0, {P: 5})) == "ok"
