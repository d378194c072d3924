"""The control door: orders, foreign changes, journal, counts, reset."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from worker.sandbox.walmart.control import ControlError
from worker.sandbox.walmart.specs import FaultSpec, LineChange, NewLine, NewOrder, SwitchesSpec


async def test_orders_are_created_as_asked(walmart: Any) -> None:
    lines = (
        NewLine(line_number="4", sku="A", quantity=2, status="Created"),
        NewLine(line_number="9", sku="A", intent_to_cancel=True),
    )
    order = NewOrder(
        lines=lines, purchase_order_id="1815367951431", order_date_ms=1_623_796_407_000, method_code="Express"
    )
    assert await walmart.control.add_orders([order]) == ["1815367951431"]
    shown = (await walmart.api.get("1815367951431")).order
    assert shown["orderDate"] == 1_623_796_407_000
    assert shown["shippingInfo"]["methodCode"] == "Express"
    assert [line["lineNumber"] for line in shown["orderLines"]["orderLine"]] == ["4", "9"]
    assert shown["orderLines"]["orderLine"][0]["orderLineQuantity"] == {"unitOfMeasurement": "EACH", "amount": "2"}
    state = await walmart.control.order("1815367951431")
    assert [line.intent_to_cancel for line in state.lines] == [False, True]


async def test_the_answer_carries_the_personal_data_that_tests_look_for(walmart: Any) -> None:
    po = await walmart.order()
    raw = (await walmart.api.get(po)).raw.decode()
    personal = (await walmart.control.order(po)).personal_data
    assert len(personal) >= 4
    assert all(text in raw for text in personal)
    assert any(text.endswith("@relay.walmart.com") for text in personal)


async def test_order_ids_are_fresh_and_unique(walmart: Any) -> None:
    one = NewOrder(lines=(NewLine(sku="A"),))
    ids = await walmart.control.add_orders([one] * 50)
    assert len(set(ids)) == 50
    assert all(len(order_id) == 13 and order_id.isdigit() for order_id in ids)
    with pytest.raises(ControlError, match="already"):
        await walmart.order(purchase_order_id=ids[0])
    with pytest.raises(ControlError, match="no seller"):
        await walmart.order(seller="nobody")
    with pytest.raises(ControlError, match="differ"):
        await walmart.control.add_order([NewLine(sku="A", line_number="2"), NewLine(sku="B")])


async def test_somebody_else_ships_and_cancels(walmart: Any) -> None:
    po = await walmart.order(quantity=3, status="Created")
    await walmart.control.change(po, "ship", [LineChange(line_number="1", quantity=1, tracking_number="1ZX")])
    state = await walmart.control.change(po, "cancel", [LineChange(line_number="1", quantity=1)], by="walmart")
    assert (state.line("1").created, state.line("1").shipped, state.line("1").cancelled) == (1, 1, 1)
    assert state.line("1").tracking == {"1ZX": 1}
    entries = await walmart.control.journal(po)
    assert [(entry.kind, entry.by, entry.charged) for entry in entries] == [
        ("created", "sim", 0),
        ("shipped", "seller_center", 1),
        ("cancelled", "walmart", 0),
    ]


async def test_a_package_is_delivered_and_refunded(walmart: Any) -> None:
    po = await walmart.order(quantity=2)
    for number in ("1ZA", "1ZB"):
        await walmart.api.ship(po, walmart.shipped("1", walmart.package(1, number)))
    delivered = [LineChange(line_number="1", tracking_number="1ZA")]
    await walmart.control.change(po, "deliver", delivered, by="carrier")
    assert (await walmart.api.get(po)).statuses() == {"Delivered": 1, "Shipped": 1}
    state = await walmart.control.change(po, "refund")
    assert (state.line("1").refunded, state.line("1").charged) == (2, 2)
    assert (await walmart.api.get(po)).statuses() == {"Refund": 2}
    assert state.line("1").tracking == {"1ZA": 1, "1ZB": 1}


async def test_a_change_that_cannot_be_is_refused(walmart: Any) -> None:
    po = await walmart.order()
    for change, line in (("cancel", LineChange(line_number="2")), ("deliver", LineChange(line_number="1", quantity=1))):
        with pytest.raises(ControlError):
            await walmart.control.change(po, change, [line])
    twice = [LineChange(line_number="1", quantity=1)] * 2
    with pytest.raises(ControlError):
        await walmart.control.change(po, "ship", twice)
    with pytest.raises(ControlError, match="404"):
        await walmart.control.change("4711", "ship")
    assert (await walmart.control.order(po)).line("1").acknowledged == 1


async def test_journal_filters(walmart: Any) -> None:
    first, second = await walmart.order(), await walmart.order()
    await walmart.api.ship(first, walmart.shipped())
    assert [entry.kind for entry in await walmart.control.journal(first)] == ["created", "shipped"]
    assert [entry.purchase_order_id for entry in await walmart.control.journal(kind="created")] == [first, second]
    assert await walmart.control.journal(seller="nobody") == []
    numbers = [entry.n for entry in await walmart.control.journal()]
    assert numbers == list(range(1, len(numbers) + 1))
    async with walmart.session.get(f"{walmart.url}/_sim/journal?order=1") as response:
        assert response.status == 400


async def test_requests_are_counted_and_listed(walmart: Any) -> None:
    po = await walmart.order()
    await walmart.api.get(po)
    await walmart.api.ship(po, walmart.shipped())
    await walmart.api.ship(po, walmart.shipped())
    counts = await walmart.control.requests()
    assert (counts.total("ship"), counts.total("ship", 200), counts.total("ship", 400)) == (2, 1, 1)
    assert counts.most_at_once_per_order == 1
    latest = await walmart.control.latest_requests(po)
    assert [(request.operation, request.status) for request in latest] == [
        ("get_order", 200),
        ("ship", 200),
        ("ship", 400),
    ]


async def test_reset_forgets_all_but_the_sellers(walmart: Any) -> None:
    po = await walmart.order()
    await walmart.api.get(po)
    await walmart.control.switch(SwitchesSpec(clock_offset_seconds=99, echo_ship_date=False))
    await walmart.control.reset()
    assert (await walmart.api.get(po)).status == 404
    assert [entry.kind for entry in await walmart.control.journal()] == ["reset"]
    assert (await walmart.control.requests()).total() == 1
    assert [seller.client_id for seller in await walmart.control.sellers()] == ["client-a"]
    switches = await walmart.control.switch(SwitchesSpec())
    assert (switches.clock_offset_seconds, switches.echo_ship_date) == (0, True)


async def test_an_unknown_control_endpoint_is_404(walmart: Any) -> None:
    with pytest.raises(ControlError, match="404"):
        await walmart.control.order("4711")
    async with walmart.session.get(f"{walmart.url}/_sim/nothing") as response:
        assert response.status == 404


@pytest.mark.parametrize(("hangs_up", "expected"), [(False, 2), (True, 1)])
async def test_calls_at_once_for_one_order_are_noticed(walmart: Any, hangs_up: bool, expected: int) -> None:
    """A caller that timed out and asks again is not two callers."""
    po = await walmart.order()
    await walmart.api.fetch_token()
    await walmart.api.get(po)
    await walmart.control.add_fault(FaultSpec(kind="delay", seconds=0.3, operation="ship", times=1))
    call = asyncio.create_task(walmart.api.ship(po, walmart.shipped()))
    await asyncio.sleep(0.1)
    if hangs_up:
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await asyncio.sleep(0.05)
    await walmart.api.get(po)
    assert (await walmart.control.requests()).most_at_once_per_order == expected
    await asyncio.gather(call, return_exceptions=True)
    async with asyncio.timeout(5):
        while not await walmart.control.journal(po, "shipped"):
            await asyncio.sleep(0.02)
