"""The rules of the ship call: first ship and correction."""

from __future__ import annotations

import time
from typing import Any

import pytest

from worker.sandbox.walmart.specs import LineChange, SwitchesSpec

OVERSHIPPED = "Qty OverShipped"
HOUR_MS = 3_600_000


def now_ms() -> int:
    return int(time.time() * 1000)


async def test_a_ship_call_answers_with_the_whole_order_and_charges_once(walmart: Any) -> None:
    po = await walmart.order(quantity=3, lines=2)
    reply = await walmart.api.ship(po, walmart.shipped("1", walmart.package(2, "1ZA")))
    assert reply.statuses(0) == {"Acknowledged": 1, "Shipped": 2}
    assert reply.statuses(1) == {"Acknowledged": 3}
    (entry,) = await walmart.control.journal(po, "shipped")
    assert entry.charged == 2
    assert (entry.by, entry.operation, entry.seller) == ("api", "ship", "client-a")
    assert entry.correlation_id
    assert [(line.line_number, line.quantity, line.tracking_number) for line in entry.lines] == [("1", 2, "1ZA")]
    state = await walmart.control.order(po)
    assert state.line("1").charged == 2
    assert state.line("1").tracking == {"1ZA": 2}
    assert state.line("1").seller_order_id == "000001234"


async def test_an_unacknowledged_line_does_not_ship(walmart: Any) -> None:
    po = await walmart.order(status="Created")
    refused = await walmart.api.ship(po, walmart.shipped())
    assert refused.status == 400
    assert refused.error["code"] == "INVALID_REQUEST_CONTENT.GMP_ORDER_API"
    assert (await walmart.api.acknowledge(po)).statuses() == {"Acknowledged": 1}
    assert (await walmart.api.ship(po, walmart.shipped())).statuses() == {"Shipped": 1}


async def test_a_second_full_ship_is_refused_and_charges_nothing(walmart: Any) -> None:
    po = await walmart.order()
    assert (await walmart.api.ship(po, walmart.shipped())).status == 200
    refused = await walmart.api.ship(po, walmart.shipped())
    assert refused.status == 400
    assert OVERSHIPPED in refused.error["description"]
    assert refused.error["field"] == "data"
    assert (await walmart.control.order(po)).line("1").charged == 1


async def test_a_repeated_partial_ship_charges_again(walmart: Any) -> None:
    """The trap the worker has to avoid: Walmart does not."""
    po = await walmart.order(quantity=3)
    for _ in range(3):
        assert (await walmart.api.ship(po, walmart.shipped())).status == 200
    assert (await walmart.control.order(po)).line("1").charged == 3
    assert (await walmart.api.ship(po, walmart.shipped())).status == 400


@pytest.mark.parametrize("quantities", [(4,), (2, 2)])
async def test_more_than_ordered_is_refused(walmart: Any, quantities: tuple[int, ...]) -> None:
    po = await walmart.order(quantity=3)
    packages = [walmart.package(quantity, f"1Z{place}") for place, quantity in enumerate(quantities)]
    assert OVERSHIPPED in (await walmart.api.ship(po, walmart.shipped("1", *packages))).error["description"]


async def test_one_bad_line_refuses_the_whole_call(walmart: Any) -> None:
    po = await walmart.order(lines=2)
    await walmart.api.ship(po, walmart.shipped("2"))
    refused = await walmart.api.ship(po, walmart.shipped("1"), walmart.shipped("2"))
    assert refused.status == 400
    assert (await walmart.control.order(po)).line("1").acknowledged == 1
    assert len(await walmart.control.journal(po, "shipped")) == 1


async def test_two_packages_of_one_line_in_one_call(walmart: Any) -> None:
    po = await walmart.order(quantity=2)
    line = walmart.shipped("1", walmart.package(1, "1ZA"), walmart.package(1, "1ZB"))
    assert (await walmart.api.ship(po, line)).statuses() == {"Shipped": 2}
    assert (await walmart.control.order(po)).line("1").tracking == {"1ZA": 1, "1ZB": 1}


@pytest.mark.parametrize(
    ("info", "field"),
    [
        ({"methodCode": "Ground"}, "methodCode"),
        ({"carrierName": {"carrier": "FEDEX"}}, "carrier"),
        ({"carrierName": {}}, "carrierName"),
        ({"carrierName": {"carrier": "UPS", "otherCarrier": "X"}}, "carrierName"),
        ({"carrierName": {"otherCarrier": "Bike Courier"}}, "trackingURL"),
        ({"trackingNumber": ""}, "trackingNumber"),
        ({"trackingNumber": "1Z-999"}, "trackingNumber"),
        ({"trackingNumber": "1Z 999"}, "trackingNumber"),
        ({"trackingNumber": 12345}, "trackingNumber"),
        ({"shipDateTime": "2026-11-20T15:03:58Z"}, "shipDateTime"),
        ({"shipDateTime": 637449042980494000}, "shipDateTime"),
        ({"shipDateTime": now_ms() + HOUR_MS}, "shipDateTime"),
        ({"shipDateTime": now_ms() - 48 * HOUR_MS}, "shipDateTime"),
    ],
)
async def test_bad_tracking_info_is_refused(walmart: Any, info: dict[str, Any], field: str) -> None:
    po = await walmart.order()
    refused = await walmart.api.ship(po, walmart.shipped("1", walmart.package(**info)))
    assert refused.status == 400
    assert refused.error["field"] == field
    assert refused.error["code"] == "INVALID_REQUEST_CONTENT.GMP_ORDER_API"
    assert not await walmart.control.journal(po, "shipped")


async def test_the_documented_text_for_a_bad_method_code(walmart: Any) -> None:
    po = await walmart.order()
    refused = await walmart.api.ship(po, walmart.shipped("1", walmart.package(methodCode="Ground")))
    assert refused.body == {
        "errors": {
            "error": [
                {
                    "code": "INVALID_REQUEST_CONTENT.GMP_ORDER_API",
                    "field": "methodCode",
                    "description": "Method code is not supported in line number 1",
                    "info": "Request content is invalid.",
                    "severity": "ERROR",
                    "category": "DATA",
                    "causes": [],
                    "errorIdentifiers": {"entry": []},
                }
            ]
        }
    }


async def test_a_tracking_number_that_is_the_order_number_is_refused(walmart: Any) -> None:
    po = await walmart.order()
    customer_order = (await walmart.control.order(po)).customer_order_id
    for number in (po, customer_order):
        refused = await walmart.api.ship(po, walmart.shipped("1", walmart.package(1, number)))
        assert refused.error["field"] == "trackingNumber"


async def test_other_carrier_with_a_url_ships(walmart: Any) -> None:
    po = await walmart.order()
    info = {"carrierName": {"otherCarrier": "Bike Courier"}, "trackingURL": "https://track.example/1"}
    assert (await walmart.api.ship(po, walmart.shipped("1", walmart.package(**info)))).status == 200
    (parcel,) = (await walmart.control.order(po)).line("1").parcels
    assert (parcel.other_carrier, parcel.carrier) == ("Bike Courier", None)


@pytest.mark.parametrize("amount", ["0", "-1", "1.0", "", "two", "01"])
async def test_a_bad_quantity_is_refused(walmart: Any, amount: str) -> None:
    po = await walmart.order(quantity=2)
    assert (await walmart.api.ship(po, walmart.shipped("1", walmart.package(amount)))).error["field"] == "amount"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"sellerOrderId": "x" * 31}, "sellerOrderId"),
        ({"sellerOrderId": None}, "sellerOrderId"),
        ({"lineNumber": 1}, "lineNumber"),
        ({"orderLineStatuses": {"orderLineStatus": []}}, "orderLineStatus"),
        ({"intentToCancelOverride": "true"}, "intentToCancelOverride"),
    ],
)
async def test_a_bad_line_is_refused(walmart: Any, fields: dict[str, Any], field: str) -> None:
    po = await walmart.order()
    assert (await walmart.api.ship(po, walmart.shipped(**fields))).error["field"] == field


async def test_line_numbers_must_exist_and_differ(walmart: Any) -> None:
    po = await walmart.order(quantity=2)
    missing = await walmart.api.ship(po, walmart.shipped("7"))
    assert missing.error["description"] == f"Unable to process this request. The Line: 7 of PO: {po} does not exist"
    assert (await walmart.api.ship(po, walmart.shipped(), walmart.shipped())).error["field"] == "lineNumber"
    assert (await walmart.api.ship(po)).error["field"] == "orderLine"


@pytest.mark.parametrize("body", [{}, {"orderLines": []}, {"shipment": {}}])
async def test_a_body_without_its_wrapper_is_refused(walmart: Any, body: dict[str, Any]) -> None:
    po = await walmart.order()
    refused = await walmart.api.send("POST", f"/v3/orders/{po}/shipping", body)
    assert "unexpected element" in refused.error["description"]


async def test_a_buyer_who_asked_to_cancel_needs_the_override(walmart: Any) -> None:
    po = await walmart.order(intent_to_cancel=True)
    assert (await walmart.api.get(po)).order["orderLines"]["orderLine"][0]["intentToCancel"] == "true"
    assert (await walmart.api.ship(po, walmart.shipped())).error["field"] == "intentToCancelOverride"
    assert (await walmart.api.ship(po, walmart.shipped(intentToCancelOverride=False))).status == 400
    assert (await walmart.api.ship(po, walmart.shipped(intentToCancelOverride=True))).status == 200


async def test_wfs_orders_are_refused(walmart: Any) -> None:
    po = await walmart.order(ship_node_type="WFSFulfilled")
    assert "WFS" in (await walmart.api.ship(po, walmart.shipped())).error["description"]
    assert "WFS" in (await walmart.api.cancel(po, walmart.cancelled())).error["description"]
    assert "WFS" in (await walmart.api.acknowledge(po)).error["description"]


async def test_a_correction_replaces_the_number_and_charges_nothing(walmart: Any) -> None:
    po = await walmart.order(quantity=2)
    await walmart.api.ship(po, walmart.shipped("1", walmart.package(1, "1ZA")))
    await walmart.api.ship(po, walmart.shipped("1", walmart.package(1, "1ZB")))
    line = walmart.shipped("1", walmart.package(1, "1ZC", replaces="1ZB"))
    assert (await walmart.api.ship(po, line, mode="PARTIAL_UPDATE")).status == 200
    state = (await walmart.control.order(po)).line("1")
    assert state.tracking == {"1ZA": 1, "1ZC": 1}
    assert state.charged == 2
    (entry,) = await walmart.control.journal(po, "corrected")
    assert entry.charged == 0
    assert (entry.lines[0].tracking_number, entry.lines[0].replaces_tracking_number) == ("1ZC", "1ZB")


async def test_a_correction_needs_a_shipped_package(walmart: Any) -> None:
    po = await walmart.order(quantity=2)
    line = walmart.shipped("1", walmart.package(1, "1ZC", replaces="1ZB"))
    assert (await walmart.api.ship(po, line, mode="PARTIAL_UPDATE")).error["field"] == "status"
    await walmart.api.ship(po, walmart.shipped("1", walmart.package(1, "1ZA")))
    assert (await walmart.api.ship(po, line, mode="PARTIAL_UPDATE")).error["field"] == "currentTrackingInfo"
    more = walmart.shipped("1", walmart.package(2, "1ZC", replaces="1ZA"))
    assert (await walmart.api.ship(po, more, mode="PARTIAL_UPDATE")).error["field"] == "amount"
    assert (await walmart.api.ship(po, line, mode="FULL_UPDATE")).error["field"] == "processMode"


async def test_a_correction_without_the_old_number_needs_a_single_package(walmart: Any) -> None:
    po = await walmart.order(quantity=2)
    await walmart.api.ship(po, walmart.shipped("1", walmart.package(1, "1ZA")))
    line = walmart.shipped("1", walmart.package(1, "1ZC"))
    assert (await walmart.api.ship(po, line, mode="PARTIAL_UPDATE")).status == 200
    await walmart.api.ship(po, walmart.shipped("1", walmart.package(1, "1ZB")))
    assert (await walmart.api.ship(po, line, mode="PARTIAL_UPDATE")).error["field"] == "currentTrackingInfo"


async def test_the_correction_window_closes_after_four_hours(walmart: Any) -> None:
    po = await walmart.order()
    await walmart.api.ship(po, walmart.shipped("1", walmart.package(1, "1ZA")))
    await walmart.control.switch(SwitchesSpec(clock_offset_seconds=4 * 3600 - 60))
    line = walmart.shipped("1", walmart.package(1, "1ZB", replaces="1ZA"))
    assert (await walmart.api.ship(po, line, mode="PARTIAL_UPDATE")).status == 200
    await walmart.control.switch(SwitchesSpec(clock_offset_seconds=4 * 3600 + 60))
    again = walmart.shipped("1", walmart.package(1, "1ZC", replaces="1ZB"))
    refused = await walmart.api.ship(po, again, mode="PARTIAL_UPDATE")
    assert "within 4 hours" in refused.error["description"]


async def test_a_delivered_package_is_not_corrected(walmart: Any) -> None:
    po = await walmart.order()
    await walmart.api.ship(po, walmart.shipped("1", walmart.package(1, "1ZA")))
    await walmart.control.change(po, "deliver", [LineChange(line_number="1")], by="carrier")
    line = walmart.shipped("1", walmart.package(1, "1ZB", replaces="1ZA"))
    assert (await walmart.api.ship(po, line, mode="PARTIAL_UPDATE")).status == 400


async def test_ship_date_may_be_shown_as_the_call_time(walmart: Any) -> None:
    po = await walmart.order()
    sent = now_ms() - HOUR_MS - 123
    await walmart.api.ship(po, walmart.shipped("1", walmart.package(shipDateTime=sent)))

    async def shown() -> int:
        line = (await walmart.api.get(po)).order["orderLines"]["orderLine"][0]
        return int(line["orderLineStatuses"]["orderLineStatus"][0]["trackingInfo"]["shipDateTime"])

    assert await shown() == sent
    await walmart.control.switch(SwitchesSpec(echo_ship_date=False))
    assert await shown() != sent
