"""A request body that is asked, in the last moment, whether it may still be written, and knows whether it was.

aiohttp calls `write_with_length` after a connection has been found or made, and keeps the headers back until then, so
that headers and body leave in one write. Before that call nothing of the request has left this process; the check of
the deadline stands right in front of it, without an `await` between.
"""

from __future__ import annotations

from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import BytesPayload

from worker.clock import Clock


class NotWrittenError(Exception):
    """The body was not written: too late, or the connection had gone, or it was written once before."""


class GuardedBody(BytesPayload):
    """JSON bytes that are written at most once, and never after the deadline (epoch seconds, None for no deadline)."""

    def __init__(self, value: bytes, clock: Clock, deadline: float | None) -> None:
        super().__init__(value, content_type="application/json")
        self._clock = clock
        self._deadline = deadline
        self.written = False
        """True from just before the first byte leaves."""
        self.too_late = False
        """The deadline had passed when it was about to be written."""
        self._over = False

    def give_up(self) -> None:
        """From now on refuse: the caller has told the outcome already."""
        self._over = True

    async def write(self, writer: AbstractStreamWriter) -> None:
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Write, or raise NotWrittenError before anything has left."""
        transport = getattr(writer, "transport", None)
        if self.written or self._over or transport is None or transport.is_closing():
            raise NotWrittenError
        if self._deadline is not None and self._clock.now() > self._deadline:
            self.too_late = True
            raise NotWrittenError
        self.written = True
        await super().write_with_length(writer, content_length)
