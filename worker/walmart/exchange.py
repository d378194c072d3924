"""One request and its answer over HTTP: whatever happens on the way becomes a value that says whether it was sent."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import aiohttp
import structlog
from yarl import URL

from worker.walmart.guarded_body import GuardedBody

log = structlog.get_logger()

MAX_ANSWER_BYTES: Final = 10_485_760
"""Longest answer that is read: 10 MiB. An order has some kilobytes."""

TOO_LATE: Final = "the deadline for sending had passed"

_NEVER_SENT: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
)
"""What aiohttp raises before it has a connection (DNS, TCP, TLS, certificate and proxy errors are among them)."""


class ConnectionBrokenError(aiohttp.ClientError):
    """The connection broke while the request or the head of the answer was on its way."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer came. `cut_off`: it ended early or was too long; then `body` is its beginning."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cut_off: bool = False


@dataclass(frozen=True, slots=True)
class NoReply:
    """No answer came."""

    sent: bool
    """False only where certainly nothing of the request has left this process."""
    message: str
    broken: bool = False
    """The connection broke, as a kept-alive one does that the server has closed."""
    too_late: bool = False
    """Not sent because the deadline for sending had passed when a connection was there."""


async def _once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    # aiohttp silently sends GET and PUT a second time when a kept-alive connection breaks, by catching these two
    # exceptions. As another class they come out here, and each request on the wire is one that was asked for.
    try:
        return await handler(request)
    except _NEVER_SENT:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise ConnectionBrokenError(*error.args) from error


_MIDDLEWARES: Final = (_once,)


async def exchange(
    session: aiohttp.ClientSession,
    method: str,
    url: URL,
    *,
    headers: Mapping[str, str],
    body: GuardedBody | None,
    timeout: aiohttp.ClientTimeout,
) -> Reply | NoReply:
    """Send one request and read the answer, redirects not followed. Raises nothing but CancelledError."""
    response: aiohttp.ClientResponse | None = None
    try:
        response = await session.request(
            method,
            url,
            headers=headers,
            data=body,
            allow_redirects=False,
            timeout=timeout,
            middlewares=_MIDDLEWARES,
        )
        content, whole = await _read(response)
        return Reply(response.status, response.headers, content, cut_off=not whole)
    except asyncio.CancelledError:
        raise
    except Exception as error:  # noqa: BLE001  # every failure of a call is a value; what is unexpected is logged
        if not isinstance(error, aiohttp.ClientError | OSError):
            log.warning("walmart_call_raised", error=type(error).__name__, method=method)
        return _no_reply(error, body, timeout)
    finally:
        if body is not None:
            body.give_up()
        if response is not None:
            response.close()


async def _read(response: aiohttp.ClientResponse) -> tuple[bytes, bool]:
    """The body and whether it is all of it. A body that breaks off is still an answer: its status counts."""
    chunks: list[bytes] = []
    size = 0
    content = response.content
    try:
        while not content.at_eof():
            chunk = await content.readany()
            size += len(chunk)
            chunks.append(chunk)
            if size > MAX_ANSWER_BYTES:
                return b"".join(chunks)[:MAX_ANSWER_BYTES], False
    except (aiohttp.ClientError, OSError):
        return b"".join(chunks), False
    return (chunks[0] if len(chunks) == 1 else b"".join(chunks)), True


def _no_reply(error: Exception, body: GuardedBody | None, timeout: aiohttp.ClientTimeout) -> NoReply:
    # A body knows whether it left; without one (a read) the kind of error tells, in doubt "sent".
    sent = body.written if body is not None else not isinstance(error, _NEVER_SENT)
    if body is not None and body.too_late:
        return NoReply(False, TOO_LATE, too_late=True)
    broken = isinstance(error, ConnectionBrokenError | aiohttp.ServerDisconnectedError | ConnectionResetError)
    return NoReply(sent, _words(error, timeout), broken)


def _words(error: Exception, timeout: aiohttp.ClientTimeout) -> str:
    """Our own words: texts of exceptions may carry URLs and headers."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "could not connect: the host name was not found"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "could not connect: the server's certificate is not accepted"
    if isinstance(error, aiohttp.ClientSSLError):
        return "could not connect: TLS failed"
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return f"could not connect within {timeout.connect or timeout.total or 0:g} s"
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout.total or 0:g} s"
    cause = error.__cause__ if isinstance(error, ConnectionBrokenError) and error.__cause__ is not None else error
    name = type(cause).__name__
    number = cause.errno if isinstance(cause, OSError) else None
    detail = f" ({errno.errorcode[number]})" if number is not None and number in errno.errorcode else ""
    if isinstance(error, _NEVER_SENT):
        return f"could not connect: {name}{detail}"
    if isinstance(error, aiohttp.ClientError | OSError):
        return f"the connection broke: {name}{detail}"
    return f"the request could not be made: {name}"
