"""The connections to Walmart that all accounts share: opened when needed, kept for the next call, closed when idle.

Written for one thing, because a general HTTP client costs four times as much per call (`tests/bench`): requests are
bytes, answers are small, nothing is sent twice, and it is known exactly whether a request was written.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from typing import Final, NamedTuple, Self

from aiohappyeyeballs import start_connection

from worker.walmart.addresses import Addresses
from worker.walmart.connection import Connection

NEXT_ADDRESS_S: Final = 0.25
"""An address that does not answer for so long is joined by the next (RFC 8305)."""
_GOODBYE_S: Final = 2.0
"""A TLS connection is given this long to be closed by both sides."""


class Origin(NamedTuple):
    """Where connections lead to; those to the same origin serve all its accounts."""

    secure: bool
    host: str
    port: int


class HttpSession:
    """Make it in the running loop; whoever made it closes it.

    There is one connection per call under way, and those put by for less than `keep_alive_s`: how many calls are under
    way at once is the caller's affair, and nobody waits for a connection. No proxies, cookies or redirects.
    """

    def __init__(self, keep_alive_s: float, *, tls: ssl.SSLContext | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._keep_alive_s = keep_alive_s
        self._tls = tls
        self._addresses = Addresses(self._loop)
        self._idle: dict[Origin, deque[Connection]] = {}
        self._open: set[Connection] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def idle(self, origin: Origin) -> Connection | None:
        """The connection used last that is still good, or None."""
        waiting = self._idle.get(origin)
        if waiting:
            oldest = self._loop.time() - self._keep_alive_s
            while waiting:
                connection = waiting.pop()
                if connection.usable:
                    if connection.idle_since > oldest:
                        return connection
                    connection.close()
        return None

    async def open(self, origin: Origin, connect_s: float) -> Connection:
        """A new connection, within `connect_s`. Raises OSError (TimeoutError, DNS and TLS among them)."""
        self._check_open()
        tls = self._tls_context() if origin.secure else None
        connection = Connection(self._loop)
        async with asyncio.timeout(connect_s):
            infos = await self._addresses.of(origin.host, origin.port)
            try:
                sock = await start_connection(infos, happy_eyeballs_delay=NEXT_ADDRESS_S, loop=self._loop)
            except BaseException:
                self._addresses.forget(origin.host, origin.port)
                raise
            await self._loop.create_connection(
                lambda: connection,
                sock=sock,
                ssl=tls,
                server_hostname=origin.host if tls is not None else None,
                ssl_shutdown_timeout=_GOODBYE_S if tls is not None else None,
            )
        try:
            self._check_open()
        except OSError:
            connection.abort()
            raise
        self._open.add(connection)
        connection.lost.add_done_callback(lambda _: self._open.discard(connection))
        return connection

    def put_by(self, origin: Origin, connection: Connection) -> None:
        """Keep a usable connection for the next call."""
        connection.idle_since = self._loop.time()
        waiting = self._idle.get(origin)
        if waiting is None:
            waiting = self._idle[origin] = deque()
        waiting.append(connection)
        if self._sweeper is None and not self._closed:
            self._sweeper = self._loop.call_later(self._keep_alive_s, self._sweep)

    async def close(self) -> None:
        """Close everything and wait until it is closed; calls under way get no answer."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._idle.clear()
        leaving = list(self._open)
        for connection in leaving:
            if connection.usable:
                connection.close()
            else:
                connection.abort()
        if leaving:
            await asyncio.wait([connection.lost for connection in leaving], timeout=2 * _GOODBYE_S)

    def _check_open(self) -> None:
        if self._closed:
            raise OSError("the session is closed")

    def _sweep(self) -> None:
        """Close what was not needed for long."""
        now = self._loop.time()
        first = now
        for origin, waiting in list(self._idle.items()):
            while waiting and (not waiting[0].usable or waiting[0].idle_since <= now - self._keep_alive_s):
                waiting.popleft().close()
            if waiting:
                first = min(first, waiting[0].idle_since)
            else:
                del self._idle[origin]
        self._sweeper = None
        if self._idle:
            self._sweeper = self._loop.call_at(first + self._keep_alive_s, self._sweep)

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls
