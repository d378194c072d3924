"""Tokens, required headers, scopes, budgets, and the envelope each of them refuses with."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from worker.sandbox.walmart.budget import Bucket
from worker.sandbox.walmart.sellers import Seller, read_token
from worker.sandbox.walmart.specs import FaultSpec, Operation, Rate, SellerSpec


async def test_a_token_is_issued_and_described(walmart: Any) -> None:
    reply = await walmart.api.fetch_token()
    assert reply.body["token_type"] == "Bearer"
    assert reply.body["expires_in"] == 900
    detail = (await walmart.api.send("GET", "/v3/token/detail")).body
    assert detail["is_valid"] is True
    assert detail["scopes"]["orders"] == "full_access"
    assert int(detail["expire_at"]) - int(detail["issued_at"]) == 900_000


async def test_expires_in_is_sometimes_text(walmart: Any) -> None:
    await walmart.control.add_seller(SellerSpec(client_id="x", client_secret="y", token_seconds=60))
    api = walmart.client("x", "y")
    assert [(await api.fetch_token()).body["expires_in"] for _ in range(3)] == [60, "60", 60]


async def test_bad_credentials_are_a_bare_400(walmart: Any) -> None:
    for reply in (await walmart.api.fetch_token("wrong"), await walmart.client("nobody").fetch_token()):
        assert (reply.status, reply.raw) == (400, b"Bad Request")


async def test_without_an_accept_header_the_token_comes_as_xml(walmart: Any) -> None:
    reply = await walmart.api.fetch_token(Accept="*/*")
    assert reply.raw.startswith(b"<?xml")


@pytest.mark.parametrize("name", ["WM_SVC.NAME", "WM_QOS.CORRELATION_ID"])
async def test_the_token_endpoint_needs_its_headers(walmart: Any, name: str) -> None:
    reply = await walmart.api.fetch_token(**{name: " "})
    assert (reply.status, reply.error["field"]) == (400, name)


async def test_several_tokens_are_valid_at_once(walmart: Any) -> None:
    po = await walmart.order()
    first = (await walmart.api.fetch_token()).body["access_token"]
    second = (await walmart.api.fetch_token()).body["access_token"]
    for walmart.api.token in (first, second):
        assert (await walmart.api.get(po)).status == 200


def unauthorized(reply: Any) -> bool:
    found: tuple[int, str] = (reply.status, reply.body["error"][0]["code"])
    return found == (401, "UNAUTHORIZED.GMP_GATEWAY_API")


async def test_no_token_a_wrong_one_or_only_a_bearer_is_401(walmart: Any) -> None:
    po = await walmart.order()
    path = f"/v3/orders/{po}"
    assert (await walmart.api.get(po)).status == 200
    assert unauthorized(await walmart.api.send("GET", path, drop=("WM_SEC.ACCESS_TOKEN",)))
    bearer = {"Authorization": f"Bearer {walmart.api.token}"}
    assert unauthorized(await walmart.api.send("GET", path, drop=("WM_SEC.ACCESS_TOKEN",), headers=bearer))
    for token in ("", "nonsense", walmart.api.token[:-1], "eyJ.é"):
        assert unauthorized(await walmart.api.send("GET", path, headers={"WM_SEC.ACCESS_TOKEN": token}))


async def test_a_token_expires_and_can_be_expired(walmart: Any) -> None:
    await walmart.control.add_seller(SellerSpec(client_id="x", client_secret="y", token_seconds=0.05))
    api = walmart.client("x", "y")
    api.token = (await api.fetch_token()).body["access_token"]
    await asyncio.sleep(0.06)
    assert unauthorized(await api.send("GET", "/v3/token/detail"))
    assert (await walmart.api.send("GET", "/v3/token/detail")).status == 200
    await walmart.control.add_fault(FaultSpec(kind="expire_tokens", seller="client-a"))
    assert unauthorized(await walmart.api.send("GET", "/v3/token/detail"))
    walmart.api.token = None
    assert (await walmart.api.send("GET", "/v3/token/detail")).status == 200


def test_a_forged_token_is_not_read() -> None:
    mine = Seller(SellerSpec(client_id="a", client_secret="b")).issue_token()
    assert read_token(mine) is not None
    payload, _, signature = mine.partition(".")
    assert read_token(payload[:-1] + "A." + signature) is None
    assert read_token(payload) is None


@pytest.mark.parametrize("name", ["WM_SVC.NAME", "WM_QOS.CORRELATION_ID"])
async def test_required_headers(walmart: Any, name: str) -> None:
    po = await walmart.order()
    missing = await walmart.api.send("GET", f"/v3/orders/{po}", drop=(name,))
    assert (missing.status, missing.body["error"][0]["code"]) == (400, "MISSING_REQUEST_HEADER.GMP_GATEWAY_API")
    blank = await walmart.api.send("GET", f"/v3/orders/{po}", headers={name: " "})
    assert blank.body["error"][0]["code"] == "INVALID_REQUEST_HEADER.GMP_ORDER_API"


async def test_methods_paths_and_media_types(walmart: Any) -> None:
    po = await walmart.order()
    shipping, order = f"/v3/orders/{po}/shipping", f"/v3/orders/{po}"
    assert (await walmart.api.send("GET", shipping)).status == 405
    assert (await walmart.api.send("GET", "/v3/nothing")).status == 404
    assert (await walmart.api.send("GET", order + "/nothing")).status == 404
    assert (await walmart.api.send("GET", order, headers={"Accept": "application/xml"})).status == 406
    xml = {"Content-Type": "application/xml"}
    assert (await walmart.api.send("POST", shipping, b"<x/>", headers=xml)).status == 415
    malformed = await walmart.api.send("POST", shipping, b"{")
    assert malformed.error["code"] == "MALFORMED_REQUEST_CONTENT.GMP_ORDER_API"


async def test_a_missing_scope_is_403(walmart: Any) -> None:
    spec = SellerSpec(client_id="x", client_secret="y", unlimited=True, scopes={"orders": "view_only"})
    await walmart.control.add_seller(spec)
    api, po = walmart.client("x", "y"), await walmart.order(seller="x")
    assert (await api.get(po)).status == 200
    refused = await api.ship(po, walmart.shipped())
    assert (refused.status, refused.body["error"][0]["code"]) == (403, "FORBIDDEN.GMP_GATEWAY_API")
    assert (await api.send("GET", "/v3/token/detail")).body["scopes"]["orders"] == "view_only"


async def test_a_spent_budget_is_429_and_writes_nothing(walmart: Any) -> None:
    rates = {"ship": Rate(per_minute=60, burst=2)}
    for client in ("x", "z"):
        await walmart.control.add_seller(SellerSpec(client_id=client, client_secret="y", rates=rates))
    api, po = walmart.client("x", "y"), await walmart.order(quantity=3, seller="x")
    replies = [await api.ship(po, walmart.shipped()) for _ in range(3)]
    assert [reply.status for reply in replies] == [200, 200, 429]
    assert [reply.headers["X-Current-Token-Count"] for reply in replies] == ["1", "0", "0"]
    assert replies[2].body["error"][0]["code"] == "REQUEST_THRESHOLD_VIOLATED.GMP_GATEWAY_API"
    assert 0 < int(replies[2].headers["X-Next-Replenishment-Time"]) - time.time() * 1000 < 1_100
    assert (await api.get(po)).status == 200, "each endpoint has its own budget"
    other = await walmart.order(seller="z")
    assert (await walmart.client("z", "y").ship(other, walmart.shipped())).status == 200, "each seller has its own"
    assert (await walmart.control.order(po)).line("1").charged == 2
    sellers = {seller.client_id: seller for seller in await walmart.control.sellers()}
    assert sellers["x"].throttled == {"ship": 1}
    budget = sellers["x"].budgets["ship"]
    assert budget.taken == 2
    assert 0 <= budget.left < 1
    assert set(sellers["z"].budgets) == {"ship"}
    assert (await walmart.control.requests()).total("ship", 429, "x") == 1


def test_published_rates() -> None:
    seller = Seller(SellerSpec(client_id="a", client_secret="b"))
    now = time.monotonic() + 1
    expected: dict[Operation, int] = {"ship": 60, "cancel": 60, "acknowledge": 60, "put_inventory": 200}
    for operation, per_minute in expected.items():
        bucket = seller.bucket(operation)
        assert bucket is not None
        assert [bucket.take(now) for _ in range(per_minute + 1)] == [True] * per_minute + [False]
    assert seller.bucket("token") is None


def test_a_bucket_refills_gradually_and_speeds_up() -> None:
    bucket = Bucket(Rate(per_minute=60, burst=1), speed_up=10, now=0)
    assert [bucket.take(now) for now in (0, 0.05, 0.1, 0.15, 0.2)] == [True, False, True, False, True]
