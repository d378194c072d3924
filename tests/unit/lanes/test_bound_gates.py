"""Gates that let only so many turns run at once: an account that hangs must not take every slot."""

from __future__ import annotations

from worker.lanes.gates import Gates
from worker.lanes.lanes import Entry, Lanes


def lanes(most: int) -> Lanes[int]:
    gates = Gates()
    gates.bound({"hangs": most})
    return Lanes(gates)


def add(one: Lanes[int], number: int, gate: str) -> None:
    one.add(Entry(number, f"{gate}-{number}", gates=("worker", gate), group=gate))


def test_no_more_than_its_share_runs_and_the_others_have_their_turns() -> None:
    one = lanes(3)
    for number in range(10):
        add(one, number, "hangs")
    add(one, 99, "well")
    taken = []
    while (entry := one.take(0.0)) is not None:
        taken.append(entry)
    assert sorted(entry.item for entry in taken) == [0, 1, 2, 99]


def test_each_turn_that_ends_lets_one_more_in_the_one_that_waits_longest() -> None:
    one = lanes(2)
    for number in range(6):
        add(one, number, "hangs")
    running = [entry for _ in range(2) if (entry := one.take(0.0)) is not None]
    order = [entry.item for entry in running]
    while running:
        assert one.take(0.0) is None
        one.settle(running.pop(0))
        entry = one.take(0.0)
        if entry is not None:
            running.append(entry)
            order.append(entry.item)
    assert order == [0, 1, 2, 3, 4, 5]


def test_a_share_of_one_is_one_at_a_time() -> None:
    one = lanes(1)
    for number in range(3):
        add(one, number, "hangs")
    for number in range(3):
        entry = one.take(0.0)
        assert entry is not None
        assert entry.item == number
        assert one.take(0.0) is None
        one.settle(entry)


def test_what_waits_for_its_share_is_not_taken_for_stuck() -> None:
    """It only waits for a slot: its account flows."""
    one = lanes(1)
    for number in range(3):
        add(one, number, "hangs")
    assert one.take(0.0) is not None
    assert one.evict_stuck(1_000.0, 999.0) == []


def test_a_gate_without_a_bound_is_not_bounded() -> None:
    one = lanes(1)
    for number in range(100):
        add(one, number, "well")
    assert sum(1 for _ in range(100) if one.take(0.0) is not None) == 100


def test_many_waiting_behind_a_bound_cost_one_look_per_turn() -> None:
    one = lanes(8)
    for number in range(5_000):
        add(one, number, "hangs")
    running = []
    while (entry := one.take(0.0)) is not None:
        running.append(entry)
    looked = 0
    look = one._look

    def counting(lane: object, now: float) -> object:
        nonlocal looked
        looked += 1
        return look(lane, now)  # type: ignore[arg-type]

    one._look = counting  # type: ignore[method-assign,assignment]
    for _ in range(1_000):
        one.settle(running.pop(0))
        entry = one.take(0.0)
        assert entry is not None
        running.append(entry)
    assert looked <= 2_000


def test_a_larger_bound_or_none_lets_go_on_what_the_smaller_one_held() -> None:
    """Settings may change while turns run; nobody else would tell those who wait."""
    for most in ({"hangs": 3}, {}):
        one = lanes(1)
        for number in range(4):
            add(one, number, "hangs")
        assert one.take(0.0) is not None
        assert one.take(0.0) is None
        one.gates.bound(most)
        taken = 0
        while one.take(0.0) is not None:
            taken += 1
        assert taken == (2 if most else 3)


def test_a_smaller_bound_waits_until_so_few_run() -> None:
    one = lanes(3)
    for number in range(6):
        add(one, number, "hangs")
    running = [entry for _ in range(3) if (entry := one.take(0.0)) is not None]
    one.gates.bound({"hangs": 1})
    for _ in range(2):
        one.settle(running.pop())
        assert one.take(0.0) is None
    one.settle(running.pop())
    assert one.take(0.0) is not None
    assert one.take(0.0) is None
