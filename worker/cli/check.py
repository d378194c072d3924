"""`order-sync check`: are settings, Kafka and the Walmart accounts ready? Changes nothing."""

from __future__ import annotations

import asyncio
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from worker.cli.common import quiet
from worker.cli.exit_codes import ExitCode
from worker.cli.options import AsJson, Config
from worker.cli.output import cell, console, emit, end
from worker.cli.teaching import teaches

if TYPE_CHECKING:
    from worker.check_kafka import ClusterSeen
    from worker.findings import Finding
    from worker.settings import AccountSettings, KafkaSettings
    from worker.walmart.answer import CallError
    from worker.walmart.client import WalmartClient

_STYLES = {"ok": "green", "warning": "yellow", "mistake": "bold red"}


@teaches(
    "order-sync check --config order-sync.toml",
    "order-sync check --json | jq '.findings[] | select(.level != \"ok\")'",
)
def check(config: Config = None, as_json: AsJson = False) -> None:
    """Look at the settings, Kafka and the Walmart accounts, and say what to mend.

    Every mistake is told at once. Kafka: topics, partition counts, compaction, sizes, retention. Walmart: each
    account's token and what its key may do. Ends with 2 for mistaken settings, 3 where Kafka or Walmart cannot be
    reached, 1 for any other mistake; warnings are no mistakes.
    """
    quiet()
    code, findings = asyncio.run(_check(config))
    if as_json:
        emit({"ok": code is ExitCode.OK, "exit_code": int(code), "findings": [asdict(one) for one in findings]})
    else:
        _print(findings)
    end(code)


async def _check(config: Path | None) -> tuple[ExitCode, list[Finding]]:
    from worker import check as room
    from worker import check_kafka
    from worker.clock import SystemClock
    from worker.configuration import load
    from worker.settings import Settings
    from worker.walmart.client import WalmartClient
    from worker.walmart.session import make_session

    settings = load(config, os.environ)
    if not isinstance(settings, Settings):
        return ExitCode.MISTAKE, await room.check(settings, accounts=_no_account)
    unreachable: list[str] = []
    clients: list[WalmartClient] = []

    async def look(kafka: KafkaSettings, topics: tuple[str, ...]) -> ClusterSeen | str:
        seen = await check_kafka.look(kafka, topics)
        if isinstance(seen, str):
            unreachable.append(kafka.bootstrap_servers)
        return seen

    async with make_session(settings.timing) as session:

        def client(name: str, account: AccountSettings) -> _Noting:
            made = WalmartClient(session, name, account, settings.timing, SystemClock())
            clients.append(made)
            return _Noting(made, unreachable, account.base_url)

        findings = await room.check(settings, accounts=client, look=look)
        for one in clients:
            await one.close()
    if unreachable:
        return ExitCode.UNREACHABLE, findings
    mistaken = any(finding.level == "mistake" for finding in findings)
    return ExitCode.FAILED if mistaken else ExitCode.OK, findings


class _Noting:
    """An account's client that notes when Walmart could not be reached."""

    def __init__(self, client: WalmartClient, unreachable: list[str], address: str) -> None:
        self._client = client
        self._unreachable = unreachable
        self._address = address

    async def token_detail(self) -> dict[str, str] | CallError:
        from worker.walmart.answer import CallError, CallKind

        answer = await self._client.token_detail()
        if isinstance(answer, CallError) and answer.kind is CallKind.NOT_SENT:
            self._unreachable.append(self._address)
        return answer


def _no_account(name: str, account: AccountSettings) -> _Noting:
    raise AssertionError("mistaken settings have no accounts")


def _print(findings: list[Finding]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    for finding in findings:
        table.add_row(
            cell(finding.level, style=_STYLES[finding.level]), cell(finding.subject), cell(finding.message, 1_000)
        )
        if finding.action is not None:
            table.add_row("", "", cell(f"→ {finding.action}", 1_000, style="cyan"))
    out = console()
    out.print(table)
    counts = {level: sum(one.level == level for one in findings) for level in ("mistake", "warning")}
    out.print(cell(f"{counts['mistake']} mistake(s), {counts['warning']} warning(s)"))
