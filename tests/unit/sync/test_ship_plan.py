"""Product rules of a shipment, one test each."""

from __future__ import annotations

from typing import Any

import pytest
from sync_bench import (
    NOW,
    A,
    B,
    C,
    codes,
    fates,
    iso,
    item,
    made,
    package,
    run,
    shipped,
    warned,
)
from sync_model import ORDERED_AT, Walmart, line

from schemas.walmart.shipment import ShipStatus
from worker.sync.calls import Acknowledge, Correct, Memory, Plan, Ship


def statuses(step: Plan) -> list[tuple[str, str, int]]:
    """(line, number, units) of all ship calls."""
    return [
        (status.line_number, status.tracking_number, status.quantity)
        for call in step.calls
        if isinstance(call, Ship)
        for status in call.statuses
    ]


def only(step: Plan) -> ShipStatus:
    (call,) = [call for call in step.calls if isinstance(call, Ship)]
    (status,) = call.statuses
    return status


def test_ship_sums_packages_by_line_and_tracking_number_first() -> None:
    """Three packages of one number are one status, not three repeats of each other."""
    event = shipped(package(A, item("1")), package(f" {A[:4]}-{A[4:]}", item("1")), package(A.lower(), item("1")))
    step = made(event, Walmart({"1": line(ordered=3)}))
    assert statuses(step) == [("1", A, 3)]


@pytest.mark.parametrize("totals", [(1, 2), (2, 1)])
def test_summed_packages_take_the_largest_total(totals: tuple[int, int]) -> None:
    event = shipped(*[package(A, item("1", 1, total)) for total in totals])
    assert statuses(made(event, Walmart({"1": line(ordered=3)}))) == [("1", A, 2)]


def test_items_are_matched_by_line_number() -> None:
    step = made(shipped(package(A, item("2"))), Walmart({"1": line("A"), "2": line("A")}))
    assert statuses(step) == [("2", A, 1)]


def test_items_are_matched_by_sku_over_the_open_lines_first_line_first() -> None:
    walmart = Walmart({"1": line("A", 1, Z=1), "2": line("B", 5), "3": line("A", 2), "4": line("A", 2)})
    assert statuses(made(shipped(package(B, item("sku:A", 3))), walmart)) == [("3", B, 2), ("4", B, 1)]


def test_several_packages_and_numbers_for_one_line_all_go() -> None:
    step = made(
        shipped(package(A, item("1")), package(B, item("1")), package(C, item("1"))), Walmart({"1": line(ordered=3)})
    )
    assert sorted(statuses(step)) == sorted([("1", A, 1), ("1", B, 1), ("1", C, 1)])
    (call,) = step.calls
    assert not call.leaves_units_open


def test_the_order_of_the_packages_makes_no_difference() -> None:
    """By SKU over two lines: otherwise the pairing of lines and numbers would depend on it."""
    packages = [package(A, item("sku:A")), package(B, item("sku:A"))]
    walmart = Walmart({"1": line("A"), "2": line("A")})
    assert statuses(made(shipped(*packages), walmart)) == statuses(made(shipped(*reversed(packages)), walmart))


def test_a_line_that_does_not_exist_is_told_and_the_others_go() -> None:
    step = made(shipped(package(A, item("1"), item("9"), item("sku:X"))), Walmart({"1": line()}))
    assert statuses(step) == [("1", A, 1)]
    assert codes(step) == ["line_not_found", "line_not_found"]


def test_created_lines_are_acknowledged_first() -> None:
    step = made(shipped(package(A, item("1"))), Walmart({"1": line(), "2": line(created=True)}))
    assert isinstance(step.calls[0], Acknowledge)
    assert isinstance(step.calls[1], Ship)


def test_nothing_is_acknowledged_where_nothing_is_created() -> None:
    step = made(shipped(package(A, item("1"))), Walmart({"1": line()}))
    assert [type(call) for call in step.calls] == [Ship]


def test_nothing_is_acknowledged_where_nothing_is_to_be_sent() -> None:
    step = made(shipped(package(A, item("1"))), Walmart({"1": line(ordered=1, **{A: 1}), "2": line(created=True)}))
    assert step.calls == ()


def test_orders_fulfilled_by_walmart_are_refused() -> None:
    step = made(shipped(package(A, item("1"))), Walmart({"1": line()}, wfs=True))
    assert step.calls == ()
    assert codes(step) == ["order_fulfilled_by_walmart"]


def test_tracking_numbers_are_compared_in_one_canonical_form() -> None:
    walmart = Walmart({"1": line(ordered=1, **{A.lower(): 1})})
    step = made(shipped(package(f"1z 999-{A[5:]}", item("1"))), walmart)
    assert step.calls == ()
    assert not step.problems


def test_shipped_with_another_number_is_a_conflict() -> None:
    step = made(shipped(package(A, item("1"))), Walmart({"1": line(ordered=1, Z=1)}))
    assert step.calls == ()
    assert codes(step) == ["shipped_otherwise"]


def test_delivered_and_refunded_units_without_a_number_count_as_shipped() -> None:
    """Shipped = ordered - open - cancelled, also where Walmart shows no parcel for it."""
    walmart = Walmart({"1": line(ordered=1)})
    walmart.lines["1"].acknowledged = 0
    assert codes(made(shipped(package(A, item("1"))), walmart)) == ["shipped_otherwise"]


def test_shipping_cancelled_units_is_its_own_conflict() -> None:
    walmart = Walmart({"1": line(ordered=1)})
    walmart.lines["1"].acknowledged, walmart.lines["1"].cancelled = 0, 1
    assert codes(made(shipped(package(A, item("1"))), walmart)) == ["shipped_after_cancel"]


def test_more_than_is_open_is_a_conflict_and_the_open_part_goes() -> None:
    step = made(shipped(package(A, item("1", 5))), Walmart({"1": line(ordered=3)}))
    assert statuses(step) == [("1", A, 3)]
    assert codes(step) == ["quantity_exceeds_open"]
    assert fates(step) == {("1", A, "send"): 3, ("1", A, "refused"): 2}


def test_units_of_this_events_other_packages_are_no_conflict_of_their_own() -> None:
    walmart = Walmart({"1": line(ordered=2, **{A: 1})})
    step = made(shipped(package(A, item("1")), package(B, item("1", 2))), walmart)
    assert codes(step) == ["quantity_exceeds_open"]


def test_no_cancelled_or_foreign_unit_explains_two_shortfalls() -> None:
    event = shipped(package(A, item("1")), package(B, item("1")))
    walmart = Walmart({"1": line(ordered=2, Z=1)})
    walmart.lines["1"].acknowledged, walmart.lines["1"].cancelled = 0, 1
    assert codes(made(event, walmart)) == ["shipped_after_cancel", "shipped_otherwise"]
    assert codes(made(event, Walmart({"1": line(ordered=1, Z=1)}))) == ["quantity_exceeds_open", "shipped_otherwise"]


def test_a_conflict_on_one_line_keeps_no_other_back() -> None:
    walmart = Walmart({"1": line(ordered=1, Z=1), "2": line("B")})
    step = made(shipped(package(A, item("1"), item("2"))), walmart)
    assert statuses(step) == [("2", A, 1)]
    assert codes(step) == ["shipped_otherwise"]


def test_with_tracking_total_what_is_missing_from_the_total_is_sent() -> None:
    walmart = Walmart({"1": line(ordered=4, **{A: 1})})
    assert statuses(made(shipped(package(A, item("1", 1, 2))), walmart)) == [("1", A, 1)]


def test_tracking_total_also_sends_an_earlier_events_units() -> None:
    assert statuses(made(shipped(package(A, item("1", 1, 3))), Walmart({"1": line(ordered=4)}))) == [("1", A, 3)]


def test_tracking_total_already_shown_is_done() -> None:
    step = made(shipped(package(A, item("1", 1, 2))), Walmart({"1": line(ordered=4, **{A: 2})}))
    assert step.calls == ()
    assert not step.problems
    assert not step.warnings


def test_without_total_as_many_shown_as_asked_is_done_with_a_warning_while_units_are_open() -> None:
    step = made(shipped(package(A, item("1", 1))), Walmart({"1": line(ordered=3, **{A: 1})}))
    assert step.calls == ()
    assert warned(step) == {"same_tracking_open_quantity"}


def test_without_total_nothing_is_warned_of_where_nothing_is_open() -> None:
    assert not warned(made(shipped(package(A, item("1"))), Walmart({"1": line(ordered=1, **{A: 1})})))


def test_no_warning_of_a_repeat_for_what_this_event_has_sent_itself() -> None:
    walmart = Walmart({"1": line(ordered=3)})
    event = shipped(package(A, item("1")))
    (call,) = made(event, walmart).calls
    assert isinstance(call, Ship)
    walmart.ship(call.body())
    step = made(event, walmart, memory=Memory(confirmed=call.expected))
    assert step.calls == ()
    assert not step.warnings


def test_without_total_fewer_shown_than_asked_the_missing_are_sent() -> None:
    assert statuses(made(shipped(package(A, item("1", 3))), Walmart({"1": line(ordered=3, **{A: 1})}))) == [("1", A, 2)]


def test_units_shown_on_any_line_of_the_sku_count_first() -> None:
    walmart = Walmart({"1": line("A", 1), "2": line("A", 2, **{A: 2})})
    step = made(shipped(package(A, item("sku:A", 2))), walmart)
    assert step.calls == ()
    assert fates(step) == {("2", A, "shown"): 2}


def test_a_line_number_counts_and_ships_that_line_only() -> None:
    walmart = Walmart({"1": line("A", 1), "2": line("A", 2, **{A: 2})})
    assert statuses(made(shipped(package(A, item("1"))), walmart)) == [("1", A, 1)]


def test_one_sku_addressed_both_ways_counts_no_unit_twice() -> None:
    walmart = Walmart({"1": line("A", 3, **{A: 1})})
    event = shipped(package(A, item("1"), item("sku:A")))
    assert statuses(made(event, walmart)) == [("1", A, 1)]


def test_a_shipments_items_are_dealt_to_its_packages_in_turn() -> None:
    """Five units over two packages: every number appears, whatever is open."""
    event = shipped(package(A), package(B), items=[item("1", 3), item("2", 2)])
    step = made(event, Walmart({"1": line(ordered=3), "2": line("B", 2)}))
    assert sorted(statuses(step)) == sorted([("1", A, 2), ("1", B, 1), ("2", B, 1), ("2", A, 1)])


def test_dealing_goes_on_from_item_to_item() -> None:
    event = shipped(package(A), package(B), items=[item("1"), item("2")])
    assert sorted(statuses(made(event, Walmart({"1": line(), "2": line("B")})))) == [("1", A, 1), ("2", B, 1)]


def test_dealing_depends_on_the_event_alone_never_on_what_is_open() -> None:
    event = shipped(package(A), package(B), items=[item("1", 4)])
    walmart = Walmart({"1": line(ordered=4, **{B: 2})})
    step = made(event, walmart)
    assert statuses(step) == [("1", A, 2)]
    assert not step.problems


def test_a_package_without_units_is_named_in_a_warning() -> None:
    step = made(shipped(package(A), package(B), package(C), items=[item("1", 2)]), Walmart({"1": line(ordered=2)}))
    assert {number for _, number, _ in statuses(step)} == {A, B}
    assert [warning.code for warning in step.warnings] == ["package_without_units"]
    assert C in step.warnings[0].message


def test_a_line_whose_buyer_asked_to_cancel_is_not_shipped() -> None:
    walmart = Walmart({"1": line(asked=True), "2": line("B")})
    step = made(shipped(package(A, item("1"), item("2"))), walmart)
    assert statuses(step) == [("2", A, 1)]
    assert codes(step) == ["buyer_asked_to_cancel"]


def test_by_sku_a_line_whose_buyer_asked_to_cancel_is_passed_over() -> None:
    walmart = Walmart({"1": line("A", asked=True), "2": line("A")})
    step = made(shipped(package(A, item("sku:A"))), walmart)
    assert statuses(step) == [("2", A, 1)]
    assert not step.problems


def test_intent_to_cancel_override_ships_it_and_says_so() -> None:
    event = shipped(package(A, item("1")), intent_to_cancel_override=True)
    (call,) = made(event, Walmart({"1": line(asked=True)})).calls
    assert isinstance(call, Ship)
    body: Any = call.body()
    assert body["orderShipment"]["orderLines"]["orderLine"][0]["intentToCancelOverride"] is True


def test_an_unmapped_carrier_is_refused_by_default() -> None:
    event = shipped(package(A, item("1"), carrier={"title": "Speedy Freight"}), package(B, item("2")))
    step = made(event, Walmart({"1": line(), "2": line("B")}))
    assert statuses(step) == [("2", B, 1)]
    assert codes(step) == ["carrier_unmapped"]
    assert 'carrier "Speedy Freight" has no Walmart name in store main_store' in step.problems[0].message


def test_units_of_an_unmapped_carrier_that_are_shown_already_need_no_carrier() -> None:
    event = shipped(package(A, item("1"), carrier={"title": "Speedy Freight"}))
    step = made(event, Walmart({"1": line(ordered=1, **{A: 1})}))
    assert not step.problems


def test_an_unmapped_carrier_goes_as_other_with_the_events_url() -> None:
    event = shipped(package(C, item("1"), carrier={"title": "Speedy"}, tracking_url="https://s.example/1"))
    status = only(made(event, Walmart({"1": line()}), store={"unmapped_carrier": "other"}))
    assert (status.carrier, status.other_carrier, status.tracking_url) == (None, "Speedy", "https://s.example/1")


def test_an_unmapped_carrier_goes_as_other_with_the_stores_template() -> None:
    store = {"unmapped_carrier": "other", "tracking_url_template": "https://t.example/{tracking_number}"}
    event = shipped(package("pkg 3", item("1"), carrier={"code": "speedy"}))
    status = only(made(event, Walmart({"1": line()}), store=store))
    assert (status.other_carrier, status.tracking_url) == ("speedy", "https://t.example/pkg3")


def test_other_carrier_without_any_url_is_refused() -> None:
    event = shipped(package(C, item("1"), carrier={"title": "Speedy"}))
    assert codes(made(event, Walmart({"1": line()}), store={"unmapped_carrier": "other"})) == ["tracking_url_missing"]


@pytest.mark.parametrize(("number", "carrier"), [(A, "UPS"), (B, "USPS")])
def test_a_number_that_clearly_belongs_to_a_supported_carrier_never_leaves_as_other(number: str, carrier: str) -> None:
    event = shipped(package(number, item("1"), carrier={"title": "Speedy"}, tracking_url="https://s.example/1"))
    step = made(event, Walmart({"1": line()}), store={"unmapped_carrier": "other"})
    assert (only(step).carrier, only(step).other_carrier) == (carrier, None)
    assert warned(step) == {"carrier_corrected"}


def test_tracking_numbers_are_cleaned_with_a_warning() -> None:
    step = made(shipped(package("SF-44 1187", item("1"))), Walmart({"1": line()}))
    assert only(step).tracking_number == "SF441187"
    assert warned(step) == {"tracking_cleaned"}
    assert fates(step) == {("1", "SF-44 1187", "send"): 1}


@pytest.mark.parametrize("number", ["1796277083022", "1796-277083022", "000000123", "---"])
def test_a_number_that_is_the_orders_own_or_empty_when_cleaned_is_refused(number: str) -> None:
    assert codes(made(shipped(package(number, item("1"))), Walmart({"1": line()}))) == ["tracking_number_invalid"]


@pytest.mark.parametrize("number", [None, "", "   "])
def test_a_package_without_a_number_is_refused_and_its_sisters_go(number: str | None) -> None:
    event = shipped(package(number, item("1")), package(A, item("2")))
    step = made(event, Walmart({"1": line(), "2": line("B")}))
    assert statuses(step) == [("2", A, 1)]
    assert codes(step) == ["tracking_number_missing"]


def test_dealing_leaves_the_packages_without_a_number_their_share() -> None:
    """Sent again with the number, the same units go under it."""
    walmart = Walmart({"1": line(ordered=2)})
    assert codes(run(shipped(package(None), package(B), items=[item("1", 2)]), walmart)) == ["tracking_number_missing"]
    run(shipped(package(A), package(B), items=[item("1", 2)]), walmart)
    assert walmart.lines["1"].parcels == {A: 1, B: 1}


def test_ship_date_time_is_epoch_milliseconds_utc() -> None:
    event = shipped(package(A, item("1")), shipped_at="2026-11-18T12:26:40.250+01:00")
    assert only(made(event, Walmart({"1": line()}), now=1_796_000_000)).ship_date_time_ms == 1_795_001_200_250


@pytest.mark.parametrize(
    ("shipped_at", "sent"),
    [
        (NOW - 60, NOW - 60),
        (NOW + 599, NOW),
        (ORDERED_AT - 1, ORDERED_AT),
        (ORDERED_AT - 86_399, ORDERED_AT),
    ],
)
def test_a_ship_date_slightly_off_is_sent_as_the_nearest_allowed(shipped_at: float, sent: float) -> None:
    step = made(shipped(package(A, item("1")), shipped_at=iso(shipped_at)), Walmart({"1": line()}))
    assert only(step).ship_date_time_ms == int(sent * 1000)
    assert warned(step) == (set() if sent == shipped_at else {"ship_date_adjusted"})


@pytest.mark.parametrize("shipped_at", [NOW + 601, ORDERED_AT - 86_401])
def test_a_ship_date_beyond_is_invalid(shipped_at: float) -> None:
    step = made(shipped(package(A, item("1")), shipped_at=iso(shipped_at)), Walmart({"1": line()}))
    assert step.calls == ()
    assert codes(step) == ["ship_date_invalid"]


@pytest.mark.parametrize(("own", "sent"), [("Express", "Express"), ("value", "Value"), (None, "Standard")])
def test_method_code_is_the_orders_own(own: str | None, sent: str) -> None:
    assert only(made(shipped(package(A, item("1"))), Walmart({"1": line()}, method=own))).method_code == sent


def test_seller_order_id_is_the_commerce_order_id_at_most_30_characters() -> None:
    step = made(shipped(package(A, item("1")), commerce_order_id="x" * 31), Walmart({"1": line()}))
    (call,) = step.calls
    assert isinstance(call, Ship)
    assert call.seller_order_id == "x" * 30
    assert warned(step) == {"seller_order_id_cut"}


def test_the_return_address_is_passed_on_in_walmarts_words() -> None:
    address = {"address1": "1 Road", "city": "X", "state": "AL", "postal_code": "1", "country": "USA", "email": "a@b.c"}
    (call,) = made(shipped(package(A, item("1")), return_center_address=address), Walmart({"1": line()})).calls
    assert isinstance(call, Ship)
    assert call.return_address == {
        "address1": "1 Road",
        "city": "X",
        "state": "AL",
        "postalCode": "1",
        "country": "USA",
        "emailId": "a@b.c",
    }


def test_a_call_that_leaves_units_open_says_so() -> None:
    (call,) = made(shipped(package(A, item("1", 2), item("2"))), Walmart({"1": line(ordered=3), "2": line("B")})).calls
    assert call.leaves_units_open


def test_expected_are_totals_per_line_and_number() -> None:
    (call,) = made(shipped(package(A, item("1", 1, 3))), Walmart({"1": line(ordered=5, **{A: 1})})).calls
    assert [(units.line_number, units.quantity, units.tracking_number) for units in call.expected] == [("1", 3, A)]


# -- corrections


def correction(old: str, new: str, *items: dict[str, Any]) -> dict[str, Any]:
    return package(new, *items, replaces_tracking_number=old)


def test_a_correction_replaces_the_number_shown() -> None:
    walmart = Walmart({"1": line(ordered=2, OLD1=1)})
    step = made(shipped(correction("old-1", A, item("1"))), walmart)
    (call,) = step.calls
    assert isinstance(call, Correct)
    assert call.statuses[0].current_tracking_number == "OLD1"
    body: Any = call.body()
    assert body["orderShipment"]["processMode"] == "PARTIAL_UPDATE"
    assert step.operation == "correct"
    assert [mark.number for mark in step.marks] == ["OLD1"]


def test_a_correction_already_shown_is_done_and_still_marks_the_old_number() -> None:
    """It may have been corrected by hand: a repeat of the first shipment must not ship an open unit."""
    walmart = Walmart({"1": line(ordered=2, **{A: 1})})
    step = made(shipped(correction("OLD1", A, item("1"))), walmart)
    assert step.calls == ()
    assert not step.problems
    assert [mark.number for mark in step.marks] == ["OLD1"]


def test_a_correction_behind_an_unsettled_one_ships_nothing() -> None:
    """OLD1 -> OLD2 has not run: OLD1's shipment, replayed, would ship the units once more under the first number."""
    walmart = Walmart({"1": line(ordered=2)})
    step = made(shipped(correction("OLD2", A, item("1"))), walmart, memory=Memory(awaits_correction="OLD2".__eq__))
    assert (step.calls, step.marks) == ((), ())
    assert [problem.code for problem in step.problems] == ["correction_unmatched"]
    assert "replay that first" in step.problems[0].message
    assert not step.warnings


def test_a_correction_behind_an_unsettled_one_replaces_what_is_shown() -> None:
    walmart = Walmart({"1": line(ordered=2, OLD2=1)})
    step = made(shipped(correction("OLD2", A, item("1"))), walmart, memory=Memory(awaits_correction="OLD2".__eq__))
    (call,) = step.calls
    assert isinstance(call, Correct)
    assert not step.problems


def test_a_correction_with_nothing_shipped_yet_ships_with_the_new_number_and_a_warning() -> None:
    step = made(shipped(correction("OLD1", A, item("1"))), Walmart({"1": line(ordered=2)}))
    assert statuses(step) == [("1", A, 1)]
    assert warned(step) == {"corrected_before_shipping"}
    assert [mark.number for mark in step.marks] == ["OLD1"]


def test_a_correction_of_a_number_never_shown_on_a_shipped_line_is_unmatched() -> None:
    step = made(shipped(correction("OLD1", A, item("1"))), Walmart({"1": line(ordered=2, Z=1)}))
    assert step.calls == ()
    assert codes(step) == ["correction_unmatched"]
    assert step.marks == ()


def test_a_correction_of_a_cancelled_line_is_shipped_after_cancel() -> None:
    walmart = Walmart({"1": line()})
    walmart.lines["1"].acknowledged, walmart.lines["1"].cancelled = 0, 1
    assert codes(made(shipped(correction("OLD1", A, item("1"))), walmart)) == ["shipped_after_cancel"]


def test_a_correction_speaks_of_this_events_units_only_whatever_the_total() -> None:
    step = made(shipped(correction("OLD1", A, item("1", 1, 3))), Walmart({"1": line(ordered=3, OLD1=1, Z=2)}))
    assert not step.problems
    assert [status.quantity for call in step.calls if isinstance(call, Correct) for status in call.statuses] == [1]


def test_numbers_an_event_itself_corrects_away_are_superseded_from_the_start() -> None:
    event = shipped(package("N4", item("1")), correction("N4", "N5", item("1")))
    step = made(event, Walmart({"1": line(ordered=2)}))
    assert statuses(step) == [("1", "N5", 1)]
    assert step.superseded


def test_a_number_corrected_away_is_superseded_and_nothing_is_sent() -> None:
    step = made(
        shipped(package("old 1", item("1"))),
        Walmart({"1": line(ordered=2, **{A: 1})}),
        superseded={("1", "OLD1"): 1.0}.get,
    )
    assert step.calls == ()
    assert step.superseded
    assert warned(step) == {"tracking_superseded"}
    assert not step.problems


def test_a_later_correction_back_to_a_number_frees_it() -> None:
    walmart = Walmart({"1": line(ordered=2, B1=1)})
    step = made(shipped(correction("B1", "A1", item("1"))), walmart, superseded={("1", "A1"): 100.0}.get, at=101.0)
    assert isinstance(step.calls[0], Correct)
    assert step.frees == ()
    assert [(mark.number, mark.event_time) for mark in step.marks] == [("B1", 101.0)]
    walmart.lines["1"].parcels = {"A1": 1}
    step = made(shipped(correction("B1", "A1", item("1"))), walmart, superseded={("1", "A1"): 100.0}.get, at=101.0)
    assert step.frees == (("1", "A1"),)


@pytest.mark.parametrize("at", [99.0, 100.0])
def test_an_earlier_correction_repeated_after_a_later_one_is_superseded(at: float) -> None:
    walmart = Walmart({"1": line(ordered=2, A1=1)})
    step = made(shipped(correction("A1", "B1", item("1"))), walmart, superseded={("1", "B1"): 100.0}.get, at=at)
    assert step.calls == ()
    assert step.superseded
    assert step.marks == ()


def test_a_later_correction_away_renews_the_marker() -> None:
    walmart = Walmart({"1": line(ordered=2, Z1=1, Y=1)})
    step = made(shipped(correction("Z1", "C1", item("1"))), walmart, superseded={("1", "Z1"): 50.0}.get, at=100.0)
    assert [(mark.number, mark.event_time) for mark in step.marks] == [("Z1", 100.0)]


def test_a_marker_is_not_written_again_for_the_same_correction() -> None:
    walmart = Walmart({"1": line(ordered=1, A1=1)})
    step = made(shipped(correction("Z1", "A1", item("1"))), walmart, superseded={("1", "Z1"): 100.0}.get, at=100.0)
    assert step.marks == ()
    assert step.frees == ()
