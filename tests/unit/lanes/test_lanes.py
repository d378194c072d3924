"""Lanes: one turn at a time per lane, in order, never lost, whatever the schedule."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.lanes.backoff import Backoff
from worker.lanes.lanes import Entry, Lanes


def entry(name: str, lane: str = "a", **more: object) -> Entry[str]:
    return Entry(name, lane, **more)  # type: ignore[arg-type]


def taken(lanes: Lanes[str], now: float = 0.0) -> str | None:
    found = lanes.take(now)
    return None if found is None else found.item


def test_one_lane_gives_one_turn_at_a_time_in_order() -> None:
    lanes: Lanes[str] = Lanes()
    first, second = entry("1"), entry("2")
    lanes.add(first)
    lanes.add(second)
    assert lanes.take(0.0) is first
    assert lanes.take(0.0) is None
    lanes.settle(first)
    assert lanes.take(0.0) is second


def test_lanes_do_not_wait_for_each_other() -> None:
    lanes: Lanes[str] = Lanes()
    for name in "abc":
        lanes.add(entry(name, lane=name))
    assert {taken(lanes), taken(lanes), taken(lanes)} == {"a", "b", "c"}


def test_retry_keeps_the_place_and_the_time() -> None:
    lanes: Lanes[str] = Lanes()
    first = entry("1")
    lanes.add(first)
    lanes.add(entry("2"))
    lanes.take(0.0)
    lanes.retry(first, at=10.0)
    assert lanes.take(9.9) is None
    assert lanes.next_at(9.9) == 10.0
    assert lanes.take(10.0) is first


def test_only_those_who_may_pass_overtake_one_that_lets_pass() -> None:
    """A cancel waits for its shipment: the shipment passes it, the next cancel does not."""
    lanes: Lanes[str] = Lanes()
    waiting, cancel, shipment = entry("waiting"), entry("cancel"), entry("shipment", passes=True)
    for one in (waiting, cancel, shipment):
        lanes.add(one)
    lanes.take(0.0)
    lanes.retry(waiting, at=100.0, lets_pass=True)
    assert lanes.take(1.0) is shipment
    assert lanes.take(1.0) is None
    lanes.settle(shipment)
    assert lanes.take(1.0) is waiting, "what it waited for is done: it is looked at again at once"


def test_nothing_passes_one_in_backoff() -> None:
    lanes: Lanes[str] = Lanes()
    first = entry("1")
    lanes.add(first)
    lanes.add(entry("2", passes=True))
    lanes.take(0.0)
    lanes.retry(first, at=100.0)
    assert lanes.take(1.0) is None


def test_closed_gate_holds_its_lanes_and_no_others() -> None:
    lanes: Lanes[str] = Lanes()
    lanes.close("account:x")
    lanes.add(entry("held", lane="a", gates=("worker", "account:x")))
    lanes.add(entry("free", lane="b", gates=("worker",)))
    assert taken(lanes) == "free"
    assert taken(lanes) is None
    lanes.open("account:x")
    assert taken(lanes) == "held"


def test_two_gates_must_both_open() -> None:
    lanes: Lanes[str] = Lanes()
    lanes.close("x")
    lanes.close("y")
    lanes.add(entry("held", gates=("x", "y")))
    assert taken(lanes) is None
    lanes.open("x")
    assert taken(lanes) is None
    lanes.open("y")
    assert taken(lanes) == "held"


def test_drop_forgets_all_but_the_running() -> None:
    lanes: Lanes[str] = Lanes()
    for name in "123":
        lanes.add(entry(name, size=10))
    running = lanes.take(0.0)
    assert [one.item for one in lanes.drop(lambda _: True)] == ["2", "3"]
    assert (lanes.count, lanes.size) == (1, 10)
    assert running is not None
    lanes.settle(running)
    assert (lanes.count, lanes.size, len(lanes)) == (0, 0, 0)


def test_a_retry_of_something_dropped_is_ignored() -> None:
    lanes: Lanes[str] = Lanes()
    one = entry("1")
    lanes.add(one)
    lanes.take(0.0)
    lanes.settle(one)
    lanes.retry(one, at=0.0)
    assert lanes.take(1.0) is None
    assert lanes.count == 0


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32), lanes_count=st.integers(1, 5), events=st.integers(1, 40))
def test_every_entry_is_settled_once_and_in_order(seed: int, lanes_count: int, events: int) -> None:
    """Any schedule of adds, turns, retries, gates: nothing vanishes, nothing runs twice, lanes keep their order."""
    draw = random.Random(seed)
    lanes: Lanes[int] = Lanes()
    waiting = [Entry(number, str(draw.randrange(lanes_count)), gates=("g",)) for number in range(events)]
    running: list[Entry[int]] = []
    settled: list[Entry[int]] = []
    now = 0.0
    while len(settled) < events:
        now += draw.random()
        action = draw.randrange(5)
        if action == 0 and waiting:
            lanes.add(waiting.pop(0))
        elif action == 1 and running:
            done = running.pop(draw.randrange(len(running)))
            settled.append(done)
            lanes.settle(done)
        elif action == 2 and running:
            again = running.pop(draw.randrange(len(running)))
            lanes.retry(again, at=now + draw.random() * 3)
        elif action == 3:
            lanes.close("g") if draw.random() < 0.3 else lanes.open("g")
        else:
            found = lanes.take(now)
            if found is not None:
                assert found not in running
                assert found.lane not in {one.lane for one in running}, "two of a lane at once"
                running.append(found)
        if not waiting and not running:
            lanes.open("g")
    assert lanes.count == 0
    for lane in range(lanes_count):
        order = [one.item for one in settled if one.lane == str(lane)]
        assert order == sorted(order)


@pytest.mark.parametrize("tries", [1, 2, 5, 50, 10_000])
def test_backoff_stays_within_its_bounds(tries: int) -> None:
    backoff = Backoff(base_s=0.5, max_s=30)
    delays = [backoff.delay(tries, random.Random(seed)) for seed in range(200)]
    ceiling = min(30, 0.5 * 2 ** min(tries - 1, 30))
    assert all(ceiling / 10 <= delay <= ceiling for delay in delays)
    assert max(delays) - min(delays) > ceiling / 2, "jitter spreads"


def test_nothing_is_kept_of_what_was_dropped() -> None:
    """A paused store's gate never opens, and each rebalance drops and brings back other orders."""
    lanes: Lanes[str] = Lanes()
    lanes.close("store")
    for number in range(50):
        lanes.add(entry(f"held {number}", lane=f"held {number}", gates=("store",)))
        waiting = entry(f"waits {number}", lane=f"waits {number}")
        lanes.add(waiting)
        assert lanes.take(0.0) is waiting
        lanes.retry(waiting, at=1e9)
        assert lanes.take(0.0) is None
        assert len(lanes.drop(lambda _: True)) == 2
