"""The headers every request to Walmart carries, built once per account."""

from __future__ import annotations

import uuid
from typing import Final

from multidict import CIMultiDict, istr

from worker.settings import AccountSettings
from worker.walmart.markets import MARKETS, SERVICE_NAME

ACCESS_TOKEN: Final = istr("WM_SEC.ACCESS_TOKEN")
CORRELATION_ID: Final = istr("WM_QOS.CORRELATION_ID")
AUTHORIZATION: Final = istr("Authorization")
CONTENT_TYPE: Final = istr("Content-Type")
_JSON: Final = "application/json"


def account_headers(account: AccountSettings) -> CIMultiDict[str]:
    """What stays the same from call to call."""
    headers: CIMultiDict[str] = CIMultiDict(
        {
            istr("Accept"): _JSON,
            CONTENT_TYPE: _JSON,
            istr("User-Agent"): "order-sync",
            istr("WM_SVC.NAME"): SERVICE_NAME,
        }
    )
    if account.channel_type is not None and account.channel_type.get_secret_value():
        headers[istr("WM_CONSUMER.CHANNEL.TYPE")] = account.channel_type.get_secret_value()
    for name, value in MARKETS[account.market].headers.items():
        headers[istr(name)] = value
    return headers


def new_correlation_id() -> str:
    """A fresh one per attempt: it is for tracing, and must never make two attempts look like one."""
    return str(uuid.uuid4())
