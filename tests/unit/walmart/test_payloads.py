"""Request bodies: they say what was asked for, and validate against Walmart's own schemas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import schemas.walmart
from schemas.walmart.cancellation import CancelLine, cancel_body
from schemas.walmart.carriers import CARRIERS, METHOD_CODES
from schemas.walmart.inventory import inventory_body
from schemas.walmart.shipment import ShipStatus, ship_body

OPENAPI = Path(schemas.walmart.__file__).parent / "openapi"


def load(name: str) -> Any:
    return orjson.loads((OPENAPI / name).read_bytes())


SHIP_SCHEMA = load("ship_request.schema.json")
SHIP = Draft202012Validator(SHIP_SCHEMA)
CANCEL_SCHEMA = load("cancel_request.schema.json")
CANCEL = Draft202012Validator(CANCEL_SCHEMA)
INVENTORY = Draft202012Validator(load("inventory_put_request.schema.json"))
ADDRESS = {"address1": "1 Main St", "city": "Huntsville", "state": "AL", "postalCode": "35805", "country": "USA"}


def status(**changes: Any) -> ShipStatus:
    base: dict[str, Any] = {
        "line_number": "1",
        "quantity": 1,
        "tracking_number": "22344",
        "ship_date_time_ms": 1_580_821_866_000,
        "method_code": "Standard",
        "carrier": "UPS",
        "other_carrier": None,
        "tracking_url": None,
    }
    return ShipStatus(**(base | changes))


def body_of(*entries: ShipStatus, **changes: Any) -> dict[str, Any]:
    options: dict[str, Any] = {
        "seller_order_id": "92344",
        "intent_to_cancel_override": False,
        "return_center_address": None,
    }
    return ship_body(entries, **(options | changes))


def lines_of(body: Any) -> list[Any]:
    lines = next(iter(body.values()))["orderLines"]["orderLine"]
    assert isinstance(lines, list)
    return lines


def _inner(schema: Any, *names: str) -> Any:
    for name in names:
        schema = schema["items"] if name == "[]" else schema["properties"][name]
    return schema


def test_carriers_and_methods_are_those_of_the_schema() -> None:
    tracking = _inner(
        SHIP_SCHEMA, "orderShipment", "orderLines", "orderLine", "[]", "orderLineStatuses", "orderLineStatus", "[]",
        "trackingInfo",
    )  # fmt: skip
    assert set(_inner(tracking, "carrierName", "carrier")["enum"]) == CARRIERS
    assert set(_inner(tracking, "methodCode")["enum"]) == METHOD_CODES


def test_the_published_example_can_be_built() -> None:
    """Line 1 and 2 of Walmart's own example, field for field."""
    example = load("ship_request.example.json")
    wanted = lines_of(example)
    built = []
    for entry in wanted:
        (shown,) = entry["orderLineStatuses"]["orderLineStatus"]
        tracking = shown["trackingInfo"]
        built.append(
            status(
                line_number=entry["lineNumber"],
                carrier=tracking["carrierName"]["carrier"],
                method_code=tracking["methodCode"],
                tracking_url=tracking["trackingURL"],
            )
        )
    wanted[0].pop("intentToCancelOverride")  # false is the default and left out
    address = wanted[0]["orderLineStatuses"]["orderLineStatus"][0]["returnCenterAddress"]
    assert body_of(*built, return_center_address=address) == example


def test_the_published_cancel_example_can_be_built() -> None:
    example = load("cancel_request.example.json")
    lines = []
    for entry in lines_of(example):
        (shown,) = entry["orderLineStatuses"]["orderLineStatus"]
        quantity = int(shown["statusQuantity"]["amount"])
        lines.append(CancelLine(entry["lineNumber"], quantity, shown["cancellationReason"]))
        assert shown["statusQuantity"].pop("unitOfMeasurement") in ("EA", "EACH")  # the schema knows both
        shown["statusQuantity"]["unitOfMeasurement"] = "EACH"
    assert cancel_body(lines) == example


def test_packages_of_one_line_stand_together() -> None:
    """A line number appears once, also where its packages do not follow one another."""
    body = body_of(
        status(tracking_number="A"),
        status(line_number="2"),
        status(tracking_number="B", quantity=2),
        seller_order_id="x",
    )
    first, second = lines_of(body)
    assert (first["lineNumber"], second["lineNumber"]) == ("1", "2")
    shown = first["orderLineStatuses"]["orderLineStatus"]
    assert [entry["trackingInfo"]["trackingNumber"] for entry in shown] == ["A", "B"]
    assert [entry["statusQuantity"] for entry in shown] == [
        {"unitOfMeasurement": "EACH", "amount": "1"},
        {"unitOfMeasurement": "EACH", "amount": "2"},
    ]
    assert SHIP.is_valid(body)


def test_other_carrier_has_a_url() -> None:
    body = body_of(status(carrier=None, other_carrier="Speedy", tracking_url="https://t.example/1"))
    tracking = lines_of(body)[0]["orderLineStatuses"]["orderLineStatus"][0]["trackingInfo"]
    assert tracking["carrierName"] == {"otherCarrier": "Speedy"}
    assert tracking["trackingURL"] == "https://t.example/1"


def test_correction() -> None:
    body = body_of(status(tracking_number="NEW", current_tracking_number="OLD"), partial_update=True)
    shipment = body["orderShipment"]
    assert isinstance(shipment, dict)
    assert shipment["processMode"] == "PARTIAL_UPDATE"
    shown = lines_of(body)[0]["orderLineStatuses"]["orderLineStatus"][0]
    assert shown["currentTrackingInfo"] == {"trackingNumber": "OLD"}
    assert shown["trackingInfo"]["trackingNumber"] == "NEW"


def test_a_first_shipment_has_no_process_mode() -> None:
    body = body_of(status())
    assert "processMode" not in str(body)
    assert "currentTrackingInfo" not in str(body)
    assert "intentToCancelOverride" not in str(body)
    assert "returnCenterAddress" not in str(body)


def test_seller_order_id() -> None:
    """At most 30 characters; left out where there is none."""
    assert lines_of(body_of(status(), seller_order_id="9" * 31))[0]["sellerOrderId"] == "9" * 30
    assert "sellerOrderId" not in lines_of(body_of(status(), seller_order_id=None))[0]


def test_override_is_a_boolean_on_each_line() -> None:
    body = body_of(status(), status(line_number="2"), intent_to_cancel_override=True)
    assert [entry["intentToCancelOverride"] for entry in lines_of(body)] == [True, True]


@pytest.mark.parametrize(
    "changes",
    [
        {"carrier": None},
        {"other_carrier": "X", "tracking_url": "https://x"},
        {"carrier": None, "other_carrier": "X"},
        {"quantity": 0},
        {"tracking_number": ""},
    ],
)
def test_what_the_schema_rules_out_cannot_be_built(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"carrier|package"):
        status(**changes)


def test_nothing_is_no_body() -> None:
    with pytest.raises(ValueError, match="nothing"):
        body_of()
    with pytest.raises(ValueError, match="nothing"):
        cancel_body([])
    with pytest.raises(ValueError, match="unit"):
        CancelLine("1", 0, "SELLER_CANCEL_OUT_OF_STOCK")
    with pytest.raises(ValueError, match="below 0"):
        inventory_body("A", -1)


TEXT = st.text(min_size=1, max_size=40)
LINE = st.sampled_from(["1", "2", "4", "17"])
AMOUNT = st.integers(1, 1_000_000)


@st.composite
def ship_statuses(draw: st.DrawFn) -> ShipStatus:
    listed = draw(st.booleans())
    return ShipStatus(
        line_number=draw(LINE),
        quantity=draw(AMOUNT),
        tracking_number=draw(TEXT),
        ship_date_time_ms=draw(st.integers(0, 2**53)),
        method_code=draw(st.sampled_from(sorted(METHOD_CODES))),
        carrier=draw(st.sampled_from(sorted(CARRIERS))) if listed else None,
        other_carrier=None if listed else draw(TEXT),
        tracking_url=draw(st.none() | TEXT) if listed else draw(TEXT),
        current_tracking_number=draw(st.none() | TEXT),
    )


@given(
    st.lists(ship_statuses(), min_size=1, max_size=6),
    TEXT,
    st.booleans(),
    st.none() | st.just(ADDRESS),
    st.booleans(),
)
def test_every_shipment_validates_and_loses_nothing(
    entries: list[ShipStatus], seller: str, override: bool, address: dict[str, str] | None, update: bool
) -> None:
    body = ship_body(
        entries,
        seller_order_id=seller,
        intent_to_cancel_override=override,
        return_center_address=address,
        partial_update=update,
    )
    SHIP.validate(body)
    orjson.dumps(body)
    numbers = [entry["lineNumber"] for entry in lines_of(body)]
    assert len(numbers) == len(set(numbers))
    shown = sorted(
        (entry["lineNumber"], int(status["statusQuantity"]["amount"]), status["trackingInfo"]["trackingNumber"])
        for entry in lines_of(body)
        for status in entry["orderLineStatuses"]["orderLineStatus"]
    )
    assert shown == sorted((entry.line_number, entry.quantity, entry.tracking_number) for entry in entries)


REASONS = _inner(
    CANCEL_SCHEMA, "orderCancellation", "orderLines", "orderLine", "[]", "orderLineStatuses", "orderLineStatus", "[]",
    "cancellationReason",
)["enum"]  # fmt: skip


@given(st.lists(st.builds(CancelLine, LINE, AMOUNT, st.sampled_from(REASONS)), min_size=1, max_size=6))
def test_every_cancellation_validates(lines: list[CancelLine]) -> None:
    body = cancel_body(lines)
    CANCEL.validate(body)
    numbers = [entry["lineNumber"] for entry in lines_of(body)]
    assert len(numbers) == len(set(numbers))
    shown = [status for entry in lines_of(body) for status in entry["orderLineStatuses"]["orderLineStatus"]]
    assert len(shown) == len(lines)


@given(TEXT, st.integers(0, 1_000_000))
def test_every_inventory_validates(sku: str, quantity: int) -> None:
    INVENTORY.validate(inventory_body(sku, quantity))


def test_a_wrong_body_would_be_found() -> None:
    """The schemas do refuse: a number where Walmart wants a text."""
    body = body_of(status())
    lines_of(body)[0]["orderLineStatuses"]["orderLineStatus"][0]["statusQuantity"]["amount"] = 1
    assert not SHIP.is_valid(body)
