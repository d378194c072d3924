"""Requests to Walmart as bytes: what stays the same from call to call is built once, for all accounts alike."""

from __future__ import annotations

import random
from functools import lru_cache
from typing import Final

from yarl import URL

from worker.settings import AccountSettings
from worker.walmart.http_session import Origin
from worker.walmart.markets import MARKETS, SERVICE_NAME, MarketCode

JSON: Final = "application/json"

_random: Final = random.SystemRandom()
_ids: Final = random.Random(_random.getrandbits(256))  # noqa: S311  # ids must differ, not be secret


def requests_of(account: AccountSettings, content_type: str = JSON) -> Requests:
    """Those of an account. Accounts of one address, market and channel share them."""
    channel = account.channel_type
    return _requests(
        account.base_url, account.market, None if channel is None else channel.get_secret_value() or None, content_type
    )


@lru_cache(maxsize=64)
def _requests(base_url: str, market: MarketCode, channel_type: str | None, content_type: str) -> Requests:
    return Requests(base_url, market, channel_type, content_type)


class Requests:
    """Makes requests to one kind of endpoint. Raises ValueError for a setting that no header may carry."""

    def __init__(self, base_url: str, market: MarketCode, channel_type: str | None, content_type: str) -> None:
        base = URL(base_url)
        assert base.raw_host is not None
        assert base.port is not None
        self.origin = Origin(base.scheme == "https", base.raw_host, base.port)
        self._path = base.raw_path.rstrip("/")
        headers = {
            "Host": base.host_port_subcomponent or "",
            "Accept": JSON,
            "Content-Type": content_type,
            "User-Agent": "order-sync",
            "WM_SVC.NAME": SERVICE_NAME,
        }
        if channel_type is not None:
            headers["WM_CONSUMER.CHANNEL.TYPE"] = channel_type
        headers |= MARKETS[market].headers
        if not all(value.isprintable() for value in headers.values()):
            raise ValueError("a header's value has a character that is not printable")
        self._fixed = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])

    def make(self, method: str, path: str, own: str, body: bytes | None) -> bytes:
        """Head and body. `path`: encoded, below the base address. `own`: this request's own headers, as lines.

        `body`: None for a request without one (GET).
        """
        if body is None:
            return f"{method} {self._path}{path} HTTP/1.1\r\n{self._fixed}{own}\r\n".encode()
        length = f"Content-Length: {len(body)}\r\n\r\n"
        return f"{method} {self._path}{path} HTTP/1.1\r\n{self._fixed}{own}{length}".encode() + body


def new_correlation_id() -> str:
    """A fresh one per attempt (UUID, version 4): for tracing; it must never make two attempts look like one."""
    text = f"{_ids.getrandbits(128):032x}"
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"
