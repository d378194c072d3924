"""A Walmart that costs next to nothing: it answers after a fixed delay and tells when each call came.

It knows no orders: every id is an order with two acknowledged lines, and a shipment is answered with the order as it
is afterwards. Several accounts may use it, each below a path of its own; on request it does not serve some of them, or
some orders (`faults.py`).

Run as `python -m tests.bench.fast_walmart DELAY_SECONDS`; its first line of output are its ports. The second is a side
door, which can be closed.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from email.utils import formatdate
from functools import lru_cache
from typing import Any, Final, Literal

import orjson

from tests.bench.contract import PLENTY
from tests.bench.faults import HOLDS, THROTTLED, Bucket, Faults
from tests.bench.traffic import order_template

_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json;charset=utf-8\r\nX-Next-Replenishment-Time: %d\r\n"
    b"Date: %b\r\nX-Current-Token-Count: %d\r\nContent-Length: %d\r\n\r\n"
)
_TOKEN: Final = orjson.dumps({"access_token": "bench-token", "token_type": "Bearer", "expires_in": 900})
_KEPT_TIMES: Final = 100_000


class Walmart:
    """What all connections share. Times are monotonic seconds."""

    def __init__(self, delay_s: float) -> None:
        self.delay_s = delay_s
        self.gets = 0
        self.posts = 0
        self.faulty = 0
        """Calls, those for a token included, that were not served."""
        self.faults = Faults()
        self._buckets: dict[str, Bucket] = {}
        self.times: dict[str, list[float]] = {}
        """Order id -> GET came, GET answered, POST came, POST answered."""
        self._order: dict[str, Any] = order_template()["order"]
        self._order_date: int = self._order["orderDate"]
        plain = orjson.dumps({"order": {**self._order, "purchaseOrderId": "{id}"}})
        self._before, _, self._after = plain.partition(b"{id}")

    def get(self, order: str) -> bytes:
        """The order as it was made."""
        return self._before + order.encode() + self._after

    def post(self, order: str, body: bytes) -> bytes:
        """The order as the shipment leaves it."""
        asked = orjson.loads(body)["orderShipment"]["orderLines"]["orderLine"]
        statuses = {line["lineNumber"]: line["orderLineStatuses"] for line in asked}
        lines = [
            {**line, "orderLineStatuses": statuses.get(line["lineNumber"], line["orderLineStatuses"])}
            for line in self._order["orderLines"]["orderLine"]
        ]
        return orjson.dumps({"order": {**self._order, "purchaseOrderId": order, "orderLines": {"orderLine": lines}}})

    def break_(self, faults: Faults) -> None:
        """Have these faults from now on."""
        now = time.monotonic()
        self.faults = faults
        self._buckets = {account: Bucket(budget, HOLDS, now) for account, budget in faults.budgets.items()}

    def refusal(self, account: str, order: str | None, *, writes: bool) -> bytes | Literal["served"] | None:
        """The answer to a call that is not served; None: there is none, ever."""
        answer = self.faults.answer(account, order, writes=writes)
        bucket = self._buckets.get(account) if answer == "served" and writes and order is not None else None
        return answer if bucket is None or bucket.grants(time.monotonic()) else THROTTLED

    def left(self, account: str, *, writes: bool) -> int:
        """Calls left in an account's budget, as the answers tell."""
        bucket = self._buckets.get(account) if writes else None
        return PLENTY if bucket is None else int(bucket.left(time.monotonic()))

    def note(self, order: str, came: float) -> None:
        """A call that is answered now."""
        if len(self.times) < _KEPT_TIMES:
            self.times.setdefault(order, []).extend((came, time.monotonic()))

    def reset(self) -> None:
        """Forget what was counted."""
        self.gets = self.posts = self.faulty = 0
        self.times.clear()

    def told(self) -> dict[str, Any]:
        """What was counted, and when that was."""
        return {"now": time.monotonic(), "gets": self.gets, "posts": self.posts, "faulty": self.faulty}


class Door:
    """A port of this Walmart."""

    def __init__(self, walmart: Walmart) -> None:
        self.walmart = walmart
        self.side: Door | None = None
        """The one that closes when the faults say so."""
        self.transports: set[asyncio.Transport] = set()
        self.port = 0
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen; after the first time, on the same port."""
        if self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", self.port, backlog=1024)
            self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Listen no more, and cut off who is connected."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for transport in list(self.transports):
            transport.abort()

    async def break_(self, faults: Faults) -> None:
        """Have these faults from now on."""
        self.walmart.break_(faults)
        if self.side is not None and faults.side_door_closed:
            self.side.close()
        elif self.side is not None:
            await self.side.open()


class _Connection(asyncio.Protocol):
    def __init__(self, door: Door) -> None:
        self._door = door
        self._walmart = door.walmart
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._door.transports.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._door.transports.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return
            length = _content_length(head)
            if len(rest) < length:
                return
            self._buffer = rest[length:]
            method, path, _ = head.split(b" ", 2)
            self._handle(method, path.decode(), rest[:length])

    def _handle(self, method: bytes, path: str, body: bytes) -> None:
        walmart, came = self._walmart, time.monotonic()
        account, is_call, call = path.partition("/v3/")
        if not is_call:
            self._bench(path, body)
            return
        order, _, action = call.removeprefix("orders/").partition("/")
        is_token, writes = call == "token", method == b"POST"
        answer = walmart.refusal(account[1:], None if is_token else order, writes=writes)
        if answer != "served":
            walmart.faulty += 1
            if answer is not None:
                self._loop.call_at(came + walmart.delay_s, self._write, answer)
            return
        if is_token:
            self._answer(_TOKEN)
            return
        left = walmart.left(account[1:], writes=writes)
        if writes:
            assert action == "shipping", path
            walmart.posts += 1
            content = walmart.post(order, body)
        else:
            walmart.gets += 1
            content = walmart.get(order)
        if walmart.delay_s:
            self._loop.call_at(came + walmart.delay_s, self._answer, content, left, order, came)
        else:
            self._answer(content, left, order, came)

    def _bench(self, path: str, body: bytes) -> None:
        walmart = self._walmart
        if path == "/bench/counts":
            self._answer(orjson.dumps(walmart.told()))
        elif path == "/bench/times":
            self._answer(orjson.dumps(walmart.times))
        elif path == "/bench/faults":
            breaking = self._loop.create_task(self._door.break_(Faults(**orjson.loads(body))))
            breaking.add_done_callback(lambda _: self._answer(b"{}"))
        else:
            assert path == "/bench/reset", path
            walmart.reset()
            self._answer(b"{}")

    def _answer(self, content: bytes, left: int = PLENTY, order: str | None = None, came: float = 0.0) -> None:
        if order is not None:
            self._walmart.note(order, came)
        now = time.time()
        self._write(_HEAD % (now * 1000 + 1, _date(int(now)), left, len(content)) + content)

    def _write(self, answer: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(answer)


@lru_cache(maxsize=1)
def _date(now: int) -> bytes:
    return formatdate(now, usegmt=True).encode()


def _content_length(head: bytes) -> int:
    place = head.lower().find(b"\r\ncontent-length:")
    if place < 0:
        return 0
    line, _, _ = head[place + 17 :].partition(b"\r\n")
    return int(line)


async def _serve(delay_s: float) -> None:
    walmart = Walmart(delay_s)
    door, side = Door(walmart), Door(walmart)
    door.side = side
    await door.open()
    await side.open()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    sys.stdout.write(f"{door.port} {side.port}\n")
    sys.stdout.flush()
    await stop.wait()


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1])))
