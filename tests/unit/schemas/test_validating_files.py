"""`order-sync schemas validate`: what it says about a file."""

from __future__ import annotations

import copy
import json
from random import Random
from typing import Any

import pytest

from schemas.validate import EventReport, validate
from tests.mutations import EXAMPLES, example_events, example_records, mutate

EVENTS = {event["id"]: event for event in example_events()}
SHIP = EVENTS["shipment-000000124-1"]
CANCEL = EVENTS["cancel-000000125-1"]
PACKAGE = SHIP["data"]["packages"][0]


def changed(event: dict[str, Any], **data: Any) -> dict[str, Any]:
    other = copy.deepcopy(event)
    other["data"].update(data)
    return other


def only(event: dict[str, Any]) -> EventReport:
    report = validate(json.dumps(event))
    assert report.unreadable is None
    (told,) = report.events
    return told


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("order-*.json")), ids=lambda path: path.stem)
def test_every_example_is_fine(path: Any) -> None:
    report = validate(path.read_bytes())
    assert report.ok, report


def test_a_mistake_is_told_with_field_value_and_hint() -> None:
    told = only(changed(SHIP, shipment_id=46))
    assert not told.ok
    (problem,) = told.problems
    assert (problem.field, problem.value_shown) == ("data.shipment_id", "46")
    assert problem.message.endswith('write "46"')
    assert (told.id, told.purchase_order_id) == (SHIP["id"], SHIP["data"]["purchase_order_id"])


def test_arrays() -> None:
    report = validate(json.dumps([SHIP, changed(CANCEL, store=None), 7]))
    assert [(event.place, event.ok) for event in report.events] == [
        ("event 1", True),
        ("event 2", False),
        ("event 3", False),
    ]
    assert not report.ok


def test_lines() -> None:
    report = validate("\n".join(["", json.dumps(SHIP), "", json.dumps(CANCEL), '{"broken"}']))
    assert [(event.place, event.ok) for event in report.events] == [
        ("line 2", True),
        ("line 4", True),
        ("line 5", False),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "empty"), (" \n", "empty"), ("[]", "array is empty"), ("{\n", "not JSON"), ("hello\nworld", "not JSON")],
)
def test_no_event_at_all(text: str, says: str) -> None:
    report = validate(text)
    assert not report.ok
    assert report.unreadable is not None
    assert says in report.unreadable


def test_a_pretty_printed_broken_file_is_not_taken_for_lines() -> None:
    report = validate(json.dumps(SHIP, indent=2)[:-2])
    assert report.unreadable is not None


class TestAdvice:
    def test_none_for_a_good_event(self) -> None:
        assert only(SHIP).advice == ()
        assert only(CANCEL).advice == ()

    @pytest.mark.parametrize(
        ("event", "field"),
        [
            ({key: value for key, value in SHIP.items() if key != "time"}, "time"),
            (changed(SHIP, shipped_at="2026-11-20T16:03:58Z"), "data.shipped_at"),
            (changed(SHIP, packages=[{**PACKAGE, "tracking_number": " "}]), "data.packages.0.tracking_number"),
            (changed(SHIP, packages=[PACKAGE, PACKAGE]), "data.packages.1.tracking_number"),
            (changed(SHIP, packages=[{**PACKAGE, "items": [{"sku": "A", "quantity": 1}]}]), "data.packages.0.items"),
            (
                changed(SHIP, packages=[{**PACKAGE, "replaces_tracking_number": PACKAGE["tracking_number"]}]),
                "data.packages.0.replaces_tracking_number",
            ),
            (
                changed(
                    SHIP,
                    packages=[{"carrier": {"code": "ups"}, "tracking_number": str(number)} for number in range(2)],
                    items=[{"sku": "A", "quantity": 1}],
                ),
                "data.items",
            ),
            (changed(CANCEL, items=None), "data.items"),
            (changed(CANCEL, items=[{"sku": "A", "cancelled_total": 0, "shipped_total": 1}]), "data.items"),
            (changed(CANCEL, reason=None), "data.reason"),
            (changed(CANCEL, reason={"code": ""}), "data.reason"),
            (changed(CANCEL, cancelled_at="2026-11-21T16:03:58Z"), "data.cancelled_at"),
        ],
    )
    def test_legal_but_disappointing(self, event: dict[str, Any], field: str) -> None:
        told = only(event)
        assert told.ok, told
        assert [advice.field for advice in told.advice] == [field]

    def test_an_identity_used_twice(self) -> None:
        first, second = validate(json.dumps([SHIP, SHIP])).events
        assert first.advice == ()
        assert "event 1" in second.advice[0].message


def test_broken_files_never_raise() -> None:
    rng = Random(5)
    records = example_records()
    for _ in range(1_000):
        value = mutate(rng.choice(records), rng).value or b""
        report = validate(value)
        assert report.unreadable is not None or report.events
        assert validate(value.decode("utf-8", "surrogateescape")) is not None
