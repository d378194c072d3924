"""Who has to make room when the window is full: what does not flow, never an ordinary backlog."""

from __future__ import annotations

from worker.settings import LimitSettings, TimingSettings
from worker.window import PATIENCE_S, Window

LIMITS = LimitSettings(max_queued_events=100, max_queued_events_per_account=25, max_queued_bytes=1_048_576)
TIMING = TimingSettings(park_after_seconds=60)


def window() -> Window:
    return Window(LIMITS, TIMING)


def test_room_is_counted_in_events_and_in_bytes() -> None:
    one = window()
    assert one.has_room(99, 0)
    assert not one.has_room(100, 0)
    assert not one.has_room(1, 1_048_576)


def test_shipments_are_read_on_in_a_window_full_of_cancellations() -> None:
    one = window()
    assert one.has_room(100, 0, cancellations=100)
    assert one.has_room(124, 1_048_576, cancellations=100)
    assert not one.has_room(125, 0, cancellations=100)
    assert not one.has_room(100, 1_310_720, cancellations=100)


def test_a_window_full_of_shipments_has_no_reserve() -> None:
    one = window()
    assert not one.has_room(100, 0, cancellations=0)
    assert one.has_room(102, 0, cancellations=3)
    assert not one.has_room(103, 0, cancellations=3)


def test_an_account_behind_a_gate_keeps_its_share_and_no_more() -> None:
    one = window()
    counts = {"dead": 40, "well": 30}
    assert one.surplus(counts, 70, 0, 1_000.0, held=["dead"]) == {"dead": 25}


def test_a_share_is_left_alone() -> None:
    assert window().surplus({"dead": 25}, 25, 0, 1_000.0, held=["dead"]) == {}


def test_a_full_window_of_an_account_that_flows_is_an_ordinary_backlog() -> None:
    """200,000 events of a healthy account must not be parked one by one."""
    one = window()
    now = 1_000.0
    for step in range(200):
        now += 0.1
        one.concluded("well", now)
        assert one.surplus({"well": 100}, 100, 0, now, held=[]) == {}, step


def test_a_full_window_of_an_account_that_crawls_makes_room_after_a_little_patience() -> None:
    """One event in ten seconds: a hundred of them would wait for a quarter of an hour."""
    one = window()
    assert one.surplus({"slow": 100}, 100, 0, 1_000.0, held=[]) == {}
    assert one.surplus({"slow": 100}, 100, 0, 1_000.0 + PATIENCE_S, held=[]) == {"slow": 25}
    one.concluded("slow", 1_003.0)
    assert one.surplus({"slow": 100}, 100, 0, 1_005.0, held=[])["slow"] >= 25


def test_what_flows_within_the_patience_may_stay() -> None:
    """At 1/s sixty events have their turn within a minute: only the rest makes room."""
    one = window()
    for second in range(20):
        one.concluded("slow", 1_000.0 + second)
        one.surplus({"slow": 100}, 100, 0, 1_000.0 + second, held=[])
    (keep,) = one.surplus({"slow": 100}, 100, 0, 1_020.0, held=[]).values()
    assert 50 <= keep <= 70


def test_many_accounts_share_a_full_window_fairly() -> None:
    one = window()
    counts = {f"a{number}": 20 for number in range(5)}
    one.surplus(counts, 100, 0, 1_000.0, held=[])
    assert one.surplus(counts, 100, 0, 1_000.0 + PATIENCE_S, held=[]) == {}
    counts = {**{f"b{number}": 5 for number in range(15)}, "a": 25}
    assert one.surplus(counts, 100, 0, 1_010.0, held=["a"]) == {"a": 6}


def test_the_patience_begins_anew_when_there_was_room() -> None:
    one = window()
    one.surplus({"slow": 100}, 100, 0, 1_000.0, held=[])
    one.surplus({"slow": 99}, 99, 0, 1_001.0, held=[])
    assert one.surplus({"slow": 100}, 100, 0, 1_002.5, held=[]) == {}


def test_the_patience_is_not_as_long_as_a_clock_was_set_back() -> None:
    one = window()
    one.surplus({"slow": 100}, 100, 0, 9_000.0, held=[])
    assert one.surplus({"slow": 100}, 100, 0, 1_000.0, held=[]) == {}
    assert one.surplus({"slow": 100}, 100, 0, 1_000.0 + PATIENCE_S, held=[]) == {"slow": 25}


def test_a_rate_is_forgotten_after_a_while() -> None:
    one = window()
    for second in range(10):
        one.concluded("a", 1_000.0 + second)
    assert one.rate("a", 1_010.0) > 0.5
    assert one.rate("a", 1_100.0) < 0.05
