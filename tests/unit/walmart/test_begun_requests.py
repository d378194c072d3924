"""Whoever counts requests is told of each right before it goes out, and of its end exactly once, whatever happens."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripted_server import (
    ORDER_ID,
    ScriptedServer,
    Seen,
    Step,
    Wire,
    answer,
    close,
    drop,
    http,
    order_json,
    raw,
    running,
    silence,
    then_close,
)
from walmart_bench import NOW, Bench, HandClock

from schemas.walmart.order import Order
from worker.settings import TimingSettings
from worker.walmart import client as client_module
from worker.walmart.answer import CallKind
from worker.walmart.call_report import Operation
from worker.walmart.client import WalmartClient
from worker.walmart.session import make_session

BODY: dict[str, object] = {"orderShipment": {"orderLines": {"orderLine": [{"lineNumber": "1"}]}}}
LATER = NOW + 60

STEPS: dict[str, Step] = {
    "works": answer(200, order_json()),
    "works, then closes": then_close(answer(200, order_json())),
    "no order": answer(200, {}),
    "unauthorized": answer(401, {}),
    "throttled": answer(429, {}),
    "refused": answer(400, {"errors": {"error": [{"code": "X", "description": "line 1 is shipped"}]}}),
    "down": answer(503),
    "drops": drop,
    "closes": close,
    "cut off": raw(http(200, order_json())[:-9]),
    "no http": raw(b"hello\r\n\r\n"),
    "hangs": silence,
}


async def call(client: WalmartClient, operation: str) -> object:
    match operation:
        case "get_order":
            return await client.get_order(ORDER_ID)
        case "acknowledge":
            return await client.acknowledge(ORDER_ID)
        case "ship":
            return await client.ship(ORDER_ID, BODY, deadline=LATER)
        case "put_inventory":
            return await client.put_inventory("A", 1, None)
        case _:
            return await client.token_detail()


async def test_told_before_it_leaves(bench: Bench) -> None:
    """At that moment the server has seen nothing of it; the token's own requests are nobody's."""
    seen_before: list[int] = []
    client = bench.client()

    def begin(operation: Operation, subject: str) -> int:
        seen_before.append(len(bench.server.seen))
        return bench.begin(operation, subject)

    client._begun = begin
    assert isinstance(await client.get_order(ORDER_ID), Order)
    assert isinstance(await client.ship(ORDER_ID, BODY, deadline=LATER), Order)
    assert seen_before == [0, 1]
    assert bench.begun == [("get_order", ORDER_ID), ("ship", ORDER_ID)]
    assert [report.kind for report in bench.ended()] == [None, None]
    assert [report.ticket for report in bench.reports if report.operation == "token"] == [-1]


async def test_nothing_begins_that_does_not_go_out(bench: Bench) -> None:
    """No token, or a deadline that has passed: no request, so none was begun."""
    client = bench.client()
    await client.ship(ORDER_ID, BODY, deadline=NOW - 1)
    bench.server.token_steps = [answer(400, {"error": "invalid_client"})]
    client._token.invalidate("T1")
    await client.get_order(ORDER_ID)
    assert bench.begun == []
    assert bench.server.seen == []


async def test_each_of_two_requests_is_one(bench: Bench) -> None:
    """After a 401, and for a read whose connection broke."""
    bench.server.steps = [STEPS["unauthorized"], STEPS["works"], drop, STEPS["works"]]
    client = bench.client()
    assert isinstance(await client.get_order(ORDER_ID), Order)
    assert isinstance(await client.get_order(ORDER_ID), Order)
    kinds = [report.kind for report in bench.ended()]
    assert kinds == [CallKind.UNAUTHORIZED, None, CallKind.UNKNOWN, None]


@pytest.mark.parametrize("operation", ["get_order", "acknowledge", "ship", "put_inventory", "token_detail"])
async def test_cancelled_after_it_left(bench: Bench, operation: str) -> None:
    arrived = asyncio.Event()

    async def arrive(seen: Seen, wire: Wire) -> None:
        arrived.set()
        await silence(seen, wire)

    bench.server.steps = [arrive]
    task = asyncio.create_task(call(bench.client(), operation))
    await arrived.wait()
    assert [report.operation for report in bench.reports] == ["token"]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (report,) = bench.ended()
    assert (report.kind, report.status, report.cancelled) == (CallKind.UNKNOWN, None, True)


async def test_cancelled_before_it_left(bench: Bench) -> None:
    """A body that was not written is certain; a read is in doubt."""
    client = bench.client()
    await client.token_detail()
    connector = bench.session.connector
    assert connector is not None
    connecting = asyncio.Event()

    async def never(*_: object, **__: object) -> object:
        connecting.set()
        return await asyncio.Event().wait()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connector, "connect", never)
        for operation in ("ship", "get_order"):
            connecting.clear()
            task = asyncio.create_task(call(client, operation))
            await connecting.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    _, ship, get = bench.ended()
    assert (ship.kind, ship.cancelled) == (CallKind.NOT_SENT, True)
    assert (get.kind, get.cancelled) == (CallKind.UNKNOWN, True)


async def test_a_mistake_of_ours_is_an_end_too(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> object:
        raise RuntimeError("ours")

    monkeypatch.setattr(client_module, "read_error", broken)
    bench.server.steps = [STEPS["down"]]
    with pytest.raises(RuntimeError, match="ours"):
        await call(bench.client(), "ship")
    (report,) = bench.ended()
    assert report.kind is CallKind.UNKNOWN


async def test_one_who_raises_decides_nothing(bench: Bench) -> None:
    def broken(_: Operation, __: str) -> int:
        raise RuntimeError("counting")

    client = bench.client()
    client._begun = broken
    assert isinstance(await client.get_order(ORDER_ID), Order)
    assert [report.ticket for report in bench.reports] == [-1, -1]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
@given(
    steps=st.lists(st.sampled_from(sorted(STEPS)), max_size=6),
    operations=st.lists(
        st.sampled_from(["get_order", "acknowledge", "ship", "put_inventory", "token_detail"]), min_size=1, max_size=6
    ),
    cancel_after=st.integers(0, 12),
)
def test_every_request_has_one_end(steps: list[str], operations: list[str], cancel_after: int) -> None:
    """Whatever the server does, several calls at once, all of them cancelled after some turns of the loop."""

    async def play() -> None:
        timing = TimingSettings()
        async with running(ScriptedServer()) as server, make_session(timing) as session:
            bench = Bench(server, session, HandClock())
            server.steps = [STEPS[step] for step in steps]
            client = bench.client(call_s=0.1, connect_s=0.1)
            tasks = [asyncio.create_task(call(client, operation)) for operation in operations]
            for _ in range(cancel_after):
                await asyncio.sleep(0)
            if cancel_after % 2:
                for task in tasks:
                    task.cancel()
            for task in tasks:
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            await client.close()
            bench.ended()

    asyncio.run(play())
