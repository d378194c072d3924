"""Accounts in metrics: by name where wanted, all others together, and never a series for each of thousands."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from worker.telemetry.account_names import MOST_IN_AUTO, AccountNames
from worker.telemetry.metrics import BudgetSeen, Metrics

MANY = [f"m{number}" for number in range(5_000)]


@pytest.mark.parametrize(
    ("accounts", "by_name", "labels"),
    [
        (["b", "a"], None, ("a", "b")),
        (["b", "a"], (), ("other",)),
        (["b", "a"], ("b",), ("b", "other")),
        (["b", "a"], ("b", "gone"), ("b", "other")),
        (MANY, None, ("other",)),
        (MANY, ("m7", "m4999"), ("m7", "m4999", "other")),
        (["other", "a"], ("other",), ("other",)),
    ],
)
def test_labels_there_may_be(accounts: list[str], by_name: tuple[str, ...] | None, labels: tuple[str, ...]) -> None:
    names = AccountNames(accounts, by_name)
    assert names.labels == labels
    assert {names.of(account) for account in accounts} == set(labels)


def test_the_first_account_too_many_makes_all_of_them_other() -> None:
    few = MANY[:MOST_IN_AUTO]
    names = AccountNames(few, None)
    assert [names.of(account) for account in few] == few
    names.configure(MANY[: MOST_IN_AUTO + 1], None)
    assert {names.of(account) for account in few} == {"other"}


def test_an_account_that_is_not_in_the_settings_any_more_is_other() -> None:
    assert AccountNames(["a"], None).of("removed") == "other"


def series(told: Metrics) -> list[str]:
    return [line for line in told.render()[0].decode().splitlines() if "account=" in line]


def test_thousands_of_accounts_are_one_series_each_metric() -> None:
    told = Metrics(accounts=MANY, by_name=("m7",))
    before = len(series(told))
    for account in MANY:
        told.call(account, "ship", "ok", 0.1)
        told.budget_call(account, "ship")
    told.budgets([BudgetSeen(account, "ship", 2.5, 60.0) for account in MANY])
    told.queued_by_account(dict.fromkeys(MANY, 3) | {"": 9})
    assert told.value("walmart_calls_total", account="other", operation="ship", outcome="ok") == 4_999
    assert told.value("walmart_calls_total", account="m7", operation="ship", outcome="ok") == 1
    assert told.value("budget_calls_total", account="other", group="ship") == 4_999
    assert told.value("budget_left", account="other", group="ship") == 2.5 * 4_999
    assert told.value("budget_calls_per_minute", account="m7", group="ship") == 60
    assert told.value("account_events_queued", account="other") == 3 * 4_999
    assert told.value("account_events_queued", account="m7") == 3
    assert len(series(told)) <= before + 8, "left, rate, waiting and queued, of m7 and of the others"
    assert {re.search('account="([^"]*)"', line)[1] for line in series(told)} == {"m7", "other"}  # type: ignore[index]


def test_budgets_are_told_as_a_whole_and_those_with_orders_waiting_are_used_up() -> None:
    told = Metrics(accounts=["a", "b"])
    told.budgets(
        [
            BudgetSeen("a", "ship", 0.4, 60, 7),
            BudgetSeen("b", "ship", 0, 60),
            BudgetSeen("a", "read", 9, 5_000, 1),
        ]
    )
    assert told.value("budget_left", account="a", group="ship") == 0.4
    assert told.value("budget_orders_waiting", account="a", group="ship") == 7
    assert told.value("budget_orders_waiting", account="b", group="ship") == 0
    assert told.value("budgets_used_up", group="ship") == told.value("budgets_used_up", group="read") == 1
    told.budgets([BudgetSeen("b", "ship", 8, 60)])
    assert told.value("budgets_used_up", group="ship") == 0
    page = told.render()[0].decode()
    assert 'budget_left{account="a"' not in page, "forgotten with its account"
    assert 'order_sync_budgets_used_up{group="read"} 0.0' in page


def test_other_names_at_run_time() -> None:
    """A series that would stand still for ever disappears, a new one starts at 0, and the others go on."""
    told = Metrics(accounts=["a", "b"], by_name=("a", "b"))
    for account in ("a", "b"):
        told.call(account, "ship", "ok", 0.1)
        told.budget_call(account, "ship")
    told.configure(slo_seconds=60, accounts=["a", "b", "c"], by_name=("b", "c"))
    assert {re.search('account="([^"]*)"', line)[1] for line in series(told)} == {"b", "c", "other"}  # type: ignore[index]
    told.call("a", "ship", "ok", 0.1)
    told.call("b", "ship", "ok", 0.1)
    value = {account: told.value("walmart_calls_total", account=account, operation="ship", outcome="ok")
             for account in ("b", "c", "other")}  # fmt: skip
    assert value == {"b": 2, "c": 0, "other": 1}
    assert told.slo_seconds == 60


@pytest.mark.skipif(shutil.which("promtool") is None, reason="there is no promtool here")
@pytest.mark.parametrize("accounts", [["a", "b"], MANY])
def test_promtool_finds_nothing_wrong(accounts: list[str]) -> None:
    told = Metrics(accounts=accounts, topics=["shipped"])
    told.call(accounts[1], "ship", "throttled", 0.1)
    told.budgets([BudgetSeen(accounts[1], "ship", 1, 60)])
    told.queued_by_account({accounts[1]: 1})
    told.events_received.add(3, "shipped")
    page, _ = told.render()
    checked = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
