"""`order-sync check`: the numbers of the delivery core, shown and held against each other."""

from __future__ import annotations

from typing import Any

import pytest

from worker.check import check_settings
from worker.check_delivery import check_delivery
from worker.findings import Level
from worker.settings import LimitSettings, Settings, TimingSettings


def settings(**changes: Any) -> Settings:
    parts: dict[str, Any] = {
        "kafka": {"group_instance_id": "order-sync-0"},
        "accounts": {"main": {"client_id": "id", "client_secret": "x"}},
        "stores": {"default": {"account": "main"}},
    }
    return Settings.model_validate({**parts, **changes})


def told(of: Settings, *levels: Level) -> list[str]:
    return [f"{one.subject}: {one.message}" for one in check_delivery(of) if one.level in levels]


def test_every_setting_of_the_delivery_core_is_shown_with_its_value() -> None:
    shown = " ".join(told(settings(), "ok"))
    # The first belongs to what is sent, the second is told where it clashes, the third belongs to no event.
    elsewhere = {
        "timing.inventory_max_age_seconds",
        "timing.connect_timeout_seconds",
        "timing.reload_check_seconds",
    }
    defaults = {
        **{f"timing.{name}": value for name, value in TimingSettings().model_dump().items()},
        **{f"limits.{name}": value for name, value in LimitSettings().model_dump().items()},
        "kafka.session_timeout_seconds": 30,
        "kafka.rebalance_timeout_seconds": 60,
        "kafka.request_timeout_seconds": 20,
    }
    missing = {
        key for key, value in defaults.items() if f"{key} = {value:g}" not in shown and f"{key} = {value}" not in shown
    }
    assert missing == elsewhere
    assert 'kafka.group_instance_id = "order-sync-0"' in shown


def test_slots_for_tokens_that_are_too_few_for_the_accounts_are_told() -> None:
    many = {f"m{number}": {"client_id": "c", "client_secret": "s"} for number in range(1_000)}
    tree = settings().model_dump() | {"accounts": many, "stores": {"us": {"account": "m1"}}}
    few = Settings.model_validate(tree | {"limits": {"max_token_requests": 3}})
    (warned,) = [one for one in told(few, "warning") if "token" in one]
    assert "limits.max_token_requests = 3, timing.slo_seconds = 300" in warned
    assert not [one for one in told(Settings.model_validate(tree), "warning") if "token" in one]


def test_defaults_fit_together() -> None:
    assert told(settings(), "warning", "mistake") == []


def test_what_static_membership_costs_and_saves() -> None:
    (line,) = [one for one in told(settings(), "ok") if one.startswith("membership")]
    assert "static members do not leave at a stop: scaling down costs one session timeout (30 s)" in line
    assert "a rolling restart shorter than that costs nothing" in line
    assert "exit code 4" in line


def test_dynamic_membership_is_warned_of() -> None:
    (line,) = told(settings(kafka={}), "warning")
    assert "kafka.group_instance_id is not set: dynamic membership" in line


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"kafka": {"rebalance_timeout_seconds": 10, "request_timeout_seconds": 1}},
            "kafka.rebalance_timeout_seconds = 10, timing.call_timeout_seconds = 10: a rebalance waits only 6 s",
        ),
        (
            {"kafka": {"session_timeout_seconds": 8}, "timing": {"call_timeout_seconds": 8}},
            "kafka.session_timeout_seconds = 8, timing.call_timeout_seconds = 8: a worker that stalls",
        ),
        ({"timing": {"read_lag_seconds": 0}}, "timing.read_lag_seconds = 0: a read is believed at once"),
        ({"timing": {"settle_seconds": 0}}, "timing.settle_seconds = 0: a shipment still on its way"),
    ],
)
def test_what_makes_it_unsafe_is_a_mistake(changes: dict[str, dict[str, Any]], words: str) -> None:
    kafka = {"group_instance_id": "a", **changes.get("kafka", {})}
    (line,) = told(settings(**{**changes, "kafka": kafka}), "mistake")
    assert words in line


def test_without_guarded_stores_the_settle_time_is_nobodys() -> None:
    of = settings(
        timing={"settle_seconds": 0}, stores={"default": {"account": "main", "cancel_without_items": "refuse"}}
    )
    assert told(of, "mistake") == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kafka": {"session_timeout_seconds": 5}, "timing": {"call_timeout_seconds": 2}}, "refuse less than 6 s"),
        ({"kafka": {"session_timeout_seconds": 900}}, "stand still for 15 minutes"),
        ({"kafka": {"request_timeout_seconds": 30}}, "the commit after the drain may come too late"),
        ({"timing": {"read_lag_seconds": 5}}, "timing.read_lag_seconds = 5, timing.call_timeout_seconds = 10"),
        ({"timing": {"connect_timeout_seconds": 10}}, "connecting may take all of a call's time"),
        ({"timing": {"park_after_seconds": 59}}, "parked is only what waits longer than 60 s"),
        ({"timing": {"retry_max_seconds": 90}}, "timing.retry_max_seconds = 90, timing.park_after_seconds = 60"),
        ({"timing": {"probe_seconds": 90}}, "timing.probe_seconds = 90, timing.park_after_seconds = 60"),
        ({"timing": {"retry_base_seconds": 40}}, "timing.retry_base_seconds = 40, timing.retry_max_seconds = 30"),
        ({"timing": {"parked_retry_max_seconds": 20}}, "timing.parked_retry_max_seconds = 20"),
        ({"timing": {"parked_retry_max_seconds": 20_000}}, "limits.min_tries = 5"),
        ({"timing": {"settle_seconds": 61}}, "every one of them is parked first"),
        ({"timing": {"settle_seconds": 60, "slo_seconds": 60}}, "none of them can be in time"),
        (
            {"limits": {"max_queued_events": 400}},
            "limits.max_queued_events_per_account = 500, limits.max_queued_events = 400",
        ),
        ({"limits": {"max_in_flight_events": 3_000}}, "limits.max_in_flight_events = 3000"),
        ({"kafka": {"max_record_bytes": 50_000_000}}, "kafka.max_record_bytes = 50000000"),
        ({"limits": {"max_parked_events": 1_000}}, "limits.max_parked_events = 1000"),
        ({"timing": {"call_timeout_seconds": 25}}, "a clean stop takes up to 90 s"),
    ],
)
def test_what_only_costs_is_a_warning(changes: dict[str, dict[str, Any]], words: str) -> None:
    kafka = {"group_instance_id": "a", **changes.get("kafka", {})}
    of = settings(**{**changes, "kafka": kafka})
    assert told(of, "mistake") == []
    warned = told(of, "warning")
    assert any(words in one for one in warned), warned
    assert all(one.action for one in check_settings(of) if one.level != "ok")


def test_giving_up_too_early_is_told_in_all_its_senses() -> None:
    warned = told(settings(timing={"give_up_after_hours": 0.01}), "warning")
    for words in (
        "before they are parked",
        "before anybody is told",
        "whether its call worked",
        "longer than the time",
    ):
        assert any(words in one and "timing.give_up_after_hours = 0.01" in one for one in warned), words


def test_two_accounts_need_smaller_shares() -> None:
    accounts = {name: {"client_id": "id", "client_secret": "x"} for name in ("one", "two")}
    of = settings(
        accounts=accounts,
        stores={"a": {"account": "one"}, "b": {"account": "two"}},
        limits={"max_queued_events": 900},
    )
    (line,) = told(of, "warning")
    assert "two stuck accounts" in line


def test_memory_is_told_from_windows_and_parked_events() -> None:
    (line,) = [one for one in told(settings(), "ok") if one.startswith("memory")]
    assert "up to about 259 MiB: 40 of events in memory, 95 of parked ones" in line
    (line,) = [one for one in told(settings(limits={"max_parked_events": 1_000_000}), "ok") if one.startswith("memory")]
    assert "953 of parked ones" in line
    many = {f"m{number}": {"client_id": "id", "client_secret": "x"} for number in range(5_000)}
    of = settings(accounts=many, stores={"us": {"account": "m1"}})
    (line,) = [one for one in told(of, "ok") if one.startswith("memory")]
    assert "38 of accounts" in line
