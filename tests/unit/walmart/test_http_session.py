"""Connections are shared, kept for a while, never used in doubt, and all gone in the end."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl

import pytest
from scripted_server import ORDER_ID, Seen, Wire, answer, http, order_json, raw, silence
from walmart_bench import Bench, move

from schemas.walmart.order import Order
from worker.walmart.addresses import BELIEVED_S, Addresses
from worker.walmart.answer import CallError, CallKind
from worker.walmart.connection import Connection
from worker.walmart.http_session import HttpSession


def idle(session: HttpSession) -> list[Connection]:
    return [connection for waiting in session._idle.values() for connection in waiting]


async def test_accounts_at_one_address_share_connections(bench: Bench) -> None:
    first, second = bench.client(), bench.client()
    for client in (first, second, first):
        assert isinstance(await client.get_order(ORDER_ID), Order)
    assert bench.server.connections == 1
    assert len(idle(bench.session)) == 1


async def test_the_one_used_last_is_used_next(bench: Bench) -> None:
    """So the others get old and are closed."""
    client = bench.client()
    await client.token_detail()
    await asyncio.gather(*(client.get_order(ORDER_ID) for _ in range(5)))
    assert len(idle(bench.session)) == 5
    used = {idle(bench.session)[-1]}
    for _ in range(4):
        await client.get_order(ORDER_ID)
        used.add(idle(bench.session)[-1])
    assert len(used) == 1


async def test_an_old_connection_is_not_used(bench: Bench) -> None:
    client = bench.client()
    await client.get_order(ORDER_ID)
    (connection,) = idle(bench.session)
    connection.idle_since -= 11
    await client.get_order(ORDER_ID)
    await connection.lost
    assert bench.server.connections == 2


async def test_what_comes_unasked_ends_a_connection(bench: Bench) -> None:
    """A second answer, or anything else, must not be taken for the answer to the next request."""
    surplus = http(200, order_json("999"))
    bench.server.steps = [raw(http(200, order_json()) + surplus, close=False)]
    client = bench.client()
    assert isinstance(await client.get_order(ORDER_ID), Order)
    assert idle(bench.session) == []

    async def later(_: Seen, wire: Wire) -> None:
        await wire.send(http(200, order_json()))
        await asyncio.sleep(0.02)
        await wire.send(surplus)

    bench.server.steps = [later]
    assert isinstance(await client.get_order(ORDER_ID), Order)
    (connection,) = idle(bench.session)
    await connection.lost
    order = await client.get_order(ORDER_ID)
    assert isinstance(order, Order)
    assert order.purchase_order_id == ORDER_ID


async def test_a_server_that_says_close_is_believed(bench: Bench) -> None:
    bench.server.steps = [answer(200, order_json(), {"Connection": "close"})]
    client = bench.client()
    assert isinstance(await client.get_order(ORDER_ID), Order)
    assert idle(bench.session) == []


async def test_interim_answers_are_skipped(bench: Bench) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    bench.server.steps = [raw(early + http(200, order_json()), close=False)]
    assert isinstance(await bench.client().get_order(ORDER_ID), Order)


async def test_a_connection_in_doubt_is_cut_off(bench: Bench) -> None:
    """After a timeout its bytes must not leave later, nor its answer meet another request."""
    bench.server.steps = [silence]
    client = bench.client(call_s=0.1)
    error = await client.get_order(ORDER_ID)
    assert isinstance(error, CallError)
    assert error.kind is CallKind.UNKNOWN
    assert idle(bench.session) == []
    async with asyncio.timeout(3):
        while bench.session._open:
            await asyncio.sleep(0)


async def test_what_could_not_leave_at_once_never_leaves(bench: Bench) -> None:
    """A server that reads nothing: what is still in our buffer when the call has ended is thrown away."""
    release = asyncio.Event()
    received = 0

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        await release.wait()
        while chunk := await reader.read(65_536):
            received += len(chunk)
        writer.close()

    server = await asyncio.start_server(deaf, "127.0.0.1", 0, limit=1_024)
    client = bench.client(call_s=0.3)
    await client.token_detail()
    move(client, server.sockets[0].getsockname()[1])
    size = 20_000_000
    error = await client.ship(ORDER_ID, {"x": "y" * size}, deadline=bench.clock.time + 60)
    assert isinstance(error, CallError)
    assert error.kind is CallKind.UNKNOWN
    release.set()
    await asyncio.sleep(0.2)
    assert received < size
    server.close()


async def test_closing_ends_what_is_under_way(bench: Bench) -> None:
    arrived = asyncio.Event()

    async def arrive(seen: Seen, wire: Wire) -> None:
        arrived.set()
        await silence(seen, wire)

    bench.server.steps = [arrive]
    client = bench.client()
    task = asyncio.create_task(client.acknowledge(ORDER_ID))
    await arrived.wait()
    await bench.session.close()
    error = await task
    assert isinstance(error, CallError)
    assert error.kind is CallKind.UNKNOWN
    assert bench.session._open == set()
    late = await client.acknowledge(ORDER_ID)
    assert isinstance(late, CallError)
    assert late.kind is CallKind.NOT_SENT


@pytest.mark.parametrize("verified", [True, False])
async def test_what_is_no_tls_server_we_trust_gets_nothing(bench: Bench, verified: bool) -> None:
    """Plain HTTP, or a certificate that nobody we trust has signed (here: none at all)."""
    served: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(await reader.read(1_000))
        writer.close()

    context = None
    if verified:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("AECDH:@SECLEVEL=0")
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    error = await bench.client(url=f"https://127.0.0.1:{port}").get_order(ORDER_ID)
    assert isinstance(error, CallError)
    assert error.kind is CallKind.NOT_SENT
    assert error.message.startswith("no access token, could not connect: ")
    assert not any(b"HTTP" in data for data in served)
    server.close()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (socket.gaierror(-2, "x"), "the host name was not found"),
        (ssl.SSLCertVerificationError(1, "x"), "the server's certificate is not accepted"),
        (ssl.SSLError(1, "x"), "TLS failed"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), "ConnectionRefusedError (ECONNREFUSED)"),
        (TimeoutError(errno.ETIMEDOUT, "x"), "TimeoutError (ETIMEDOUT)"),
    ],
)
async def test_why_there_is_no_connection(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: OSError, said: str
) -> None:
    async def fails(*_: object) -> object:
        raise error

    monkeypatch.setattr(bench.session, "open", fails)
    told = await bench.client().get_order(ORDER_ID)
    assert isinstance(told, CallError)
    assert told.message == f"no access token, could not connect: {said}"


async def test_the_second_address_serves_where_the_first_does_not(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as placeholder:
        placeholder.bind(("127.0.0.2", bench.server.port))  # taken, and nobody listens
        infos = [
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, bench.server.port))
            for host in ("127.0.0.2", "127.0.0.1")
        ]

        async def two(*_: object) -> object:
            return list(infos)

        monkeypatch.setattr(bench.session._addresses, "of", two)
        assert isinstance(await bench.client().get_order(ORDER_ID), Order)


class TestAddresses:
    """Lookups."""

    async def test_once_for_all_who_wait_and_for_a_while(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        addresses, looked_up = Addresses(loop), 0

        async def look_up(*_: object, **__: object) -> object:
            nonlocal looked_up
            looked_up += 1
            await asyncio.sleep(0.01)
            return [(2, 1, 6, "", ("10.0.0.1", 1)), (2, 1, 6, "", ("10.0.0.2", 1))]

        monkeypatch.setattr(loop, "getaddrinfo", look_up)
        waiting = [asyncio.create_task(addresses.of("h", 1)) for _ in range(50)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        found = await asyncio.gather(*waiting[1:])
        assert looked_up == 1
        first = [infos[0][4][0] for infos in found]
        assert abs(first.count("10.0.0.1") - first.count("10.0.0.2")) <= 1, "each in turn"
        known = addresses._known["h", 1]
        assert loop.time() < known.until <= loop.time() + BELIEVED_S
        addresses._known["h", 1] = known._replace(until=loop.time())
        await addresses.of("h", 1)
        assert looked_up == 2
        addresses.forget("h", 1)
        await addresses.of("h", 1)
        assert looked_up == 3

    async def test_a_failure_is_everybodys_and_not_remembered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        addresses = Addresses(loop)
        results: list[list[object]] = [[], [(2, 1, 6, "", ("10.0.0.1", 1))]]

        async def look_up(*_: object, **__: object) -> object:
            await asyncio.sleep(0)
            return results.pop(0)

        monkeypatch.setattr(loop, "getaddrinfo", look_up)
        failed = await asyncio.gather(addresses.of("h", 1), addresses.of("h", 1), return_exceptions=True)
        assert [type(error) for error in failed] == [socket.gaierror] * 2
        assert len(await addresses.of("h", 1)) == 1
