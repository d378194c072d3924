"""The client against a server that breaks in every way: what is said about the effect of a call is never wrong."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import re
import socket
import uuid
from typing import Any

import aiohttp
import orjson
import pytest
from scripted_server import (
    ORDER_ID,
    Seen,
    Wire,
    answer,
    close,
    drop,
    http,
    order_json,
    raw,
    silence,
    then_close,
)
from walmart_bench import NOW, SECRET, Bench, HandClock

from schemas.walmart.order import Order
from worker.settings import AccountSettings, TimingSettings
from worker.walmart import exchange as exchange_module
from worker.walmart.answer import CallError, CallKind, Done
from worker.walmart.call_report import CallReport
from worker.walmart.client import WalmartClient

BODY: dict[str, object] = {"orderShipment": {"orderLines": {"orderLine": [{"lineNumber": "1"}]}}}
LATER = NOW + 60


def error_of(result: object) -> CallError:
    assert isinstance(result, CallError), result
    return result


async def ship(client: WalmartClient, deadline: float = LATER) -> Order | CallError:
    return await client.ship(ORDER_ID, BODY, deadline=deadline)


class TestRequests:
    """What goes over the wire."""

    async def test_calls_and_headers(self, bench: Bench) -> None:
        """Paths, methods, bodies and documented headers of every call; a fresh correlation id each time."""
        client = bench.client()
        assert isinstance(await client.get_order(ORDER_ID), Order)
        assert isinstance(await client.acknowledge(ORDER_ID), Order)
        assert isinstance(await ship(client), Order)
        assert isinstance(await client.cancel(ORDER_ID, {"orderCancellation": {}}, deadline=LATER), Order)
        assert [(seen.method, seen.target) for seen in bench.server.seen] == [
            ("GET", f"/v3/orders/{ORDER_ID}"),
            ("POST", f"/v3/orders/{ORDER_ID}/acknowledge"),
            ("POST", f"/v3/orders/{ORDER_ID}/shipping"),
            ("POST", f"/v3/orders/{ORDER_ID}/cancel"),
        ]
        assert bench.server.seen[1].body == b""
        assert bench.server.seen[1].headers["content-length"] == "0"
        assert orjson.loads(bench.server.seen[2].body) == BODY
        for seen in bench.server.seen:
            assert seen.headers["wm_sec.access_token"] == "T1"
            assert seen.headers["wm_svc.name"] == "Walmart Marketplace"
            assert seen.headers["accept"] == "application/json"
            assert seen.headers["content-type"] == "application/json"
            assert "authorization" not in seen.headers
            assert "wm_market" not in seen.headers
            uuid.UUID(seen.headers["wm_qos.correlation_id"])
        ids = [seen.headers["wm_qos.correlation_id"] for seen in bench.server.seen + bench.server.token_requests]
        assert len(set(ids)) == 5
        assert bench.server.connections == 1, "kept alive"

    @pytest.mark.parametrize("market", ["ca", "mx", "cl"])
    async def test_global_markets_are_told_by_headers(self, bench: Bench, market: str) -> None:
        await bench.client(market=market).get_order(ORDER_ID)
        for seen in bench.server.seen + bench.server.token_requests:
            assert seen.headers["wm_market"] == market
            assert seen.headers["wm_global_version"] == "3.1"

    async def test_channel_type_is_sent_where_there_is_one(self, bench: Bench) -> None:
        account = AccountSettings.model_validate(
            {"client_id": "i", "client_secret": "s", "base_url": bench.server.url + "/", "channel_type": "abc-channel"}
        )
        client = WalmartClient(bench.session, "main", account, TimingSettings(), bench.clock)
        assert isinstance(await client.get_order(ORDER_ID), Order)
        assert bench.server.seen[0].headers["wm_consumer.channel.type"] == "abc-channel"
        assert bench.server.seen[0].target == f"/v3/orders/{ORDER_ID}", "no double slash"

    @pytest.mark.parametrize(
        ("sku", "encoded"),
        [
            ("plain-1.2_3~", "plain-1.2_3~"),
            ("a b+c", "a%20b%2Bc"),
            (":/?#[]@!$&'()*+,;={}%", "%3A%2F%3F%23%5B%5D%40%21%24%26%27%28%29%2A%2B%2C%3B%3D%7B%7D%25"),
            ("%20", "%2520"),
            ("é", "%C3%A9"),
        ],
    )
    async def test_sku_in_the_query(self, bench: Bench, sku: str, encoded: str) -> None:
        bench.server.steps = [answer(200, {"sku": sku, "quantity": {"unit": "EACH", "amount": 7}})] * 2
        client = bench.client()
        assert isinstance(await client.put_inventory(sku, 7, None), Done)
        assert isinstance(await client.put_inventory(sku, 7, "node 1"), Done)
        assert bench.server.seen[0].target == f"/v3/inventory?sku={encoded}"
        assert bench.server.seen[1].target == f"/v3/inventory?sku={encoded}&shipNode=node%201"
        assert orjson.loads(bench.server.seen[0].body) == {"sku": sku, "quantity": {"unit": "EACH", "amount": 7}}

    async def test_order_id_in_the_path(self, bench: Bench) -> None:
        """A strange id stays one segment of the path."""
        await bench.client().get_order("a/../b?c#d e%")
        assert bench.server.seen[0].target == "/v3/orders/a%2F..%2Fb%3Fc%23d%20e%25"

    @pytest.mark.parametrize("number", ["", " ", ".", ".."])
    async def test_no_order_id_no_call(self, bench: Bench, number: str) -> None:
        """An empty id would list all orders."""
        assert error_of(await bench.client().get_order(number)).kind is CallKind.REFUSED
        assert bench.server.seen == []


class TestAnswers:
    """What is made of an answer."""

    async def test_reports_budget(self, bench: Bench) -> None:
        headers = {"X-Current-Token-Count": "41", "x-next-replenishment-time": str(int((NOW + 2) * 1000))}
        bench.server.steps = [answer(200, order_json(), headers)]
        await bench.client().get_order(ORDER_ID)
        token, report = bench.reports
        assert (token.operation, token.status, token.kind) == ("token", 200, None)
        assert (report.account, report.operation, report.status, report.kind) == ("main", "get_order", 200, None)
        assert (report.budget_left, report.replenish_at) == (41, NOW + 2)
        assert report.correlation_id == bench.server.seen[0].headers["wm_qos.correlation_id"]
        assert report.seconds > 0
        assert (token.subject, report.subject) == ("", ORDER_ID)
        assert report.retry_after_s is None
        assert not report.too_late

    async def test_throttled(self, bench: Bench) -> None:
        body = {"error": [{"code": "REQUEST_THRESHOLD_VIOLATED.GMP_GATEWAY_API", "description": "Too many"}]}
        bench.server.steps = [answer(429, body, {"Retry-After": "7"})]
        error = error_of(await ship(bench.client()))
        assert (error.kind, error.retry_after_s) == (CallKind.THROTTLED, 7.0)
        assert (bench.reports[-1].kind, bench.reports[-1].retry_after_s) == (CallKind.THROTTLED, 7.0)
        assert len(bench.server.seen) == 1

    async def test_forbidden_is_a_missing_scope(self, bench: Bench) -> None:
        bench.server.steps = [answer(403, {"error": [{"code": "FORBIDDEN.GMP_GATEWAY_API"}]})]
        error = error_of(await ship(bench.client()))
        assert (error.kind, error.scope_missing) == (CallKind.UNAUTHORIZED, True)
        assert len(bench.server.seen) == 1
        assert len(bench.server.token_requests) == 1

    @pytest.mark.parametrize(
        "step",
        [
            answer(200),
            answer(200, b"<html>busy</html>"),
            answer(200, {}),
            answer(200, {"errors": [{"code": "X", "description": "odd"}]}),
            answer(200, order_json("999")),
            answer(200, []),
            answer(206, order_json()),
            answer(204),
            answer(302, b"", {"Location": "/v3/orders/elsewhere"}),
            answer(500, b"oops"),
            answer(520, {"error": [{"code": "SYSTEM_ERROR.GMP_GATEWAY_API"}]}),
            answer(503, b"", {"Retry-After": "5"}),
            answer(408),
            answer(999),
            raw(http(200, order_json())[:-20]),
            raw(b"HTTP/1.1 200 OK\r\nContent-Le"),
            raw(b"not http at all\r\n\r\n"),
            raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
            raw(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", close=False),
            close,
            drop,
        ],
    )
    async def test_a_post_with_an_open_outcome(self, bench: Bench, step: Any) -> None:
        """The effect may be there: UNKNOWN, sent exactly once, redirects not followed."""
        bench.server.steps = [step]
        error = error_of(await ship(bench.client()))
        assert error.kind is CallKind.UNKNOWN
        assert len(bench.server.seen) == 1
        assert bench.reports[-1].operation == "ship"
        assert bench.reports[-1].subject == ORDER_ID

    async def test_a_report_names_the_order_or_the_sku(self, bench: Bench) -> None:
        client = bench.client()
        bench.server.steps = [answer(200, {"quantity": {"amount": 1}}), answer(200, {"scopes": {}}), close]
        await client.put_inventory("SKU 1", 1, None)
        await client.token_detail()
        error_of(await ship(client))
        told = [(report.operation, report.subject) for report in bench.reports]
        assert told == [("token", ""), ("put_inventory", "SKU 1"), ("token_detail", ""), ("ship", ORDER_ID)]

    async def test_a_cut_off_order_is_no_order(self, bench: Bench) -> None:
        """Also where what arrived would be valid JSON."""
        content = orjson.dumps(order_json())
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(content) + 10}\r\n\r\n".encode()
        bench.server.steps = [raw(head + content)]
        assert error_of(await bench.client().get_order(ORDER_ID)).kind is CallKind.UNKNOWN

    async def test_a_refusal_with_a_broken_body_is_still_a_refusal(self, bench: Bench) -> None:
        body = {
            "errors": {"error": [{"code": "INVALID_REQUEST_CONTENT.GMP_ORDER_API", "description": "Qty OverShipped"}]}
        }
        bench.server.steps = [raw(http(400, body)[:-3])]
        error = error_of(await ship(bench.client()))
        assert error.kind is CallKind.REFUSED
        assert error.errors[0].description == "Qty OverShipped"

    async def test_the_return_address_sent_does_not_come_back_in_a_text(self, bench: Bench) -> None:
        address = {"name": "Rita Returns", "address1": "Elm Lane", "city": "Springfield"}
        entry = {"returnCenterAddress": address, "status": "Shipped"}
        line = {"lineNumber": "1", "orderLineStatuses": {"orderLineStatus": [entry]}}
        text = "address1 Elm Lane of Rita Returns is not in Springfield"
        error = {"code": "INVALID_REQUEST_CONTENT.GMP_ORDER_API", "field": "address1", "description": text}
        bench.server.steps = [answer(400, {"errors": {"error": [error]}})]
        body: dict[str, object] = {"orderShipment": {"orderLines": {"orderLine": [line]}}}
        told = error_of(await bench.client().ship(ORDER_ID, body, deadline=LATER))
        assert told.errors[0].description == "address1 [hidden] of [hidden] is not in [hidden]"
        assert all(part not in repr(told) for part in address.values())

    async def test_a_huge_answer_is_not_read_to_its_end(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(exchange_module, "MAX_ANSWER_BYTES", 10_000)

        sent = 0

        async def endless(_: Seen, wire: Wire) -> None:
            nonlocal sent
            await wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _chunk in range(20_000):
                sent += 1
                await wire.send(b"400\r\n" + b" " * 1024 + b"\r\n")

        bench.server.steps = [endless]
        assert error_of(await bench.client().get_order(ORDER_ID)).kind is CallKind.UNKNOWN
        assert sent < 20_000, "the connection was closed before the end"

    async def test_inventory_needs_its_echo(self, bench: Bench) -> None:
        other = {"sku": "A", "quantity": {"unit": "EACH", "amount": 3}}
        bench.server.steps = [
            answer(200, other),
            answer(200, b""),
            answer(404, {"errors": [{"code": "SKU_NOT_FOUND"}]}),
        ]
        client = bench.client()
        assert error_of(await client.put_inventory("A", 7, None)).kind is CallKind.UNKNOWN
        assert error_of(await client.put_inventory("A", 7, None)).kind is CallKind.UNKNOWN
        missing = error_of(await client.put_inventory("A", 7, None))
        assert (missing.kind, missing.not_found) == (CallKind.REFUSED, True)

    async def test_token_detail(self, bench: Bench) -> None:
        scopes = {"orders": "full_access", "inventory": "view_only"}
        bench.server.steps = [answer(200, {"is_valid": True, "scopes": scopes}), answer(200, {"is_valid": True})]
        client = bench.client()
        assert await client.token_detail() == scopes
        assert error_of(await client.token_detail()).kind is CallKind.UNKNOWN
        assert bench.server.seen[0].target == "/v3/token/detail"


class TestBreaks:
    """Connections that break before, while and after."""

    async def test_nobody_listens(self, bench: Bench) -> None:
        client = bench.client()
        await client.get_order(ORDER_ID)  # has a token now
        with socket.socket() as placeholder:
            placeholder.bind(("127.0.0.1", 0))
            free = placeholder.getsockname()[1]
        client._base = f"http://127.0.0.1:{free}"
        for result in (await ship(client), await client.get_order(ORDER_ID)):
            error = error_of(result)
            assert error.kind is CallKind.NOT_SENT
            assert "ECONNREFUSED" in error.message

    async def test_connecting_has_its_own_timeout(self, bench: Bench) -> None:
        """A host that does not answer: certainly not sent, also for a POST."""
        client = bench.client(connect_s=0.2)
        await client.get_order(ORDER_ID)
        with socket.socket() as full, contextlib.ExitStack() as queue:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            for _ in range(3):  # fills the backlog: further connections get no answer
                waiting = queue.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(full.getsockname())
            client._base = f"http://127.0.0.1:{full.getsockname()[1]}"
            for result in (await ship(client), await client.get_order(ORDER_ID)):
                error = error_of(result)
                assert error.kind is CallKind.NOT_SENT
                assert error.message.endswith("could not connect within 0.2 s")

    async def test_unknown_host(self, bench: Bench) -> None:
        error = error_of(await bench.client(url="http://no-such-host.invalid").get_order(ORDER_ID))
        assert error.kind is CallKind.NOT_SENT
        assert bench.reports[-1].operation == "token"

    async def test_timeout_after_sending(self, bench: Bench) -> None:
        bench.server.steps = [silence, silence]
        client = bench.client(call_s=0.2)
        for result in (await ship(client), await client.get_order(ORDER_ID)):
            error = error_of(result)
            assert error.kind is CallKind.UNKNOWN
            assert "0.2 s" in error.message

    async def test_timeout_in_the_middle_of_the_answer(self, bench: Bench) -> None:
        bench.server.steps = [raw(http(200, order_json())[:-50], close=False)]
        assert error_of(await ship(bench.client(call_s=0.3))).kind is CallKind.UNKNOWN

    async def test_a_get_is_repeated_once_and_both_are_reported(self, bench: Bench) -> None:
        """The library's own repeat is silent; ours is seen, with its own correlation id."""
        bench.server.steps = [answer(200, order_json()), drop]
        client = bench.client()
        assert isinstance(await client.get_order(ORDER_ID), Order)
        assert isinstance(await client.get_order(ORDER_ID), Order)
        reads = [report for report in bench.reports if report.operation == "get_order"]
        assert [report.kind for report in reads] == [None, CallKind.UNKNOWN, None]
        told = [report.correlation_id for report in reads]
        assert told == [seen.headers["wm_qos.correlation_id"] for seen in bench.server.seen]
        assert len(set(told)) == 3

    async def test_a_get_is_not_repeated_for_ever(self, bench: Bench) -> None:
        bench.server.steps = [drop] * 5
        assert error_of(await bench.client().get_order(ORDER_ID)).kind is CallKind.UNKNOWN
        assert len(bench.server.seen) == 2

    async def test_a_put_is_never_sent_twice(self, bench: Bench) -> None:
        bench.server.steps = [drop] * 5
        assert error_of(await bench.client().put_inventory("A", 7, None)).kind is CallKind.UNKNOWN
        assert len(bench.server.seen) == 1

    async def test_a_post_on_a_connection_that_was_closed_is_never_sent_twice(self, bench: Bench) -> None:
        """Either it never left, or it is in doubt; the server sees it at most once."""
        for pause in (0.0, 0.05):
            seen_before = len(bench.server.seen)
            bench.server.steps = [then_close(answer(200, order_json())), drop]
            client = bench.client()
            await client.get_order(ORDER_ID)
            await asyncio.sleep(pause)
            result = error_of(await ship(client))
            arrived = len(bench.server.seen) - seen_before - 1
            assert arrived <= 1
            assert result.kind is CallKind.UNKNOWN if arrived else result.kind in (CallKind.NOT_SENT, CallKind.UNKNOWN)

    async def test_cancelling_passes_through(self, bench: Bench) -> None:
        arrived = asyncio.Event()

        async def arrive(seen: Seen, wire: Wire) -> None:
            arrived.set()
            await silence(seen, wire)

        bench.server.steps = [arrive]
        task = asyncio.create_task(ship(bench.client()))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def test_many_at_once(self, bench: Bench) -> None:
        client = bench.client()
        results = await asyncio.gather(*(client.get_order(ORDER_ID) for _ in range(200)))
        assert all(isinstance(result, Order) for result in results)
        assert len(bench.server.token_requests) == 1


class TestDeadline:
    """A ship or cancel call that is late never leaves."""

    async def test_late_before_it_begins(self, bench: Bench) -> None:
        client = bench.client()
        error = error_of(await ship(client, deadline=NOW - 1))
        assert (error.kind, error.too_late) == (CallKind.NOT_SENT, True)
        assert bench.server.seen == []
        assert [report.operation for report in bench.reports] == ["token"], "no request, no report"

    @pytest.mark.parametrize("operation", ["ship", "cancel"])
    async def test_late_after_connecting(self, bench: Bench, operation: str) -> None:
        """The clock passes the deadline while the connection is made: nothing arrives at the server."""
        client = bench.client()
        await client.token_detail()
        await client.close()
        ticking = _TickingClock(bench.clock, client)
        call = client.ship if operation == "ship" else client.cancel
        error = error_of(await call(ORDER_ID, BODY, deadline=NOW + 10))
        assert (error.kind, error.too_late) == (CallKind.NOT_SENT, True)
        assert "deadline" in error.message
        assert (bench.reports[-1].kind, bench.reports[-1].too_late) == (CallKind.NOT_SENT, True)
        assert ticking.connected, "it was stopped at the last moment, not before"
        assert [seen for seen in bench.server.seen if seen.method == "POST"] == []
        # And the connection that was not written to does no harm to the next call.
        assert isinstance(await client.ship(ORDER_ID, BODY, deadline=ticking.inner.time + 60), Order)

    async def test_in_time(self, bench: Bench) -> None:
        assert isinstance(await ship(bench.client(), deadline=NOW), Order)


class _TickingClock:
    """Jumps past the deadline when the connection is ready: on the third look (token, before the call, last moment)."""

    def __init__(self, inner: HandClock, client: WalmartClient) -> None:
        self.inner = inner
        self.connected = False
        connector = client._session.connector
        assert connector is not None
        connect = connector.connect

        async def connect_late(*args: Any, **kwargs: Any) -> Any:
            connection = await connect(*args, **kwargs)
            self.connected = True
            inner.time += 20
            return connection

        connector.connect = connect_late  # type: ignore[method-assign]


class TestRenewal:
    """401: one new token, one more try."""

    async def test_an_expired_token_is_renewed_once(self, bench: Bench) -> None:
        bench.server.refuse_tokens = {"T1"}
        assert isinstance(await ship(bench.client()), Order)
        assert [seen.headers["wm_sec.access_token"] for seen in bench.server.seen] == ["T1", "T2"]
        assert [report.kind for report in bench.reports if report.operation == "ship"] == [CallKind.UNAUTHORIZED, None]

    async def test_a_second_401_is_final(self, bench: Bench) -> None:
        bench.server.refuse_tokens = {"T1", "T2", "T3"}
        error = error_of(await ship(bench.client()))
        assert (error.kind, error.status, error.scope_missing) == (CallKind.UNAUTHORIZED, 401, False)
        assert len(bench.server.seen) == 2

    async def test_the_deadline_counts_for_the_second_try_too(self, bench: Bench) -> None:
        bench.server.refuse_tokens = {"T1"}

        async def slow_token(seen: Seen, wire: Wire) -> None:
            bench.clock.time += 100
            await wire.send(http(200, {"access_token": "T2", "expires_in": 900}))

        bench.server.token_steps = [answer(200, {"access_token": "T1", "expires_in": 900}), slow_token]
        assert error_of(await ship(bench.client())).kind is CallKind.NOT_SENT
        assert len(bench.server.seen) == 1

    async def test_many_401s_make_one_token_request(self, bench: Bench) -> None:
        client = bench.client()
        await client.get_order(ORDER_ID)
        bench.server.refuse_tokens = {"T1"}
        results = await asyncio.gather(*(ship(client) for _ in range(100)))
        assert all(isinstance(result, Order) for result in results)
        assert len(bench.server.token_requests) == 2

    async def test_refused_tokens_are_no_storm(self, bench: Bench) -> None:
        """Each new token is refused as well: the endpoint is not asked for another one within the second."""
        client = bench.client()
        bench.server.refuse_tokens = {f"T{n}" for n in range(100)}
        for _ in range(20):
            assert error_of(await ship(client)).kind is CallKind.UNAUTHORIZED
        assert len(bench.server.token_requests) == 2
        bench.clock.time += 1.5
        bench.server.refuse_tokens = set()
        assert isinstance(await ship(client), Order)


def _all_client_errors() -> list[type[BaseException]]:
    found: list[type[BaseException]] = []
    waiting: list[type[BaseException]] = [aiohttp.ClientError]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        found.append(kind)
    return sorted(set(found), key=lambda kind: kind.__qualname__)


class TestNothingEscapes:
    @pytest.mark.parametrize(
        "kind",
        [*_all_client_errors(), TimeoutError, OSError, RuntimeError, ValueError, UnicodeError, KeyError],
        ids=str,
    )
    async def test_every_exception_class_is_mapped(self, kind: type[BaseException], clock: HandClock) -> None:
        """Also one that aiohttp adds later: the list is read off the library."""
        client = _with_session(_Raising(kind), clock)
        client._token._token, client._token._renew_at, client._token._ends_at = "T", NOW + 900, NOW + 900
        posted = error_of(await ship(client))
        assert posted.kind is CallKind.NOT_SENT, "nothing was written"
        assert error_of(await client.get_order(ORDER_ID)).kind in (CallKind.NOT_SENT, CallKind.UNKNOWN)
        assert error_of(await client.put_inventory("A", 1, None)).kind is CallKind.NOT_SENT

    async def test_a_closed_session(self, bench: Bench) -> None:
        client = bench.client()
        await client.get_order(ORDER_ID)
        await bench.session.close()
        assert error_of(await ship(client)).kind is CallKind.NOT_SENT

    async def test_an_observer_that_raises_decides_nothing(self, bench: Bench) -> None:
        def broken(_: CallReport) -> None:
            raise RuntimeError("telemetry")

        client = bench.client()
        client._observer = broken
        assert isinstance(await ship(client), Order)


class _Raising:
    """A session whose every request raises."""

    def __init__(self, kind: type[BaseException]) -> None:
        self._error = kind.__new__(kind)

    async def request(self, *_: object, **__: object) -> None:
        raise self._error


def _with_session(session: object, clock: HandClock) -> WalmartClient:
    account = AccountSettings.model_validate({"client_id": "i", "client_secret": SECRET, "base_url": "http://h"})
    return WalmartClient(session, "main", account, TimingSettings(), clock)  # type: ignore[arg-type]


class TestSecrets:
    async def test_nothing_secret_comes_out(self, bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
        """Walmart repeats everything it was sent, and more: none of it is passed on."""
        token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dBjftJeZ4CVPmB92K27uhbUJU1p1r"
        planted = f"{SECRET} {token} buyer@example.com +1 (555) 123-4567 9876543210987 for {ORDER_ID}"
        bench.server.token_steps = [
            answer(200, {"access_token": token, "expires_in": 900}),
            answer(400, planted.encode()),
        ]
        bench.server.steps = [
            answer(400, {"errors": {"error": [{"code": planted, "field": planted, "description": planted}]}}),
            answer(400, planted.encode()),
            answer(200, {"message": planted}),
            answer(500, planted.encode()),
            answer(401, planted.encode()),
        ]
        client = bench.client()
        texts = [repr(client), repr(client._token)]
        texts += [repr(error_of(await ship(client))) for _ in range(5)]
        texts += [repr(report) for report in bench.reports] + [caplog.text]
        assert any(ORDER_ID in text for text in texts)
        for text in texts:
            for secret in (SECRET, token, token[:20], "buyer", "example.com", "123-4567", "9876543210987"):
                assert secret not in text

    async def test_a_secret_that_looks_like_words_is_known(self, bench: Bench) -> None:
        """The live token and the account's id are hidden wherever they stand."""
        bench.server.token_steps = [answer(200, {"access_token": "opensesame", "expires_in": 900})]
        told = {"errors": {"error": [{"code": "X", "description": "not (opensesame) from id-1234"}]}}
        bench.server.steps = [answer(400, told), answer(200, told)]
        client = bench.client()
        for _ in range(2):
            text = repr(error_of(await ship(client)))
            assert "not ([hidden]) from [hidden]" in text
            assert "sesame" not in text


def test_it_is_an_orders_api() -> None:
    """Same names and parameters as the protocol the other rooms use."""
    from worker.walmart.answer import OrdersApi

    for name, method in inspect.getmembers(OrdersApi, inspect.isfunction):
        if not re.match("_", name):
            assert inspect.signature(method) == inspect.signature(getattr(WalmartClient, name)), name
