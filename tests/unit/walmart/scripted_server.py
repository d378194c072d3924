"""A raw HTTP server that does exactly what a test says, down to when the connection breaks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import orjson

ORDER_ID = "1796277083022"


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int


@dataclass(frozen=True)
class Wire:
    """What a step may do with the connection."""

    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def drop(self) -> None:
        """Reset, not a polite close."""
        transport = self.writer.transport
        assert isinstance(transport, asyncio.Transport)
        transport.abort()

    def close(self) -> None:
        self.writer.close()


Step = Callable[[Seen, Wire], Awaitable[None]]


def http(status: int, body: bytes | object = b"", headers: dict[str, str] | None = None) -> bytes:
    """A whole answer."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def answer(status: int, body: bytes | object = b"", headers: dict[str, str] | None = None) -> Step:
    async def step(_: Seen, wire: Wire) -> None:
        await wire.send(http(status, body, headers))

    return step


async def drop(_: Seen, wire: Wire) -> None:
    wire.drop()


async def close(_: Seen, wire: Wire) -> None:
    wire.close()


def then_close(step: Step) -> Step:
    """Answer, keep-alive promised, and close right after."""

    async def both(seen: Seen, wire: Wire) -> None:
        await step(seen, wire)
        wire.close()

    return both


async def silence(_: Seen, __: Wire) -> None:
    await asyncio.sleep(60)


def raw(data: bytes, *, close: bool = True) -> Step:
    """Any bytes, then the end of the connection."""

    async def step(_: Seen, wire: Wire) -> None:
        await wire.send(data)
        if close:
            wire.close()

    return step


def order_json(number: str = ORDER_ID, status: str = "Acknowledged") -> dict[str, object]:
    return {
        "order": {
            "purchaseOrderId": number,
            "customerEmailId": "buyer@relay.example",
            "orderDate": 1_700_000_000_000,
            "shippingInfo": {"methodCode": "Standard"},
            "orderLines": {
                "orderLine": [
                    {
                        "lineNumber": "1",
                        "item": {"sku": "A"},
                        "orderLineQuantity": {"unitOfMeasurement": "EACH", "amount": "1"},
                        "orderLineStatuses": {
                            "orderLineStatus": [
                                {"status": status, "statusQuantity": {"unitOfMeasurement": "EACH", "amount": "1"}}
                            ]
                        },
                    }
                ]
            },
        }
    }


@dataclass
class ScriptedServer:
    """`steps` are used up one per API call, `token_steps` one per token request; afterwards everything works."""

    steps: list[Step] = field(default_factory=list)
    token_steps: list[Step] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    token_requests: list[Seen] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    refuse_tokens: set[str] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        connection = self.connections
        wire = Wire(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while not writer.is_closing():
                seen = await _read(reader, connection)
                if seen.target == "/v3/token":
                    self.token_requests.append(seen)
                    step = self.token_steps.pop(0) if self.token_steps else self._token()
                else:
                    self.seen.append(seen)
                    step = self._next(seen)
                await step(seen, wire)
        writer.close()

    def _token(self) -> Step:
        return answer(
            200, {"access_token": f"T{len(self.token_requests)}", "token_type": "Bearer", "expires_in": "900"}
        )

    def _next(self, seen: Seen) -> Step:
        if seen.headers["wm_sec.access_token"] in self.refuse_tokens:
            return answer(401, {"error": [{"code": "UNAUTHORIZED.GMP_GATEWAY_API", "description": "Unauthorized"}]})
        return self.steps.pop(0) if self.steps else answer(200, order_json())


async def _read(reader: asyncio.StreamReader, connection: int) -> Seen:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Seen(method, target, headers, body, connection)


@contextlib.asynccontextmanager
async def running(server: ScriptedServer) -> AsyncIterator[ScriptedServer]:
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, backlog=4096)
    server.port = listener.sockets[0].getsockname()[1]
    tasks_before = asyncio.all_tasks()
    try:
        yield server
    finally:
        listener.close()
        for task in asyncio.all_tasks() - tasks_before:
            if task is not asyncio.current_task() and "serve" in repr(task.get_coro()):
                task.cancel()
