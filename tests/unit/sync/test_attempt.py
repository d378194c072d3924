"""Attempts at an event: what is sent when calls fail, answers get lost and reads lag."""

from __future__ import annotations

import math
from typing import Any

import pytest
from sync_bench import (
    NOW,
    A,
    B,
    Bench,
    cancelled,
    event_of,
    gone,
    item,
    package,
    refused,
    settings,
    shipped,
    warned,
)
from sync_model import RefusedError, Walmart, line

from schemas.events import OrderCancelled
from worker.delivery import Delivery, Event
from worker.errors import WalmartError
from worker.outcome import Again, ConfirmedUnits, Outcome, Progress, Trouble, Unsettled, Verdict
from worker.sync.calls import Call
from worker.sync.doors import MemoryCorrections
from worker.walmart.answer import CallError, CallKind

TIMED_OUT = CallError(CallKind.UNKNOWN, "timed out")
BARE = CallError(
    CallKind.REFUSED_WITHOUT_CAUSE,
    "Invalid Request",
    400,
    (WalmartError("INVALID_REQUEST", "data", "Invalid Request"),),
)


def one(quantity: int = 1, number: str = A, total: int | None = None) -> Any:
    return shipped(package(number, item("1", quantity, total)))


def verdict(outcome: Outcome) -> Verdict:
    assert isinstance(outcome, Verdict), outcome
    return outcome


def again(outcome: Outcome) -> Again:
    assert isinstance(outcome, Again), outcome
    return outcome


async def test_a_shipment_is_applied_and_told_per_line() -> None:
    bench = Bench(Walmart({"1": line(ordered=2, created=True), "2": line("B")}))
    end = verdict(await bench.attempt(shipped(package(A, item("1")), package(B, item("1"), item("sku:B")))))
    assert (end.status, end.effect, end.operation, end.walmart_status) == ("succeeded", "applied", "ship", "shipped")
    assert {(each.line_number, each.sku, each.tracking_number, each.quantity, each.state) for each in end.lines} == {
        ("1", "A", A, 1, "confirmed"),
        ("1", "A", B, 1, "confirmed"),
        ("2", "B", B, 1, "confirmed"),
    }
    assert bench.api.calls == ["get", "acknowledge", "shipping"]
    assert bench.progress.calls == 3


async def test_a_redelivered_event_is_already_applied_with_one_read() -> None:
    bench = Bench(Walmart({"1": line()}))
    await bench.settle(one())
    bench.clock.time += 31
    bench.api.calls.clear()
    end = await bench.next_event(one())
    assert (end.status, end.effect) == ("succeeded", "already_applied")
    assert bench.api.calls == ["get"]


async def test_a_partly_impossible_event_fails_partly_applied_and_tells_what_was_confirmed() -> None:
    bench = Bench(Walmart({"1": line(), "2": line("B", 1, Z=1)}))
    end = await bench.settle(shipped(package(A, item("1"), item("2"), item("9"))))
    assert (end.status, end.effect) == ("failed", "partly_applied")
    assert end.failure is not None
    assert end.failure.code == "shipped_otherwise"
    assert "line 9" in end.failure.message
    assert "line 2" in end.failure.message
    assert end.confirmed == (ConfirmedUnits("1", 1, A),)


async def test_a_failure_that_changed_nothing_has_effect_none() -> None:
    end = await Bench(Walmart({"1": line(ordered=1, Z=1)})).settle(one())
    assert (end.status, end.effect, end.walmart_status) == ("failed", "none", "shipped")


async def test_lines_tell_this_events_units_also_where_the_total_takes_earlier_ones_along() -> None:
    """The earlier event's two units go in the same call; a repeat speaks of its own one only."""
    bench = Bench(Walmart({"1": line(ordered=3)}))
    first = await bench.settle(one(1, A, 3))
    assert [(each.quantity, each.state) for each in first.lines] == [(3, "confirmed")]
    again_told = await bench.next_event(one(1, A, 3))
    assert [(each.quantity, each.state) for each in again_told.lines] == [(1, "confirmed")]


async def test_an_unknown_store_needs_no_call() -> None:
    bench = Bench(Walmart({"1": line()}))
    end = await bench.settle(one().model_copy(update={"store": "other"}))
    assert end.failure is not None
    assert end.failure.code == "store_unknown"
    assert bench.api.calls == []


# -- outcomes that are not known


async def test_a_lost_answer_is_settled_by_reading_in_the_same_attempt() -> None:
    bench = Bench(Walmart({"1": line(ordered=3)}))
    bench.api.faults = {"shipping": ["lost"]}
    end = verdict(await bench.attempt(one()))
    assert end.effect == "applied"
    assert bench.walmart.charged() == {("1", A): 1}


async def test_a_lost_answer_under_lagging_reads_never_ships_twice() -> None:
    """The read shows the old state for 29 s, and a repeat would be taken: two more units are open."""
    bench = Bench(Walmart({"1": line(ordered=3)}), lag=29)
    bench.api.faults = {"shipping": ["lost"]}
    first = again(await bench.attempt(one()))
    assert first.trouble is Trouble.UNKNOWN
    assert first.failure.code == "outcome_unknown"
    assert bench.progress.unsettled is not None
    assert bench.progress.unsettled.leaves_open
    end = await bench.settle(one())
    assert end.effect == "applied"
    assert bench.api.calls.count("shipping") == 1


async def test_a_dropped_call_that_leaves_units_open_is_sent_again_only_after_the_allowance_and_two_reads() -> None:
    bench = Bench(Walmart({"1": line(ordered=3)}))
    bench.api.faults = {"shipping": ["dropped"]}
    started = bench.clock.time
    sent_at = []
    bench.api.before_write = lambda path: sent_at.append(bench.clock.time)
    reads: list[int] = []
    end = await bench.settle(one())
    reads.append(bench.api.calls.count("get"))
    assert end.effect == "applied"
    assert len(sent_at) == 2
    assert sent_at[1] - started >= 10 + 30
    last = len(bench.api.calls) - 1 - bench.api.calls[::-1].index("shipping")
    assert bench.api.calls[last - 2 : last] == ["get", "get"]


async def test_a_dropped_call_that_leaves_nothing_open_is_sent_again_after_reading() -> None:
    """Walmart refuses a repeat, so nobody needs to wait."""
    bench = Bench(Walmart({"1": line()}))
    bench.api.faults = {"shipping": ["dropped"]}
    again(await bench.attempt(one()))
    end = verdict(await bench.attempt(one()))
    assert end.effect == "applied"
    assert bench.clock.time == NOW


async def test_a_repeat_that_walmart_refuses_because_the_first_call_worked_is_applied() -> None:
    """Lost answer, lagging read, resend of a full line, refused; the order shows it once the lag is over."""
    bench = Bench(Walmart({"1": line()}), lag=20)
    bench.api.faults = {"shipping": ["lost"]}
    end = await bench.settle(one())
    assert (end.status, end.effect) == ("succeeded", "applied")
    assert bench.api.calls.count("shipping") == 2
    assert bench.walmart.charged() == {("1", A): 1}


async def test_an_old_read_is_believed_only_when_read_twice() -> None:
    bench = Bench(Walmart({"1": line(ordered=3)}))
    bench.progress.unsettled = Unsettled((ConfirmedUnits("1", 1, A),), NOW - 1, leaves_open=True)
    verdict(await bench.attempt(one()))
    assert bench.api.calls == ["get", "get", "shipping"]


async def test_waiting_for_an_unknown_outcome_uses_up_no_tries() -> None:
    bench = Bench(Walmart({"1": line(ordered=3)}))
    bench.api.faults = {"shipping": ["dropped", BARE, BARE, BARE]}
    assert (await bench.settle(one())).effect == "applied"
    assert bench.progress.failed_tries > bench.settings.limits.min_tries


async def test_a_corrected_number_within_the_lag_is_not_shipped_again() -> None:
    """The old read shows the old number and as many open units as the new one: our own answer counts."""
    bench = Bench(Walmart({"1": line(ordered=3, OLD1=1)}), lag=29)
    await bench.settle(correction("OLD1", A))
    end = await bench.next_event(one())
    assert end.effect == "already_applied"
    assert bench.walmart.charged() == {}


async def test_our_own_answer_is_remembered_for_the_whole_allowance() -> None:
    bench = Bench(Walmart({"1": line(ordered=3)}), lag=29)
    await bench.settle(one())
    bench.clock.time += 28
    assert (await bench.next_event(one())).effect == "already_applied"
    bench.clock.time += 60
    bench.walmart.lines["1"].acknowledged = 0
    bench.walmart.lines["1"].cancelled = 2
    bench.api.changed()
    bench.clock.time += 60
    assert (await bench.next_event(one())).walmart_status == "shipped"


async def test_an_answer_that_does_not_show_what_was_asked_is_read_again() -> None:
    bench = Bench(Walmart({"1": line(ordered=2)}))
    bench.api.faults = {"shipping": ["late"]}
    end = verdict(await bench.attempt(one()))
    assert end.effect == "applied"
    assert bench.api.calls == ["get", "shipping", "get"]


async def test_an_answer_that_does_not_show_it_and_a_lagging_read_are_unknown() -> None:
    bench = Bench(Walmart({"1": line(ordered=2)}), lag=10)
    bench.api.faults = {"shipping": ["late"]}
    assert again(await bench.attempt(one())).trouble is Trouble.UNKNOWN
    assert (await bench.settle(one())).effect == "applied"
    assert bench.walmart.charged() == {("1", A): 1}


async def test_duplicates_within_the_lag_never_charge_twice() -> None:
    """Two events, same units, reads half a minute old: the answer of our own write is remembered."""
    bench = Bench(Walmart({"1": line(ordered=3)}), lag=29)
    await bench.settle(one())
    end = await bench.next_event(one())
    assert end.effect == "already_applied"
    assert bench.walmart.charged() == {("1", A): 1}


async def test_a_second_box_within_the_lag_counts_the_first() -> None:
    bench = Bench(Walmart({"1": line(ordered=3)}), lag=29)
    await bench.settle(one(1, "BOX1", 1))
    await bench.next_event(one(1, "BOX1", 2))
    assert bench.walmart.charged() == {("1", "BOX1"): 2}


async def test_an_event_told_twice_by_another_process_within_the_lag_is_not_a_failure() -> None:
    """A full line: Walmart refuses the repeat, and the read that still shows it open is not believed at once."""
    bench = Bench(Walmart({"1": line()}), lag=20)
    await bench.settle(one())
    bench.restarted()
    end = await bench.settle(one())
    assert (end.status, end.effect) == ("succeeded", "already_applied")


async def test_confirmed_units_of_a_dead_letter_are_never_sent_again() -> None:
    """The replay knows from its header what an old read does not show."""
    bench = Bench(Walmart({"1": line(ordered=3)}))
    bench.progress.confirmed = (ConfirmedUnits("1", 1, A),)
    end = await bench.settle(one())
    assert end.effect == "already_applied"
    assert bench.walmart.charged() == {}


async def test_confirmed_cancelled_units_are_never_cancelled_again() -> None:
    bench = Bench(Walmart({"1": line(ordered=3)}))
    bench.progress.confirmed = (ConfirmedUnits("1", 1, None),)
    end = await bench.settle(cancelled(gone("1", 1, 2)))
    assert end.effect == "already_applied"
    assert bench.walmart.lines["1"].cancelled == 0


async def test_a_read_that_began_before_the_allowance_was_over_is_not_believed() -> None:
    """It took a second to answer, and its answer is as old as its question."""
    bench = Bench(Walmart({"1": line(ordered=3)}))
    bench.progress.unsettled = Unsettled((ConfirmedUnits("1", 1, A),), NOW + 0.5, leaves_open=True)
    bench.api.read_seconds = 1.0
    outcome = again(await bench.attempt(one()))
    assert (outcome.trouble, outcome.after_s) == (Trouble.UNKNOWN, 0.0)
    assert verdict(await bench.attempt(one())).effect == "applied"


async def test_a_call_broken_off_at_once_is_believed_lost_sooner_than_one_that_timed_out() -> None:
    """Its bytes have left by the end of the call; then Walmart may take a call's time to act, and reads may lag."""
    bench = Bench(Walmart({"1": line(ordered=3)}))
    bench.api.faults = {"shipping": ["dropped", "dropped"]}
    again(await bench.attempt(one()))
    assert bench.progress.unsettled is not None
    assert bench.progress.unsettled.believe_at == NOW + 10 + 30
    bench.progress = Progress()

    def time_out(path: str) -> None:
        bench.clock.time += 10

    bench.api.before_write = time_out
    again(await bench.attempt(one()))
    assert bench.progress.unsettled is not None
    assert bench.progress.unsettled.believe_at == NOW + 10 + 10 + 30


async def test_a_call_that_is_never_heard_of_again_is_in_doubt_until_past_its_deadline() -> None:
    """What a process that dies in the middle leaves behind."""
    bench = Bench(Walmart({"1": line(ordered=3)}))

    def die(path: str) -> None:
        raise KeyboardInterrupt

    bench.api.before_write = die
    with pytest.raises(KeyboardInterrupt):
        await bench.sync.attempt(event_of(one()), bench.progress)
    assert bench.progress.unsettled is not None
    assert bench.progress.unsettled.believe_at == NOW + 10 + 10 + 30


# -- an intent of another worker was found


async def test_after_a_found_intent_nothing_that_leaves_units_open_is_sent_until_it_is_over_and_read_twice() -> None:
    bench = Bench(Walmart({"1": line(ordered=3)}))
    bench.progress.hold_until, bench.progress.read_twice = NOW + 50, True
    outcome = again(await bench.attempt(one()))
    assert (outcome.trouble, outcome.failure.code) == (Trouble.UNKNOWN, "outcome_unknown")
    assert "another worker" in outcome.failure.message
    assert bench.progress.read_twice
    bench.clock.time = NOW + 50
    bench.api.calls.clear()
    assert verdict(await bench.attempt(one())).effect == "applied"
    assert bench.api.calls == ["get", "get", "shipping"]
    assert not bench.progress.read_twice


async def test_what_only_the_second_read_shows_is_not_sent_again() -> None:
    """The other worker's call came through; the first read does not show it yet."""
    walmart = Walmart({"1": line(ordered=3)})
    bench = Bench(walmart)
    bench.progress.hold_until, bench.progress.read_twice = NOW - 1, True
    read = bench.api.get_order
    views = [walmart.order()]
    walmart.ship(package_body())
    bench.api.changed()

    async def first_is_old(purchase_order_id: str) -> Any:
        newest = await read(purchase_order_id)
        return views.pop() if views else newest

    bench.api.get_order = first_is_old  # type: ignore[method-assign]
    end = verdict(await bench.attempt(one()))
    assert end.effect == "already_applied"
    assert bench.api.calls == ["get", "get"]


async def test_what_only_the_first_read_shows_is_not_sent_again() -> None:
    """Reads may go backwards: of two views of a line the one with fewer open units is the later."""
    walmart = Walmart({"1": line(ordered=4)})
    bench = Bench(walmart)
    bench.progress.hold_until, bench.progress.read_twice = NOW - 1, True
    before = walmart.order()
    walmart.ship(package_body())
    views = [before, walmart.order()]
    bench.api.changed()

    async def goes_back(purchase_order_id: str) -> Any:
        return views.pop()

    bench.api.get_order = goes_back  # type: ignore[method-assign]
    end = verdict(await bench.attempt(one(1, A, 2)))
    assert end.effect == "applied"
    assert walmart.charged() == {("1", A): 2}


async def test_a_first_read_begun_before_the_hold_was_over_does_not_count() -> None:
    bench = Bench(Walmart({"1": line(ordered=3)}))
    bench.progress.hold_until, bench.progress.read_twice = NOW + 0.5, True
    bench.api.read_seconds = 1.0
    outcome = again(await bench.attempt(one()))
    assert outcome.after_s == 0.0
    assert verdict(await bench.attempt(one())).effect == "applied"
    assert bench.api.calls == ["get", "get", "get", "shipping"]


async def test_a_call_that_closes_its_lines_waits_for_no_intent() -> None:
    """Walmart would refuse a repeat of it."""
    bench = Bench(Walmart({"1": line()}))
    bench.progress.hold_until, bench.progress.read_twice = NOW + 50, True
    assert verdict(await bench.attempt(one())).effect == "applied"
    assert bench.api.calls == ["get", "shipping"]


def package_body() -> Any:
    """The request that ships one unit of line 1 under `A`."""
    status = {"statusQuantity": {"amount": "1"}, "trackingInfo": {"trackingNumber": A}}
    lines = [{"lineNumber": "1", "orderLineStatuses": {"orderLineStatus": [status]}}]
    return {"orderShipment": {"orderLines": {"orderLine": lines}}}


async def test_a_write_is_noted_before_it_is_sent() -> None:
    """A process that is stopped in the middle of a call leaves word of it."""
    bench = Bench(Walmart({"1": line(ordered=2)}))
    seen: list[tuple[bool, object]] = []

    def look(path: str) -> None:
        seen.append((bench.progress.posting, bench.progress.unsettled))
        raise KeyboardInterrupt

    bench.api.before_write = look
    with pytest.raises(KeyboardInterrupt):
        await bench.sync.attempt(event_of(one()), bench.progress)
    assert seen[0][0]
    assert seen[0][1] is not None
    assert not bench.progress.posting
    assert bench.progress.unsettled is not None


# -- calls that were turned away


@pytest.mark.parametrize(
    ("fault", "trouble", "code", "after_s"),
    [
        (CallError(CallKind.NOT_SENT, "no connection"), Trouble.NOT_SENT, "walmart_unavailable", None),
        (CallError(CallKind.THROTTLED, "slow", 429, retry_after_s=7), Trouble.THROTTLED, "throttled", 7),
        (CallError(CallKind.UNAUTHORIZED, "no", 401), Trouble.CREDENTIALS, "credentials_rejected", None),
        (CallError(CallKind.UNAUTHORIZED, "no", 403, scope_missing=True), Trouble.CREDENTIALS, "scope_missing", None),
        (CallError(CallKind.REFUSED, "locked", 423, locked=True), Trouble.NOT_SENT, "order_locked", 20),
        (CallError(CallKind.NOT_SENT, "the deadline had passed", too_late=True), Trouble.OURS, "not_ready", 1),
    ],
)
@pytest.mark.parametrize("path", ["get", "acknowledge", "shipping"])
async def test_a_call_that_never_got_through_is_simply_tried_again(
    path: str, fault: CallError, trouble: Trouble, code: str, after_s: float | None
) -> None:
    bench = Bench(Walmart({"1": line(ordered=2, created=True)}))
    bench.api.faults = {path: [fault]}
    outcome = again(await bench.attempt(one()))
    assert (outcome.trouble, outcome.failure.code, outcome.after_s) == (trouble, code, after_s)
    assert outcome.call == {"get": "get_order", "acknowledge": "acknowledge", "shipping": "ship"}[path]
    assert bench.progress.unsettled is None
    assert verdict(await bench.attempt(one())).effect == "applied"


async def test_an_outcome_that_is_not_known_names_its_call() -> None:
    bench = Bench(Walmart({"1": line(ordered=3), "2": line("B")}))
    bench.api.faults = {"shipping": ["dropped"], "cancel": ["dropped"]}
    assert again(await bench.attempt(one())).call == "ship"
    assert again(await bench.attempt(one())).call is None
    bench.progress = Progress()
    assert again(await bench.attempt(cancelled(gone("2", 1)))).call == "cancel"


async def test_a_correction_that_is_turned_away_waits_at_the_gate_of_shipments() -> None:
    bench = Bench(Walmart({"1": line(ordered=1, OLD1=1)}))
    bench.api.faults = {"shipping": [CallError(CallKind.THROTTLED, "slow", 429)]}
    assert again(await bench.attempt(correction("OLD1", A))).call == "ship"


async def test_a_refusal_without_a_cause_names_its_call() -> None:
    bench = Bench(Walmart({"1": line()}))
    bench.api.faults = {"shipping": [BARE], "get": [None, None, BARE]}
    assert again(await bench.attempt(one())).call == "ship"
    assert again(await bench.attempt(one())).call == "get_order"


@pytest.mark.parametrize(
    ("status", "code"),
    [(None, "walmart_unavailable"), (503, "walmart_unavailable"), (200, "walmart_answer_unreadable")],
)
async def test_a_read_that_fails_is_tried_again(status: int | None, code: str) -> None:
    bench = Bench(Walmart({"1": line()}))
    bench.api.faults = {"get": [CallError(CallKind.UNKNOWN, "no answer", status)]}
    outcome = again(await bench.attempt(one()))
    assert (outcome.trouble, outcome.failure.code) == (Trouble.NOT_SENT, code)


async def test_an_order_walmart_does_not_know_is_final() -> None:
    bench = Bench(Walmart({"1": line()}))
    bench.api.faults = {"get": [CallError(CallKind.REFUSED, "not found", 404, not_found=True)]}
    end = verdict(await bench.attempt(one()))
    assert end.failure is not None
    assert end.failure.code == "order_not_found"
    assert [(each.line_number, each.state, each.reason) for each in end.lines] == [("1", "rejected", "order_not_found")]


async def test_an_order_that_was_there_a_moment_ago_is_not_given_up_for_one_404() -> None:
    bench = Bench(Walmart({"1": line(ordered=2)}))
    bench.api.faults = {
        "shipping": ["lost"],
        "get": [None, TIMED_OUT, CallError(CallKind.REFUSED, "?", 404, not_found=True)],
    }
    again(await bench.attempt(one()))
    again(await bench.attempt(one()))
    assert (await bench.settle(one())).effect == "applied"


async def test_a_refused_acknowledgement_does_not_stop_the_shipment() -> None:
    walmart = Walmart({"1": line(created=True), "2": line("B", 1, Z=1)})
    end = verdict(await Bench(walmart).attempt(one()))
    assert end.effect == "applied"
    assert warned(end) == {"acknowledge_refused"}


# -- refusals


async def test_400_though_it_is_true_already_is_a_success() -> None:
    """Another tool ships the same between our read and our call."""
    bench = Bench(Walmart({"1": line()}))

    def race(path: str) -> None:
        bench.walmart.lines["1"].acknowledged = 0
        bench.walmart.lines["1"].parcels = {A: 1}
        bench.api.changed()

    bench.api.before_write = race
    end = verdict(await bench.attempt(one()))
    assert (end.status, end.effect) == ("succeeded", "already_applied")


async def test_400_because_of_a_foreign_shipment_is_a_conflict() -> None:
    bench = Bench(Walmart({"1": line()}))

    def race(path: str) -> None:
        bench.walmart.lines["1"].acknowledged = 0
        bench.walmart.lines["1"].parcels = {"FOREIGN": 1}
        bench.api.changed()

    bench.api.before_write = race
    end = verdict(await bench.attempt(one()))
    assert end.failure is not None
    assert end.failure.code == "shipped_otherwise"


async def test_a_named_data_error_is_final_at_once() -> None:
    bench = Bench(Walmart({"1": line()}))
    bench.api.faults = {"shipping": [refused("Method code is not supported in line number 1", "methodCode")]}
    end = verdict(await bench.attempt(one()))
    assert end.failure is not None
    assert (end.failure.code, end.failure.http_status) == ("walmart_refused", 400)
    assert end.failure.walmart_errors[0].field == "methodCode"
    assert [(each.state, each.reason) for each in end.lines] == [("rejected", "walmart_refused")]
    assert bench.api.calls.count("shipping") == 1


async def test_a_refusal_that_contradicts_the_order_is_final_once_the_read_cannot_be_old() -> None:
    bench = Bench(Walmart({"1": line()}))
    bench.api.faults = {"shipping": [refused("Qty OverShipped")] * 9}
    outcome = again(await bench.attempt(one()))
    assert outcome.trouble is Trouble.UNKNOWN
    end = await bench.settle(one())
    assert end.failure is not None
    assert end.failure.code == "walmart_refused"
    assert bench.clock.time >= NOW + 30
    assert bench.api.calls.count("shipping") == 1


async def test_views_that_take_turns_are_not_planned_from_in_turns() -> None:
    """Another process has just shipped one unit, then the other; every read comes from another of Walmart's copies."""
    walmart = Walmart({"1": line(ordered=2)})
    bench = Bench(walmart)
    views = [walmart.order()]
    for _ in range(2):
        walmart.ship(package_body())
        views.append(walmart.order())
    bench.api.changed()
    read, old = bench.api.get_order, [views[0], views[1]] * 5

    async def takes_turns(purchase_order_id: str) -> Any:
        newest = await read(purchase_order_id)
        return old.pop(0) if old else newest

    bench.api.get_order = takes_turns  # type: ignore[method-assign]
    outcome = again(await bench.attempt(one(1, A, 2)))
    assert outcome.trouble is Trouble.UNKNOWN
    assert bench.api.calls == ["get", "shipping", "get", "shipping", "get"]
    old.clear()
    end = await bench.settle(one(1, A, 2))
    assert (end.status, end.effect) == ("succeeded", "already_applied")


async def test_a_refusal_without_a_cause_is_final_after_min_tries() -> None:
    bench = Bench(Walmart({"1": line()}))
    bench.api.faults = {"shipping": [BARE] * 9}
    for _ in range(4):
        outcome = again(await bench.attempt(one()))
        assert (outcome.trouble, outcome.failure.code) == (Trouble.NO_CAUSE, "walmart_refused_without_cause")
    end = verdict(await bench.attempt(one()))
    assert end.failure is not None
    assert end.failure.code == "walmart_refused_without_cause"
    assert bench.api.calls.count("shipping") == 5


async def test_a_refusal_without_a_cause_that_passes_is_a_success() -> None:
    bench = Bench(Walmart({"1": line()}))
    bench.api.faults = {"shipping": [BARE, BARE]}
    assert (await bench.settle(one())).effect == "applied"


async def test_a_request_walmart_cannot_read_is_a_bug_of_ours() -> None:
    bench = Bench(Walmart({"1": line()}))
    bench.api.faults = {"shipping": [CallError(CallKind.REFUSED, "unsupported", 415, malformed=True)]}
    end = verdict(await bench.attempt(one()))
    assert end.failure is not None
    assert end.failure.code == "request_rejected"


async def test_one_bad_package_keeps_no_other_back_where_walmart_refuses_the_whole_call() -> None:
    bench = Bench(Walmart({"1": line(), "2": line("B")}))
    bad = refused("tracking number is not valid", "trackingNumber")
    bench.api.faults = {"shipping": [bad, None, bad]}
    end = verdict(await bench.attempt(shipped(package(A, item("1")), package(B, item("2")))))
    assert (end.status, end.effect) == ("failed", "partly_applied")
    assert sorted(each.state for each in end.lines) == ["confirmed", "rejected"]
    assert len(bench.walmart.charged()) == 1


async def test_two_numbers_for_one_line_refused_in_one_call_go_one_call_per_package_each_fenced() -> None:
    fence = CountingFence()
    bench = Bench(Walmart({"1": line(ordered=2)}, one_number_per_line=True), fence=fence)
    end = await bench.settle(shipped(package(A, item("1")), package(B, item("1"))))
    assert end.effect == "applied"
    assert bench.walmart.charged() == {("1", A): 1, ("1", B): 1}
    assert bench.api.calls.count("shipping") == 3
    assert fence.asked == 1


async def test_pieces_that_leave_units_open_wait_until_an_old_read_is_ruled_out() -> None:
    """Had the whole call worked before (a crash), Walmart would take a piece of it again."""
    walmart = Walmart({"1": line(ordered=3)}, one_number_per_line=True)
    bench = Bench(walmart)
    event = shipped(package(A, item("1")), package(B, item("1")))
    outcome = again(await bench.attempt(event))
    assert outcome.trouble is Trouble.UNKNOWN
    assert walmart.charged() == {}
    assert (await bench.settle(event)).effect == "applied"
    assert bench.clock.time >= NOW + 30
    assert walmart.charged() == {("1", A): 1, ("1", B): 1}


# -- the fence


class CountingFence:
    believe_from = 0.0
    owned_until = math.inf

    def __init__(self, *, open_: bool = True) -> None:
        self.asked = 0
        self.open = open_

    async def intend(self, event: Event, call: Call, deadline: float, delivery: Delivery | None) -> bool:
        self.asked += 1
        return self.open


async def test_a_call_that_leaves_units_open_is_fenced_and_no_other() -> None:
    fence = CountingFence()
    bench = Bench(Walmart({"1": line(ordered=2)}), fence=fence)
    await bench.settle(one(1, "BOX1"))
    assert fence.asked == 1
    await bench.next_event(one(1, "BOX2"))
    assert fence.asked == 1


async def test_behind_a_closed_fence_nothing_is_sent() -> None:
    bench = Bench(Walmart({"1": line(ordered=2)}), fence=CountingFence(open_=False))
    outcome = again(await bench.attempt(one()))
    assert (outcome.trouble, outcome.failure.code) == (Trouble.OURS, "not_ready")
    assert outcome.after_s == 1.0
    assert bench.walmart.charged() == {}
    assert bench.progress.unsettled is None


async def test_a_worker_that_was_stalled_asks_before_any_call() -> None:
    """Also one that Walmart would refuse twice: meanwhile its new owner may have corrected the order."""
    fence = CountingFence(open_=False)
    fence.owned_until = NOW - 1
    bench = Bench(Walmart({"1": line(ordered=2)}), fence=fence)
    assert again(await bench.attempt(one(2, "BOX1"))).trouble is Trouble.OURS
    assert (fence.asked, bench.walmart.charged()) == (1, {})


async def test_no_call_leaves_after_the_partitions_may_be_somebody_elses() -> None:
    fence = CountingFence()
    fence.owned_until = NOW + 3
    bench = Bench(Walmart({"1": line(ordered=2)}), fence=fence)
    deadlines: list[float] = []
    ship = bench.api.ship

    async def noting(order: str, body: dict[str, object], *, deadline: float) -> Any:
        deadlines.append(deadline)
        return await ship(order, body, deadline=deadline)

    bench.api.ship = noting
    await bench.attempt(one(2, "BOX1"))
    assert deadlines == [NOW + 3]


async def test_a_conflict_is_no_final_word_while_reads_may_lag_behind_an_earlier_owner() -> None:
    """Its shipment under the number to be corrected may not be shown yet."""
    fence = CountingFence()
    fence.believe_from = NOW + 40
    bench = Bench(Walmart({"1": line(ordered=2)}), fence=fence)
    shipment = one(3, "BOX1")
    outcome = again(await bench.attempt(shipment))
    assert (outcome.trouble, outcome.failure.code) == (Trouble.UNKNOWN, "outcome_unknown")
    assert bench.walmart.charged() == {("1", "BOX1"): 2}, "what can be sent is sent"
    bench.clock.time = NOW + 41
    end = verdict(await bench.attempt(shipment))
    assert end.failure is not None
    assert end.failure.code == "quantity_exceeds_open"


async def test_a_correction_back_is_not_taken_for_done_from_what_was_read_before_the_first() -> None:
    """An earlier owner has corrected there; this one reads the order as it was before, and must not remember that."""
    fence, corrections, order_id = CountingFence(), MemoryCorrections(), "1796277083022"
    fence.believe_from = NOW + 40
    corrections.times = {(order_id, "THERE|1"): NOW - 5, (order_id, "BACK|1"): NOW - 9}
    walmart = Walmart({"1": line(ordered=2, THERE=1)})
    bench = Bench(walmart, fence=fence, corrections=corrections)
    bench.api.history = [
        (-math.inf, Walmart({"1": line(ordered=2, BACK=1)}).order()),
        (NOW + 20, walmart.order()),
    ]
    back = correction("THERE", "BACK")
    outcome = again(await bench.attempt(back, time=NOW - 5))
    assert (outcome.trouble, outcome.failure.code) == (Trouble.UNKNOWN, "outcome_unknown")
    assert (order_id, "BACK|1") in corrections.times, "its marker stays until that read may be believed"
    bench.clock.time = NOW + 10
    again(await bench.attempt(back, time=NOW - 5))
    bench.clock.time = NOW + 21
    assert verdict(await bench.attempt(back, time=NOW - 5)).effect == "applied"
    assert walmart.lines["1"].parcels == {"BACK": 1}
    assert (order_id, "BACK|1") not in corrections.times


async def test_a_correction_is_made_though_the_event_before_it_read_an_older_order() -> None:
    fence = CountingFence()
    fence.believe_from = NOW + 40
    walmart = Walmart({"1": line(ordered=1, SECOND=1)})
    bench = Bench(walmart, fence=fence)
    read = bench.api.get_order
    bench.api.get_order = Bench(Walmart({"1": line(ordered=1, FIRST=1)})).api.get_order
    assert verdict(await bench.attempt(one(1, "FIRST"))).effect == "already_applied"
    bench.api.get_order = read
    assert (await bench.next_event(correction("SECOND", "FIRST"), time=NOW - 5)).effect == "applied"
    assert walmart.lines["1"].parcels == {"FIRST": 1}


async def test_what_is_known_counts_for_a_read_that_was_asked_for_while_it_did_however_late_its_answer_is() -> None:
    """The process stood still between the question and the answer, which is as old as the question."""
    walmart = Walmart({"1": line(ordered=2)})
    tree = settings(read_lag_seconds=10, order_fresh_seconds=0)
    bench = Bench(walmart, lag=8.0, tree=tree)
    await bench.settle(cancelled(gone("1", 1, 1)))
    bench.clock.time += 2
    bench.api.read_seconds = 20.0
    assert (await bench.next_event(cancelled(gone("1", 1, 1)))).effect == "already_applied"
    assert walmart.lines["1"].cancelled == 1


async def test_success_needs_no_second_look() -> None:
    fence = CountingFence()
    fence.believe_from = NOW + 40
    bench = Bench(Walmart({"1": line(ordered=2)}), fence=fence)
    assert verdict(await bench.attempt(one(2, "BOX1"))).effect == "applied"


async def test_a_refusal_of_more_than_is_missing_says_nothing_of_less() -> None:
    """Planned from an old read: 5 were asked for, 2 of them were there; the order shows it later, and 3 may go."""
    walmart = Walmart({"1": line(ordered=5, BOX1=2)})
    bench = Bench(walmart)
    event = one(3, "BOX1", total=5)
    stale = Walmart({"1": line(ordered=5)})
    read = bench.api.get_order
    bench.api.get_order = Bench(stale).api.get_order
    assert isinstance(await bench.attempt(event), Again)
    bench.api.get_order = read
    bench.clock.time += 60
    assert verdict(await bench.attempt(event)).effect == "applied"
    assert walmart.charged() == {("1", "BOX1"): 3}


# -- cancellations


async def test_a_cancel_is_applied_with_its_reason() -> None:
    bench = Bench(Walmart({"1": line(ordered=3, Z=1), "4": line("B", 3)}))
    end = await bench.settle(cancelled(gone("1", 1, 1), gone("sku:B", 3, 0)))
    assert (end.effect, end.operation, end.walmart_status) == ("applied", "cancel", "partially_shipped")
    assert {(each.line_number, each.quantity, each.state, each.reason) for each in end.lines} == {
        ("1", 1, "confirmed", "SELLER_CANCEL_OUT_OF_STOCK"),
        ("4", 3, "confirmed", "SELLER_CANCEL_OUT_OF_STOCK"),
    }


async def test_a_cancel_of_nothing_is_already_applied() -> None:
    end = await Bench(Walmart({"1": line()})).settle(cancelled(gone("1", 0, 1)))
    assert (end.effect, end.lines) == ("already_applied", ())


async def test_a_lost_partial_cancel_under_lag_never_cancels_twice() -> None:
    bench = Bench(Walmart({"1": line(ordered=4)}), lag=29)
    bench.api.faults = {"cancel": ["lost"]}
    await bench.settle(cancelled(gone("1", 1, 2)))
    assert bench.walmart.lines["1"].cancelled == 1
    assert bench.api.calls.count("cancel") == 1


@pytest.mark.parametrize(
    "event",
    [
        cancelled(gone("1", 1), gone("sku:A", 2)),
        shipped(package(A, item("1", 1), item("sku:A", 1))),
    ],
)
async def test_two_items_of_one_line_are_refused_together(event: Any) -> None:
    """By line and by SKU: their sum is refused, and each alone, being less, must not be tried for ever."""
    bench = Bench(Walmart({"1": line(ordered=2)}), lag=5.0)
    name = "cancel" if isinstance(event, OrderCancelled) else "shipping"
    bench.api.faults = {name: ["lost"]}
    end = await bench.settle(event)
    assert (end.failure, end.effect) == (None, "applied")
    assert len(bench.api.calls) < 40


async def test_a_refused_partial_cancel_waits_for_announced_shipments_which_may_pass_it() -> None:
    walmart = Walmart({"1": line(ordered=3)}, partial_cancels=False)
    bench = Bench(walmart)
    event = cancelled(gone("1", 1, 2))
    outcome = again(await bench.attempt(event))
    assert (outcome.trouble, outcome.failure.code) == (Trouble.SHIPMENTS, "waiting_for_shipments")
    kept = bench.progress
    again(await bench.attempt(event))
    assert bench.api.calls.count("cancel") == 1
    await bench.next_event(one(2))
    bench.progress = kept
    assert (await bench.settle(event)).effect == "applied"
    assert walmart.state() == {"1": (0, 1, ((A, 2),))}


async def test_a_refused_partial_cancel_is_final_where_all_announced_shipments_are_shown() -> None:
    bench = Bench(Walmart({"1": line(ordered=3, Z=1)}, partial_cancels=False))
    end = await bench.settle(cancelled(gone("1", 1, 1)))
    assert end.failure is not None
    assert end.failure.code == "partial_cancel_refused"
    assert bench.walmart.lines["1"].cancelled == 0


@pytest.mark.parametrize("unread", [False, True], ids=["read at once", "read at the next try"])
async def test_a_refused_part_is_sent_again_once_it_is_all_that_is_open(unread: bool) -> None:
    """Somebody else ships between the refusal and the read after it: another worker, where a key is misplaced."""
    walmart = Walmart({"1": line(ordered=3, Z=1)}, partial_cancels=False)
    bench, cancel = Bench(walmart), walmart.cancel

    def refused_and_shipped(body: dict[str, Any]) -> None:
        try:
            cancel(body)
        except RefusedError:
            walmart.lines["1"].acknowledged -= 1
            walmart.lines["1"].parcels["Z"] += 1
            bench.api.changed()
            bench.api.faults = {"get": [CallError(CallKind.THROTTLED, "slow", 429)]} if unread else {}
            raise

    walmart.cancel = refused_and_shipped  # type: ignore[method-assign]
    end = await bench.settle(cancelled(gone("1", 1, 1)))
    assert (end.failure, end.effect) == (None, "applied")
    assert walmart.state() == {"1": (0, 1, (("Z", 2),))}
    assert bench.api.calls.count("cancel") == 2


async def test_whole_lines_are_cancelled_though_walmart_takes_no_partial_quantity() -> None:
    walmart = Walmart({"1": line(ordered=2), "2": line("B", 2)}, partial_cancels=False)
    bench = Bench(walmart)
    event = cancelled(gone("1", 1, 1), gone("2", 2, 0))
    outcome = again(await bench.attempt(event))
    while outcome.trouble is Trouble.UNKNOWN:
        bench.clock.time += outcome.after_s or 1.0
        outcome = again(await bench.attempt(event))
    assert outcome.trouble is Trouble.SHIPMENTS
    assert walmart.state() == {"1": (2, 0, ()), "2": (0, 2, ())}


# -- corrections


def correction(old: str, new: str) -> Any:
    return shipped(package(new, item("1"), replaces_tracking_number=old))


async def test_a_correction_marks_the_old_number_before_it_is_sent() -> None:
    bench = Bench(Walmart({"1": line(ordered=2, OLD1=1)}))
    marked: list[object] = []
    bench.api.before_write = lambda path: marked.append(
        bench.sync._room.corrections.superseded_at("1796277083022", "OLD1|1")
    )
    end = await bench.settle(correction("OLD-1", A), time=NOW - 5)
    assert (end.operation, end.effect) == ("correct", "applied")
    assert marked == [NOW - 5]
    assert bench.walmart.lines["1"].parcels == {A: 1}


async def test_a_shipment_repeated_after_its_correction_sends_nothing() -> None:
    """An open unit would be charged: Walmart's order no longer shows the old number."""
    bench = Bench(Walmart({"1": line(ordered=2)}))
    await bench.settle(one(1, "OLD1"), time=NOW - 10)
    await bench.next_event(correction("OLD1", A), time=NOW - 5)
    end = await bench.next_event(one(1, "OLD1"), time=NOW - 10)
    assert (end.status, end.effect, end.lines) == ("succeeded", "none", ())
    assert warned(end) == {"tracking_superseded"}
    assert bench.walmart.lines["1"].parcels == {A: 1}


async def test_corrections_there_and_back_in_any_repetition_end_with_the_later_one() -> None:
    bench = Bench(Walmart({"1": line(ordered=2)}))
    there, back = correction("A1", "B1"), correction("B1", "A1")
    await bench.settle(one(1, "A1"), time=NOW - 10)
    await bench.next_event(there, time=NOW - 9)
    await bench.next_event(back, time=NOW - 8)
    for event, time in ((there, NOW - 9), (one(1, "A1"), NOW - 10), (back, NOW - 8), (there, NOW - 9)):
        end = await bench.next_event(event, time=time)
        assert end.status == "succeeded"
        assert end.effect in ("none", "already_applied")
    assert bench.walmart.lines["1"].parcels == {"A1": 1}
    assert bench.walmart.lines["1"].open == 1


async def test_a_number_corrected_back_to_can_be_shipped_under_again() -> None:
    bench = Bench(Walmart({"1": line(ordered=2)}))
    await bench.settle(one(1, "A1", 1), time=NOW - 10)
    await bench.next_event(correction("A1", "B1"), time=NOW - 9)
    await bench.next_event(correction("B1", "A1"), time=NOW - 8)
    await bench.next_event(one(1, "A1", 2), time=NOW - 7)
    assert bench.walmart.lines["1"].parcels == {"A1": 2}


async def test_a_refused_correction_is_translated() -> None:
    bench = Bench(Walmart({"1": line(ordered=1, OLD1=1)}))
    bench.api.faults = {"shipping": [refused("Tracking can only be updated within 4 hours")]}
    end = await bench.settle(correction("OLD1", A))
    assert end.failure is not None
    assert end.failure.code == "correction_refused"


async def test_a_correction_that_cannot_be_marked_is_not_sent() -> None:
    class Deaf:
        def superseded_at(self, order: str, number: str) -> float | None:
            return None

        def unsettled(self, order: str, delivery: Delivery | None) -> tuple[str, ...]:
            return ()

        async def mark(self, order: str, number: str, event_time: float, delivery: Delivery | None) -> bool:
            return False

        async def free(self, order: str, number: str, delivery: Delivery | None) -> bool:
            return False

    bench = Bench(Walmart({"1": line(ordered=1, OLD1=1)}), corrections=Deaf())
    outcome = again(await bench.attempt(correction("OLD1", A)))
    assert (outcome.trouble, outcome.failure.code) == (Trouble.OURS, "not_ready")
    assert "shipping" not in bench.api.calls


async def test_a_replayed_dead_letter_after_a_correction_counts_no_unit_twice() -> None:
    """Its confirmed unit is shown under the new number now; the rest of it can still be shipped."""
    bench = Bench(Walmart({"1": line(ordered=2)}))
    event = shipped(package("OLD1", item("1")), package(B, item("1"), carrier={"title": "Speedy"}))
    failed = await bench.settle(event, time=NOW - 10)
    assert failed.failure is not None
    await bench.next_event(correction("OLD1", A), time=NOW - 5)
    mapped = settings({"carriers": {"Speedy": "USPS"}})
    bench.sync.configure({"main": bench.api}, mapped)
    bench.progress = Progress(confirmed=failed.confirmed)
    end = await bench.settle(event, time=NOW - 10)
    assert end.status == "succeeded"
    assert bench.walmart.lines["1"].parcels == {A: 1, B: 1}


# -- observe mode


@pytest.mark.parametrize("where", ["store", "account"])
async def test_observe_mode_plans_and_sends_nothing(where: str) -> None:
    tree = settings({"observe": where == "store"}, {"observe": where == "account"})
    bench = Bench(Walmart({"1": line(created=True)}), tree=tree)
    end = verdict(await bench.attempt(one()))
    assert (end.observed, end.status, end.effect) == (True, "succeeded", "applied")
    assert [(each.method, each.path) for each in end.planned] == [
        ("POST", "/v3/orders/1796277083022/acknowledge"),
        ("POST", "/v3/orders/1796277083022/shipping"),
    ]
    assert end.planned[1].body is not None
    assert bench.api.calls == ["get"]


async def test_observe_mode_tells_a_failure_as_it_would_have_been() -> None:
    tree = settings({"observe": True})
    bench = Bench(Walmart({"1": line(ordered=1, Z=1)}), tree=tree)
    end = verdict(await bench.attempt(one()))
    assert (end.observed, end.status, end.planned) == (True, "failed", ())
