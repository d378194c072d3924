"""One request and its answer over HTTP: whatever happens on the way becomes a value that says whether it was sent."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from typing import Final, NamedTuple

import structlog

from worker.walmart.connection import Connection, ConnectionBrokenError
from worker.walmart.http_answer import BadAnswerError, Reply
from worker.walmart.http_session import HttpSession, Origin
from worker.walmart.send_guard import SendGuard

log = structlog.get_logger()

TOO_LATE: Final = "the deadline for sending had passed"


class CallTimeout(NamedTuple):
    """Limits of one request, in seconds."""

    total: float
    """All of it; finding or making a connection is part of it."""
    connect: float
    """Making a connection; at most `total`."""


class NoReply(NamedTuple):
    """No answer came."""

    sent: bool
    """False only where certainly nothing of the request has left this process."""
    message: str
    broken: bool = False
    """The connection broke, as a kept-alive one does that the server has closed."""
    too_late: bool = False
    """Not sent because the deadline for sending had passed when a connection was there."""


async def exchange(
    session: HttpSession, origin: Origin, request: bytes, guard: SendGuard, timeout: CallTimeout
) -> Reply | NoReply:
    """Send one request (head and body) and read the answer. Raises nothing but CancelledError."""
    connection: Connection | None = None
    timer: asyncio.TimerHandle | None = None
    try:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + timeout.total
        connection = session.idle(origin) or await session.open(origin, timeout.connect)
        if not connection.usable:
            return NoReply(False, "the connection had gone", broken=True)
        if not guard.lets_pass():
            return NoReply(False, TOO_LATE, too_late=True)
        timer = loop.call_at(ends_at, connection.expire)
        return await connection.ask(request)
    except asyncio.CancelledError:
        raise
    except Exception as error:  # noqa: BLE001  # every failure of a call is a value; what is unexpected is logged
        if not isinstance(error, OSError | BadAnswerError):
            log.warning("walmart_call_raised", error=type(error).__name__)
        return NoReply(guard.written, _words(error, timeout, guard), isinstance(error, ConnectionBrokenError))
    finally:
        if timer is not None:
            timer.cancel()
        if connection is not None:
            if connection.usable:
                session.put_by(origin, connection)
            else:
                connection.abort()


def _words(error: Exception, timeout: CallTimeout, guard: SendGuard) -> str:
    """Our own words: texts of exceptions may carry addresses and headers."""
    if guard.written:
        if isinstance(error, TimeoutError):
            return f"no answer within {timeout.total:g} s"
        if isinstance(error, BadAnswerError):
            return f"the answer cannot be read: {error}"
        return f"the connection broke: {_name(error)}"
    if isinstance(error, socket.gaierror):
        return "could not connect: the host name was not found"
    if isinstance(error, ssl.SSLCertVerificationError):
        return "could not connect: the server's certificate is not accepted"
    if isinstance(error, ssl.SSLError):
        return "could not connect: TLS failed"
    if isinstance(error, OSError):
        number = error.errno
        if isinstance(error, TimeoutError) and number is None:
            return f"could not connect within {timeout.connect:g} s"
        return f"could not connect: {_name(error)}"
    return f"the request could not be made: {type(error).__name__}"


def _name(error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    name = str(error.args[1]) if isinstance(error, ConnectionBrokenError) else type(error).__name__
    return f"{name} ({errno.errorcode[number]})" if number is not None and number in errno.errorcode else name
