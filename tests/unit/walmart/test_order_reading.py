"""Walmart's order: every published example is read, odd shapes never raise anything else."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

import schemas.walmart
from schemas.walmart.carriers import CARRIERS, METHOD_CODES
from schemas.walmart.order import (
    Order,
    OrderLine,
    OrderUnreadableError,
    Parcel,
    _plain_line,
    _read_line,
    read_order,
)

OPENAPI = Path(schemas.walmart.__file__).parent / "openapi"
EXAMPLES = sorted(path for path in OPENAPI.glob("*response.example*.json") if not path.name.startswith("list"))


def load(name: str) -> Any:
    return orjson.loads((OPENAPI / name).read_bytes())


def line(**changes: Any) -> dict[str, Any]:
    base = {
        "lineNumber": "1",
        "item": {"sku": "A"},
        "orderLineQuantity": {"unitOfMeasurement": "EACH", "amount": "3"},
        "orderLineStatuses": {"orderLineStatus": [status("Acknowledged", "3")]},
    }
    return base | changes


def status(name: Any, amount: Any, **more: Any) -> dict[str, Any]:
    return {"status": name, "statusQuantity": {"unitOfMeasurement": "EACH", "amount": amount}, **more}


def statuses(*entries: Any) -> dict[str, Any]:
    return {"orderLineStatuses": {"orderLineStatus": list(entries)}}


def order(*lines: Any, **changes: Any) -> dict[str, Any]:
    return {"order": {"purchaseOrderId": "1", "orderLines": {"orderLine": list(lines)}} | changes}


def only_line(body: Any) -> OrderLine:
    (read,) = read_order(body).lines
    return read


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_read(path: Path) -> None:
    body = orjson.loads(path.read_bytes())
    read = read_order(body)
    source = body["order"]
    assert read.purchase_order_id == source["purchaseOrderId"]
    assert [entry.line_number for entry in read.lines] == [
        entry["lineNumber"] for entry in source["orderLines"]["orderLine"]
    ]
    assert read.method_code in METHOD_CODES
    assert read.order_date_ms == source["orderDate"]
    for entry in read.lines:
        assert entry.sku
        assert entry.ordered == entry.open + entry.cancelled + entry.shipped
    assert read_order(source) == read, "without the wrapper"


def test_orders_of_the_list_example_are_read() -> None:
    found = load("list_orders_response.example.json")["list"]["elements"]["order"]
    assert found
    for source in found:
        assert read_order(source).purchase_order_id == source["purchaseOrderId"]


def test_the_shipped_example() -> None:
    read = read_order(load("ship_response.example.json"))
    assert read.status == "shipped"
    assert read.lines[0].parcels[0].carrier in CARRIERS
    assert read.lines[0].parcels[0].tracking_number


def test_quantities_over_several_statuses() -> None:
    tracking = {"trackingNumber": "1Z", "carrierName": {"otherCarrier": "Speedy"}}
    entries = [
        status("Created", "1"),
        status("Acknowledged", "2"),
        status("Canceled", "3"),
        status("Shipped", "4", trackingInfo=tracking),
        status("delivered", 5),
        status("Refund", "6.0", trackingInfo=None),
    ]
    read = only_line(order(line(orderLineQuantity={"amount": "21"}, **statuses(*entries))))
    assert (read.created, read.acknowledged, read.cancelled, read.shipped, read.open) == (1, 2, 3, 15, 3)
    assert read.parcels == (Parcel("1Z", 4, "Speedy"), Parcel(None, 5), Parcel(None, 6))


def test_one_object_instead_of_a_list() -> None:
    body = order()
    body["order"]["orderLines"] = {"orderLine": line(orderLineStatuses={"orderLineStatus": status("Created", "3")})}
    assert only_line(body).created == 3


def test_lists_without_their_inner_name() -> None:
    body = order()
    body["order"]["orderLines"] = [line(orderLineStatuses=[status("Created", "3")])]
    assert only_line(body).created == 3


@pytest.mark.parametrize(
    ("value", "asked"),
    [
        (None, False),
        ("false", False),
        ("", False),
        ("N", False),
        (False, False),
        ("true", True),
        (True, True),
        ("Y", True),
    ],
)
def test_buyer_asked_to_cancel(value: Any, asked: bool) -> None:
    assert only_line(order(line(intentToCancel=value))).buyer_asked_to_cancel is asked


@pytest.mark.parametrize(
    ("value", "milliseconds"),
    [
        (1_568_466_571_000, 1_568_466_571_000),
        ("1568466571000", 1_568_466_571_000),
        ("2019-09-14T13:09:31Z", 1_568_466_571_000),
        ("2019-09-14T15:09:31+02:00", 1_568_466_571_000),
        ("2019-09-14T13:09:31", 1_568_466_571_000),
        (None, None),
        (True, None),
        ("soon", None),
        ("²", None),
        ("9" * 5_000, None),
        (float("inf"), None),
        (float("nan"), None),
        (-1, None),
        ({}, None),
    ],
)
def test_order_date(value: Any, milliseconds: int | None) -> None:
    assert read_order(order(line(), orderDate=value)).order_date_ms == milliseconds


def test_a_missing_quantity_follows_from_the_others() -> None:
    """A line whose units are not said must not look shipped."""
    alone = only_line(order(line(**statuses({"status": "Acknowledged"}))))
    assert (alone.acknowledged, alone.shipped) == (3, 0)
    two = only_line(order(line(**statuses(status("Cancelled", "1"), status("Created", None)))))
    assert (two.created, two.cancelled, two.shipped) == (2, 1, 0)
    ordered = only_line(order(line(orderLineQuantity=None, **statuses(status("Shipped", "2"), status("Created", "1")))))
    assert (ordered.ordered, ordered.shipped, ordered.open) == (3, 2, 1)


@pytest.mark.parametrize(
    "broken",
    [
        line(orderLineStatuses=None),
        line(orderLineStatuses={}),
        line(orderLineStatuses={"orderLineStatus": []}),
        line(**statuses(None)),
        line(**statuses({"statusQuantity": {"amount": "3"}})),
        line(**statuses({"status": "Created"}, {"status": "Shipped"})),
        line(orderLineQuantity=None, **statuses({"status": "Created"})),
        line(lineNumber=None),
        line(lineNumber=""),
        line(lineNumber={}),
        None,
        "1",
        [],
    ],
)
def test_a_line_that_says_too_little_is_no_line(broken: Any) -> None:
    with pytest.raises(OrderUnreadableError):
        read_order(order(line(lineNumber="2"), broken))


@pytest.mark.parametrize(
    "body",
    [None, [], "text", 7, {}, {"order": None}, {"order": []}, order(), order(line(), purchaseOrderId=None),
     order(line(), purchaseOrderId=""), order(line(), purchaseOrderId={"a": 1}), {"errors": {"error": []}}],
)  # fmt: skip
def test_no_order(body: Any) -> None:
    with pytest.raises(OrderUnreadableError):
        read_order(body)


def test_absurd_numbers() -> None:
    """Numbers too long for a text, or beyond what any line can hold."""
    for absurd in (10**5_000, -(10**5_000), "9" * 5_000, float("inf")):
        with pytest.raises(OrderUnreadableError):
            read_order(order(line(**statuses(status("Created", absurd), status("Shipped", absurd)))))
        assert read_order(order(line(item={"sku": absurd}), orderDate=absurd)).order_date_ms is None
    with pytest.raises(OrderUnreadableError):
        read_order(order(line(), purchaseOrderId=10**5_000))


def test_numbers_for_texts() -> None:
    body = order(line(lineNumber=1, item={"sku": 42}), purchaseOrderId=1_815_367_951_431)
    read = read_order(body)
    assert read.purchase_order_id == "1815367951431"
    assert read.by_number["1"].sku == "42"


def test_lines_with_one_number_are_one_line() -> None:
    read = read_order(order(line(), line(**statuses(status("Shipped", "3"))), line(lineNumber="2")))
    assert [(entry.line_number, entry.ordered, entry.open, entry.shipped) for entry in read.lines] == [
        ("1", 6, 3, 3),
        ("2", 3, 3, 0),
    ]
    assert read.by_number["1"] is read.lines[0]


def test_status_words_and_wfs() -> None:
    shipped, cancelled = line(**statuses(status("Shipped", "3"))), line(**statuses(status("Cancelled", "3")))
    cases = [
        ([line()], "open"),
        ([line(), shipped | {"lineNumber": "2"}], "partially_shipped"),
        ([shipped, cancelled | {"lineNumber": "2"}], "shipped"),
        ([cancelled], "cancelled"),
    ]
    assert [read_order(order(*lines)).status for lines, _ in cases] == [word for _, word in cases]
    assert read_order(order(line(), shipNode={"type": "WFSFulfilled"})).fulfilled_by_walmart
    assert not read_order(order(line(), shipNode={"type": "SellerFulfilled"})).fulfilled_by_walmart
    assert not read_order(order(line(), shipNode=None)).fulfilled_by_walmart


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["1", "Shipped", "Created", "0", "-1", "1e400", "NaN", 10**400, "true"])
)
NAMES = st.sampled_from(
    ["order", "purchaseOrderId", "orderLines", "orderLine", "lineNumber", "orderLineStatuses", "orderLineStatus",
     "status", "statusQuantity", "amount", "trackingInfo", "carrierName", "carrier", "trackingNumber", "item", "sku",
     "orderLineQuantity", "orderDate", "shippingInfo", "methodCode", "shipNode", "type", "intentToCancel"]
)  # fmt: skip
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner), max_leaves=30
)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        found += _paths(inner, (*path, name))
    return found


EXAMPLE = load("ship_response.example.json")
PLACES = _paths(EXAMPLE)[1:]


@given(ANYTHING)
def test_anything_is_an_order_or_unreadable(body: Any) -> None:
    _read_or_unreadable(body)


@given(st.lists(st.tuples(st.sampled_from(PLACES), ANYTHING), min_size=1, max_size=3))
def test_a_mutated_example_is_an_order_or_unreadable(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    body = copy.deepcopy(EXAMPLE)
    for path, value in changes:
        holder = body
        try:
            for name in path[:-1]:
                holder = holder[name]
            holder[path[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue
    _read_or_unreadable(body)


def _read_or_unreadable(body: Any) -> None:
    try:
        read = read_order(body)
    except OrderUnreadableError:
        return
    assert isinstance(read, Order)
    assert read.lines
    assert len(read.by_number) == len(read.lines)
    for entry in read.lines:
        assert min(entry.ordered, entry.created, entry.acknowledged, entry.cancelled, entry.shipped) >= 0
    assert read.status in ("open", "partially_shipped", "shipped", "cancelled")
    hash(read)


LINE = line(**statuses(status("Acknowledged", "1"), status("Shipped", "2", trackingInfo={"trackingNumber": "1Z"})))
LINE_PLACES = _paths(LINE)[1:]
ODD = SCALARS | st.sampled_from(["Delivered", "Cancelled", "Refund", " created ", "٣", "0000000001", {}, [], [{}], "²"])


@given(st.lists(st.tuples(st.sampled_from(LINE_PLACES), ODD), max_size=3), st.none() | ODD)
def test_the_short_way_and_the_long_way_lead_to_the_same(
    changes: list[tuple[tuple[Any, ...], Any]], asked_to_cancel: Any
) -> None:
    """A line as documented is read in a few steps; everything else at length."""
    assert _plain_line(LINE) == _read_line(LINE)
    changed = copy.deepcopy(LINE)
    if asked_to_cancel is not None:
        changed["intentToCancel"] = asked_to_cancel
    for path, value in changes:
        holder: Any = changed
        for name in path[:-1]:
            holder = holder[name] if isinstance(holder, dict | list) and holder else {}
        if isinstance(holder, dict) or (isinstance(holder, list) and path[-1] in range(len(holder))):
            holder[path[-1]] = value
    plain = _plain_line(changed)
    if plain is not None:
        assert plain == _read_line(changed)
