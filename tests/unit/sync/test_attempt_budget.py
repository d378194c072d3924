"""An attempt asks for each call whether the account's budget has it left, and without budget loses nothing."""

from __future__ import annotations

import math
from typing import Any

import pytest
from sync_bench import NOW, A, Bench, Purse, cancelled, gone, iso, item, package, refused, shipped
from sync_model import PO, Walmart, line

from schemas.walmart.order import Order
from worker.delivery import Delivery, Event
from worker.outcome import Again, Outcome, Progress, Trouble, Verdict
from worker.sync import inventory
from worker.sync.calls import Call
from worker.walmart.answer import CallError, CallKind


def one(quantity: int = 1, number: str = A) -> Any:
    return shipped(package(number, item("1", quantity)))


def budget_again(outcome: Outcome, call: str) -> None:
    assert isinstance(outcome, Again), outcome
    assert (outcome.trouble, outcome.failure.code, outcome.call) == (Trouble.BUDGET, "throttled", call)
    assert call in outcome.failure.message
    assert outcome.after_s is None


async def test_every_call_is_asked_for_in_the_name_of_its_account_and_order() -> None:
    purse = Purse()
    bench = Bench(Walmart({"1": line(ordered=2, created=True), "2": line("B")}), budgets=purse)
    await bench.settle(shipped(package(A, item("1"))))
    await bench.next_event(
        cancelled(
            gone("2", 1),
            reason={"code": "SELLER_CANCEL_PRICING_ERROR"},
            inventory=[{"sku": "B", "quantity": 3, "as_of": iso(NOW - 30)}],
        )
    )
    assert {asked[::2] for asked in purse.asked} == {("main", PO)}
    told = {
        "get": "get_order",
        "acknowledge": "acknowledge",
        "shipping": "ship",
        "cancel": "cancel",
        "inventory": "put_inventory",
    }
    assert [asked[1] for asked in purse.asked] == [told[call] for call in bench.api.calls]


@pytest.mark.parametrize(
    ("left", "call", "calls"),
    [
        ({"get_order": 0}, "get_order", []),
        ({"acknowledge": 0}, "acknowledge", ["get"]),
        ({"ship": 0}, "ship", ["get", "acknowledge"]),
    ],
)
async def test_without_budget_a_call_is_not_made_and_the_attempt_ends_without_a_failed_try(
    left: dict[str, int], call: str, calls: list[str]
) -> None:
    bench = Bench(Walmart({"1": line(ordered=2, created=True)}), budgets=Purse(**left))
    budget_again(await bench.attempt(one()), call)
    assert bench.api.calls == calls
    assert (bench.progress.waits, bench.progress.unsettled) == (0, None)
    bench.restarted()
    assert (await bench.settle(one())).effect == "applied"


async def test_a_cancellation_waits_for_the_budget_of_cancellations() -> None:
    bench = Bench(Walmart({"1": line()}), budgets=Purse(cancel=0))
    budget_again(await bench.attempt(cancelled(gone("1", 1))), "cancel")
    assert bench.api.calls == ["get"]


class CountingFence:
    believe_from = 0.0
    owned_until = math.inf

    def __init__(self) -> None:
        self.intents = 0

    async def intend(self, event: Event, call: Call, deadline: float, delivery: Delivery | None) -> bool:
        self.intents += 1
        return True


async def test_the_budget_is_asked_before_an_intent_is_left_and_nothing_is_noted_as_sent() -> None:
    fence = CountingFence()
    bench = Bench(Walmart({"1": line(ordered=3)}), budgets=Purse(ship=0), fence=fence)
    budget_again(await bench.attempt(one()), "ship")
    assert (fence.intents, bench.progress.unsettled, bench.api.calls) == (0, None, ["get"])


async def test_an_unknown_outcome_without_budget_for_its_read_stays_in_doubt() -> None:
    """The read-back is left out; the next try settles it by reading, and nothing is sent twice."""
    purse = Purse(get_order=1)
    bench = Bench(Walmart({"1": line(ordered=3)}), budgets=purse)
    bench.api.faults = {"shipping": ["lost"]}
    outcome = await bench.attempt(one())
    assert isinstance(outcome, Again)
    assert outcome.trouble is Trouble.UNKNOWN
    assert bench.progress.unsettled is not None
    budget_again(await bench.attempt(one()), "get_order")
    assert bench.progress.unsettled is not None
    purse.left = {}
    assert (await bench.settle(one())).effect == "applied"
    assert bench.walmart.charged() == {("1", A): 1}


async def test_a_doubt_is_not_put_aside_where_the_second_read_has_no_budget() -> None:
    purse = Purse()
    bench = Bench(Walmart({"1": line(ordered=3)}), budgets=purse)
    bench.api.faults = {"shipping": ["dropped"]}
    await bench.attempt(one())
    bench.clock.time += 60
    purse.left = {"get_order": 1}
    budget_again(await bench.attempt(one()), "get_order")
    assert bench.progress.unsettled is not None
    assert bench.api.calls.count("shipping") == 1
    purse.left = {}
    assert (await bench.settle(one())).effect == "applied"
    assert bench.walmart.charged() == {("1", A): 1}


class Frugal(Purse):
    """One call of a kind in each turn, as a turn reserves it; never two."""

    def turn(self) -> None:
        self.left = {"get_order": 1, "acknowledge": 1, "ship": 1}


async def test_a_budget_of_one_read_a_turn_is_enough_to_settle_a_doubt() -> None:
    """The second of two reads may be the next turn's: otherwise each turn would spend its read on the first."""
    purse = Frugal()
    bench = Bench(Walmart({"1": line(ordered=3)}), budgets=purse)
    bench.api.faults = {"shipping": ["dropped"]}
    await bench.attempt(one())
    bench.clock.time += 60
    purse.turn()
    budget_again(await bench.attempt(one()), "get_order")
    bench.clock.time += 1
    purse.turn()
    outcome = await bench.attempt(one())
    assert isinstance(outcome, Verdict)
    assert outcome.effect == "applied"
    assert bench.walmart.charged() == {("1", A): 1}
    assert bench.progress.looked is None


async def test_a_budget_of_one_read_a_turn_is_enough_after_a_found_intent() -> None:
    purse = Frugal()
    bench = Bench(Walmart({"1": line(ordered=3)}), budgets=purse)
    bench.progress.hold_until, bench.progress.read_twice = NOW - 1, True
    purse.turn()
    budget_again(await bench.attempt(one()), "get_order")
    assert bench.progress.read_twice
    bench.clock.time += 1
    purse.turn()
    assert isinstance(await bench.attempt(one()), Verdict)
    assert bench.walmart.charged() == {("1", A): 1}


async def test_a_first_read_that_was_too_early_by_now_counts_for_nothing() -> None:
    """Another intent was found meanwhile: what was read before may be old."""
    purse = Frugal()
    bench = Bench(Walmart({"1": line(ordered=3)}), budgets=purse)
    bench.progress.hold_until, bench.progress.read_twice = NOW - 1, True
    purse.turn()
    budget_again(await bench.attempt(one()), "get_order")
    bench.progress.hold_until = NOW + 5
    bench.clock.time += 10
    purse.turn()
    budget_again(await bench.attempt(one()), "get_order")
    assert bench.api.calls.count("shipping") == 0
    bench.clock.time += 1
    purse.turn()
    assert isinstance(await bench.attempt(one()), Verdict)


async def test_what_walmart_refused_is_read_when_there_is_budget_again() -> None:
    purse = Purse(get_order=1)
    bench = Bench(Walmart({"1": line(ordered=2)}), budgets=purse)
    bench.api.faults = {"shipping": [refused("Qty OverShipped")]}
    budget_again(await bench.attempt(one(2)), "get_order")
    assert bench.progress.unsettled is None
    purse.left = {}
    end = await bench.settle(one(2))
    assert end.failure is not None
    assert (end.effect, end.failure.code) == ("none", "walmart_refused"), "as if it had been read at once"
    assert bench.api.calls.count("shipping") == 1


# -- one read a try: each must bring the event further


async def one_read_a_try(bench: Bench, purse: Purse, event: Any, tries: int = 40) -> Verdict:
    """As where every turn has one read reserved and others take whatever is left."""
    for _ in range(tries):
        purse.left = {"get_order": 1}
        outcome = await bench.attempt(event)
        if isinstance(outcome, Verdict):
            return outcome
        bench.clock.time += outcome.after_s if outcome.after_s is not None else 1.0
    raise AssertionError(f"it never ends: {outcome}")


@pytest.mark.parametrize("ordered", [1, 3], ids=["closes its line", "leaves units open"])
async def test_a_lost_call_is_read_for_twice_in_two_tries(ordered: int) -> None:
    purse = Purse()
    bench = Bench(Walmart({"1": line(ordered=ordered)}), budgets=purse)
    bench.api.faults = {"shipping": ["dropped"]}
    end = await one_read_a_try(bench, purse, one())
    assert end.effect == "applied"
    assert bench.api.calls.count("shipping") == 2
    assert bench.walmart.charged() == {("1", A): 1}


async def test_what_the_second_tries_read_shows_is_not_sent_again() -> None:
    purse = Purse()
    bench = Bench(Walmart({"1": line(ordered=3)}), lag=29, budgets=purse)
    bench.api.faults = {"shipping": ["lost"]}
    end = await one_read_a_try(bench, purse, one())
    assert end.effect == "applied"
    assert bench.api.calls.count("shipping") == 1


async def test_after_a_found_intent_it_is_read_twice_in_two_tries() -> None:
    purse = Purse()
    bench = Bench(Walmart({"1": line(ordered=3)}), budgets=purse)
    bench.progress = Progress(hold_until=NOW + 5, read_twice=True)
    end = await one_read_a_try(bench, purse, one())
    assert end.effect == "applied"
    assert not bench.progress.read_twice


async def test_a_first_read_for_another_call_in_doubt_counts_only_from_when_old_reads_do() -> None:
    """A call that closes its line is read for at any time; what an earlier owner sent is shown from `hold_until` on."""
    purse = Purse()
    walmart = Walmart({"1": line(), "2": line("B", 3)})
    bench = Bench(walmart, budgets=purse)
    bench.progress = Progress(hold_until=NOW + 5, read_twice=True, one_by_one=1)
    event = shipped(package(A, item("1")), package("PKG3", item("2")))
    untouched = walmart.order()
    bench.api.faults = {"shipping": ["lost"]}

    async def reads(order: Order, at: float) -> Outcome:
        bench.api.history = [(float("-inf"), order)]
        bench.clock.time, purse.left = at, {"get_order": 1}
        return await bench.attempt(event)

    assert isinstance(await reads(untouched, NOW), Again)
    closed = walmart.order()
    walmart.lines["2"].acknowledged -= 1
    walmart.lines["2"].parcels["PKG3"] = 1  # the earlier owner's call
    budget_again(await reads(untouched, NOW + 1), "get_order")
    assert bench.progress.looked is not None
    budget_again(await reads(closed, NOW + 6), "get_order")
    outcome = await reads(walmart.order(), NOW + 7)
    assert isinstance(outcome, Verdict)
    assert (outcome.effect, bench.api.calls.count("shipping")) == ("applied", 1)
    assert walmart.lines["2"].parcels == {"PKG3": 1}


@pytest.mark.parametrize("shown_by", ["the first", "the second"])
async def test_what_either_of_the_two_reads_shows_is_not_sent_again(shown_by: str) -> None:
    """Reads may come from copies of different age."""
    purse = Purse()
    walmart = Walmart({"1": line(ordered=3)})
    bench = Bench(walmart, budgets=purse)
    old = walmart.order()
    walmart.lines["1"].acknowledged -= 1
    walmart.lines["1"].parcels[A] = 1
    new = walmart.order()
    bench.progress = Progress(read_twice=True)
    for order in (new, old) if shown_by == "the first" else (old, new):
        bench.api.history = [(float("-inf"), order)]
        bench.clock.time += 1
        purse.left = {"get_order": 1}
        outcome = await bench.attempt(shipped(package(A, item("1")), package("PKG3", item("1"))))
    assert isinstance(outcome, Verdict)
    assert walmart.charged() == {("1", "PKG3"): 1}


async def test_a_refused_call_is_not_sent_again_only_because_the_order_could_not_be_read() -> None:
    purse = Purse()
    bench = Bench(Walmart({"1": line(), "2": line("B")}), budgets=purse)
    bench.api.faults = {"shipping": [refused("carrier?", "carrierName")] * 9}
    end = await one_read_a_try(bench, purse, shipped(package(A, item("1")), package("PKG3", item("2"))))
    assert end.failure is not None
    assert end.failure.code == "walmart_refused"
    assert bench.api.calls.count("shipping") == 3, "both together, then each alone"


async def test_each_refusal_without_a_cause_counts_once() -> None:
    purse = Purse()
    bench = Bench(Walmart({"1": line()}), budgets=purse)
    bare = CallError(CallKind.REFUSED_WITHOUT_CAUSE, "Invalid Request", 400)
    bench.api.faults = {"shipping": [bare] * 9}
    for _ in range(40):
        purse.left = {"get_order": 1}
        outcome = await bench.attempt(one())
        if isinstance(outcome, Verdict):
            break
        if outcome.trouble is Trouble.BUDGET:
            bench.progress.failed_tries -= 1
    assert isinstance(outcome, Verdict)
    assert outcome.failure is not None
    assert outcome.failure.code == "walmart_refused_without_cause"
    assert bench.api.calls.count("shipping") == 5


async def test_a_refusal_is_forgotten_where_the_order_now_asks_for_something_else() -> None:
    purse = Purse(get_order=1)
    bench = Bench(Walmart({"1": line(ordered=2)}), budgets=purse)
    bench.api.faults = {"shipping": [refused("Qty OverShipped")]}
    budget_again(await bench.attempt(one(2)), "get_order")
    bench.walmart.lines["1"].acknowledged -= 1
    bench.walmart.lines["1"].parcels["FOREIGN"] = 1
    bench.api.changed()
    end = await one_read_a_try(bench, purse, one(2))
    assert end.effect == "partly_applied"
    assert bench.walmart.charged() == {("1", A): 1}


async def test_tries_without_budget_do_not_use_up_the_tries_of_a_refusal_without_a_cause() -> None:
    bare = CallError(CallKind.REFUSED_WITHOUT_CAUSE, "Invalid Request", 400)
    purse = Purse(get_order=0)
    bench = Bench(Walmart({"1": line()}), budgets=purse)
    for _ in range(20):
        budget_again(await bench.attempt(one()), "get_order")
        bench.progress.failed_tries -= 1  # as the handling counts: it was no failed try
    purse.left = {}
    bench.api.faults = {"shipping": [bare] * 4}
    assert (await bench.settle(one())).effect == "applied"


# -- inventory


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "QUICK_WAIT_S", 0.0)


def emptied() -> Any:
    level = {"sku": "A", "quantity": 12, "as_of": iso(NOW - 30)}
    return cancelled(gone("1", 1), reason={"code": "SELLER_CANCEL_PRICING_ERROR"}, inventory=[level])


class Refilled(Purse):
    """Has an inventory call left from the so-manieth time on that it is asked."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def may_call(self, account: str, call: str, order: str, now: float) -> bool:
        super().may_call(account, call, order, now)
        return call != "put_inventory" or sum(asked[1] == call for asked in self.asked) > self.after


@pytest.mark.usefixtures("quick")
async def test_inventory_waits_a_moment_for_its_budget() -> None:
    bench = Bench(Walmart({"1": line()}), budgets=Refilled(3))
    end = await bench.settle(emptied())
    assert [each.state for each in end.inventory] == ["updated"]


@pytest.mark.usefixtures("quick")
async def test_inventory_without_budget_fails_and_the_cancellation_stands() -> None:
    bench = Bench(Walmart({"1": line()}), budgets=Purse(put_inventory=0))
    end = await bench.settle(emptied())
    assert isinstance(end, Verdict)
    assert (end.status, end.effect) == ("succeeded", "applied")
    assert [each.state for each in end.inventory] == ["failed"]
    assert (end.inventory[0].reason or "").startswith("throttled")
    assert "inventory" not in bench.api.calls
