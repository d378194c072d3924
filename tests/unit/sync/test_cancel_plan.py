"""Product rules of a cancellation, one test each."""

from __future__ import annotations

from typing import Any

import pytest
from sync_bench import A, B, cancelled, codes, fates, gone, item, made, package, run, shipped, warned
from sync_model import Walmart, line

from worker.errors import Failure
from worker.outcome import Refusal
from worker.sync.calls import Acknowledge, Cancel, Memory, Plan

CUSTOMER = "CUSTOMER_REQUESTED_SELLER_TO_CANCEL"


def takes(step: Plan) -> list[tuple[str, int, str]]:
    """(line, units, reason) of all cancel calls."""
    return [
        (each.line_number, each.quantity, each.reason)
        for call in step.calls
        if isinstance(call, Cancel)
        for each in call.lines
    ]


def units(step: Plan) -> dict[str, int]:
    return {number: quantity for number, quantity, _ in takes(step)}


def test_cancel_sends_what_is_missing_from_the_target() -> None:
    walmart = Walmart({"1": line(ordered=5)})
    walmart.lines["1"].acknowledged, walmart.lines["1"].cancelled = 4, 1
    assert units(made(cancelled(gone("1", 3)), walmart)) == {"1": 2}


def test_cancel_leaves_alone_what_commerce_has_shipped_and_walmart_does_not_know_yet() -> None:
    """cancelled_total 4 of 5, but 2 are in a box: at most 3 may go."""
    assert units(made(cancelled(gone("1", 4, 2)), Walmart({"1": line(ordered=5)}))) == {"1": 3}


def test_nothing_left_to_cancel_is_done() -> None:
    walmart = Walmart({"1": line(ordered=2)})
    walmart.lines["1"].acknowledged, walmart.lines["1"].cancelled = 1, 1
    step = made(cancelled(gone("1", 1)), walmart)
    assert step.calls == ()
    assert not step.problems
    assert fates(step) == {("1", None, "shown"): 1}


def test_more_cancelled_at_walmart_than_commerce_says_is_left_alone() -> None:
    walmart = Walmart({"1": line(ordered=2)})
    walmart.lines["1"].acknowledged, walmart.lines["1"].cancelled = 0, 2
    step = made(cancelled(gone("1", 1)), walmart)
    assert step.calls == ()
    assert not step.problems


def test_all_shipped_at_walmart_though_commerce_says_cancelled_is_a_conflict() -> None:
    step = made(cancelled(gone("1", 2)), Walmart({"1": line(ordered=2, Z=2)}))
    assert step.calls == ()
    assert codes(step) == ["cancel_after_ship"]


def test_a_shortfall_is_a_conflict_and_the_open_part_is_cancelled() -> None:
    step = made(cancelled(gone("1", 3)), Walmart({"1": line(ordered=3, Z=1)}))
    assert units(step) == {"1": 2}
    assert codes(step) == ["cancel_after_ship"]


def test_totals_by_sku_cancel_from_the_last_line() -> None:
    walmart = Walmart({"1": line("A", 2), "2": line("B", 2), "3": line("A", 2)})
    assert units(made(cancelled(gone("sku:A", 3, 1)), walmart)) == {"1": 1, "3": 2}


def test_totals_by_sku_count_the_whole_group() -> None:
    walmart = Walmart({"1": line("A", 1, Z=1), "2": line("A", 1)})
    assert units(made(cancelled(gone("sku:A", 1, 1)), walmart)) == {"2": 1}


def test_by_sku_shipments_fill_from_the_first_line_and_meet_no_cancel() -> None:
    walmart = Walmart({"1": line("A", 2), "2": line("A", 2)})
    run(cancelled(gone("sku:A", 2, 2)), walmart)
    assert not run(shipped(package(A, item("sku:A", 2))), walmart).problems
    assert walmart.state() == {"1": (0, 0, ((A, 2),)), "2": (0, 2, ())}


def test_one_line_addressed_both_ways_is_counted_once() -> None:
    assert units(made(cancelled(gone("1", 1), gone("sku:A", 1)), Walmart({"1": line("A", 3)}))) == {"1": 1}


@pytest.mark.parametrize("cancel_first", [True, False])
def test_ship_and_cancel_commute(cancel_first: bool) -> None:
    walmart = Walmart({"1": line(ordered=3), "2": line("B", 2)})
    events = [shipped(package(A, item("1", 2), item("2", 1))), cancelled(gone("1", 1, 2), gone("2", 1, 1))]
    for event in reversed(events) if cancel_first else events:
        assert not run(event, walmart).problems
    assert walmart.state() == {"1": (0, 1, ((A, 2),)), "2": (0, 1, ((A, 1),))}


def test_an_unknown_line_is_told_and_the_others_are_cancelled() -> None:
    step = made(cancelled(gone("1", 1), gone("7", 1), gone("sku:X", 0)), Walmart({"1": line()}))
    assert units(step) == {"1": 1}
    assert codes(step) == ["line_not_found"]


def test_a_cancel_without_items_takes_everything_still_open_and_leaves_what_has_shipped() -> None:
    walmart = Walmart({"1": line(ordered=4, **{A: 1}), "2": line("A", 2, **{B: 2}), "3": line("B", created=True)})
    walmart.lines["1"].acknowledged, walmart.lines["1"].cancelled = 2, 1
    step = made(cancelled(), walmart)
    assert units(step) == {"1": 2, "3": 1}
    assert not any(call.leaves_units_open for call in step.calls)
    assert not any(isinstance(call, Acknowledge) for call in step.calls)
    assert not step.problems
    assert fates(step) == {("1", None, "shown"): 1, ("1", None, "send"): 2, ("3", None, "send"): 1}


def test_a_cancel_without_items_finds_nothing_left_when_repeated() -> None:
    walmart = Walmart({"1": line(ordered=3, **{A: 1})})
    assert not run(cancelled(), walmart).problems
    assert walmart.state() == {"1": (0, 2, ((A, 1),))}
    again = made(cancelled(), walmart)
    assert (again.calls, again.problems) == ((), ())
    assert fates(again) == {("1", None, "shown"): 2}


def test_a_cancel_without_items_of_an_order_that_has_all_shipped_is_a_conflict() -> None:
    step = made(cancelled(), Walmart({"1": line(ordered=2, **{A: 2}), "2": line("B", 1, **{B: 1})}))
    assert step.calls == ()
    assert codes(step) == ["cancel_after_ship"]
    assert fates(step) == {("1", None, "refused"): 2, ("2", None, "refused"): 1}


def test_a_cancel_without_items_is_no_conflict_where_the_rest_was_cancelled_before() -> None:
    walmart = Walmart({"1": line(ordered=2, **{A: 2}), "2": line("B")})
    walmart.lines["2"].acknowledged, walmart.lines["2"].cancelled = 0, 1
    step = made(cancelled(), walmart)
    assert (step.calls, step.problems) == ((), ())


def test_a_cancel_without_items_is_refused_by_the_stores_policy() -> None:
    step = made(cancelled(), Walmart({"1": line()}), store={"cancel_without_items": "refuse"})
    assert step.calls == ()
    assert codes(step) == ["cancel_without_items"]
    assert fates(step) == {("1", None, "refused"): 1}


def test_what_the_guard_withholds_stays_open_and_is_told() -> None:
    walmart = Walmart({"1": line(ordered=2), "2": line("B")})
    walmart.lines["2"].acknowledged, walmart.lines["2"].cancelled = 0, 1
    step = made(cancelled(), walmart, memory=Memory(withheld="keys are misplaced"))
    assert step.calls == ()
    assert "keys are misplaced" in step.problems[0].message
    assert fates(step) == {("1", None, "refused"): 2, ("2", None, "shown"): 1}


def test_nothing_is_withheld_from_an_order_with_nothing_open() -> None:
    walmart = Walmart({"1": line()})
    walmart.lines["1"].acknowledged, walmart.lines["1"].cancelled = 0, 1
    assert not made(cancelled(), walmart, memory=Memory(withheld="keys are misplaced")).problems


def test_withholding_and_the_stores_policy_leave_cancels_with_items_alone() -> None:
    store = {"cancel_without_items": "refuse"}
    step = made(cancelled(gone("1", 1)), Walmart({"1": line()}), store=store, memory=Memory(withheld="x"))
    assert units(step) == {"1": 1}


def test_an_unmapped_reason_stops_a_cancel_without_items() -> None:
    step = made(cancelled(reason=None), Walmart({"1": line(ordered=2, **{A: 1})}))
    assert step.calls == ()
    assert codes(step) == ["reason_unmapped"]


def test_a_cancel_without_items_of_an_order_walmart_fulfils_is_refused() -> None:
    step = made(cancelled(), Walmart({"1": line()}, wfs=True))
    assert step.calls == ()
    assert codes(step) == ["order_fulfilled_by_walmart"]


def test_orders_fulfilled_by_walmart_are_not_cancelled() -> None:
    step = made(cancelled(gone("1", 1)), Walmart({"1": line()}, wfs=True))
    assert step.calls == ()
    assert codes(step) == ["order_fulfilled_by_walmart"]


def test_created_lines_that_stay_open_are_acknowledged_before_a_cancel() -> None:
    step = made(cancelled(gone("1", 1)), Walmart({"1": line(ordered=2, created=True)}))
    assert [type(call) for call in step.calls] == [Acknowledge, Cancel]


def test_other_created_lines_are_acknowledged_before_a_cancel() -> None:
    """Afterwards Walmart refuses the acknowledgement."""
    step = made(cancelled(gone("1", 1)), Walmart({"1": line(created=True), "2": line("B", created=True)}))
    assert [type(call) for call in step.calls] == [Acknowledge, Cancel]


def test_nothing_is_acknowledged_where_nothing_created_stays_open() -> None:
    step = made(cancelled(gone("1", 2)), Walmart({"1": line(ordered=2, created=True), "2": line("B", 1, Z=1)}))
    assert [type(call) for call in step.calls] == [Cancel]


@pytest.mark.parametrize(
    ("reason", "sent"),
    [
        ({"text": "Price or other listing errors"}, "SELLER_CANCEL_PRICING_ERROR"),
        ({"text": " the ITEM is  out of stock. "}, "SELLER_CANCEL_OUT_OF_STOCK"),
        (
            {"text": "Additional information is needed by our Credit and Fraud Avoidance department"},
            "SELLER_CANCEL_FRAUD_STOP_SHIPMENT",
        ),
        (
            {"text": "Additional information is required by our Credit or Fraud Avoidance department"},
            "SELLER_CANCEL_FRAUD_STOP_SHIPMENT",
        ),
        ({"text": "Unavailable carrier or shipping method"}, "SELLER_CANCEL_ADDRESS_NOT_SERVICEABLE"),
        ({"text": "Unavailable carrier or shipping information"}, "SELLER_CANCEL_ADDRESS_NOT_SERVICEABLE"),
        ({"code": "seller_cancel_pricing_error", "text": "whatever"}, "SELLER_CANCEL_PRICING_ERROR"),
        ({"code": "own", "text": "whatever"}, CUSTOMER),
        ({"text": "Own words!"}, "SELLER_CANCEL_PRICING_ERROR"),
    ],
)
def test_reasons_are_mapped_on_normalised_text(reason: dict[str, str], sent: str) -> None:
    store = {"reasons": {"OWN": CUSTOMER, "own words": "SELLER_CANCEL_PRICING_ERROR"}}
    step = made(cancelled(gone("1", 1), reason=reason), Walmart({"1": line()}), store=store)
    assert takes(step) == [("1", 1, sent)]


@pytest.mark.parametrize("reason", [None, {}, {"text": ""}, {"text": "changed my mind"}])
def test_an_unknown_or_absent_reason_is_refused_by_default(reason: Any) -> None:
    step = made(cancelled(gone("1", 1), reason=reason), Walmart({"1": line()}))
    assert step.calls == ()
    assert codes(step) == ["reason_unmapped"]


@pytest.mark.parametrize("reason", [None, {"text": "changed my mind"}])
def test_an_unknown_or_absent_reason_follows_the_stores_policy(reason: Any) -> None:
    store = {"unknown_reason": "SELLER_CANCEL_OUT_OF_STOCK"}
    step = made(cancelled(gone("1", 1), reason=reason), Walmart({"1": line()}), store=store)
    assert takes(step) == [("1", 1, "SELLER_CANCEL_OUT_OF_STOCK")]


def test_an_unknown_reason_stops_nothing_where_nothing_is_left_to_cancel() -> None:
    walmart = Walmart({"1": line()})
    walmart.lines["1"].acknowledged, walmart.lines["1"].cancelled = 0, 1
    assert not made(cancelled(gone("1", 1), reason=None), walmart).problems


def test_a_typed_reason_takes_no_buyer_with_it() -> None:
    reason = {"text": "jane@example.com called from +1 555 123 4567, wants out"}
    (problem,) = made(cancelled(gone("1", 1), reason=reason), Walmart({"1": line()})).problems
    assert "called from ***, wants out" in problem.message
    assert "jane" not in problem.message


@pytest.mark.parametrize("asked", [True, False])
def test_customer_requested_is_passed_on_with_a_warning_unless_the_line_shows_the_request(asked: bool) -> None:
    step = made(cancelled(gone("1", 1), reason={"code": CUSTOMER}), Walmart({"1": line(asked=asked)}))
    assert takes(step) == [("1", 1, CUSTOMER)]
    assert warned(step) == (set() if asked else {"reason_not_supported"})


def test_fraud_is_passed_on_with_a_warning() -> None:
    step = made(cancelled(gone("1", 1), reason={"code": "SELLER_CANCEL_FRAUD_STOP_SHIPMENT"}), Walmart({"1": line()}))
    assert takes(step) == [("1", 1, "SELLER_CANCEL_FRAUD_STOP_SHIPMENT")]
    assert warned(step) == {"reason_not_supported"}


@pytest.mark.parametrize(
    ("market", "sent"),
    [("us", "SELLER_CANCEL_OUT_OF_STOCK"), ("ca", "CANCEL_BY_SELLER"), ("mx", "MIRAKL_REFUND_15"), ("cl", "AGOTADO")],
)
def test_each_market_has_its_own_reason_codes(market: str, sent: str) -> None:
    step = made(cancelled(gone("1", 1)), Walmart({"1": line()}), account={"market": market})
    assert takes(step) == [("1", 1, sent)]


def refusal() -> dict[tuple[str, str | None], Refusal]:
    return {("1", None): Refusal(Failure("partial_cancel_refused", "no partial"), 0.0, partial=True)}


def test_a_refused_partial_cancel_waits_for_the_announced_shipments() -> None:
    step = made(cancelled(gone("1", 1, 2)), Walmart({"1": line(ordered=3)}), memory=Memory(refused=refusal()))
    assert step.calls == ()
    assert not step.problems
    assert fates(step) == {("1", None, "waiting"): 1}


def test_a_refused_partial_cancel_is_final_where_all_shipments_are_shown() -> None:
    walmart = Walmart({"1": line(ordered=3, **{A: 1})})
    step = made(cancelled(gone("1", 1, 1)), walmart, memory=Memory(refused=refusal()))
    assert step.calls == ()
    assert codes(step) == ["partial_cancel_refused"]


def test_a_refused_partial_cancel_goes_once_it_is_the_whole_rest() -> None:
    walmart = Walmart({"1": line(ordered=3, **{A: 1, B: 1})})
    assert units(made(cancelled(gone("1", 1, 2)), walmart, memory=Memory(refused=refusal()))) == {"1": 1}


def test_a_whole_line_of_a_sku_does_not_wait_for_shipments_of_its_sisters() -> None:
    refused = {("2", None): Refusal(Failure("partial_cancel_refused", "no partial"), 0.0, partial=True)}
    walmart = Walmart({"1": line("A", 2), "2": line("A", 2)})
    assert units(made(cancelled(gone("sku:A", 2, 2)), walmart, memory=Memory(refused=refused))) == {"2": 2}


def test_expected_are_cancelled_totals() -> None:
    walmart = Walmart({"1": line(ordered=4)})
    walmart.lines["1"].acknowledged, walmart.lines["1"].cancelled = 3, 1
    (call,) = made(cancelled(gone("1", 2)), walmart).calls
    assert [(each.line_number, each.quantity, each.tracking_number) for each in call.expected] == [("1", 2, None)]
    assert call.leaves_units_open
