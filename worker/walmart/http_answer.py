"""Bytes of an HTTP/1.1 answer into its status, headers and body (RFC 9112), as they come in. No I/O.

One answer to one request that was not HEAD. What stands in a body is not looked at, but for gzip and deflate, which a
server may use unasked.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Final, NamedTuple

MAX_ANSWER_BYTES: Final = 10_485_760
"""Longest body that is read: 10 MiB. An order has some kilobytes."""

MAX_HEAD_BYTES: Final = 65_536
"""Longest head, and longest line of chunked framing."""

_HEAD_END: Final = b"\r\n\r\n"
_CHUNKED: Final = -1
_UNTIL_CLOSED: Final = -2
_WITHOUT_BODY: Final = frozenset({204, 304})
_HEX: Final = frozenset(b"0123456789abcdefABCDEF")


class BadAnswerError(Exception):
    """What came is not an HTTP/1.1 answer."""


class Reply(NamedTuple):
    """An answer came. `cut_off`: it ended early or was too long; then `body` is its beginning."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case; of a repeated one the first value."""
    body: bytes
    cut_off: bool = False
    reusable: bool = False
    """The connection may carry another request."""


class AnswerReader:
    """Takes one answer at a time; after it has given one, the next bytes begin another."""

    __slots__ = ("_buffer", "_framing", "_headers", "_left", "_parts", "_reusable", "_size", "_status")

    def __init__(self) -> None:
        self._buffer = b""
        self._status = 0
        """0 until the head is there."""
        self._headers: dict[str, str] = {}
        self._reusable = False
        self._framing = 0
        """Length of the body in bytes, `_CHUNKED` or `_UNTIL_CLOSED`."""
        self._parts: list[bytes] = []
        self._size = 0
        self._left = 0
        """Bytes of the present chunk still to come, its line end included."""

    def feed(self, data: bytes) -> Reply | None:
        """The answer, once it is complete or too long. Raises BadAnswerError."""
        if not self._status:
            rest = self._begin(self._buffer + data if self._buffer else data)
            if rest is None:
                return None
            data = rest
        if self._framing == _CHUNKED:
            return self._chunks(data)
        if self._framing == _UNTIL_CLOSED:
            return self._keep(data)
        missing = self._framing - self._size
        if len(data) > missing:
            data, self._reusable = data[:missing], False  # nobody asked for what follows
        if len(data) == missing and self._framing <= MAX_ANSWER_BYTES:
            self._parts.append(data)
            return self._done()
        return self._keep(data)

    def ended(self, *, clean: bool) -> Reply | None:
        """What there is when nothing more will come; None where the head is not there. `clean`: closed in order."""
        if not self._status:
            self._reset()
            return None
        return self._done(cut_off=not (clean and self._framing == _UNTIL_CLOSED), reusable=False)

    # -- the head

    def _begin(self, data: bytes) -> bytes | None:
        """Read the head; what follows it, or None where it is not complete. 1xx are skipped."""
        while True:
            end = data.find(_HEAD_END)
            if end < 0 or end > MAX_HEAD_BYTES:
                if len(data) > MAX_HEAD_BYTES:
                    raise BadAnswerError("its head is too long")
                self._buffer = data
                return None
            status = self._head(data[:end].decode("latin-1").split("\r\n"))
            data = data[end + 4 :]
            if status >= 200:
                self._buffer = b""
                self._status = status
                return data
            if status == 101:
                raise BadAnswerError("another protocol")

    def _head(self, lines: list[str]) -> int:
        first = lines[0]
        number = first[9:12]
        if not (first.startswith("HTTP/1.") and first[8:9] == " " and len(number) == 3 and number.isdecimal()):
            raise BadAnswerError("no HTTP/1.1 answer")
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            name = name.lower()
            if name not in headers:
                headers[name] = value.strip()
            elif name == "transfer-encoding" or (name == "content-length" and headers[name] != value.strip()):
                raise BadAnswerError("its length is told twice")
        status = int(number)
        self._headers = headers
        connection = headers.get("connection")
        self._reusable = first[7] == "1"
        if connection is not None:
            options = connection.lower()
            self._reusable = "close" not in options and (self._reusable or "keep-alive" in options)
        self._framing = self._framed(status, headers)
        return status

    def _framed(self, status: int, headers: dict[str, str]) -> int:
        if status in _WITHOUT_BODY or status < 200:
            return 0
        coding = headers.get("transfer-encoding")
        length = headers.get("content-length")
        if coding is not None:
            if coding.lower() != "chunked":
                raise BadAnswerError("an unknown transfer coding")
            self._reusable = self._reusable and length is None
            return _CHUNKED
        if length is None:
            self._reusable = False
            return _UNTIL_CLOSED
        if not (length.isascii() and length.isdecimal() and len(length) < 16):
            raise BadAnswerError("its length is no number")
        return int(length)

    # -- the body

    def _keep(self, data: bytes) -> Reply | None:
        """A part of the body, not the last one; the answer where it gets too long."""
        self._parts.append(data)
        self._size += len(data)
        return self._done(cut_off=True, reusable=False) if self._size > MAX_ANSWER_BYTES else None

    def _chunks(self, data: bytes) -> Reply | None:
        data = self._buffer + data
        while data:
            if self._left > 2:
                part = data[: self._left - 2]
                data = data[len(part) :]
                self._left -= len(part)
                if (answer := self._keep(part)) is not None:
                    return answer
                continue
            if self._left:
                if len(data) < self._left:
                    break
                if data[: self._left] != b"\r\n"[-self._left :]:
                    raise BadAnswerError("a chunk without its end")
                data = data[self._left :]
                self._left = 0
                continue
            line, end, rest = data.partition(b"\r\n")
            if not end:
                if len(data) > MAX_HEAD_BYTES:
                    raise BadAnswerError("a chunk without its length")
                break
            size = line.partition(b";")[0].strip(b" \t")
            if not size or len(size) > 15 or not _HEX.issuperset(size):
                raise BadAnswerError("a chunk without its length")
            self._left = int(size, 16)
            if self._left:
                self._left += 2
                data = rest
                continue
            ended = self._trailer(rest)
            if ended is None:
                break
            self._reusable = self._reusable and not ended
            return self._done()
        self._buffer = data
        return None

    @staticmethod
    def _trailer(data: bytes) -> bytes | None:
        """What follows the fields after the last chunk, and the empty line; None where they are not complete."""
        if data.startswith(b"\r\n"):
            return data[2:]
        end = data.find(_HEAD_END)
        if end < 0:
            if len(data) > MAX_HEAD_BYTES:
                raise BadAnswerError("its end is too long")
            return None
        return data[end + 4 :]

    def _done(self, *, cut_off: bool = False, reusable: bool | None = None) -> Reply:
        parts = self._parts
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        headers = self._headers
        if "content-encoding" in headers:
            body, cut_off = _decoded(headers["content-encoding"].lower(), body, cut_off)
        if len(body) > MAX_ANSWER_BYTES:
            body = body[:MAX_ANSWER_BYTES]
        answer = Reply(self._status, headers, body, cut_off, self._reusable if reusable is None else reusable)
        self._reset()
        return answer

    def _reset(self) -> None:
        self._status = self._size = self._left = 0
        self._buffer = b""
        self._parts = []


def _decoded(coding: str, body: bytes, cut_off: bool) -> tuple[bytes, bool]:
    """The body without gzip or deflate, and whether it is cut off; a coding we do not know stays."""
    if coding in ("gzip", "x-gzip"):
        window = 16 + zlib.MAX_WBITS
    elif coding == "deflate":
        # zlib's format (RFC 9110), or the bare one that some servers send.
        window = zlib.MAX_WBITS if body[:1] and body[0] & 0x0F == 8 else -zlib.MAX_WBITS
    else:
        return body, cut_off
    reader = zlib.decompressobj(window)
    try:
        plain = reader.decompress(body, MAX_ANSWER_BYTES)
    except zlib.error:
        return b"", True
    return plain, cut_off or not reader.eof
