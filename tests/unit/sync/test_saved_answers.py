"""Calls saved: an order's next event is planned from the answer to our own latest write, while that may be believed."""

from __future__ import annotations

import math
from typing import Any

import pytest
from sync_bench import (
    NOW,
    A,
    B,
    Bench,
    C,
    Purse,
    cancelled,
    gone,
    item,
    package,
    refused,
    settings,
    shipped,
    warned,
)
from sync_model import PO, Walmart, line

from schemas.walmart.order import Order
from worker.delivery import Delivery, Event
from worker.outcome import Again, ConfirmedUnits, Progress, Trouble, Unsettled, Verdict
from worker.sync.calls import Call
from worker.sync.doors import Clear, GuardAnswer
from worker.sync.saved import SavedAnswers
from worker.walmart.answer import CallError, CallKind


def box(number: str, where: str = "1", quantity: int = 1, total: int | None = None, **more: Any) -> Any:
    return shipped(package(number, item(where, quantity, total), **more))


def three_lines(**more: Any) -> Walmart:
    return Walmart({"1": line(ordered=3), "2": line("B", 2), "3": line("C")}, **more)


async def calls_of(bench: Bench, event: Any) -> tuple[Verdict, list[str]]:
    """The verdict on the order's next event, and the calls it took."""
    before = len(bench.api.calls)
    verdict = await bench.next_event(event)
    assert bench.progress.calls == len(bench.api.calls) - before
    return verdict, bench.api.calls[before:]


# -- what is saved


async def test_a_plain_shipment_takes_two_calls_and_the_next_events_of_its_order_one_each() -> None:
    bench = Bench(three_lines())
    assert (await calls_of(bench, box(A)))[1] == ["get", "shipping"]
    for event in (box(B, "1"), box(C, "2"), cancelled(gone("2", 1, 1)), box("LAST4", "3")):
        verdict, calls = await calls_of(bench, event)
        assert (verdict.status, verdict.effect, len(calls)) == ("succeeded", "applied", 1)
    assert bench.api.calls.count("get") == 1
    assert bench.walmart.charged() == {("1", A): 1, ("1", B): 1, ("2", C): 1, ("3", "LAST4"): 1}


async def test_a_repeat_of_what_was_just_answered_takes_no_call() -> None:
    bench = Bench(three_lines())
    await bench.settle(box(A))
    verdict, calls = await calls_of(bench, box(A))
    assert (verdict.effect, verdict.walmart_status, calls) == ("already_applied", "partially_shipped", [])
    assert warned(verdict) == {"same_tracking_open_quantity"}
    assert any("not read" in what for _, what in bench.progress.story.steps())


async def test_after_its_time_the_order_is_read() -> None:
    bench = Bench(three_lines())
    await bench.settle(box(A))
    bench.clock.time += 30
    assert (await calls_of(bench, box(B)))[1] == ["shipping"]
    bench.clock.time += 30.1
    assert (await calls_of(bench, box(C, "2")))[1] == ["get", "shipping"]


async def test_how_old_an_answer_is_counts_from_when_its_call_began() -> None:
    bench = Bench(three_lines())

    def takes_ten_seconds(path: str) -> None:
        bench.clock.time += 10

    bench.api.before_write = takes_ten_seconds
    await bench.settle(box(A))
    bench.api.before_write = None
    bench.clock.time += 21
    assert (await calls_of(bench, box(B)))[1] == ["get", "shipping"]


async def test_a_reading_back_that_shows_the_write_is_saved_as_of_when_the_write_began() -> None:
    bench = Bench(three_lines())
    bench.api.faults = {"shipping": ["lost"]}
    assert (await calls_of(bench, box(A)))[1] == ["get", "shipping", "get"]
    assert (await calls_of(bench, box(B)))[1] == ["shipping"]
    bench.api.faults = {"shipping": ["lost"]}
    bench.api.read_seconds = 20
    await calls_of(bench, box(C, "2"))
    bench.clock.time += 11
    assert (await calls_of(bench, box("LAST4", "3")))[1] == ["get", "shipping"]


async def test_an_acknowledgement_is_saved_for_the_shipment_that_had_no_budget() -> None:
    purse = Purse(ship=0)
    bench = Bench(Walmart({"1": line(ordered=2, created=True)}), budgets=purse)
    outcome = await bench.attempt(box(A))
    assert isinstance(outcome, Again)
    assert outcome.trouble is Trouble.BUDGET
    purse.left = {}
    await bench.settle(box(A))
    assert bench.api.calls == ["get", "acknowledge", "shipping"]


async def test_an_acknowledgement_that_still_shows_created_units_is_not_saved() -> None:
    purse = Purse(ship=0)
    bench = Bench(Walmart({"1": line(ordered=2, created=True)}), budgets=purse)
    bench.api.faults = {"acknowledge": ["late"]}
    assert isinstance(await bench.attempt(box(A)), Again)
    purse.left = {}
    await bench.settle(box(A))
    assert bench.api.calls[:3] == ["get", "acknowledge", "get"]


async def test_what_was_only_read_is_not_saved() -> None:
    """It may have lagged when it was read: its age is not known."""
    bench = Bench(Walmart({"1": line(ordered=2, A=1), "2": line("B", 1, A=1)}))
    assert (await calls_of(bench, box("A")))[1] == ["get"]
    assert (await calls_of(bench, box("A", "2")))[1] == ["get"]


async def test_with_no_time_to_be_fresh_every_event_reads() -> None:
    bench = Bench(three_lines(), tree=settings(order_fresh_seconds=0))
    for number in (A, B):
        assert (await calls_of(bench, box(number)))[1] == ["get", "shipping"]


async def test_what_is_saved_belongs_to_one_account_and_order() -> None:
    saved = SavedAnswers(30)
    order = three_lines().order()
    saved.keep("main", order, NOW)
    assert saved.fresh("main", PO, NOW) == (order, NOW)
    assert saved.fresh("other", PO, NOW) is None
    assert saved.fresh("main", "another", NOW) is None


def test_the_least_recent_answers_and_old_ones_make_room() -> None:
    saved = SavedAnswers(30, capacity=3)
    for index in range(5):
        saved.keep("main", Order(str(index), (), 0), NOW + index)
    assert [index for index in range(5) if saved.fresh("main", str(index), NOW + 5)] == [2, 3, 4]
    saved.keep("main", Order("5", (), 0), NOW + 40)
    assert len(saved) == 1


def test_an_answer_from_the_future_is_not_believed() -> None:
    """The clock was set back: nobody knows how old it is."""
    saved = SavedAnswers(30)
    saved.keep("main", three_lines().order(), NOW)
    assert saved.fresh("main", PO, NOW - 1) is None


# -- what drops it


@pytest.mark.parametrize(
    "fault",
    [
        refused("Qty OverShipped"),
        CallError(CallKind.REFUSED_WITHOUT_CAUSE, "Invalid Request", 400),
        CallError(CallKind.REFUSED, "locked", 423, locked=True),
        CallError(CallKind.REFUSED, "not found", 404, not_found=True),
        CallError(CallKind.UNKNOWN, "timed out"),
        "dropped",
    ],
)
async def test_after_a_refusal_or_an_unknown_outcome_the_order_is_read(fault: Any) -> None:
    bench = Bench(three_lines())
    await bench.settle(box(A))
    bench.progress = Progress()
    bench.api.faults = {"shipping": [fault], "get": [CallError(CallKind.NOT_SENT, "no connection")]}
    outcome = await bench.attempt(box(B))
    assert isinstance(outcome, Again)
    before = len(bench.api.calls)
    bench.progress = Progress()
    await bench.attempt(box(C, "2"))
    assert bench.api.calls[before] == "get"


async def test_when_partitions_are_given_back_everything_is_forgotten() -> None:
    bench = Bench(three_lines())
    await bench.settle(box(A))
    bench.sync.forget_answers()
    assert (await calls_of(bench, box(B)))[1] == ["get", "shipping"]


async def test_new_settings_forget_everything() -> None:
    """An account's name may belong to another seller from now on."""
    bench = Bench(three_lines())
    await bench.settle(box(A))
    bench.sync.configure({"main": bench.api}, settings(order_fresh_seconds=5))
    assert (await calls_of(bench, box(B)))[1] == ["get", "shipping"]
    bench.clock.time += 6
    assert (await calls_of(bench, box(C, "2")))[1] == ["get", "shipping"]


async def test_what_is_answered_after_new_settings_is_not_kept_for_them() -> None:
    """The call went to whoever the account's name belonged to before."""
    bench = Bench(three_lines())

    def configures(path: str) -> None:
        bench.sync.configure({"main": bench.api}, settings())

    bench.api.before_write = configures
    assert (await calls_of(bench, box(A)))[1] == ["get", "shipping"]
    bench.api.before_write = None
    assert (await calls_of(bench, box(B)))[1] == ["get", "shipping"]


async def test_a_write_that_never_came_back_leaves_nothing_saved() -> None:
    bench = Bench(three_lines())
    await bench.settle(box(A))

    def breaks(path: str) -> None:
        raise RuntimeError(path)

    bench.api.before_write = breaks
    with pytest.raises(RuntimeError):
        await bench.next_event(box(B))
    bench.api.before_write = None
    assert (await calls_of(bench, box(C, "2")))[1] == ["get", "shipping"]


# -- when it is not believed


@pytest.mark.parametrize(
    "progress",
    [
        Progress(unsettled=Unsettled((), NOW, leaves_open=False)),
        Progress(doubted=(ConfirmedUnits("2", 1, C),)),
        Progress(hold_until=NOW - 1),
        Progress(read_twice=True),
    ],
    ids=["unsettled", "doubted", "held", "read twice"],
)
async def test_an_event_that_may_have_sent_something_reads(progress: Progress) -> None:
    bench = Bench(three_lines())
    await bench.settle(box(A))
    bench.api.calls.clear()
    bench.progress = progress
    await bench.attempt(box(B))
    assert bench.api.calls[0] == "get"


class Clears:
    async def look(self, event: Event, delivery: Delivery | None) -> GuardAnswer:
        return Clear()


async def test_a_cancel_without_items_reads_what_is_open() -> None:
    bench = Bench(three_lines(), guard=Clears())
    await bench.settle(box(A))
    assert (await calls_of(bench, cancelled()))[1] == ["get", "cancel"]


async def test_observe_mode_reads() -> None:
    bench = Bench(three_lines())
    await bench.settle(box(A))
    tree = settings({"observe": True})
    bench.sync._rules["main_store"] = Bench(three_lines(), tree=tree).sync._rules["main_store"]
    verdict, calls = await calls_of(bench, box(B))
    assert (verdict.observed, calls) == (True, ["get"])


class Fences:
    def __init__(self, believe_from: float = 0.0, owned_until: float = math.inf) -> None:
        self.believe_from, self.owned_until = believe_from, owned_until

    async def intend(self, event: Event, call: Call, deadline: float, delivery: Delivery | None) -> bool:
        return True


async def test_while_an_earlier_owners_calls_may_still_come_every_event_reads() -> None:
    fence = Fences(believe_from=NOW + 20)
    bench = Bench(three_lines(), fence=fence)
    await bench.settle(box(A))
    bench.clock.time = NOW + 19
    assert (await calls_of(bench, box(B)))[1] == ["get", "shipping"]
    bench.clock.time = NOW + 21
    assert (await calls_of(bench, box(C, "2")))[1] == ["get", "shipping"], "the answer is older than that time"
    assert (await calls_of(bench, box("LAST4", "3")))[1] == ["shipping"]


async def test_one_that_was_stalled_reads() -> None:
    fence = Fences()
    bench = Bench(three_lines(), fence=fence)
    await bench.settle(box(A))
    fence.owned_until = bench.clock.time
    assert (await calls_of(bench, box(A)))[1] == ["get"]


# -- what somebody else has changed


def foreign_ship(bench: Bench, number: str, units: int, tracking: str) -> None:
    each = bench.walmart.lines[number]
    each.acknowledged -= units
    each.parcels[tracking] = each.parcels.get(tracking, 0) + units
    bench.api.changed()


async def test_a_write_that_walmart_refuses_is_planned_again_from_a_read() -> None:
    bench = Bench(three_lines())
    await bench.settle(box(A))
    foreign_ship(bench, "2", 1, "FOREIGN")
    verdict, calls = await calls_of(bench, box(B, "2", 2))
    assert calls == ["shipping", "get", "shipping"]
    assert verdict.failure is not None
    assert (verdict.effect, verdict.failure.code) == ("partly_applied", "shipped_otherwise")
    assert bench.walmart.lines["2"].parcels == {"FOREIGN": 1, B: 1}


async def test_what_somebody_else_has_shipped_already_under_our_number_is_no_failure() -> None:
    bench = Bench(three_lines())
    await bench.settle(box(A))
    foreign_ship(bench, "3", 1, C)
    verdict, calls = await calls_of(bench, box(C, "3"))
    assert calls == ["shipping", "get"]
    assert verdict.status == "succeeded"


async def test_a_failure_is_never_told_from_memory() -> None:
    """The saved answer shows too few open units; somebody has corrected a number meanwhile: as the event says."""
    bench = Bench(Walmart({"1": line(), "2": line("B")}))
    await bench.settle(box(A))
    parcels = bench.walmart.lines["1"].parcels
    parcels[B] = parcels.pop(A)
    bench.api.changed()
    bench.sync._room.orders.keep_seconds = 0
    bench.sync._room.orders._orders.clear()
    verdict, calls = await calls_of(bench, box(B))
    assert calls == ["get"]
    assert (verdict.status, verdict.effect) == ("succeeded", "already_applied")


async def test_a_conflict_that_the_read_shows_too_is_final() -> None:
    bench = Bench(Walmart({"1": line(), "2": line("B")}))
    await bench.settle(box(A))
    verdict, calls = await calls_of(bench, box(B))
    assert calls == ["get"]
    assert verdict.failure is not None
    assert verdict.failure.code == "shipped_otherwise"


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (box(B, "9"), "line_not_found"),
        (box(B, "2", carrier={"title": "Speedy"}), "carrier_unmapped"),
        (cancelled(gone("1", 3, 0)), "cancel_after_ship"),
    ],
)
async def test_every_failure_costs_a_read(event: Any, code: str) -> None:
    bench = Bench(Walmart({"1": line(ordered=3), "2": line("B")}))
    await bench.settle(box(A, "1", 3))
    verdict, calls = await calls_of(bench, event)
    assert verdict.failure is not None
    assert (verdict.failure.code, calls) == (code, ["get"])


async def test_a_cancel_that_waits_for_shipments_looks_at_the_order() -> None:
    bench = Bench(Walmart({"1": line(ordered=3)}, partial_cancels=False))
    await bench.settle(box(A))
    cancel = cancelled(gone("1", 1, 2))
    bench.progress = waiting = Progress()
    outcome = await bench.attempt(cancel)
    assert isinstance(outcome, Again)
    assert outcome.trouble is Trouble.SHIPMENTS
    assert bench.api.calls == ["get", "shipping", "cancel", "get"]
    await calls_of(bench, box(B))
    bench.progress = waiting
    before = len(bench.api.calls)
    verdict = await bench.attempt(cancel)
    assert isinstance(verdict, Verdict)
    assert verdict.effect == "applied"
    assert bench.api.calls[before:] == ["cancel"]


async def test_warnings_of_a_plan_that_was_not_believed_are_not_told() -> None:
    bench = Bench(Walmart({"1": line(ordered=4)}))
    await bench.settle(box(A))
    foreign_ship(bench, "1", 2, "FOREIGN")
    bench.sync._room.orders._orders.clear()
    end, calls = await calls_of(bench, shipped(package(A, item("1")), package("Z1", item("9"))))
    assert calls == ["get"]
    assert end.status == "failed"
    assert [w.message for w in end.warnings if w.code == "same_tracking_open_quantity"] == [
        f"line 1: all of 1 unit(s) are shown under {A}, 1 still open"
    ]


async def test_what_was_seen_is_still_laid_over_older_reads() -> None:
    """The saved answer is gone; a read that lags must not take back what it showed."""
    bench = Bench(three_lines(), lag=29)
    await bench.settle(box(A))
    bench.sync.forget_answers()
    verdict, calls = await calls_of(bench, box(A))
    assert (verdict.effect, calls) == ("already_applied", ["get"])
