"""A budget that starts on the wrong foot, is told nonsense, or whose clock jumps."""

from __future__ import annotations

import math
import random

import pytest
from bucket_model import Bucket, Client, World
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.lanes.budget import Budget

TEN_MINUTES = 600.0
HOUR = 3_600.0


def world(left: float, *, size: float = 60, workers: int = 1, foreign: float = 0.0, seed: int = 1) -> World:
    """A bucket of 60 a minute with so many left at the start."""
    clients = [Client(Budget(1.0, 60, 0.0, 1 / workers)) for _ in range(workers)]
    one = World(Bucket(size, 1.0), clients, random.Random(seed), foreign_rate=foreign)
    one.bucket.level = left
    return one


def told(left: int = 59, **more: float) -> Budget:
    budget = Budget(1.0, 60, 0.0, **more)
    budget.ended(budget.begun("first", 0.0), 0.0, left, 1.0)
    return budget


# -- a start in the middle of things


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("left", [0, 3, 6, 10])
@pytest.mark.parametrize(("workers", "foreign"), [(1, 0.3), (3, 0.0), (3, 0.3)])
def test_a_bucket_found_nearly_empty_is_not_taken_for_a_small_one(
    workers: int, foreign: float, left: int, seed: int
) -> None:
    """A restart under a backlog: kept near empty from then on, up to a fifth of the calls were turned away."""
    one = world(left, workers=workers, foreign=foreign, seed=seed)
    one.run(3 * TEN_MINUTES)
    # A first call each meets what was left by others; after that they know.
    assert one.turned_away <= workers + 0.012 * one.used
    assert one.used >= 0.98 * (left + 3 * TEN_MINUTES - one.bucket.spilt - one.foreign)


def test_a_bucket_that_shrinks_is_found_out() -> None:
    """Told as huge once, and small from then on: what comes in bursts is not sent into a bucket that cannot hold it."""
    one = world(1_000, size=1_000)
    (client,) = one.clients
    client.waiting = 0

    def shrink() -> None:
        one.bucket.size = one.bucket.level = 5.0

    one.at(10.0, shrink)
    for minute in range(1, 60):
        one.arrive(minute * 60.0, client, 30)
    one.run(HOUR)
    assert one.turned_away <= 0.01 * one.used
    assert one.used >= 0.95 * 30 * 59


def told_only_when_turned_away(rate: float) -> World:
    """A bucket of so many a second, believed to be one of 60 a minute."""
    one = World(Bucket(60, rate), [Client(Budget(1.0, 60, 0.0))], random.Random(1))
    one.tells = lambda left, at: (None, None) if left else (left, at)
    return one


def test_one_refusal_that_tells_of_an_empty_bucket_is_not_believed_for_ever() -> None:
    """It was taken for a bucket of one token: a thirteenth of the rate, as long as no other answer told anything."""
    one = told_only_when_turned_away(1.0)
    budget = one.clients[0].budget
    budget.ended(budget.begun("order", 0.0), 0.0, 0, 1.0)
    budget.throttled(0.0, 1.0)
    one.run(TEN_MINUTES)
    assert one.used >= 0.65 * TEN_MINUTES, "a refusal lowers a blind pace to 0.7 of the rate"


def test_where_only_refusals_tell_a_level_a_lower_rate_is_learnt() -> None:
    one = told_only_when_turned_away(0.5)
    one.run(6 * TEN_MINUTES)
    assert one.turned_away <= 0.03 * one.used
    assert one.used >= 0.5 * one.allowed


def test_an_answer_in_between_that_tells_no_level_changes_nothing() -> None:
    """As of a proxy's error page; what is known of the bucket is not given up for that."""
    budget, other = told(5), told(5)
    for now in (100.0, 100.1):
        budget.ended(budget.begun("x", now), now)
        other.ended(other.begun("x", now), now, answered=False)
    assert budget.next_at(101.0) == other.next_at(101.0)


def test_a_told_level_beyond_belief_keeps_no_budget_in_memory_for_ever() -> None:
    budget = told(left=10**8)
    assert not budget.is_forgettable(100.0)
    assert budget.is_forgettable(1_000.0)


def test_other_settings_leave_what_is_known_of_the_bucket() -> None:
    """A bucket that holds one does not hold sixty because the rate in the settings has changed."""
    one = world(1, size=1)
    one.run(60.0)
    one.at(60.0, lambda: one.clients[0].budget.set_rate(1.1, 66))
    used = one.used
    one.run(TEN_MINUTES)
    assert one.used - used >= 0.8 * (TEN_MINUTES - 60)


def test_a_ticket_of_an_earlier_budget_ends_no_call_of_a_later_one() -> None:
    """An account was taken out of the settings, and put in again, while a call ran."""
    before, after = Budget(1.0, 60, 0.0), Budget(1.0, 60, 1.0)
    old, new = before.begun("a", 0.5), after.begun("b", 1.5)
    after.ended(old, 2.0, 59)
    assert not after.admits(2.0), "its own call still runs, and nothing has told a level"
    after.ended(new, 2.5, 58)
    assert after.admits(2.5)


# -- clocks


def in_need(budget: Budget, now: float) -> Budget:
    """All used up that may be used at once."""
    while budget.admits(now):
        budget.ended(budget.begun("a", now), now, max(0, int(budget.left_at(now)) - 1), now + 1)
    return budget


@pytest.mark.parametrize("jump", [-HOUR, -60.0, 60.0, HOUR])
def test_a_clock_that_jumps_stops_nobody_for_that_long(jump: float) -> None:
    budget = in_need(told(), 10.0)
    now = 11.0 + jump
    assert now <= budget.next_at(now) <= now + 20
    assert budget.admits(budget.next_at(now) + 1e-6)


@pytest.mark.parametrize("headers", [True, False])
def test_a_clock_that_jumps_forward_and_back_again_stops_nobody(headers: bool) -> None:
    budget = told() if headers else Budget(1.0, 60, 0.0)
    if not headers:
        budget.ended(budget.begun("first", 0.0), 0.0)
    budget.admits(5.0 + 5 * HOUR)
    for _ in range(60):
        budget.reserve("a")
        budget.ended(budget.begun("a", 10.0), 10.0, 0 if headers else None)
    assert not budget.admits(10.0)
    assert budget.next_at(10.0) <= 90.0
    assert budget.admits(100.0)


def test_a_429_before_the_clock_was_set_back_is_waited_for_no_longer() -> None:
    budget = told()
    budget.throttled(10.0, until=30.0)
    assert not budget.admits(-HOUR + 19.0)
    assert budget.next_at(-HOUR + 19.0) <= -HOUR + 60.0


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["take", "answer", "silence", "lost", "429", "give back", "rate", "share"]),
            st.sampled_from([0.0, 0.0, 0.01, 1.0, 7.0, 90.0, -0.5, -5.0, -HOUR, HOUR, -9 * HOUR, 9 * HOUR]),
            st.sampled_from([0, 0, 1, 5, 59, 600, 10**8]),
        ),
        max_size=60,
    )
)
@settings(max_examples=300, deadline=None)
def test_whatever_it_is_told_and_whenever_it_goes_on(steps: list[tuple[str, float, int]]) -> None:
    """No number becomes nonsense, and once nothing is under way the next turn is minutes away at most."""
    now, budget, running = 1_700_000_000.0, Budget(1.0, 60, 1_700_000_000.0), []
    for number, (step, seconds, left) in enumerate(steps):
        now += seconds
        name = str(number)
        if step == "take" and budget.admits(now):
            budget.reserve(name)
            running.append(budget.begun(name, now))
        elif step == "give back":
            budget.reserve(name)
            assert budget.release(name)
        elif step == "429":
            budget.throttled(now, now + min(300.0, left))
        elif step == "rate":
            budget.set_rate((left + 1) / 60, left + 1)
        elif step == "share":
            budget.share = 1 / (1 + left % 7)
        elif running and step != "take":
            told_left = left if step == "answer" else None
            budget.ended(running.pop(0), now, told_left, now + 300.0 if left > 5 else None, answered=step != "lost")
        assert math.isfinite(budget.left_at(now))
        assert math.isfinite(budget.within(30.0, now))
    while running:
        budget.ended(running.pop(), now, 3, now + 1)
    slowest = budget.rate * budget.share * 0.1 * 0.05
    at = budget.next_at(now)
    assert now <= at <= now + 301 + 60 / slowest
    assert budget.admits(at + 1.1)  # a clock may be set back by a second unnoticed
    assert budget.is_idle
