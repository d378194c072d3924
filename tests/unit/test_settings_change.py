"""What counts at once and what waits for a restart."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.docs import settings_page
from worker.settings import Settings
from worker.settings_change import RESTART, TAKES_EFFECT, compare, is_same_client, is_same_secret, needs_restart
from worker.settings_schema import PARTS, every_field

TREE: dict[str, dict[str, Any]] = {
    "accounts": {"main": {"client_id": "c", "client_secret": "s"}},
    "stores": {"us": {"account": "main", "carriers": {"a": "UPS", "b": "FedEx"}}},
}


def settings(**sections: Any) -> Settings:
    return Settings.model_validate({**TREE, **sections})


def stores(**fields: Any) -> Settings:
    return settings(stores={"us": {**TREE["stores"]["us"], **fields}})


def test_of_every_key_it_is_said_when_a_new_value_counts() -> None:
    """A new key fails here until somebody has thought about it."""
    said = {(part, key) for part, keys in TAKES_EFFECT.items() for key in keys}
    assert said == {(key[0], key[-1]) for key, _ in every_field()}
    assert all(
        when == RESTART or when.startswith("at once") for keys in TAKES_EFFECT.values() for when in keys.values()
    )


def test_accounts_and_stores_never_wait_for_a_restart() -> None:
    """One half of what belongs together would be new, the other old."""
    assert not [key for key, _ in every_field() if PARTS[key[0]].named and needs_restart(key)]


def test_the_settings_page_says_it() -> None:
    page = settings_page()
    assert "`ORDER_SYNC_KAFKA__GROUP_ID` | after a restart |" in page
    assert "`ORDER_SYNC_STORES__<NAME>__PAUSED` | at once |" in page


def test_nothing_changed_is_nothing() -> None:
    change = compare(settings(), settings())
    assert change.is_nothing
    assert change.restart == ()


def test_changes_are_named_by_their_keys_entries_of_tables_too() -> None:
    after = stores(carriers={"a": "UPS", "b": "USPS", "c": "UPS"}, paused=True, unmapped_carrier="other")
    assert set(compare(settings(), after).changed) == {
        ("stores", "us", "carriers", "b"),
        ("stores", "us", "carriers", "c"),
        ("stores", "us", "paused"),
        ("stores", "us", "unmapped_carrier"),
    }
    removed = compare(after, settings())
    assert ("stores", "us", "carriers", "c") in removed.changed


def test_accounts_and_stores_come_and_go_by_name() -> None:
    more = settings(
        accounts={**TREE["accounts"], "two": {"client_id": "d", "client_secret": "s"}},
        stores={**TREE["stores"], "eu": {"account": "two"}},
    )
    change = compare(settings(), more)
    assert (change.added, change.removed, change.changed) == ((("accounts", "two"), ("stores", "eu")), (), ())
    change = compare(more, settings())
    assert (change.added, change.removed) == ((), (("accounts", "two"), ("stores", "eu")))


def test_what_waits_for_a_restart_is_as_it_was_and_the_rest_counts() -> None:
    before = settings(kafka={"group_id": "a", "client_id": "x"}, http={"port": 1})
    after = settings(kafka={"group_id": "b", "client_id": "x"}, http={"port": 2}, timing={"slo_seconds": 60})
    change = compare(before, after)
    assert set(change.restart) == {("kafka", "group_id"), ("http", "port")}
    assert change.changed == (("timing", "slo_seconds"),)
    assert (change.in_force.kafka, change.in_force.http) == (before.kafka, before.http)
    assert change.in_force.timing.slo_seconds == 60


_SECTIONS = st.fixed_dictionaries(
    {},
    optional={
        "kafka": st.fixed_dictionaries({}, optional={"group_id": st.sampled_from("ab"), "client_id": st.just("x")}),
        "topics": st.fixed_dictionaries({}, optional={"sync_result": st.sampled_from(("r", "s"))}),
        "http": st.fixed_dictionaries({}, optional={"port": st.integers(0, 2)}),
        "timing": st.fixed_dictionaries({}, optional={"slo_seconds": st.integers(1, 3)}),
        "limits": st.fixed_dictionaries({}, optional={"min_tries": st.integers(1, 3)}),
        "stores": st.dictionaries(
            st.sampled_from(("us", "eu")),
            st.fixed_dictionaries({"account": st.just("main")}, optional={"paused": st.booleans()}),
            min_size=1,
        ),
    },
)


@given(_SECTIONS, _SECTIONS)
def test_whatever_changes_only_what_waits_is_held_back_and_stays_told(one: Any, two: Any) -> None:
    before, after = settings(**one), settings(**two)
    change = compare(before, after)
    assert (change.in_force.kafka, change.in_force.topics, change.in_force.http) == (
        before.kafka,
        before.topics,
        before.http,
    )
    assert (change.in_force.accounts, change.in_force.stores) == (after.accounts, after.stores)
    assert (change.in_force.timing, change.in_force.limits) == (after.timing, after.limits)
    again = compare(change.in_force, after)
    assert again.is_nothing
    assert again.restart == change.restart
    assert change.is_nothing == (change.in_force == before)


@pytest.mark.parametrize(
    ("field", "value", "same_client", "same_secret"),
    [
        ("client_id", "d", False, True),
        ("base_url", "https://elsewhere.example", False, True),
        ("market", "ca", False, True),
        ("channel_type", "t", False, True),
        ("client_secret", "t", True, False),
        ("paused", True, True, True),
        ("observe", True, True, True),
    ],
)
def test_another_key_or_address_is_another_client_another_secret_is_not(
    field: str, value: object, same_client: bool, same_secret: bool
) -> None:
    one = settings().accounts["main"]
    two = settings(accounts={"main": {**TREE["accounts"]["main"], field: value}}).accounts["main"]
    assert (is_same_client(one, two), is_same_secret(one, two)) == (same_client, same_secret)
