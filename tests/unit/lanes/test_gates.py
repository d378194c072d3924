"""Gates: open, slow, closed, shut; what opens them, what does not, and one turn at a time after trouble."""

from __future__ import annotations

import math

import pytest

from worker.lanes.gates import Gates, GateView


def told(gates: Gates) -> list[str]:
    heard: list[str] = []
    gates.listen(heard.append)
    return heard


def test_a_gate_that_nobody_spoke_of_is_open_and_takes_no_memory() -> None:
    gates = Gates()
    assert gates.admits(("a", "b"), 0.0) is None
    gates.took(("a",))
    gates.took(("a",))
    assert gates.admits(("a",), 0.0) is None, "an open gate admits any number"
    gates.left(("a",))
    gates.left(("a",))
    assert (gates.views(), gates._running, gates.next_at(0.0)) == ([], {}, None)
    assert gates.state("a") == GateView("a", "open")
    assert not gates.trickles(("a", "b"))


def test_a_slow_gate_waits_then_admits_one_at_a_time_until_one_worked() -> None:
    gates = Gates()
    gates.slow("a", 10.0, "throttled", 5.0)
    assert gates.admits(("b", "a"), 9.9) == "a"
    assert gates.next_at(5.0) == 10.0
    assert gates.admits(("b", "a"), 10.0) is None
    gates.took(("b", "a"))
    assert gates.admits(("a",), 10.0) == "a", "one at a time"
    gates.left(("b", "a"))
    assert gates.admits(("a",), 10.0) is None, "it made no call: the next one goes at once"
    gates.took(("a",))
    gates.worked("a", 11.0)
    assert gates.admits(("a",), 11.0) is None
    assert gates.views() == []


def test_a_success_older_than_the_429_does_not_undo_it() -> None:
    gates = Gates()
    gates.slow("a", 10.0, "throttled", 5.0)
    gates.worked("a", 9.0)
    assert gates.admits(("a",), 9.0) == "a"
    gates.slow("a", 7.0, "throttled", 6.0)
    assert gates.state("a").next_at == 10.0, "nor does a later 429 that waits for less"


def test_turns_from_before_the_trouble_count_as_the_one() -> None:
    gates = Gates()
    gates.took(("a",))
    gates.took(("a",))
    gates.slow("a", 1.0, "throttled", 0.0)
    assert gates.admits(("a",), 2.0) == "a"
    gates.left(("a",))
    assert gates.admits(("a",), 2.0) == "a"
    gates.left(("a",))
    assert gates.admits(("a",), 2.0) is None


def test_a_closed_gate_admits_one_probe_and_counts_those_that_fail() -> None:
    gates = Gates()
    gates.close("a", "credentials_rejected", 15.0, 0.0)
    assert gates.state("a") == GateView("a", "closed", "credentials_rejected", 15.0, 0, 0.0)
    gates.close("a", "credentials_rejected", 16.0, 1.0)
    assert (gates.probes("a"), gates.state("a").next_at) == (0, 16.0), "that call was under way when it closed"
    assert gates.admits(("a",), 15.9) == "a"
    for probe in (1, 2):
        assert gates.admits(("a",), 16.0 * probe) is None
        gates.took(("a",))
        assert gates.admits(("a",), 16.0 * probe) == "a"
        gates.close("a", "credentials_rejected", 16.0 * (probe + 1), 16.0 * probe)
        gates.close("a", "credentials_rejected", 16.0 * (probe + 1), 16.0 * probe)
        gates.left(("a",))
        assert gates.probes("a") == probe, "one turn is one probe, whatever it called"
    gates.worked("a", 20.0)
    assert (gates.state("a").state, gates.probes("a")) == ("open", 0)


def test_a_probe_that_nothing_was_heard_of_is_followed_by_the_next_one() -> None:
    gates = Gates()
    heard = told(gates)
    gates.close("a", "down", 15.0, 0.0)
    gates.ring(15.0)
    gates.took(("a",))
    gates.left(("a",))
    assert heard == ["a", "a"]
    assert gates.admits(("a",), 15.0) is None
    assert gates.probes("a") == 0


def test_what_is_shut_by_hand_stays_shut_until_it_is_opened() -> None:
    gates = Gates()
    gates.close("a", "down", 15.0, 0.0)
    gates.shut("a", "paused")
    gates.worked("a", 1.0)
    gates.slow("a", 2.0, "throttled", 1.0)
    gates.close("a", "down", 2.0, 1.0)
    assert gates.state("a") == GateView("a", "shut", "paused", math.inf)
    assert gates.admits(("a",), 1e12) == "a"
    assert gates.next_at(1.0) is None
    heard = told(gates)
    gates.open("a")
    assert (heard, gates.admits(("a",), 1.0)) == (["a"], None)


def test_a_429_while_closed_keeps_it_closed_and_a_closing_while_slow_waits_for_both() -> None:
    gates = Gates()
    gates.close("a", "down", 15.0, 0.0)
    gates.slow("a", 20.0, "throttled", 1.0)
    assert gates.state("a") == GateView("a", "closed", "down", 20.0, 0, 0.0)
    gates.slow("b", 30.0, "throttled", 0.0)
    gates.close("b", "down", 15.0, 1.0)
    assert gates.state("b") == GateView("b", "closed", "down", 30.0, 0, 1.0)
    gates.worked("b", 2.0)
    assert gates.admits(("b",), 2.0) is None


def test_listeners_hear_of_each_gate_when_its_time_comes() -> None:
    gates = Gates()
    heard = told(gates)
    gates.slow("a", 10.0, "throttled", 0.0)
    gates.close("b", "down", 20.0, 0.0)
    gates.close("c", "down", 5.0, 5.0)
    assert heard == ["c"], "its time has come already"
    gates.slow("a", 30.0, "throttled", 9.0)
    assert gates.next_at(12.0) == 20.0, "the time that was moved on does not count"
    gates.ring(25.0)
    assert heard == ["c", "b"]
    assert gates.next_at(25.0) == 30.0
    assert gates.next_at(30.0) is None
    assert heard == ["c", "b", "a"]


def test_a_clock_that_is_set_back_does_not_close_it_again() -> None:
    """Its timer has rung: nobody would look at it once more."""
    gates = Gates()
    gates.slow("a", 10.0, "throttled", 0.0)
    gates.ring(10.0)
    assert gates.admits(("a",), 3.0) is None


@pytest.mark.parametrize("endings", [1, 5])
def test_times_moved_on_again_and_again_do_not_pile_up(endings: int) -> None:
    gates = Gates()
    for number in range(1, 1_001):
        gates.slow("a", 1_000.0 + number * endings, "throttled", float(number))
    assert len(gates._timers) <= 66
    assert gates.next_at(0.0) == 1_000.0 + 1_000 * endings


def test_thousands_of_gates_that_were_closed_and_opened_leave_nothing_behind() -> None:
    gates = Gates()
    for number in range(5_000):
        gates.close(f"a{number}", "down", 1.0, 0.0)
    assert len(gates.views()) == 5_000
    for number in range(5_000):
        gates.took((f"a{number}",))
        gates.worked(f"a{number}", 1.0)
        gates.left((f"a{number}",))
    assert (gates.views(), gates._running, gates.next_at(2.0), gates._timers) == ([], {}, None, [])


def test_a_closed_gate_may_be_probed_sooner_and_its_old_time_means_nothing_then() -> None:
    gates = Gates()
    heard = told(gates)
    gates.close("a", "credentials_rejected", 600.0, 0.0)
    gates.hasten("a", 5.0)
    assert heard == ["a"]
    assert gates.admits(("a",), 5.0) is None
    assert gates.next_at(5.0) is None
    gates.took(("a",))
    gates.close("a", "credentials_rejected", 20.0, 6.0)
    gates.left(("a",))
    assert gates.state("a").probes == 1
    assert gates.admits(("a",), 19.0) == "a"
    assert gates.next_at(6.0) == 20.0


@pytest.mark.parametrize("state", ["open", "slow", "shut"])
def test_only_a_closed_gate_is_probed_sooner(state: str) -> None:
    gates = Gates()
    if state == "slow":
        gates.slow("a", 10.0, "throttled", 0.0)
    elif state == "shut":
        gates.shut("a", "paused")
    before = gates.state("a")
    gates.hasten("a", 5.0)
    assert gates.state("a") == before
