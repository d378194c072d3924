"""The one HTTP session that all accounts share."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import aiohttp

from worker.settings import TimingSettings

KEEP_ALIVE_S: Final = 10.0
"""Idle connections are closed after this, before the server does: a POST on a connection it just closed is in doubt."""

_DNS_CACHE_S: Final = 30
_NEVER_CEIL: Final = 1e9


@lru_cache(maxsize=8)
def call_timeout(timing: TimingSettings) -> aiohttp.ClientTimeout:
    """One request, all of it; finding or making a connection is part of it.

    aiohttp would round timeouts of 5 s and more up to whole seconds; here they are exact.
    """
    total = timing.call_timeout_seconds
    return aiohttp.ClientTimeout(
        total=total, connect=min(timing.connect_timeout_seconds, total), ceil_threshold=_NEVER_CEIL
    )


def make_session(timing: TimingSettings) -> aiohttp.ClientSession:
    """Call it in the running loop; whoever made it closes it.

    Connections are not limited here, neither in all nor per host: all accounts share one host, so both would be the
    same limit, and who waits for a connection fails within his connect timeout. Their number is bounded by who makes
    calls: `max_in_flight_events` and `max_token_requests`, each one at a time. An idle connection serves every
    account of its host, so a few stay warm however many accounts there are.

    No cookies, no proxies or netrc from the environment (they would read a file per request), no compression (orders
    are small, decompression is not free).
    """
    connector = aiohttp.TCPConnector(
        limit=0,
        keepalive_timeout=KEEP_ALIVE_S,
        ttl_dns_cache=_DNS_CACHE_S,
        timeout_ceil_threshold=_NEVER_CEIL,
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=call_timeout(timing),
        trust_env=False,
        raise_for_status=False,
        skip_auto_headers=("Accept-Encoding", "User-Agent"),
    )
