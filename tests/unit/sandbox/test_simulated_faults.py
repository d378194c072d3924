"""Every fault: what it does, to whom, how often, and whether the effect happened."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import orjson
import pytest

from worker.sandbox.walmart.control import ControlError
from worker.sandbox.walmart.specs import FaultSpec, SellerSpec


async def charged(walmart: Any, po: str) -> int:
    return int((await walmart.control.order(po)).line("1").charged)


@pytest.mark.parametrize(
    ("envelope", "start", "content_type"),
    [
        ("orders", b'{"errors":{"error":[{"code"', "application/json"),
        ("gateway", b'{"error":[{"code"', "application/json"),
        ("generic", b'{"errors":[{"code"', "application/json"),
        ("single", b'{"errors":{"error":{"code"', "application/json"),
        ("problem", b'{"type":"about:blank"', "application/problem+json"),
        ("html", b"<HTML>", "text/html"),
        ("xml", b"<?xml", "application/xml"),
        ("bare", b"Bad Request", "text/plain"),
        ("empty", b"", None),
        ("truncated", b'{"errors":{"error":[', "application/json"),
    ],
)
async def test_a_status_in_every_envelope(walmart: Any, envelope: Any, start: bytes, content_type: str | None) -> None:
    po = await walmart.order()
    await walmart.control.add_fault(
        FaultSpec(kind="status", status=502, envelope=envelope, times=1, operation="ship", description="mail a@b.c")
    )
    reply = await walmart.api.ship(po, walmart.shipped())
    assert reply.status == 502
    assert reply.raw.startswith(start)
    if content_type is not None:
        assert reply.headers["Content-Type"].startswith(content_type)
    if envelope == "truncated":
        with pytest.raises(orjson.JSONDecodeError):
            reply.body  # noqa: B018
    assert await charged(walmart, po) == 0
    assert (await walmart.api.ship(po, walmart.shipped())).status == 200, "it was meant to act once"
    assert not await walmart.control.faults()


async def test_a_status_carries_code_text_and_headers(walmart: Any) -> None:
    po = await walmart.order()
    headers = {"Retry-After": "7"}
    await walmart.control.add_fault(
        FaultSpec(kind="status", status=429, code="X.GMP", description="told", headers=headers, operation="get_order")
    )
    reply = await walmart.api.get(po)
    assert (reply.status, reply.headers["Retry-After"]) == (429, "7")
    assert (reply.body["error"][0]["code"], reply.body["error"][0]["description"]) == ("X.GMP", "told")


@pytest.mark.parametrize(("status", "envelope"), [(504, "gateway"), (200, "truncated"), (200, "empty"), (500, "html")])
async def test_a_status_after_the_effect(walmart: Any, status: int, envelope: Any) -> None:
    """It worked, but the caller cannot know."""
    po = await walmart.order()
    fault = FaultSpec(kind="status", when="after", status=status, envelope=envelope, times=1, operation="ship")
    await walmart.control.add_fault(fault)
    reply = await walmart.api.ship(po, walmart.shipped())
    assert reply.status == status
    if envelope == "gateway":
        assert "order" not in reply.body
    else:
        with pytest.raises(orjson.JSONDecodeError):
            reply.body  # noqa: B018
    assert await charged(walmart, po) == 1


async def test_faults_after_the_effect_do_not_act_on_refusals(walmart: Any) -> None:
    await walmart.control.add_fault(FaultSpec(kind="drop", when="after", times=1))
    await walmart.control.add_fault(FaultSpec(kind="status", when="after", times=1))
    assert (await walmart.api.fetch_token("wrong")).status == 400
    assert [fault.remaining for fault in await walmart.control.faults()] == [1, 1]


@pytest.mark.parametrize(("when", "effect"), [("before", 0), ("after", 1)])
async def test_a_dropped_connection(walmart: Any, when: Any, effect: int) -> None:
    po = await walmart.order()
    await walmart.api.get(po)
    await walmart.control.add_fault(FaultSpec(kind="drop", when=when, times=1, operation="ship"))
    with pytest.raises(aiohttp.ClientConnectionError):
        await walmart.api.ship(po, walmart.shipped())
    assert await charged(walmart, po) == effect
    assert (await walmart.control.requests()).total("ship", 0) == 1


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_delay_longer_than_the_callers_patience(walmart: Any, when: Any) -> None:
    """Before: the effect comes when the caller is long gone. After: it is there at once."""
    po = await walmart.order()
    await walmart.api.get(po)
    await walmart.control.add_fault(FaultSpec(kind="delay", when=when, seconds=0.3, times=1, operation="ship"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.15):
            await walmart.api.ship(po, walmart.shipped())
    assert await charged(walmart, po) == (0 if when == "before" else 1)
    async with asyncio.timeout(5):
        while not await charged(walmart, po):
            await asyncio.sleep(0.02)


async def test_an_outage_hits_everything_until_it_is_cleared(walmart: Any) -> None:
    po = await walmart.order()
    await walmart.api.get(po)
    fault = await walmart.control.add_fault(FaultSpec(kind="outage", envelope="empty"))
    replies = [await walmart.api.get(po), await walmart.api.fetch_token(), await walmart.api.ship(po)]
    assert [(reply.status, reply.raw) for reply in replies] == [(503, b"")] * 3
    (state,) = await walmart.control.faults()
    assert (state.hits, state.remaining) == (3, None)
    assert await walmart.control.clear_faults(fault.id) == 1
    assert (await walmart.api.get(po)).status == 200


async def test_refused_connections_leave_the_control_port_open(walmart: Any) -> None:
    po = await walmart.order()
    await walmart.api.get(po)
    await walmart.control.add_fault(FaultSpec(kind="refuse_connections"))
    with pytest.raises(aiohttp.ClientConnectionError):
        await walmart.api.get(po)
    async with aiohttp.ClientSession() as fresh:
        with pytest.raises(aiohttp.ClientConnectorError):
            await fresh.get(walmart.url)
    await walmart.control.clear_faults()
    assert (await walmart.api.get(po)).status == 200


async def test_revoked_credentials(walmart: Any) -> None:
    po = await walmart.order()
    await walmart.api.get(po)
    await walmart.control.add_fault(FaultSpec(kind="revoked", seller="client-a"))
    assert (await walmart.api.fetch_token()).status == 400
    assert (await walmart.api.get(po)).status == 401
    await walmart.control.clear_faults()
    assert (await walmart.api.get(po)).status == 200


async def test_reads_lag_behind_writes(walmart: Any) -> None:
    po = await walmart.order(quantity=2)
    fault = await walmart.control.add_fault(FaultSpec(kind="read_lag", seconds=60))
    await asyncio.sleep(0.01)
    shipped = await walmart.api.ship(po, walmart.shipped())
    assert shipped.statuses() == {"Acknowledged": 1, "Shipped": 1}, "the call's own answer is current"
    assert (await walmart.api.get(po)).statuses() == {"Acknowledged": 2}
    await walmart.control.clear_faults(fault.id)
    assert (await walmart.api.get(po)).statuses() == {"Acknowledged": 1, "Shipped": 1}
    await walmart.control.add_fault(FaultSpec(kind="read_lag", seconds=0.05))
    await asyncio.sleep(0.06)
    assert (await walmart.api.get(po)).statuses() == {"Acknowledged": 1, "Shipped": 1}, "it catches up"


async def test_partial_cancels_can_be_refused(walmart: Any) -> None:
    po = await walmart.order(quantity=3)
    await walmart.control.add_fault(FaultSpec(kind="partial_cancel_refused"))
    assert (await walmart.api.cancel(po, walmart.cancelled("1", 2))).error["field"] == "amount"
    await walmart.api.ship(po, walmart.shipped("1", walmart.package(1)))
    assert (await walmart.api.cancel(po, walmart.cancelled("1", 2))).status == 200, "all that is open is not partial"


async def test_two_packages_of_a_line_can_be_refused(walmart: Any) -> None:
    po = await walmart.order(quantity=2)
    await walmart.control.add_fault(FaultSpec(kind="two_packages_refused"))
    packages = [walmart.package(1, "1ZA"), walmart.package(1, "1ZB")]
    assert (await walmart.api.ship(po, walmart.shipped("1", *packages))).error["field"] == "trackingNumber"
    for package in packages:
        assert (await walmart.api.ship(po, walmart.shipped("1", package))).status == 200


async def test_a_line_can_be_ignored_silently(walmart: Any) -> None:
    po = await walmart.order(lines=2)
    await walmart.control.add_fault(FaultSpec(kind="line_ignored", line_number="1", times=1))
    reply = await walmart.api.ship(po, walmart.shipped("1"), walmart.shipped("2"))
    assert [reply.statuses(0), reply.statuses(1)] == [{"Acknowledged": 1}, {"Shipped": 1}]
    assert await charged(walmart, po) == 0
    (entry,) = await walmart.control.journal(po, "shipped")
    assert [line.line_number for line in entry.lines] == ["2"]


async def test_a_bare_invalid_request(walmart: Any) -> None:
    po = await walmart.order()
    await walmart.control.add_fault(FaultSpec(kind="bare_invalid_request", times=1, operation="ship"))
    reply = await walmart.api.ship(po, walmart.shipped())
    assert (reply.status, reply.error["code"]) == (400, "INVALID_REQUEST.GMP_ORDER_API")
    assert (reply.error["field"], reply.error["description"]) == ("data", "Invalid Request")
    assert await charged(walmart, po) == 0


async def test_a_fault_meets_only_whom_it_is_meant_for(walmart: Any) -> None:
    await walmart.control.add_seller(SellerSpec(client_id="other", client_secret="s", unlimited=True))
    other, mine = await walmart.order(seller="other"), await walmart.order()
    await walmart.control.add_fault(FaultSpec(kind="status", seller="other"))
    await walmart.control.add_fault(FaultSpec(kind="status", status=500, purchase_order_id="4711"))
    assert (await walmart.api.get(mine)).status == 200
    assert (await walmart.api.get("4711")).status == 500
    theirs = walmart.client("other", "s")
    assert (await theirs.fetch_token()).status == 503
    await walmart.control.clear_faults()
    assert (await theirs.get(other)).status == 200


async def test_a_misspelt_fault_is_refused(walmart: Any) -> None:
    for body in (b'{"kind":"dely"}', b'{"kind":"delay","second":1}', b'{"kind":"delay","seller":"nobody"}', b"{"):
        async with walmart.session.post(f"{walmart.url}/_sim/faults", data=body) as response:
            assert response.status == 400
            assert (await response.json())["error"]
    with pytest.raises(ControlError, match="nobody"):
        await walmart.control.add_fault(FaultSpec(kind="delay", seller="nobody"))
