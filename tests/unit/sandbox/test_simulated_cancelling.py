"""The rules of the cancel and acknowledge calls."""

from __future__ import annotations

from typing import Any

import pytest

from worker.sandbox.walmart.bodies import REASONS
from worker.sandbox.walmart.specs import LineChange, SellerSpec, SwitchesSpec


@pytest.mark.parametrize("status", ["Created", "Acknowledged"])
async def test_open_units_are_cancelled(walmart: Any, status: str) -> None:
    po = await walmart.order(quantity=3, status=status)
    reply = await walmart.api.cancel(po, walmart.cancelled("1", 2))
    assert reply.statuses() == {status: 1, "Cancelled": 2}
    (entry,) = await walmart.control.journal(po, "cancelled")
    assert [(line.quantity, line.reason) for line in entry.lines] == [(2, "SELLER_CANCEL_PRICING_ERROR")]
    assert entry.charged == 0


@pytest.mark.parametrize("reason", REASONS["us"])
async def test_the_five_reasons(walmart: Any, reason: str) -> None:
    po = await walmart.order()
    assert (await walmart.api.cancel(po, walmart.cancelled(reason=reason))).status == 200
    assert (await walmart.control.order(po)).line("1").reasons == {reason: 1}


@pytest.mark.parametrize("reason", ["CUSTOMER_CHANGED_MIND", "SELLER_CANCEL_CUSTOMER_DUPLICATE_ORDER", "", None])
async def test_any_other_reason_is_refused(walmart: Any, reason: str | None) -> None:
    po = await walmart.order()
    refused = await walmart.api.cancel(po, walmart.cancelled(reason=reason))
    assert refused.status == 400
    assert refused.error["field"] == "cancellationReason"
    assert refused.error["code"] == "INVALID_REQUEST_CONTENT.GMP_ORDER_API"
    assert (await walmart.control.order(po)).line("1").acknowledged == 1


async def test_a_cancelled_line_is_not_cancelled_twice(walmart: Any) -> None:
    po = await walmart.order()
    await walmart.api.cancel(po, walmart.cancelled())
    refused = await walmart.api.cancel(po, walmart.cancelled())
    assert (refused.status, "CANCELLED" in refused.error["description"]) == (400, True)
    assert len(await walmart.control.journal(po, "cancelled")) == 1


async def test_a_shipped_line_is_not_cancelled_and_a_cancelled_one_does_not_ship(walmart: Any) -> None:
    po = await walmart.order(lines=2)
    await walmart.api.ship(po, walmart.shipped("1"))
    refused = await walmart.api.cancel(po, walmart.cancelled("1"))
    assert refused.error["description"] == (
        f"Unable to process this request. The Line: 1 of PO: {po} is in SHIPPED status"
    )
    await walmart.api.cancel(po, walmart.cancelled("2"))
    assert "Qty OverShipped" in (await walmart.api.ship(po, walmart.shipped("2"))).error["description"]


async def test_more_than_open_is_refused_and_one_bad_line_refuses_all(walmart: Any) -> None:
    po = await walmart.order(quantity=2, lines=2)
    await walmart.api.ship(po, walmart.shipped("1"))
    refused = await walmart.api.cancel(po, walmart.cancelled("2", 2), walmart.cancelled("1", 2))
    assert "cannot be Cancelled" in refused.error["description"]
    assert not await walmart.control.journal(po, "cancelled")
    assert (await walmart.api.cancel(po, walmart.cancelled("2", 2), walmart.cancelled("1", 1))).status == 200


async def test_one_object_per_line(walmart: Any) -> None:
    po = await walmart.order(quantity=2)
    refused = await walmart.api.cancel(po, walmart.cancelled(), walmart.cancelled())
    assert refused.error["field"] == "lineNumber"


async def test_the_customers_reason_can_be_made_to_need_the_customer(walmart: Any) -> None:
    await walmart.control.switch(SwitchesSpec(customer_reason_needs_intent=True))
    po = await walmart.order(lines=2)
    line = walmart.cancelled(reason="CUSTOMER_REQUESTED_SELLER_TO_CANCEL")
    assert (await walmart.api.cancel(po, line)).error["field"] == "cancellationReason"
    await walmart.control.change(po, "intent_to_cancel", [LineChange(line_number="1")], by="buyer")
    assert (await walmart.api.cancel(po, line)).status == 200


async def test_canada_has_its_own_reasons_and_headers(walmart: Any) -> None:
    await walmart.control.add_seller(SellerSpec(client_id="ca", client_secret="s", market="ca", unlimited=True))
    api, po = walmart.client("ca", "s"), await walmart.order(seller="ca")
    assert (await api.get(po)).error["field"] == "WM_MARKET"
    market = {"WM_MARKET": "ca", "WM_GLOBAL_VERSION": "3.1"}
    assert (await api.send("GET", f"/v3/orders/{po}", headers=market)).status == 200
    assert (await api.send("GET", f"/v3/orders/{po}", headers=market | {"WM_GLOBAL_VERSION": "3"})).status == 400
    for reason, status in (("SELLER_CANCEL_PRICING_ERROR", 400), ("CANCEL_BY_SELLER", 200)):
        body = {"orderCancellation": {"orderLines": {"orderLine": [walmart.cancelled(reason=reason)]}}}
        assert (await api.send("POST", f"/v3/orders/{po}/cancel", body, headers=market)).status == status


async def test_acknowledging_again_is_harmless_while_nothing_has_moved(walmart: Any) -> None:
    po = await walmart.order(quantity=2, lines=2, status="Created")
    assert (await walmart.api.acknowledge(po)).statuses(1) == {"Acknowledged": 2}
    assert (await walmart.api.acknowledge(po)).statuses(1) == {"Acknowledged": 2}
    assert len(await walmart.control.journal(po, "acknowledged")) == 1


@pytest.mark.parametrize("moved", ["ship", "cancel"])
async def test_acknowledging_after_something_moved_is_refused(walmart: Any, moved: str) -> None:
    po = await walmart.order(lines=2)
    if moved == "ship":
        await walmart.api.ship(po, walmart.shipped())
    else:
        await walmart.api.cancel(po, walmart.cancelled())
    assert (await walmart.api.acknowledge(po)).error["description"] == (
        f"INVALID_REQUEST_CONTENT :: Failed when called acknowledge API for '{po}'.  Some or all qty in higher status"
    )


@pytest.mark.parametrize("operation", ["get", "acknowledge", "ship", "cancel"])
async def test_an_unknown_or_foreign_order_is_404(walmart: Any, operation: str) -> None:
    await walmart.control.add_seller(SellerSpec(client_id="other", client_secret="s", unlimited=True))
    foreign = await walmart.order(seller="other")
    body = {"ship": [walmart.shipped()], "cancel": [walmart.cancelled()]}.get(operation, [])
    for po in ("4711", foreign):
        reply = await getattr(walmart.api, operation)(po, *body)
        assert reply.status == 404
        assert reply.error["code"] == "CONTENT_NOT_FOUND.GMP_ORDER_API"
        assert (reply.error["severity"], reply.error["category"]) == ("INFO", "APPLICATION")
