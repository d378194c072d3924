"""The one HTTP session that all accounts share, and how long a call may take."""

from __future__ import annotations

from typing import Final

from worker.settings import TimingSettings
from worker.walmart.exchange import CallTimeout
from worker.walmart.http_session import HttpSession

KEEP_ALIVE_S: Final = 10.0
"""Idle connections are closed after this, before the server does: a POST on a connection it just closed is in doubt."""


def call_timeout(timing: TimingSettings) -> CallTimeout:
    """One request, all of it; finding or making a connection is part of it."""
    total = timing.call_timeout_seconds
    return CallTimeout(total, min(timing.connect_timeout_seconds, total))


def make_session() -> HttpSession:
    """Call it in the running loop; whoever made it closes it.

    Connections are not limited, neither in all nor per host: all accounts share one host, and who waits for a
    connection would fail within his connect timeout. Their number is bounded by who makes calls:
    `max_in_flight_events` and `max_token_requests`, each one at a time. An idle connection serves every account of its
    host, so a few stay warm however many accounts there are.
    """
    return HttpSession(KEEP_ALIVE_S)
