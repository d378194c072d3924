"""Gates with budgets: turns as the bucket allows, the oldest first, and no look too many."""

from __future__ import annotations

import math

import pytest

from worker.lanes.budget import Budget
from worker.lanes.gates import Gates
from worker.lanes.lanes import Entry, Lanes

START = 1_000.0


def rationed(left: int = 2, **gates: int) -> Gates:
    """A gate `g` whose bucket has so many left, one a second."""
    all_gates = Gates()
    for name, tokens in {"g": left, **gates}.items():
        budget = Budget(1.0, 60, START)
        budget.ended(budget.begun("", START), START, tokens, START + 1)
        all_gates.rations.give(name, budget)
    return all_gates


def entry(name: str, *gates: str, age: float = START, passes: bool = False) -> Entry[str]:
    return Entry(name, name.partition("#")[0], gates or ("g",), age=age, passes=passes)


def taken(lanes: Lanes[str], now: float) -> list[str]:
    """Turns that are given now; each makes its call, which is answered."""
    names = []
    while (one := lanes.take(now)) is not None:
        names.append(one.item)
        for gate in one.gates:
            budget = lanes.gates.rations.get(gate)
            if budget is not None:
                left = int(budget.left_at(now))
                lanes.gates.rations.ended(
                    gate, lanes.gates.rations.begun(gate, one.lane, now), now, max(0, left - 1), now + 1
                )
        lanes.settle(one)
    return names


def test_turns_come_as_the_bucket_fills_and_the_oldest_first() -> None:
    lanes: Lanes[str] = Lanes(rationed(left=1))
    for number in (3, 1, 4, 2, 5):
        lanes.add(entry(f"o{number}", age=START + number))
    now, order = START, []
    for _ in range(400):
        order += taken(lanes, now)
        now = lanes.next_at(now) or now + 1
    assert order[0] == "o3", "it was there when the call was left"
    assert order[1:] == ["o1", "o2", "o4", "o5"]


def test_who_comes_later_does_not_take_the_turn_of_one_that_waits() -> None:
    lanes: Lanes[str] = Lanes(rationed(left=1))
    lanes.add(entry("first"))
    lanes.add(entry("waits", age=START + 5))
    assert taken(lanes, START) == ["first"]
    later = START + 30
    lanes.add(entry("new", age=START + 20))
    assert taken(lanes, later)[:1] == ["waits"]


def test_a_turn_is_waited_for_no_longer_and_no_oftener_than_needed() -> None:
    lanes: Lanes[str] = Lanes(rationed(left=0))
    for number in range(100):
        lanes.add(entry(f"o{number}"))
    now, looks, given = START, 0, 0
    while given < 20:
        given += len(taken(lanes, now))
        due = lanes.next_at(now)
        assert due is not None
        assert due > now
        now, looks = due, looks + 1
    assert looks <= 3 * given + 10
    assert now - START <= 60, "one a second, and the level it keeps"


def test_a_budget_of_one_account_holds_no_other() -> None:
    lanes: Lanes[str] = Lanes(rationed(left=0, other=50))
    for number in range(50):
        lanes.add(entry(f"mine{number}", age=START - 100))
        lanes.add(entry(f"other{number}", "other"))
    assert all(name.startswith("other") for name in taken(lanes, START))


def test_a_turn_needs_a_call_of_each_of_its_budgets() -> None:
    gates = rationed(left=5, read=0)
    lanes: Lanes[str] = Lanes(gates)
    lanes.add(entry("a", "read", "g"))
    assert lanes.take(START) is None
    assert gates.why("read", START) == "budget"
    budget = gates.rations.get("g")
    assert budget is not None
    assert budget.is_idle, "nothing is reserved of the one while the other holds the turn"


def test_a_turn_that_made_no_call_lets_the_next_one_have_it() -> None:
    lanes: Lanes[str] = Lanes(rationed(left=1))
    lanes.add(entry("a"))
    lanes.add(entry("b"))
    first = lanes.take(START)
    assert first is not None
    assert lanes.take(START) is None
    lanes.settle(first)
    second = lanes.take(START)
    assert second is not None
    assert second.item == "b"


def test_an_answer_that_tells_of_more_gives_the_next_turn_at_once() -> None:
    gates = rationed(left=0)
    lanes: Lanes[str] = Lanes(gates)
    woken: list[int] = []
    lanes.on_wake(lambda: woken.append(1))
    ticket = gates.rations.begun("g", "x", START)
    lanes.add(entry("a"))
    assert lanes.take(START) is None
    woken.clear()
    gates.rations.ended("g", ticket, START + 1.5, 40, None)
    assert woken
    assert lanes.take(START + 3) is not None


def test_whoever_waits_until_a_time_hears_of_an_earlier_one() -> None:
    """The attempt whose answer tells it may go on for long: nothing else would wake the engine meanwhile."""
    gates = rationed(left=0)
    lanes: Lanes[str] = Lanes(gates)
    gates.rations.ended("g", gates.rations.begun("g", "x", START), START, 0, START + 60)
    ticket = gates.rations.begun("g", "y", START)
    lanes.add(entry("a"))
    assert lanes.take(START) is None
    before = lanes.next_at(START)
    woken: list[int] = []
    lanes.on_wake(lambda: woken.append(1))
    gates.rations.ended("g", ticket, START + 0.1, 3, None)
    assert woken
    after = lanes.next_at(START + 0.1)
    assert before is not None
    assert after is not None
    assert after < before - 10
    assert lanes.take(after) is not None


def test_a_larger_share_is_not_waited_for_as_long_as_the_smaller_one() -> None:
    gates = Gates()
    budget = Budget(0.1, 6, START, share=0.01)
    gates.rations.give("g", budget)
    gates.rations.ended("g", gates.rations.begun("g", "x", START), START)
    lanes: Lanes[str] = Lanes(gates)
    lanes.add(entry("a"))
    assert lanes.take(START) is None
    due = lanes.next_at(START)
    assert due is not None
    assert due > START + 900
    budget.share = 1.0
    gates.rations.look_again("g")
    assert lanes.take(START) is None
    due = lanes.next_at(START)
    assert due is not None
    assert due <= START + 11
    assert lanes.take(due + 0.01) is not None


@pytest.mark.parametrize("holds", ["closed", "slow", "shut", "slots"])
def test_what_something_else_holds_is_not_looked_at_for_its_budget(holds: str) -> None:
    """An outage: each closed gate was looked at five hundred times a second."""
    gates = rationed(left=50)
    lanes: Lanes[str] = Lanes(gates)
    match holds:
        case "closed":
            gates.close("g", "walmart_unavailable", START + 30, START)
        case "slow":
            gates.slow("g", START + 30, "throttled", START)
        case "shut":
            gates.shut("g", "paused")
        case _:
            gates.bind("g", 0)
    for name in "abc":
        lanes.add(entry(name))
    assert lanes.take(START) is None
    assert lanes.next_at(START) == (START + 30 if holds in ("closed", "slow") else None)
    gates.rations.look_again("g")
    assert lanes.take(START + 1) is None
    assert lanes.next_at(START + 1) == (START + 30 if holds in ("closed", "slow") else None)


def test_while_only_an_answer_can_tell_nobody_looks_in_vain() -> None:
    gates = Gates()
    gates.rations.give("g", Budget(1.0, 60, START))
    lanes: Lanes[str] = Lanes(gates)
    lanes.add(entry("a"))
    lanes.add(entry("b"))
    first = lanes.take(START)
    assert first is not None
    assert lanes.take(START) is None
    assert lanes.next_at(START) is None
    ticket = gates.rations.begun("g", "a", START)
    gates.rations.ended("g", ticket, START + 0.1, 59, START + 1)
    assert lanes.take(START + 0.1) is not None


def test_an_answer_that_tells_no_level_leaves_nobody_waiting_for_ever() -> None:
    gates = Gates()
    gates.rations.give("g", Budget(1.0, 60, START))
    lanes: Lanes[str] = Lanes(gates)
    lanes.add(entry("a"))
    lanes.add(entry("b"))
    first = lanes.take(START)
    assert first is not None
    assert lanes.take(START) is None
    gates.rations.ended("g", gates.rations.begun("g", "a", START), START + 0.1)
    lanes.settle(first)
    assert lanes.take(START + 0.1) is None
    due = lanes.next_at(START + 0.1)
    assert due is not None
    assert lanes.take(due + 0.01) is not None


def test_it_is_told_how_long_and_why_gates_held_it() -> None:
    lanes: Lanes[str] = Lanes(rationed(left=0))
    one = entry("a")
    lanes.add(one)
    assert lanes.take(START) is None
    lanes.gates.slow("g", START + 4, "throttled", START)
    assert lanes.take(START + 2) is None
    now = START + 4
    while lanes.take(now) is None:
        now = lanes.next_at(now) or math.inf
    assert sum(one.waited.values()) == now - START
    assert set(one.waited) <= {"budget", "slow"}


def test_a_gate_that_starts_is_not_told_to_be_slow_until_it_is() -> None:
    lanes: Lanes[str] = Lanes()
    one = entry("a")
    lanes.gates.slow("g", START + 60, "not_started", START, starting=True)
    lanes.add(one)
    assert lanes.take(START) is None
    lanes.gates.slow("g", START + 60, "throttled", START + 2)
    assert lanes.waits(one, START + 2) == {"starting": 2}
    assert lanes.gates.why("g", START + 2) == "slow"
    lanes.gates.close("g", "credentials_rejected", START + 90, START + 3)
    assert lanes.gates.why("g", START + 3) == "closed"


def test_waits_are_told_while_they_last_and_each_second_once() -> None:
    lanes: Lanes[str] = Lanes(rationed(left=0))
    one, other = entry("a"), entry("b", "h")
    lanes.add(one)
    lanes.add(other)
    assert lanes.take(START) is other
    assert lanes.held_at("g") == 1
    assert lanes.waits(one, START + 3) == {"budget": 3}
    assert lanes.waits(one, START + 5) == {"budget": 2}
    assert lanes.waits(other, START + 5) == {}
    lanes.evict(one)
    assert lanes.take_evicted() is one
    assert lanes.waits(one, START + 9) == {"budget": 4}, "one that leaves instead has waited, too"


def test_a_gate_without_its_budget_lets_everyone_through_again() -> None:
    gates = rationed(left=0)
    lanes: Lanes[str] = Lanes(gates)
    for name in "abc":
        lanes.add(entry(name))
    assert lanes.take(START) is None
    gates.rations.give("g", None)
    assert taken(lanes, START) == ["a", "b", "c"]


def test_one_order_stays_in_its_order_however_old_its_events_say_they_are() -> None:
    lanes: Lanes[str] = Lanes(rationed(left=9))
    for number, age in enumerate((START, START - 500, START - 900)):
        lanes.add(entry(f"o#{number}", age=age))
    now, order = START, []
    while len(order) < 3:
        order += taken(lanes, now)
        now += 1
    assert order == ["o#0", "o#1", "o#2"]
