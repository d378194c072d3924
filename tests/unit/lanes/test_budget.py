"""A budget against a bucket that is not its own."""

from __future__ import annotations

import math
import random

import pytest
from bucket_model import Bucket, Client, World
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from worker.lanes.budget import Budget

TEN_MINUTES = 600.0


def world(
    *, size: float = 60, rate: float = 1.0, workers: int = 1, foreign: float = 0.0, seed: int = 1, believed: float = 1.0
) -> World:
    """`foreign`: part of the rate; `believed`: the documented rate, as a part of the true one."""
    known = rate * believed
    clients = [Client(Budget(known, known * 60, 0.0, 1 / workers)) for _ in range(workers)]
    return World(Bucket(size, rate), clients, random.Random(seed), foreign_rate=rate * foreign)


# -- used to the last call, and nobody is turned away


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("foreign", [0.0, 0.3])
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("speed", [1.0, 10.0])
def test_backlogged_workers_use_98_percent_and_are_not_turned_away(
    speed: float, workers: int, foreign: float, seed: int
) -> None:
    one = world(size=60 * speed, rate=speed, workers=workers, foreign=foreign, seed=seed)
    one.run(TEN_MINUTES)
    assert one.used / one.allowed >= 0.98
    assert one.turned_away <= 0.001 * one.used


@given(
    size=st.integers(4, 200),
    rate=st.sampled_from([0.5, 1.0, 1.0, 3.3, 10.0, 83.0]),
    latency=st.sampled_from([(0.01, 0.05), (0.05, 0.15), (0.5, 1.5)]),
    arrivals=st.lists(st.tuples(st.floats(0, 500), st.integers(1, 300)), min_size=1, max_size=8),
    seed=st.integers(0, 999),
)
@settings(max_examples=60, deadline=None)
def test_alone_it_is_never_turned_away_and_nothing_spills_while_events_wait(
    size: int, rate: float, latency: tuple[float, float], arrivals: list[tuple[float, int]], seed: int
) -> None:
    """Any arrivals: what the bucket loses because it is full while somebody waits is next to nothing.

    (A bucket that holds less than what is under way at its rate is bound by the latency, not by the budget.)
    """
    assume(size >= 8 * rate * latency[1])
    one = world(size=size, rate=rate, seed=seed)
    one.latency = latency
    (client,) = one.clients
    client.waiting = 0
    for when, events in arrivals:
        one.arrive(when, client, events)
    one.run(TEN_MINUTES)
    assert one.turned_away == 0
    # Beside the two per cent: a call or two until the first answer tells how full the bucket is, and once some more
    # until a small one is known to be small, and not a large one that was nearly empty.
    learning = 6 if size < 12 else 0
    assert one.bucket.spilt_in_demand <= 0.02 * one.allowed + learning + len(arrivals) * (1 + 4 * rate * latency[1])
    if client.waiting:
        assert one.used >= 0.98 * one.allowed - 20 - learning - 4 * rate * latency[1]


@pytest.mark.parametrize(("size", "least"), [(1, 0.85), (2, 0.85), (5, 0.98), (20, 0.98)])
def test_small_buckets_are_found_out(size: int, least: float) -> None:
    one = world(size=size)
    one.run(TEN_MINUTES)
    assert one.turned_away == 0
    assert one.used >= least * (size + TEN_MINUTES)


@pytest.mark.parametrize("believed", [0.25, 0.5, 2.0, 10.0])
def test_a_rate_that_differs_from_the_documented_one_is_followed(believed: float) -> None:
    one = world(size=60, believed=believed)
    one.run(TEN_MINUTES)
    assert one.used >= 0.93 * one.allowed
    assert one.turned_away <= 0.005 * one.used


@pytest.mark.parametrize(
    ("size", "least", "most_429"), [(1, 0.6, 0.3), (2, 0.85, 0.2), (4, 0.9, 0.15), (8, 0.95, 0.03)]
)
def test_several_in_a_small_bucket_keep_going(size: int, least: float, most_429: float) -> None:
    """Two replicas and a foreigner meet where there is room for one: some are turned away, nobody gives up."""
    one = world(size=size, workers=2, foreign=0.12)
    one.run(3 * TEN_MINUTES)
    assert one.used >= least * 0.88 * 3 * TEN_MINUTES
    assert one.turned_away <= most_429 * one.used


def test_what_an_idle_replica_leaves_the_others_use() -> None:
    one = world(workers=3)
    one.clients[0].waiting = 0
    one.run(TEN_MINUTES)
    assert one.used >= 0.98 * one.allowed
    assert one.turned_away == 0


def test_replicas_share_alike() -> None:
    one = world(workers=3, foreign=0.3)
    one.run(TEN_MINUTES)
    sent = [client.sent for client in one.clients]
    assert max(sent) <= 1.1 * min(sent)


def test_a_greedy_foreigner_makes_it_careful() -> None:
    """Who takes seven of ten tokens keeps the bucket nearly empty."""
    one = world(workers=3, foreign=0.7)
    one.run(6 * TEN_MINUTES)
    assert one.turned_away <= 0.02 * one.used
    assert one.used >= 0.98 * one.allowed


# -- without usable headers


def test_without_headers_the_documented_rate_is_kept() -> None:
    one = world()
    one.tells = lambda left, at: (None, None)
    one.run(TEN_MINUTES)
    assert 0.98 * TEN_MINUTES <= one.used <= TEN_MINUTES + 6
    assert one.turned_away == 0


def test_without_headers_a_lower_rate_is_learnt_from_what_is_turned_away() -> None:
    one = world(believed=2.0)
    one.tells = lambda left, at: (None, None)
    one.run(6 * TEN_MINUTES)
    assert one.turned_away <= 0.03 * one.used
    assert one.used >= 0.6 * one.allowed


@pytest.mark.parametrize("told", [(0, 1e12), (10**8, None), (0, None), (3, 5.0)])
def test_absurd_headers_stop_nothing_for_good(told: tuple[int, float | None]) -> None:
    """Nothing left for ever, endless plenty, refills that never come or came long ago."""
    one = world()
    one.tells = lambda left, at: (told[0], min(told[1], one.now + 300.0) if told[1] else None)
    one.run(2 * TEN_MINUTES)
    assert one.used > 2


def test_a_clock_that_is_set_back_only_delays() -> None:
    budget = Budget(1.0, 60, 1_000.0)
    ticket = budget.begun("a", 1_000.0)
    budget.ended(ticket, 1_000.1, 30, 1_001.0)
    assert budget.admits(1_000.2)
    assert budget.admits(100.0)
    for _ in range(40):
        budget.ended(budget.begun("a", 100.0), 100.0, None)
    assert not budget.admits(100.0)
    assert budget.admits(1_060.0)


# -- turns and calls


def told(left: int = 59, **more: float) -> Budget:
    budget = Budget(1.0, 60, 0.0, **more)
    budget.ended(budget.begun("first", 0.0), 0.0, left, 1.0)
    return budget


def test_until_an_answer_tells_the_level_one_call_goes_out_at_a_time() -> None:
    budget = Budget(1.0, 60, 0.0)
    assert budget.admits(0.0)
    budget.reserve("a")
    assert not budget.admits(0.0)
    assert budget.next_at(0.0) == math.inf, "only an answer can tell"
    ticket = budget.begun("a", 0.0)
    assert not budget.admits(5.0)
    budget.ended(ticket, 5.0, 59, 6.0)
    assert budget.admits(5.0)


def test_what_was_heard_long_ago_is_asked_for_again() -> None:
    budget = told()
    assert [budget.admits(100.0), budget.reserve("a"), budget.admits(100.0)] == [True, None, True]
    budget.reserve("b")
    assert not budget.admits(100.0)
    budget.ended(budget.begun("a", 100.0), 100.1, 59, 101.0)
    assert budget.admits(100.1)


def test_a_turn_that_makes_no_call_gives_it_back() -> None:
    budget = told(left=1)
    assert budget.admits(10.0)
    before = budget.within(0.0, 10.0)
    budget.reserve("a")
    assert budget.release("a")
    assert budget.admits(10.0)
    assert budget.within(0.0, 10.0) == before


def test_a_turn_that_made_its_call_gives_nothing_back() -> None:
    budget = told()
    budget.reserve("a")
    budget.begun("a", 1.0)
    assert not budget.release("a")


def test_calls_under_way_are_not_counted_as_left() -> None:
    """An answer that was given before another call was counted: that one comes off."""
    budget = told()
    first, second = budget.begun("a", 1.0), budget.begun("b", 1.0)
    budget.ended(first, 1.2, 50, None)
    assert budget.left_at(1.2) == pytest.approx(49)
    budget.ended(second, 1.3, 49, None)
    assert budget.left_at(1.3) == pytest.approx(48), "the first may have been served after it"


def test_after_a_429_nothing_goes_out_before_the_time_told_and_then_it_starts_slowly() -> None:
    budget = told()
    budget.throttled(10.0, until=30.0)
    assert 30.0 <= budget.next_at(10.0) <= 40.0
    assert not budget.admits(29.9)
    at, turns = 30.0, 0
    while at < 40.0:
        if budget.admits(at):
            budget.begun(str(at), at)
            turns += 1
        at += 0.1
    assert turns <= 6, "no burst"


def test_next_at_is_when_it_admits() -> None:
    budget = told(left=3)
    now = 0.0
    for _ in range(30):
        if budget.admits(now):
            budget.ended(budget.begun("a", now), now, max(0, int(budget.left_at(now))), None)
            continue
        at = budget.next_at(now)
        assert at > now
        assert budget.admits(at + 1e-6)
        now = at + 1e-6


def test_an_unknown_ticket_changes_nothing() -> None:
    budget = told()
    budget.ended(77, 1.0, 0, 300.0)
    assert budget.admits(1.0)


def test_what_was_not_used_for_long_can_be_forgotten() -> None:
    budget = told()
    assert not budget.is_forgettable(100.0)
    assert budget.is_forgettable(121.0)
    budget.reserve("a")
    assert not budget.is_forgettable(121.0)
