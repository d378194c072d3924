"""What is wrong at the fast Walmart, and how it says so."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

import orjson

HOLDS: Final = 60.0
"""Writes at once that a full bucket grants, as many as Walmart's 60 a minute."""

AccountFault = Literal["throttled", "dead", "hangs", "refuses"]
"""`throttled`: 429 for every write; `dead`: 401 for everything, the token too; `hangs`: the token is given, nothing
else is ever answered; `refuses`: nobody listens at the side door, and its connections are gone (whose account this is
said of does not matter: it is that of everybody who uses that door)."""


@dataclass(slots=True)
class Faults:
    """Who is not served. Sent as JSON."""

    accounts: dict[str, AccountFault] = field(default_factory=dict)
    """By the first part of the path of their base URL."""
    stuck: list[str] = field(default_factory=list)
    """Orders that cannot be read: 500."""
    budgets: dict[str, float] = field(default_factory=dict)
    """Account -> writes a second, granted one by one; beyond it, and what its bucket holds, 429."""

    @property
    def side_door_closed(self) -> bool:
        """Nobody listens there."""
        return "refuses" in self.accounts.values()

    def answer(self, account: str, order: str | None, *, writes: bool) -> bytes | Literal["served"] | None:
        """The whole answer to a call (`order` None: for a token); None: there is none, ever."""
        fault = self.accounts.get(account)
        if fault == "dead":
            return _UNAUTHORIZED
        if order is None:
            return "served"
        if fault == "hangs":
            return None
        if fault == "throttled" and writes:
            return THROTTLED
        if not writes and order in self.stuck:
            return _BROKEN
        return "served"


def _error(status: bytes, code: str, description: str, *headers: bytes) -> bytes:
    error = {"code": code, "field": "", "description": description, "severity": "ERROR", "category": "SYSTEM"}
    body = orjson.dumps({"errors": {"error": [error]}})
    lines = (b"HTTP/1.1 " + status, b"Content-Type: application/json;charset=utf-8", *headers)
    return b"\r\n".join((*lines, b"Content-Length: %d" % len(body), b"", body))


_UNAUTHORIZED: Final = _error(b"401 Unauthorized", "UNAUTHORIZED.GMP_GATEWAY_API", "Unauthorized")
THROTTLED: Final = _error(
    b"429 Too Many Requests", "REQUEST_THRESHOLD_VIOLATED.GMP_GATEWAY_API", "Too many requests", b"Retry-After: 1"
)
_BROKEN: Final = _error(b"500 Internal Server Error", "SYSTEM_ERROR.GMP_ORDER_API", "Internal error")


class Bucket:
    """One account's budget, which holds `size` calls at most. Pure, the time is passed in."""

    def __init__(self, per_second: float, size: float, now: float) -> None:
        self._per_second = per_second
        self._left = self._size = size
        self._at = now

    def grants(self, now: float) -> bool:
        """Take one, if there is one."""
        if self.left(now) < 1:
            return False
        self._left -= 1
        return True

    def left(self, now: float) -> float:
        """What there is."""
        self._left = min(self._size, self._left + (now - self._at) * self._per_second)
        self._at = now
        return self._left
