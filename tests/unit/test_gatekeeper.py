"""What Walmart's answers mean for the gates."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest

from worker.gatekeeper import SEVERAL, WORKER, Gatekeeper, account_gate, call_gate
from worker.lanes.gates import Gates
from worker.settings import Settings
from worker.walmart.answer import CallKind
from worker.walmart.call_report import CallReport

NOW = 1_000.0
TREE: dict[str, Any] = {
    "accounts": {name: {"client_id": "c", "client_secret": "s"} for name in ("a", "b")},
    "stores": {"one": {"account": "a"}, "two": {"account": "a"}, "three": {"account": "b"}},
    "timing": {"probe_seconds": 10},
}
READ, SHIP, CANCEL = (call_gate("a", call) for call in ("get_order", "ship", "cancel"))


class At:
    """A clock that stands."""

    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> float:
        return self.time


def keeper(**changes: Any) -> Gatekeeper:
    return Gatekeeper(Gates(), Settings.model_validate({**TREE, **changes}), random.Random(1), At())


def report(operation: Any = "ship", kind: CallKind | None = None, status: int | None = 200, **more: Any) -> CallReport:
    return CallReport("a", operation, status, kind, 0.1, **{"correlation_id": "c1", **more})


def state(one: Gatekeeper, name: str) -> str:
    return one.gates.state(name).state


def test_a_shipment_needs_its_account_its_store_the_read_and_the_ship_gate() -> None:
    assert keeper().names_of("one", ships=True) == (WORKER, "account:a", "store:one", READ, SHIP)
    assert keeper().names_of("one", ships=False)[-1] == CANCEL


def test_a_store_that_is_not_in_the_settings_waits_for_nobody() -> None:
    assert keeper().names_of("unknown", ships=True) == (WORKER,)


def test_a_429_slows_its_endpoint_and_no_other() -> None:
    one = keeper()
    one.observe(report(kind=CallKind.THROTTLED, status=429, retry_after_s=20.0), NOW)
    assert one.gates.admits(one.names_of("one", ships=True), NOW + 19.9) == SHIP
    assert one.gates.admits(one.names_of("one", ships=True), NOW + 22.1) is None
    assert one.gates.admits(one.names_of("one", ships=False), NOW) is None


def test_a_shorter_wait_told_later_does_not_shorten_a_longer_one() -> None:
    one = keeper()
    one.observe(report(kind=CallKind.THROTTLED, status=429, retry_after_s=60.0), NOW)
    one.observe(report(kind=CallKind.THROTTLED, status=429, retry_after_s=1.0), NOW + 1)
    assert one.gates.admits((SHIP,), NOW + 30) == SHIP


def test_a_401_closes_the_account_at_once_and_another_account_never() -> None:
    one = keeper()
    one.observe(report(kind=CallKind.UNAUTHORIZED, status=401), NOW)
    assert state(one, account_gate("a")) == "closed"
    assert one.gates.state(account_gate("a")).reason == "credentials_rejected"
    assert one.gates.admits(one.names_of("three", ships=True), NOW) is None


def test_a_refused_token_closes_the_account() -> None:
    one = keeper()
    one.observe(report("token", CallKind.UNAUTHORIZED, 400), NOW)
    assert state(one, account_gate("a")) == "closed"


def test_a_missing_scope_closes_its_endpoint_only() -> None:
    """A read that works says nothing of the right to ship."""
    one = keeper()
    one.observe(report(kind=CallKind.UNAUTHORIZED, status=403), NOW)
    assert (state(one, SHIP), state(one, account_gate("a"))) == ("closed", "open")
    one.observe(report("get_order"), NOW + 1)
    assert state(one, SHIP) == "closed"


@pytest.mark.parametrize("kind", [CallKind.UNKNOWN, CallKind.NOT_SENT])
def test_failures_of_several_different_orders_close_a_gate(kind: CallKind) -> None:
    one = keeper()
    for number in range(SEVERAL):
        assert state(one, READ) == "open"
        one.observe(report("get_order", kind, 503, subject=f"order{number}"), NOW)
    assert (state(one, READ), one.gates.state(READ).reason) == ("closed", "walmart_unavailable")


def test_one_order_that_walmart_cannot_serve_closes_nothing() -> None:
    one = keeper()
    for _ in range(50):
        one.observe(report("get_order", CallKind.UNKNOWN, 500, subject="poison"), NOW)
    assert state(one, READ) == "open"


def test_a_success_between_begins_the_count_anew() -> None:
    one = keeper()
    for number in range(20):
        one.observe(report("get_order", CallKind.UNKNOWN, 500, subject=f"order{number}"), NOW)
        if number % (SEVERAL - 1) == 0:
            one.observe(report("get_order"), NOW)
    assert state(one, READ) == "open"


def test_an_account_whose_calls_work_is_not_closed_because_its_token_is_not_renewed() -> None:
    """The token endpoint is down for a while, and the present token lasts."""
    one = keeper()
    for number in range(3 * SEVERAL):
        one.observe(report("token", CallKind.NOT_SENT, None, correlation_id=f"renewal{number}"), NOW + 60 * number)
        assert state(one, account_gate("a")) == "open"
        one.observe(report("get_order"), NOW + 60 * number + 1)
    for number in range(SEVERAL):
        one.observe(report("token", CallKind.NOT_SENT, None, correlation_id=f"last{number}"), NOW + 900)
    assert state(one, account_gate("a")) == "closed"


def test_a_refusal_on_its_merits_is_a_sign_of_life() -> None:
    one = keeper()
    for number in range(SEVERAL):
        one.observe(report(kind=CallKind.UNKNOWN, status=500, subject=f"order{number}"), NOW)
    one.observe(report(kind=CallKind.REFUSED, status=400), NOW + 20)
    assert state(one, SHIP) == "open"


def test_a_refusal_without_a_cause_says_nothing() -> None:
    """It may be an outage, or this one event."""
    one = keeper()
    for number in range(SEVERAL):
        one.observe(report(kind=CallKind.UNKNOWN, status=500, subject=f"order{number}"), NOW)
    one.observe(report(kind=CallKind.REFUSED_WITHOUT_CAUSE, status=400), NOW + 20)
    assert state(one, SHIP) == "closed"


def test_a_failed_probe_moves_the_next_one_and_is_counted() -> None:
    one = keeper()
    one.observe(report(kind=CallKind.UNAUTHORIZED, status=401), NOW)
    for turn in range(1, 5):
        now = one.gates.state(account_gate("a")).next_at
        names = one.names_of("one", ships=True)
        assert one.gates.admits(names, now) is None
        one.gates.took(names)
        one.observe(report(kind=CallKind.UNAUTHORIZED, status=401), now)
        one.gates.left(names)
        assert one.gates.probes(account_gate("a")) == turn
        assert 8 <= one.gates.state(account_gate("a")).next_at - now <= 12


def test_calls_that_were_under_way_when_it_closed_are_no_probes() -> None:
    one = keeper()
    for _ in range(30):
        one.observe(report(kind=CallKind.UNAUTHORIZED, status=401), NOW)
    assert one.gates.probes(account_gate("a")) == 0


def test_paused_is_shut_and_opens_with_new_settings_only() -> None:
    one = keeper(stores={**TREE["stores"], "one": {"account": "a", "paused": True}})
    assert one.gates.admits(one.names_of("one", ships=True), NOW) == "store:one"
    assert one.gates.admits(one.names_of("two", ships=True), NOW) is None
    one.observe(report(), NOW)
    assert state(one, "store:one") == "shut"
    one.configure(Settings.model_validate(TREE))
    assert one.gates.admits(one.names_of("one", ships=True), NOW) is None


def test_a_run_of_bugs_shuts_everything_until_something_comes_through() -> None:
    one = keeper()
    assert not one.note_bugs(2, 3)
    assert one.note_bugs(3, 3)
    assert one.gates.admits(one.names_of("one", ships=True), NOW) == WORKER
    assert not one.note_bugs(4, 3)
    assert one.note_bugs(0, 3)
    assert one.gates.admits(one.names_of("one", ships=True), NOW) is None


@pytest.mark.parametrize("ours", ["too_late", "cancelled"])
@pytest.mark.parametrize("kind", [CallKind.NOT_SENT, CallKind.UNKNOWN])
def test_a_call_that_this_process_ended_is_no_failure_of_walmart(kind: CallKind, ours: str) -> None:
    """Its deadline had passed, or it was cancelled."""
    one = keeper()
    for number in range(9):
        one.observe(report(kind=kind, status=None, subject=f"order{number}", **{ours: True}), NOW)
    assert state(one, SHIP) == "open"


def test_an_account_has_gates_and_bounds_from_its_first_event_on() -> None:
    one = keeper(accounts={f"m{number}": TREE["accounts"]["a"] for number in range(5_000)},
                 stores={f"m{number}": {"account": f"m{number}"} for number in range(5_000)})  # fmt: skip
    assert not any(one.gates.is_bound(account_gate(f"m{number}")) for number in range(5_000))
    names = one.names_of("m7", ships=True)
    assert one.gates.is_bound(account_gate("m7"))
    assert not one.gates.is_bound(account_gate("m8"))
    for name in names:
        one.gates.rations.give(name, None)
    for _ in range(64):
        assert one.gates.admits(names, NOW) is None
        one.gates.took(names)
    assert one.gates.admits(names, NOW) == account_gate("m7")


def test_other_bounds_count_for_the_accounts_in_use() -> None:
    one = keeper()
    names = one.names_of("one", ships=True)[:2]
    one.configure(Settings.model_validate({**TREE, "limits": {"max_in_flight_events_per_account": 1}}))
    one.gates.took(names)
    assert one.gates.admits(names, NOW) == account_gate("a")


def test_events_wait_at_the_gate_while_their_account_has_no_token() -> None:
    one = keeper()
    names = one.names_of("one", ships=True)
    one.token_awaited("a", NOW)
    assert one.gates.admits(names, NOW + 1) == account_gate("a")
    one.token_settled("a")
    assert one.gates.admits(names, NOW + 1) is None


def test_a_token_that_is_never_heard_of_holds_an_account_for_a_minute_only() -> None:
    one = keeper()
    one.token_awaited("a", NOW)
    assert one.gates.admits((account_gate("a"),), NOW + 61) is None


@pytest.mark.parametrize("kind", [CallKind.UNAUTHORIZED, CallKind.THROTTLED])
def test_what_went_wrong_with_the_token_outlives_the_wait_for_it(kind: CallKind) -> None:
    one = keeper()
    one.token_awaited("a", NOW)
    one.token_settled("a")
    one.observe(report("token", kind, 400, retry_after_s=20.0), NOW)
    before = one.gates.state(account_gate("a"))
    assert before.state in ("closed", "slow")
    one.token_awaited("a", NOW + 1)
    one.token_settled("a")
    assert one.gates.state(account_gate("a")) == before


def test_a_probe_that_was_put_off_comes_later() -> None:
    """Else each event of a dead account would take a turn to hear that nothing was tried."""
    one = keeper()
    account = account_gate("a")
    one.observe(report("token", CallKind.UNAUTHORIZED, 400), NOW)
    due = one.gates.state(account).next_at
    assert one.gates.admits((account,), due) is None
    one.gates.took((account,))
    one.token_put_off("a", due)
    one.gates.left((account,))
    assert one.gates.admits((account,), due + 7.9) == account
    assert one.gates.admits((account,), due + 12.1) is None
    one.token_put_off("b", NOW)
    assert state(one, account_gate("b")) == "open"


# -- budgets


def test_calls_are_counted_where_they_leave_and_answers_tell_what_is_left() -> None:
    one = keeper()
    assert one.names_of("one", ships=True)[-1] == SHIP
    ticket = one.begun("a", "ship", "o1")
    one.observe(report(ticket=ticket, budget_left=0, replenish_at=NOW + 5), NOW)
    assert one.gates.why(SHIP, NOW) == "budget"
    assert one.gates.why(CANCEL, NOW) is None
    assert not one.may_call("a", "ship", "o2", NOW)
    assert one.may_call("a", "cancel", "o2", NOW)
    assert one.gates.why(SHIP, NOW + 30) is None


def test_a_call_that_was_not_answered_says_nothing_of_the_headers() -> None:
    """Cancelled, or lost: until an answer tells what is left, one call goes out at a time."""
    one = keeper()
    for kind, cancelled in ((CallKind.UNKNOWN, True), (CallKind.NOT_SENT, False)):
        ticket = one.begun("a", "ship", "o1")
        one.observe(report(kind=kind, status=None, ticket=ticket, cancelled=cancelled, subject="o1"), NOW)
        one.gates.took((SHIP,), "o2")
        assert one.gates.why(SHIP, NOW + 60) == "budget"
        one.gates.left((SHIP,), "o2")


def test_the_order_whose_turn_has_a_call_may_make_it() -> None:
    one = keeper()
    names = one.names_of("one", ships=True)
    one.gates.took(names, "o1")
    assert one.may_call("a", "ship", "o1", NOW)
    assert not one.may_call("a", "ship", "o2", NOW), "before the first answer one goes out at a time"


def test_an_event_held_by_the_budget_is_told_to_be_throttled() -> None:
    one = keeper()
    names = one.names_of("one", ships=True)
    one.observe(report(ticket=one.begun("a", "ship", "o1"), budget_left=0, replenish_at=NOW + 5), NOW)
    assert one.gates.admits(names, NOW) == SHIP
    assert one.gates.is_passable(names, NOW), "parked events of the account may come up"


def test_an_account_has_budgets_from_its_first_event_on_and_idle_ones_are_forgotten() -> None:
    one = keeper()
    assert not one.gates.rations.by_name()
    one.names_of("one", ships=True)
    assert set(one.gates.rations.by_name()) == {READ, SHIP}
    clock: Any = one._clock
    clock.time += 10_000
    one.forget_idle(active={"a"})
    assert len(one.gates.rations.by_name()) == 2
    one.forget_idle(active=())
    assert not one.gates.rations.by_name()
    one.names_of("one", ships=True)
    assert len(one.gates.rations.by_name()) == 2


def test_a_replica_takes_its_share() -> None:
    one = keeper()
    one.names_of("one", ships=True)
    one.set_share(0.25)
    one.names_of("one", ships=False)
    assert {budget.share for budget in one.gates.rations.by_name().values()} == {0.25}
    one.set_share(0.0)
    assert {budget.share for budget in one.gates.rations.by_name().values()} == {1.0}


def test_whoever_waits_for_a_budget_hears_of_a_larger_share() -> None:
    one = keeper()
    one.names_of("one", ships=True)
    one.set_share(0.01)
    heard: list[str] = []
    one.gates.listen(heard.append, every_turn=True)
    one.set_share(0.5)
    assert {READ, SHIP} <= set(heard)


def test_an_account_that_comes_back_begins_anew() -> None:
    """What was noted of the earlier one, and what its calls answer late, is not held against it."""
    one = keeper()
    one.names_of("one", ships=True)
    for number in range(SEVERAL - 1):
        one.observe(report(kind=CallKind.UNKNOWN, status=503, subject=f"order{number}"), NOW)
    ticket = one.begun("a", "ship", "old")
    one.configure(
        Settings.model_validate(
            {**TREE, "accounts": {"b": TREE["accounts"]["b"]}, "stores": {"three": {"account": "b"}}}
        )
    )
    one.configure(Settings.model_validate(TREE))
    one.begun("a", "ship", "new")
    one.observe(report(kind=CallKind.UNKNOWN, status=503, subject="old", ticket=ticket), NOW)
    assert state(one, SHIP) == "open"
    assert one.gates.why(SHIP, NOW) == "budget", "the new one's call still runs"


def test_other_rates_are_taken_over_and_budgets_of_removed_accounts_go() -> None:
    one = keeper()
    one.names_of("one", ships=True)
    accounts = {"a": {**TREE["accounts"]["a"], "ship_calls_per_minute": 120}}
    stores = {"one": {"account": "a"}}
    one.configure(Settings.model_validate({**TREE, "accounts": accounts, "stores": stores}))
    ship = one.gates.rations.get(SHIP)
    assert ship is not None
    assert ship.rate == 2.0
    accounts = {"b": TREE["accounts"]["b"]}
    one.configure(Settings.model_validate({**TREE, "accounts": accounts, "stores": {"three": {"account": "b"}}}))
    assert not one.gates.rations.by_name()


def test_the_token_is_counted_by_nobody() -> None:
    one = keeper()
    assert one.begun("a", "token", "") == 0
    assert not one.gates.rations.by_name()


def test_gates_and_budgets_of_removed_accounts_and_stores_are_forgotten() -> None:
    one = keeper()
    one.names_of("one", ships=True)
    one.names_of("three", ships=True)
    for name in (account_gate("a"), SHIP, account_gate("b"), call_gate("b", "ship")):
        one.gates.close(name, "credentials_rejected", NOW + 60, NOW)
    one.gates.shut("store:three", "paused")
    one.gates.shut(WORKER, "internal")
    one.configure(
        Settings.model_validate({**TREE, "accounts": {"a": TREE["accounts"]["a"]}, "stores": {"one": {"account": "a"}}})
    )
    assert {view.name for view in one.gates.views()} == {account_gate("a"), SHIP, WORKER}
    assert set(one.gates.rations.by_name()) == {READ, SHIP}


def test_whoever_waits_for_a_budget_hears_of_a_larger_one() -> None:
    one = keeper()
    one.names_of("one", ships=True)
    heard: list[str] = []
    one.gates.listen(heard.append, every_turn=True)
    accounts = {**TREE["accounts"], "a": {**TREE["accounts"]["a"], "ship_calls_per_minute": 600}}
    one.configure(Settings.model_validate({**TREE, "accounts": accounts}))
    assert one.gates.rations.by_name()[SHIP].rate == 10
    assert SHIP in heard


def test_what_a_removed_account_answers_late_closes_nothing() -> None:
    one = keeper(accounts={"b": TREE["accounts"]["b"]}, stores={"three": {"account": "b"}})
    one.observe(report(kind=CallKind.UNAUTHORIZED, status=401), NOW)
    assert one.gates.views() == []


def test_all_that_was_closed_for_an_account_is_probed_soon_and_nothing_else() -> None:
    one = keeper()
    for name in (account_gate("a"), SHIP, account_gate("b")):
        one.gates.close(name, "credentials_rejected", NOW + 60, NOW)
    one.gates.slow(CANCEL, NOW + 60, "throttled", NOW)
    one.probe_soon("a", NOW + 1)
    admitted = {
        name for name in (account_gate("a"), SHIP, CANCEL, account_gate("b")) if not one.gates.admits((name,), NOW + 1)
    }
    assert admitted == {account_gate("a"), SHIP}


def test_gates_of_an_event_are_told_anew_with_those_of_its_account_that_it_came_to_stand_behind() -> None:
    one = keeper()
    data = {"store": "one", "purchase_order_id": "PO", "shipment": "S"}
    delivery: Any = SimpleNamespace(event=data, envelope=SimpleNamespace(store="one", shipment="S"))
    names = one.names_of("one", ships=True)
    acknowledge = call_gate("a", "acknowledge")
    assert one.names_again(delivery, (*names, acknowledge)) == (*names, acknowledge)
    assert one.names_again(delivery, (WORKER, call_gate("b", "acknowledge"))) == names
    delivery.envelope.store = "gone"
    assert one.names_again(delivery, (*names, acknowledge)) == (WORKER,)
