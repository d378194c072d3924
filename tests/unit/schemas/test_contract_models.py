"""Rules of the two events' data that types alone cannot say."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.events import MAX_ITEMS, MAX_ITEMS_IN_ALL, MAX_PACKAGES, OrderCancelled, OrderShipped
from schemas.problems import Problem, problems_of
from tests.mutations import example_events

EXAMPLES = {event["id"]: event["data"] for event in example_events()}


@pytest.fixture
def ship() -> dict[str, Any]:
    return copy.deepcopy(EXAMPLES["shipment-000000123-1"])


@pytest.fixture
def cancel() -> dict[str, Any]:
    return copy.deepcopy(EXAMPLES["cancel-000000123-1"])


def problems(model: type[OrderShipped | OrderCancelled], data: Any) -> dict[str, Problem]:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(data)
    return {problem.field: problem for problem in problems_of(caught.value, "data")}


@pytest.mark.parametrize("quantity", [0, -1, 1.0, 1.5, "1", True, None, [], 1_000_001, 10**30])
def test_quantities_are_whole_numbers_from_one(ship: dict[str, Any], quantity: Any) -> None:
    ship["packages"][0]["items"] = [{"line_number": "1", "quantity": quantity}]
    assert set(problems(OrderShipped, ship)) == {"data.packages.0.items.0.quantity"}


def test_totals_may_be_zero(cancel: dict[str, Any]) -> None:
    cancel["items"] = [{"line_number": "1", "cancelled_total": 0, "shipped_total": 0}]
    assert OrderCancelled.model_validate(cancel).items is not None


def test_a_number_as_text_field_gets_a_hint(ship: dict[str, Any]) -> None:
    ship["packages"][0]["items"][0]["line_number"] = 1
    problem = problems(OrderShipped, ship)["data.packages.0.items.0.line_number"]
    assert problem.message == 'must be a text, not a number: write "1"'
    assert problem.value_shown == "1"


def test_an_item_has_one_address(ship: dict[str, Any]) -> None:
    ship["packages"][0]["items"] = [{"quantity": 1}, {"line_number": "1", "sku": "A", "quantity": 1}]
    assert set(problems(OrderShipped, ship)) == {"data.packages.0.items.0.line_number", "data.packages.0.items.1.sku"}


def test_null_and_absent_mean_the_same(ship: dict[str, Any]) -> None:
    bare = OrderShipped.model_validate(ship)
    ship.update(items=None, return_center_address=None, intent_to_cancel_override=None)
    ship["packages"][0]["items"][0]["sku"] = None
    ship["packages"][1]["carrier"]["code"] = None
    assert OrderShipped.model_validate(ship) == bare


def test_unknown_fields_are_tolerated(ship: dict[str, Any]) -> None:
    known = OrderShipped.model_validate(ship)
    ship["weight"] = 3
    ship["packages"][0]["dimensions"] = {"unit": "cm"}
    assert OrderShipped.model_validate(ship) == known


@pytest.mark.parametrize("override", ["true", 1, "", []])
def test_the_override_is_true_or_false(ship: dict[str, Any], override: Any) -> None:
    ship["intent_to_cancel_override"] = override
    assert set(problems(OrderShipped, ship)) == {"data.intent_to_cancel_override"}


def test_items_stand_in_every_package_or_once(ship: dict[str, Any]) -> None:
    ship["items"] = [{"line_number": "1", "quantity": 1, "tracking_total": 1}]
    del ship["packages"][1]["items"]
    assert set(problems(OrderShipped, ship)) == {"data.packages.0.items", "data.items.0.tracking_total"}
    del ship["items"]
    assert set(problems(OrderShipped, ship)) == {"data.packages.1.items"}


@pytest.mark.parametrize("value", [[], None])
def test_there_is_at_least_one_package(ship: dict[str, Any], value: Any) -> None:
    ship["packages"] = value
    assert set(problems(OrderShipped, ship)) == {"data.packages"}


def test_a_package_without_tracking_number_is_no_mistake_of_the_event(ship: dict[str, Any]) -> None:
    """It fails alone, later; its sisters go."""
    for number in (None, "", "  "):
        ship["packages"][0]["tracking_number"] = number
        OrderShipped.model_validate(ship)


def test_a_total_under_a_number_includes_the_quantity(ship: dict[str, Any]) -> None:
    ship["packages"][0]["items"] = [{"line_number": "1", "quantity": 2, "tracking_total": 1}]
    problem = problems(OrderShipped, ship)["data.packages.0.items.0.tracking_total"]
    assert problem.value_shown == "1"
    assert "at least the quantity (2)" in problem.message


def test_an_empty_list_of_cancelled_items_is_a_mistake(cancel: dict[str, Any]) -> None:
    cancel["items"] = []
    assert problems(OrderCancelled, cancel)["data.items"].message == "must not be an empty list"
    del cancel["items"]
    assert OrderCancelled.model_validate(cancel).items is None


def test_totals_of_a_line_are_given_once(cancel: dict[str, Any]) -> None:
    item = {"line_number": "1", "cancelled_total": 1, "shipped_total": 0}
    cancel["items"] = [item, {**item, "line_number": "2"}, item]
    assert set(problems(OrderCancelled, cancel)) == {"data.items.2.line_number"}
    cancel["items"] = [item, {"sku": "1", "cancelled_total": 1, "shipped_total": 0}]
    OrderCancelled.model_validate(cancel)


@pytest.mark.parametrize("number", ["", "../1", "1/2", "1 2", "-1", "x" * 65, "1\n", "é"])
def test_a_purchase_order_id_fits_into_a_url(ship: dict[str, Any], number: str) -> None:
    ship["purchase_order_id"] = number
    assert set(problems(OrderShipped, ship)) == {"data.purchase_order_id"}


@pytest.mark.parametrize("text", ["a\x00", "\x1b[31m", "a\nb", "\x85"])
def test_texts_have_no_control_characters(ship: dict[str, Any], text: str) -> None:
    ship["shipment_id"] = text
    ship["packages"][0]["tracking_number"] = text
    told = problems(OrderShipped, ship)
    assert {problem.message for problem in told.values()} == {"must not contain control characters"}
    assert set(told) == {"data.shipment_id", "data.packages.0.tracking_number"}


def test_broken_rules_are_told_beside_broken_fields(ship: dict[str, Any]) -> None:
    """One round trip to the sender, not two."""
    ship["shipped_at"] = "soon"
    ship["packages"][0]["carrier"] = {"code": None}
    ship["packages"][1]["items"] = None
    assert set(problems(OrderShipped, ship)) == {
        "data.shipped_at",
        "data.packages.0.carrier",
        "data.packages.1.items",
    }


class TestLimits:
    """Sizes are looked at before entries: a wrong megabyte must not hold the worker for seconds."""

    def test_packages(self, ship: dict[str, Any]) -> None:
        ship["packages"] = [{}] * (MAX_PACKAGES + 1)
        told = problems(OrderShipped, ship)
        assert set(told) == {"data.packages"}
        assert f"at most {MAX_PACKAGES} entries, has {MAX_PACKAGES + 1}" in told["data.packages"].message

    def test_items_of_a_package(self, ship: dict[str, Any]) -> None:
        ship["packages"][0]["items"] = [{}] * (MAX_ITEMS + 1)
        assert set(problems(OrderShipped, ship)) == {"data.packages.0.items"}

    def test_items_of_all_packages(self, ship: dict[str, Any]) -> None:
        item = {"line_number": "1", "quantity": 1}
        ship["packages"] = [{"carrier": {"code": "ups"}, "items": [item] * MAX_ITEMS}] * 4
        assert OrderShipped.model_validate(ship)
        ship["packages"] += ship["packages"][:1]
        told = problems(OrderShipped, ship)
        assert f"at most {MAX_ITEMS_IN_ALL} items in all" in told["data.packages"].message

    @pytest.mark.parametrize("field", ["items", "inventory"])
    def test_lists_of_a_cancellation(self, cancel: dict[str, Any], field: str) -> None:
        cancel[field] = [{}] * (MAX_ITEMS + 1)
        assert set(problems(OrderCancelled, cancel)) == {f"data.{field}"}
