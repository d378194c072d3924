"""The headers every request to Walmart carries, built once for all accounts alike."""

from __future__ import annotations

import random
from functools import lru_cache
from typing import Final

from multidict import CIMultiDict, CIMultiDictProxy, istr

from worker.settings import AccountSettings
from worker.walmart.markets import MARKETS, SERVICE_NAME, MarketCode

ACCESS_TOKEN: Final = istr("WM_SEC.ACCESS_TOKEN")
CORRELATION_ID: Final = istr("WM_QOS.CORRELATION_ID")
AUTHORIZATION: Final = istr("Authorization")
CONTENT_TYPE: Final = istr("Content-Type")
_JSON: Final = "application/json"
_IDS: Final = random.Random(random.SystemRandom().getrandbits(256))  # noqa: S311  # ids must differ, not be secret


def account_headers(account: AccountSettings) -> CIMultiDictProxy[str]:
    """What stays the same from call to call. Accounts of one market and channel share it."""
    channel = account.channel_type
    return _headers(account.market, None if channel is None else channel.get_secret_value() or None)


@lru_cache(maxsize=64)
def _headers(market: MarketCode, channel_type: str | None) -> CIMultiDictProxy[str]:
    headers: CIMultiDict[str] = CIMultiDict(
        {
            istr("Accept"): _JSON,
            CONTENT_TYPE: _JSON,
            istr("User-Agent"): "order-sync",
            istr("WM_SVC.NAME"): SERVICE_NAME,
        }
    )
    if channel_type is not None:
        headers[istr("WM_CONSUMER.CHANNEL.TYPE")] = channel_type
    for name, value in MARKETS[market].headers.items():
        headers[istr(name)] = value
    return CIMultiDictProxy(headers)


def new_correlation_id() -> str:
    """A fresh one per attempt (UUID, version 4): for tracing; it must never make two attempts look like one."""
    text = f"{_IDS.getrandbits(128):032x}"  # uuid4 asks the system for each, which costs three times as much
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"
