"""A clock turned by hand, and clients made for a test."""

from __future__ import annotations

from dataclasses import dataclass, field

import aiohttp
from scripted_server import ScriptedServer

from worker.settings import AccountSettings, TimingSettings
from worker.walmart.call_report import CallReport, Operation
from worker.walmart.client import WalmartClient

SECRET = "s3cr3t-Client-Secret-9876"
NOW = 1_800_000_000.0


@dataclass
class HandClock:
    """A clock that stands still until it is turned."""

    time: float = NOW

    def now(self) -> float:
        return self.time


@dataclass
class Bench:
    """Everything a client test needs."""

    server: ScriptedServer
    session: aiohttp.ClientSession
    clock: HandClock
    reports: list[CallReport] = field(default_factory=list)
    begun: list[tuple[Operation, str]] = field(default_factory=list)
    """What the clients of `client` began; a request's place in it is its ticket."""

    def client(
        self, *, market: str = "us", call_s: float = 3.0, connect_s: float = 1.0, url: str = ""
    ) -> WalmartClient:
        account = AccountSettings.model_validate(
            {
                "client_id": "id-1234",
                "client_secret": SECRET,
                "base_url": url or self.server.url,
                "market": market,
            }
        )
        timing = TimingSettings(call_timeout_seconds=call_s, connect_timeout_seconds=connect_s)
        return WalmartClient(
            self.session, "main", account, timing, self.clock, observer=self.reports.append, begun=self.begin
        )

    def begin(self, operation: Operation, subject: str) -> int:
        self.begun.append((operation, subject))
        return len(self.begun) - 1

    def ended(self) -> list[CallReport]:
        """One report per ticket, in the order the requests began; fails where one has none, or two."""
        reports = sorted((report for report in self.reports if report.ticket >= 0), key=lambda report: report.ticket)
        assert [report.ticket for report in reports] == list(range(len(self.begun)))
        assert [(report.operation, report.subject) for report in reports] == self.begun
        return reports
