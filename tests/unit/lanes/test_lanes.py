"""Lanes: one turn at a time per lane, in order, never lost, whatever the schedule."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.lanes.backoff import Backoff
from worker.lanes.gates import Gates
from worker.lanes.lane import Lane
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
    lanes.gates.shut("account:x", "paused")
    lanes.add(entry("held", lane="a", gates=("worker", "account:x")))
    lanes.add(entry("free", lane="b", gates=("worker",)))
    assert taken(lanes) == "free"
    assert taken(lanes) is None
    lanes.gates.open("account:x")
    assert taken(lanes) == "held"


def test_two_gates_must_both_open() -> None:
    lanes: Lanes[str] = Lanes()
    lanes.gates.shut("x", "paused")
    lanes.gates.shut("y", "paused")
    lanes.add(entry("held", gates=("x", "y")))
    assert taken(lanes) is None
    lanes.gates.open("x")
    assert taken(lanes) is None
    lanes.gates.open("y")
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
            lanes.gates.shut("g", "paused") if draw.random() < 0.3 else lanes.gates.open("g")
        else:
            found = lanes.take(now)
            if found is not None:
                assert found not in running
                assert found.lane not in {one.lane for one in running}, "two of a lane at once"
                running.append(found)
        if not waiting and not running:
            lanes.gates.open("g")
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
    lanes.gates.shut("store", "paused")
    for number in range(50):
        lanes.add(entry(f"held {number}", lane=f"held {number}", gates=("store",)))
        waiting = entry(f"waits {number}", lane=f"waits {number}")
        lanes.add(waiting)
        assert lanes.take(0.0) is waiting
        lanes.retry(waiting, at=1e9)
        assert lanes.take(0.0) is None
        assert len(lanes.drop(lambda _: True)) == 2
    assert (len(lanes), lanes.count, len(lanes._retries), len(lanes._stuck)) == (0, 0, 0, 0)
    assert not lanes._ready.anything_held


def test_timers_of_what_was_settled_sooner_do_not_keep_it_in_memory() -> None:
    lanes: Lanes[str] = Lanes()
    for number in range(2_000):
        cancel, shipment = entry("c", lane=str(number)), entry("s", lane=str(number), passes=True)
        lanes.add(cancel)
        lanes.take(0.0)
        lanes.retry(cancel, at=1e9, lets_pass=True)
        lanes.add(shipment)
        assert lanes.take(0.0) is shipment
        lanes.settle(shipment)
        assert lanes.take(0.0) is cancel
        lanes.settle(cancel)
    assert len(lanes._retries) <= 66
    assert len(lanes._stuck) <= 66


def test_retries_over_and_over_do_not_pile_up() -> None:
    """Each look of a cancel sets a time; each shipment that is settled brings it up sooner."""
    lanes: Lanes[str] = Lanes()
    cancel = entry("c")
    lanes.add(cancel)
    for number in range(2_000):
        assert lanes.take(0.0) is cancel
        lanes.retry(cancel, at=1e9 + number, lets_pass=True)
        lanes.add(entry("s", passes=True))
        shipment = lanes.take(0.0)
        assert shipment is not None
        lanes.settle(shipment)
    assert len(lanes._retries) <= 68


def test_a_clock_that_is_set_back_does_not_forget_a_retry() -> None:
    """Its timer rang while its lane could not be looked at further: it is ready for good."""
    lanes: Lanes[str] = Lanes()
    one = entry("1", gates=("g",))
    lanes.add(one)
    lanes.take(0.0)
    lanes.retry(one, at=10.0)
    lanes.gates.shut("g", "paused")
    assert lanes.take(10.0) is None
    lanes.gates.open("g")
    assert lanes.take(3.0) is one


def test_a_trickling_gate_serves_its_lanes_in_the_order_in_which_they_came() -> None:
    lanes: Lanes[str] = Lanes()
    lanes.gates.slow("g", 10.0, "throttled", 0.0)
    for name in "abc":
        lanes.add(entry(name, lane=name, gates=("g",)))
    assert (lanes.take(0.0), lanes.next_at(0.0)) == (None, 10.0)
    for name in "abc":
        turn = lanes.take(10.0)
        assert turn is not None
        assert turn.item == name
        assert lanes.take(10.0) is None, "one at a time"
        lanes.attempted(turn)


def test_the_gates_go_on_while_a_conclusion_is_waited_for() -> None:
    """A record that Kafka does not take must not hold up an account."""
    lanes: Lanes[str] = Lanes()
    lanes.gates.slow("g", 1.0, "throttled", 0.0)
    first, behind, other = entry("1", gates=("g",)), entry("2", gates=("g",)), entry("x", lane="b", gates=("g",))
    for one in (first, behind, other):
        lanes.add(one)
    assert lanes.take(1.0) is first
    assert lanes.take(1.0) is None
    lanes.attempted(first)
    assert lanes.take(1.0) is other, "the lane itself is held on"


def test_a_lane_moves_on_to_the_queue_of_the_gate_that_holds_it_then() -> None:
    lanes: Lanes[str] = Lanes()
    lanes.gates.slow("account", 10.0, "throttled", 0.0)
    lanes.gates.close("ship", "down", 20.0, 0.0)
    shipment, cancel = entry("s", lane="a", gates=("account", "ship")), entry("c", lane="b", gates=("account",))
    lanes.add(shipment)
    lanes.add(cancel)
    assert lanes.take(0.0) is None
    assert lanes.take(10.0) is cancel, "the one in front is held by the other gate: the turn is the next one's"
    assert lanes.next_at(10.0) == 20.0
    assert lanes.take(20.0) is None, "now its account has a turn running"
    lanes.settle(cancel)
    assert lanes.take(20.0) is shipment


def test_several_trickling_gates_never_wait_for_each_other() -> None:
    lanes: Lanes[str] = Lanes()
    for gate in ("a", "b", "c"):
        lanes.gates.slow(gate, 1.0, "throttled", 0.0)
    waiting = [
        entry(str(number), lane=str(number), gates=(("a", "b", "c"), ("a",), ("b", "c"), ("c", "a"))[number % 4])
        for number in range(40)
    ]
    for one in waiting:
        lanes.add(one)
    turns = 0
    running: list[Entry[str]] = []
    while lanes.count:
        turn = lanes.take(1.0)
        if turn is None:
            lanes.settle(running.pop())
        else:
            turns += 1
            running.append(turn)
            assert all(sum(gate in other.gates for other in running) == 1 for gate in turn.gates)
    assert turns == 40


@pytest.mark.parametrize("how", ["settled", "retried", "no call"])
def test_however_a_turn_ends_the_next_one_behind_its_gate_goes(how: str) -> None:
    lanes: Lanes[str] = Lanes()
    lanes.gates.close("g", "down", 10.0, 0.0)
    first, second = entry("1", lane="a", gates=("g",)), entry("2", lane="b", gates=("g",))
    lanes.add(first)
    lanes.add(second)
    assert lanes.take(0.0) is None
    assert lanes.take(10.0) is first
    assert lanes.take(10.0) is None
    if how == "settled":
        lanes.settle(first)
    elif how == "retried":
        lanes.retry(first, at=11.0)
    else:
        lanes.attempted(first)
    assert lanes.take(10.0) is second


def test_a_lane_emptied_while_it_is_held_stands_in_nobodys_way() -> None:
    lanes: Lanes[str] = Lanes()
    lanes.gates.slow("g", 10.0, "throttled", 0.0)
    for name in "abc":
        lanes.add(entry(name, lane=name, gates=("g",)))
    assert lanes.take(0.0) is None
    lanes.drop(lambda one: one.item == "a")
    (b,) = lanes.entries_of("b")
    lanes.settle(b)
    lanes.add(entry("b again", lane="b", gates=("g",)))
    assert list(lanes.entries_of("a")) == []
    assert taken(lanes, 10.0) in ("c", "b again")


def test_shipments_pass_a_cancel_whose_own_gate_is_closed() -> None:
    """It waits for them: whatever else holds it, it must not stand in their way."""
    lanes: Lanes[str] = Lanes()
    cancel, shipment = entry("c", gates=("a", "a/cancel")), entry("s", passes=True, gates=("a", "a/ship"))
    lanes.add(cancel)
    lanes.add(shipment)
    lanes.take(0.0)
    lanes.retry(cancel, at=10.0, lets_pass=True)
    lanes.gates.close("a/cancel", "down", 50.0, 0.0)
    lanes.gates.close("a/ship", "down", 20.0, 0.0)
    assert (lanes.take(10.0), lanes.next_at(10.0)) == (None, 20.0)
    assert lanes.take(20.0) is shipment
    lanes.retry(shipment, at=60.0)
    assert (lanes.take(21.0), lanes.next_at(21.0)) == (None, 50.0)
    assert lanes.take(50.0) is cancel, "its own gate admits it first"


def test_gates_found_on_the_way_hold_the_following_turns() -> None:
    lanes: Lanes[str] = Lanes()
    one = entry("1", gates=("a",))
    lanes.add(one)
    lanes.take(0.0)
    lanes.gates.close("a/acknowledge", "down", 20.0, 0.0)
    lanes.retry(one, at=1.0, behind=("a/acknowledge", "a", "a/acknowledge"))
    assert one.gates == ("a", "a/acknowledge")
    assert (lanes.take(1.0), lanes.next_at(1.0)) == (None, 20.0)
    assert lanes.take(20.0) is one


def test_whatever_may_give_a_turn_is_told() -> None:
    lanes: Lanes[str] = Lanes()
    calls: list[None] = []
    lanes.on_wake(lambda: calls.append(None))

    def woken() -> bool:
        found = bool(calls)
        calls.clear()
        return found

    first, second = entry("1", gates=("g",)), entry("2", gates=("g",))
    lanes.gates.shut("g", "paused")
    assert not woken(), "nobody is behind it"
    lanes.add(first)
    assert woken()
    assert lanes.take(0.0) is None
    calls.clear()
    lanes.add(second)
    assert not woken(), "it waits for the one before it"
    lanes.gates.open("g")
    assert woken()
    lanes.take(0.0)
    calls.clear()
    lanes.retry(first, at=9.0)
    assert woken()
    lanes.take(0.0)
    calls.clear()
    lanes.evict(first)
    assert woken()


class CountingGates(Gates):
    """Each look at an entry asks the gates once, each look at a gate's queue once more."""

    asked = 0

    def admits(self, names: Iterable[str], now: float) -> str | None:
        self.asked += 1
        return super().admits(names, now)


def test_one_turn_at_a_time_costs_a_few_looks_however_many_wait() -> None:
    gates = CountingGates()
    lanes: Lanes[int] = Lanes(gates)
    gates.slow("g", 1.0, "throttled", 0.0)
    for number in range(100_000):
        lanes.add(Entry(number, str(number), gates=("account", "g")))
    assert lanes.take(0.0) is None
    assert gates.asked == 100_000, "each is looked at once to find out"
    gates.asked = 0
    for turn in range(1_000):
        entry = lanes.take(1.0)
        assert entry is not None
        assert entry.item == turn
        assert lanes.take(1.0) is None
        lanes.settle(entry)
    assert gates.asked <= 4 * 1_000
    gates.asked = 0
    gates.open("g")
    for _ in range(1_000):
        entry = lanes.take(1.0)
        assert entry is not None
        lanes.settle(entry)
    assert gates.asked <= 2 * 1_000, "nor does it matter once it is open"


def test_a_lane_of_thousands_that_waits_costs_no_walks(monkeypatch: pytest.MonkeyPatch) -> None:
    """One order with thousands of cancels, the first of which waits for shipments."""
    walked = 0
    walk = Lane.__iter__

    def counted(lane: Lane[int]) -> Iterator[Entry[int]]:
        nonlocal walked
        for entry in walk(lane):
            walked += 1
            yield entry

    monkeypatch.setattr(Lane, "__iter__", counted)
    lanes: Lanes[int] = Lanes()
    first = Entry(-1, "a")
    lanes.add(first)
    lanes.take(0.0)
    lanes.retry(first, at=1e9, lets_pass=True)
    for number in range(5_000):
        lanes.add(Entry(number, "a"))
    for number in range(1_000):
        lanes.add(Entry(number, "a", passes=True))
        shipment = lanes.take(0.0)
        assert shipment is not None
        assert shipment.passes
        lanes.settle(shipment)
        assert lanes.take(0.0) is first
        lanes.retry(first, at=1e9, lets_pass=True)
    assert 0 < walked <= 5_002, "once, to find those who may pass"


def test_a_lane_that_is_never_empty_remembers_nobody_who_is_gone() -> None:
    lanes: Lanes[int] = Lanes()
    cancel = Entry(0, "a")
    lanes.add(cancel)
    lanes.take(0.0)
    lanes.retry(cancel, at=1e9, lets_pass=True)
    lanes.add(Entry(1, "a", passes=True))
    assert lanes.take(0.0) is not None, "the shipment passes"
    lanes.settle(cancel)
    for number in range(2, 1_000):
        lanes.add(Entry(number, "a", passes=True))
        (first, *_) = lanes.entries_of("a")
        lanes.settle(first)
        assert lanes.take(0.0) is not None
    assert len(lanes._lanes["a"]._passing or ()) <= 1


def test_what_waits_moves_with_a_clock_that_is_set_back() -> None:
    hour = 3_600.0
    lanes: Lanes[str] = Lanes()
    now = 10 * hour
    lanes.gates.close("g", "x", now + 10, now)
    first, held, young = Entry("a", "a"), Entry("b", "b", ("g",), since=now), Entry("c", "c", since=now)
    for one in (first, held, young):
        lanes.add(one)
    for one in (first, young):
        assert lanes.take(now) is one
        lanes.retry(one, at=now + (20 if one is first else 30))
    lanes.set_back(hour)
    now -= hour
    assert lanes.next_at(now) == now + 10
    assert lanes.take(now + 9) is None
    assert lanes.waits(held, now + 9) == {"closed": 9}
    assert lanes.take(now + 10) is held
    lanes.settle(held)
    assert lanes.take(now + 20) is first
    lanes.settle(first)
    assert lanes.evict_stuck(now + 25, now - 1) == []
    assert lanes.evict_stuck(now + 25, now) == [young]
    assert lanes.gates.state("g").since == now
