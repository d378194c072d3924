"""One open HTTP/1.1 connection: sends a request, gives its answer, and can be told to stop."""

from __future__ import annotations

import asyncio
from typing import Final, cast

from worker.walmart.http_answer import AnswerReader, BadAnswerError, Reply

CLOSED_IN_ORDER: Final = "closed"


class ConnectionBrokenError(OSError):
    """The connection ended before the head of the answer had come."""


class Connection(asyncio.Protocol):
    """Carries one request at a time. Whoever made it closes it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._reader = AnswerReader()
        self._answer: asyncio.Future[Reply] | None = None
        self.idle_since = 0.0
        """Time of the loop at which it was put by."""
        self.lost: asyncio.Future[None] = loop.create_future()
        """Done when it is gone."""

    @property
    def usable(self) -> bool:
        """Nothing is known that speaks against writing to it."""
        return self._transport is not None and not self._transport.is_closing() and self._answer is None

    def ask(self, request: bytes) -> asyncio.Future[Reply]:
        """Write a request; its answer, ConnectionBrokenError, BadAnswerError or TimeoutError. It must be usable.

        When this returns, bytes may have left.
        """
        assert self._transport is not None
        self._answer = answer = self._loop.create_future()
        self._transport.write(request)
        return answer

    def expire(self) -> None:
        """The time for the answer is over: what has come of it is all there is."""
        self._end(self._reader.ended(clean=False), TimeoutError())
        self.abort()

    def close(self) -> None:
        """Close it in order; for one that carries nothing."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close it at once: what has not left yet never leaves."""
        if self._transport is not None:
            self._transport.abort()

    # -- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._answer is None:
            self.abort()  # nobody has asked
            return
        try:
            reply = self._reader.feed(data)
        except BadAnswerError as error:
            self._end(None, error)
            self.abort()
            return
        if reply is None:
            return
        transport = self._transport
        if not reply.reusable or transport is None or transport.get_write_buffer_size():
            self.abort()
        self._end(reply, None)

    def connection_lost(self, exc: Exception | None) -> None:
        number = exc.errno if isinstance(exc, OSError) else None
        broken = ConnectionBrokenError(number, type(exc).__name__ if exc is not None else CLOSED_IN_ORDER)
        self._end(self._reader.ended(clean=exc is None), broken)
        if not self.lost.done():
            self.lost.set_result(None)

    def _end(self, reply: Reply | None, error: Exception | None) -> None:
        answer, self._answer = self._answer, None
        if answer is None or answer.done():
            return
        if reply is not None:
            answer.set_result(reply)
        else:
            assert error is not None
            answer.set_exception(error)
