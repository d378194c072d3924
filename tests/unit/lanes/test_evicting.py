"""What is to leave memory: its turns come regardless of gates and times, in order, and nobody is overtaken by it."""

from __future__ import annotations

from worker.lanes.lanes import Entry, Lanes


def entry(name: str, lane: str = "a", **more: object) -> Entry[str]:
    return Entry(name, lane, **more)  # type: ignore[arg-type]


def filled(*entries: Entry[str]) -> Lanes[str]:
    lanes: Lanes[str] = Lanes()
    for one in entries:
        lanes.add(one)
    return lanes


def names(entries: list[Entry[str]]) -> list[str]:
    return [one.item for one in entries]


def leaving(lanes: Lanes[str], now: float = 0.0) -> list[str]:
    """Turns of evicted ones until there are none, each settled."""
    found: list[str] = []
    while (one := lanes.take(now)) is not None:
        assert one.evicted_turn
        found.append(one.item)
        lanes.settle(one)
    return found


def test_what_is_evicted_leaves_with_all_behind_it_whatever_the_gate() -> None:
    first, second, other = entry("1", gates=("g",)), entry("2", gates=("g",)), entry("x", lane="b", gates=("g",))
    lanes = filled(first, second, other)
    lanes.gates.shut("g", "paused")
    assert lanes.take(0.0) is None
    assert names(lanes.evict(first)) == ["1", "2"]
    assert lanes.evict(first) == []
    assert leaving(lanes) == ["1", "2"]
    assert lanes.gates._running == {}, "no gate counts the turn"
    assert [one.item for one in lanes] == ["x"]


def test_what_stands_before_it_goes_first_and_is_not_evicted() -> None:
    first, second = entry("1"), entry("2")
    lanes = filled(first, second)
    assert lanes.take(0.0) is first
    lanes.retry(first, at=10.0)
    lanes.evict(second)
    assert lanes.take(1.0) is None
    assert lanes.take(10.0) is first
    assert not first.evicted
    lanes.settle(first)
    assert lanes.take(10.0) is second


def test_shipments_stay_when_the_cancel_that_waits_for_them_leaves() -> None:
    cancel, later, shipment = entry("c1"), entry("c2"), entry("s", passes=True, gates=("g",))
    lanes = filled(cancel, later, shipment)
    lanes.take(0.0)
    lanes.retry(cancel, at=100.0, lets_pass=True)
    lanes.gates.shut("g", "paused")
    assert lanes.take(1.0) is None
    assert names(lanes.evict(cancel)) == ["c1", "c2"]
    assert leaving(lanes, 1.0) == ["c1", "c2"]
    lanes.gates.open("g")
    assert lanes.take(1.0) is shipment


def test_a_shipment_that_leaves_takes_along_who_may_not_pass_it() -> None:
    cancel, shipment, next_shipment, later = (
        entry("c1"), entry("s1", passes=True), entry("s2", passes=True), entry("c2"),
    )  # fmt: skip
    lanes = filled(cancel, shipment, next_shipment, later)
    lanes.take(0.0)
    lanes.retry(cancel, at=100.0, lets_pass=True)
    assert names(lanes.evict(shipment)) == ["s1", "s2", "c2"]
    assert lanes.take(1.0) is shipment
    lanes.settle(shipment)
    assert lanes.take(1.0) is next_shipment
    lanes.settle(next_shipment)
    assert lanes.take(1.0) is cancel, "it is looked at again: what it waited for is gone"
    assert not cancel.evicted
    lanes.settle(cancel)
    assert leaving(lanes, 1.0) == ["c2"]


def test_who_comes_behind_an_evicted_one_is_evicted_unless_it_may_pass() -> None:
    cancel = entry("c1", gates=("g",))
    lanes = filled(cancel)
    lanes.take(0.0)
    lanes.evict(cancel)
    shipment = entry("s0", passes=True)
    lanes.add(shipment)
    assert shipment.evicted, "this cancel lets nobody pass"
    lanes.settle(cancel)
    assert leaving(lanes) == ["s0"]

    waiting = entry("c1")
    lanes.add(waiting)
    lanes.take(0.0)
    lanes.retry(waiting, at=100.0, lets_pass=True)
    lanes.evict(waiting)
    passing, behind = entry("s1", passes=True), entry("c2")
    lanes.add(passing)
    lanes.add(behind)
    assert (passing.evicted, behind.evicted) == (False, True)
    lanes.evict(passing)
    late = entry("s2", passes=True)
    lanes.add(late)
    assert late.evicted, "it may pass the cancel, not the shipment"


def test_what_comes_back_for_its_turn_stays_behind_an_evicted_one() -> None:
    """It was put away before: leaving again at once, it would come back for ever."""
    leaves = entry("1")
    lanes = filled(leaves)
    lanes.take(0.0)
    lanes.evict(leaves)
    stays, newcomer = entry("2", may_stay=True), entry("3")
    lanes.add(stays)
    lanes.add(newcomer)
    assert (stays.evicted, newcomer.evicted) == (False, True)
    lanes.settle(leaves)
    turn = lanes.take(0.0)
    assert turn is stays
    assert not turn.evicted_turn


def test_an_entry_that_is_evicted_when_it_comes_leaves_at_once() -> None:
    """Taken up only to be told of and put back."""
    lanes = filled(entry("late", gates=("g",), evicted=True, ready_at=99.0))
    lanes.gates.shut("g", "paused")
    assert lanes.staying("") == 0
    assert leaving(lanes) == ["late"]


def test_a_running_one_leaves_when_its_turn_ends_in_a_retry() -> None:
    running, behind = entry("1"), entry("2")
    lanes = filled(running, behind)
    lanes.take(0.0)
    assert names(lanes.evict(running)) == ["1", "2"]
    assert lanes.take(0.0) is None, "still one at a time"
    lanes.retry(running, at=1e9)
    assert leaving(lanes) == ["1", "2"]


def test_what_could_not_leave_stays_and_waits_anew() -> None:
    """The waiting room is full: another turn at once would go on and on."""
    one = entry("1", group="x", since=5.0)
    lanes = filled(one)
    lanes.evict(one)
    assert (lanes.take_evicted(), lanes.staying("x")) == (one, 0)
    lanes.retry(one, at=100.0)
    assert (one.evicted, one.evicted_turn, one.since, lanes.staying("x")) == (False, False, 100.0, 1)
    assert (lanes.take(99.0), lanes.next_at(99.0)) == (None, 100.0)
    assert lanes.evict_stuck(99.0, waiting_since_before=60.0) == []
    assert lanes.take(100.0) is one


def test_only_what_waits_long_and_may_not_go_is_stuck() -> None:
    held, backing_off, free, fresh, running = (
        entry("held", lane="1", gates=("g",), since=0.0),
        entry("backs off", lane="2", since=0.0),
        entry("waits for a slot", lane="3", since=0.0),
        entry("fresh", lane="4", gates=("g",), since=50.0),
        entry("runs", lane="5", since=0.0),
    )
    lanes = filled(backing_off, running, held, fresh)
    lanes.gates.shut("g", "paused")
    assert (lanes.take(0.0), lanes.take(0.0), lanes.take(0.0)) == (backing_off, running, None)
    lanes.retry(backing_off, at=1e9)
    lanes.add(free)
    lanes.add(entry("behind", lane="1", since=55.0))
    assert sorted(names(lanes.evict_stuck(60.0, waiting_since_before=30.0))) == ["backs off", "behind", "held"]
    assert lanes.evict_stuck(61.0, waiting_since_before=30.0) == []
    assert names(lanes.evict_stuck(90.0, waiting_since_before=60.0)) == ["fresh"]


def test_a_gate_that_opens_and_closes_while_no_slot_is_free_does_not_hide_what_is_stuck() -> None:
    held = entry("held", gates=("g",), since=0.0)
    lanes = filled(held)
    lanes.gates.shut("g", "paused")
    assert lanes.take(0.0) is None
    lanes.gates.open("g")
    assert lanes.evict_stuck(70.0, waiting_since_before=10.0) == [], "it waits for a slot"
    lanes.gates.shut("g", "paused")
    assert lanes.take(70.0) is None
    assert lanes.evict_stuck(71.0, waiting_since_before=11.0) == [held]


def test_a_retry_is_seen_to_be_stuck_though_no_slot_was_free_since() -> None:
    one = entry("1", since=0.0)
    lanes = filled(one)
    assert lanes.take(0.0) is one
    lanes.retry(one, at=1e9)
    assert lanes.evict_stuck(70.0, waiting_since_before=10.0) == [one]


def test_a_group_makes_room_newest_lanes_first_and_the_running_stay() -> None:
    lanes = filled(*(entry(str(number), lane=str(number // 2), group="x", size=10) for number in range(8)))
    lanes.add(entry("other", lane="9", group="y"))
    running = lanes.take(0.0)
    assert running is not None
    assert running.item == "0"
    assert names(lanes.evict_group("x", keep=5)) == ["6", "7", "4", "5"]
    assert (lanes.staying("x"), lanes.staying("y")) == (4, 1)
    assert (lanes.counts["x"], lanes.sizes["x"]) == (8, 80), "they are in memory until they have left"
    assert lanes.evict_group("x", keep=4) == []
    assert sorted(names(lanes.evict_group("x", keep=0))) == ["1", "2", "3"]
    assert lanes.staying("x") == 1
    lanes.retry(running, at=5.0)
    assert names(lanes.evict_group("x", keep=0)) == ["0"]
    assert lanes.evict_group("nobody", keep=0) == []


def test_eviction_of_a_lane_with_two_groups_counts_each_and_forgets_both() -> None:
    lanes = filled(entry("1", group="x"), entry("2", group="y"), entry("3", lane="b", group="y"))
    lanes.evict_group("x", keep=0)
    assert (lanes.staying("x"), lanes.staying("y")) == (0, 1), "what may not pass it leaves with it"
    lanes.drop(lambda _: True)
    assert (dict(lanes.counts), dict(lanes.sizes), lanes._groups._groups) == ({}, {}, {})


def test_leaving_in_vain_over_and_over_does_not_pile_up() -> None:
    """Its retry times never come: the next eviction is sooner."""
    one = entry("1")
    lanes = filled(one)
    for number in range(1_000):
        lanes.evict(one)
        assert lanes.take(0.0) is one
        lanes.retry(one, at=1e9 + number)
    assert len(lanes._retries) <= 68
