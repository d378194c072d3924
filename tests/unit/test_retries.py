"""What is tried again, how long, what is parked, and what ends it."""

from __future__ import annotations

import random

import pytest

from worker.delivery import Delivery, Envelope, Record
from worker.errors import Failure
from worker.outcome import Again, Trouble
from worker.retries import RULES, Retries, markdown
from worker.settings import LimitSettings, TimingSettings

NOW = 1_795_000_000.0
TIMING = TimingSettings(
    retry_base_seconds=0.5,
    retry_max_seconds=30,
    park_after_seconds=60,
    parked_retry_max_seconds=900,
    probe_seconds=15,
    give_up_after_hours=24,
)
LIMITS = LimitSettings(min_tries=5)


def retries(seed: int = 1) -> Retries:
    return Retries(TIMING, LIMITS, random.Random(seed))


def delivery(*, failed: int = 1, waiting_s: float = 0.0, attempts: int = 1) -> Delivery:
    record = Record("commerce.order-shipped.v1", 0, 1, int(NOW * 1000), b"PO", b"{}", ())
    one = Delivery(record, None, Envelope(), None, "k", "PO", NOW, first_seen=NOW, waiting_since=NOW - waiting_s)
    one.progress.failed_tries, one.progress.attempts = failed, attempts
    return one


def again(trouble: Trouble, after_s: float | None = None) -> Again:
    return Again(trouble, Failure("walmart_unavailable", "503"), after_s)


def test_every_class_has_its_row_and_its_line_on_the_page() -> None:
    assert set(RULES) == set(Trouble)
    for trouble in Trouble:
        assert f"| `{trouble.value}` | " in markdown()


@pytest.mark.parametrize("failed", [1, 3, 8, 40])
def test_the_backoff_grows_and_is_bounded(failed: int) -> None:
    for seed in range(50):
        next_try = retries(seed).next_try(delivery(failed=failed), again(Trouble.NOT_SENT), NOW)
        ceiling = min(30, 0.5 * 2 ** (failed - 1))
        assert ceiling / 10 <= next_try.delay_s <= ceiling
        assert next_try.at == NOW + next_try.delay_s


def test_what_walmart_tells_is_obeyed_and_spread() -> None:
    for seed in range(50):
        throttled = retries(seed).next_try(delivery(), again(Trouble.THROTTLED, 12.0), NOW)
        assert 12.0 < throttled.delay_s <= 12.5
        told = retries(seed).next_try(delivery(), again(Trouble.NOT_SENT, 20.0), NOW)
        assert told.delay_s == 20.0


def test_what_waits_for_budget_has_no_wait_of_its_own() -> None:
    next_try = retries().next_try(delivery(failed=7), again(Trouble.BUDGET), NOW)
    assert (next_try.at, next_try.delay_s, next_try.parked_until, next_try.park) == (NOW, 0.0, 0.0, False)


def test_a_dead_account_is_probed_around_its_time() -> None:
    delays = {retries(seed).next_try(delivery(), again(Trouble.CREDENTIALS), NOW).delay_s for seed in range(50)}
    assert min(delays) >= 12
    assert max(delays) <= 18
    assert len(delays) > 40, "spread, so that workers do not probe together"


def test_what_would_wait_longer_than_a_minute_is_parked() -> None:
    """In one wait, or in all its waits together."""
    assert retries().next_try(delivery(), again(Trouble.NOT_SENT, 61.0), NOW).park
    assert retries().next_try(delivery(waiting_s=58), again(Trouble.NOT_SENT, 3.0), NOW).park
    assert not retries().next_try(delivery(waiting_s=50), again(Trouble.NOT_SENT, 3.0), NOW).park


def test_a_parked_event_comes_back_by_its_own_backoff_up_to_a_quarter_of_an_hour() -> None:
    until = [
        retries(seed).next_try(delivery(failed=40, waiting_s=60), again(Trouble.UNKNOWN), NOW).parked_until
        for seed in range(50)
    ]
    assert all(NOW + 30 <= time <= NOW + 900 for time in until)
    assert max(until) > NOW + 600


def test_behind_a_gate_it_comes_back_when_that_opens() -> None:
    assert retries().next_try(delivery(waiting_s=60), again(Trouble.CREDENTIALS), NOW).parked_until == 0.0
    told = retries().next_try(delivery(waiting_s=60), again(Trouble.THROTTLED, 90.0), NOW)
    assert told.parked_until == NOW + 90.0


@pytest.mark.parametrize(
    ("hours", "paused_hours", "attempts", "probes", "over"),
    [(23.9, 0, 9, 0, False), (24.1, 0, 9, 0, True), (24.1, 1, 9, 0, False), (30, 0, 1, 0, False), (30, 0, 1, 4, True)],
)
def test_it_is_given_up_after_its_time_and_its_tries(
    hours: float, paused_hours: float, attempts: int, probes: int, over: bool
) -> None:
    """Paused time does not count; a closed gate's probes are tries."""
    one = delivery(attempts=attempts)
    one.progress.paused_s = paused_hours * 3600
    assert retries().given_up(one, NOW + hours * 3600, probes=probes) is over


def test_a_replay_has_a_time_of_its_own() -> None:
    one = delivery(attempts=9)
    one.replay_number, one.replayed_at = 1, NOW + 48 * 3600
    assert not retries().given_up(one, NOW + 49 * 3600, probes=0)
    assert retries().given_up(one, NOW + 73 * 3600, probes=0)
