"""`order-sync explain`."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.common import load_settings, quiet, run_bounded
from worker.cli.exit_codes import ExitCode
from worker.cli.options import AsJson, Config
from worker.cli.output import cell, console, emit, end, exact
from worker.cli.teaching import teaches

if TYPE_CHECKING:
    from worker.oncall.evidence import ReadKafka
    from worker.oncall.explaining import Case, Explaining
    from worker.oncall.outlook import Outlook
    from worker.settings import Settings

_STYLES = {"dead": "red", "waiting": "yellow", "broken": "magenta", "finished": "green"}
_BY_STYLES = {"worker": "", "log": "dim", "result": "cyan", "dead letter": "yellow"}


@teaches(
    "order-sync explain shipment-000000045",
    "order-sync explain 1796277083022             all events of an order",
    "order-sync explain commerce.order-shipped.v1/3/1187",
    "order-sync explain 1796277083022 --worker http://order-sync-0:9464",
    "kubectl logs order-sync-0 | order-sync explain shipment-45 --logs -",
)
def explain(
    event: Annotated[
        str,
        typer.Argument(
            metavar="EVENT",
            help="An event's id, source|id, dead-letter key, topic/partition/offset, or a purchase order id.",
        ),
    ],
    order: Annotated[str | None, typer.Option("--order", metavar="PO", help="Only events of this order.")] = None,
    since: Annotated[
        str,
        typer.Option(
            "--since", metavar="TIME", help="Look at sync results since: 90m, 2h, 1d, or 2026-11-20T15:00:00Z."
        ),
    ] = "1d",
    logs: Annotated[
        str | None,
        typer.Option("--logs", metavar="FILE", help="Also the worker's log, JSON lines; - reads standard input."),
    ] = None,
    worker: Annotated[
        str | None,
        typer.Option("--worker", metavar="URL", help="Also the memory of a running worker, at its HTTP endpoints."),
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Tell the story of one event: received, waits and why, calls with answers, verdict, where it lies, what is next.

    Looks at the dead-letter topic and the sync results as they are now; --logs and --worker add what a worker has
    noted of events that are settled or still in its memory. Nothing is changed, and no personal data is shown.
    """
    from worker.oncall.explaining import Asked, Explaining
    from worker.oncall.selection import parse_since

    now = time.time()
    if not event.strip():
        end(ExitCode.MISTAKE, "EVENT is empty", as_json=as_json)
    try:
        from_time = parse_since(since, now)
    except ValueError as error:
        end(ExitCode.MISTAKE, f"--since: {error}", as_json=as_json)
    settings = load_settings(config, as_json=as_json)
    quiet()
    explaining = Explaining(Asked(event, order))
    notes: list[str] = []
    if logs is not None:
        _read_log(logs, explaining, as_json=as_json)
    if worker is not None:
        _ask_worker(worker, explaining, notes)
    read = _read_kafka(settings, explaining, from_time, as_json=as_json)
    cases = explaining.cases()
    if explaining.too_many:
        notes.append(f"more than {len(cases)} events fit; ask for one of them")
    if not cases:
        told = f"nothing is known of {event}" + (f" of order {order}" if order else "")
        hint = f"sync results were read since {_time(read.since)}: an earlier --since may find it"
        end(ExitCode.FAILED, told, as_json=as_json, lines=[hint, *notes])
    if as_json:
        emit(_document(event, cases, settings, now, read, notes))
        return
    for case in cases:
        _print(case, settings, now)
    errors = console(stderr=True)
    for note in notes:
        errors.print(cell(note, 500, style="yellow"))


def _read_log(logs: str, explaining: Explaining, *, as_json: bool) -> None:
    from worker.oncall.evidence import from_log

    if logs == "-":
        from_log(sys.stdin.buffer, explaining)
        return
    try:
        with Path(logs).open("rb") as stream:
            from_log(stream, explaining)
    except OSError as error:
        end(ExitCode.MISTAKE, f"--logs {logs}: {error.strerror or type(error).__name__}", as_json=as_json)


def _ask_worker(url: str, explaining: Explaining, notes: list[str]) -> None:
    import asyncio

    from worker.oncall.evidence import WorkerUnreachableError, from_worker

    try:
        asyncio.run(from_worker(url, explaining))
    except WorkerUnreachableError as error:
        # What Kafka knows is still worth telling.
        notes.append(str(error))


def _read_kafka(settings: Settings, explaining: Explaining, since: float, *, as_json: bool) -> ReadKafka:
    from worker.oncall.evidence import from_kafka

    if as_json or not sys.stderr.isatty():
        return run_bounded(from_kafka(settings, explaining, since), as_json=as_json)
    with console(stderr=True).status("reading Kafka") as status:
        return run_bounded(
            from_kafka(settings, explaining, since, lambda count: status.update(f"reading Kafka: {count} records")),
            as_json=as_json,
        )


def _document(
    event: str, cases: list[Case], settings: Settings, now: float, read: ReadKafka, notes: list[str]
) -> dict[str, Any]:
    from worker.oncall.outlook import outlook

    return {
        "asked": event,
        "count": len(cases),
        "events": [_case_told(case, outlook(case, settings, now)) for case in cases],
        "read": {"dead_letter_records": read.letters, "results": read.results, "results_since": _time(read.since)},
        "notes": notes,
    }


def _case_told(case: Case, view: Outlook) -> dict[str, Any]:
    about = None if case.letter is None else case.letter.about
    attempts = about.attempts if about is not None else case.result.attempts if case.result is not None else None
    return {
        "key": case.key,
        "coordinates": case.coordinates,
        "type": case.event_type,
        "store": case.store,
        "purchase_order_id": case.order,
        "shipment_id": case.shipment,
        "attempts": attempts,
        "state": view.state,
        "where": view.where,
        "next": view.next,
        "next_try": None if view.next_try is None else _time(view.next_try),
        "gives_up_at": None if view.gives_up_at is None else _time(view.gives_up_at),
        "story": [{"at": _time(step.at), "by": step.by, "what": step.what} for step in case.story()],
        "steps_left_out": case.left_out,
    }


def _print(case: Case, settings: Settings, now: float) -> None:
    from rich.table import Table

    from worker.oncall.outlook import outlook

    out = console()
    view = outlook(case, settings, now)
    out.print(exact(case.key, style="bold"))
    about = [("order", case.order), ("store", case.store), ("shipment", case.shipment), ("came from", case.coordinates)]
    out.print(cell(", ".join(f"{name} {value}" for name, value in about if value), 500, style="dim"))
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    before: float | None = None
    for step in case.story():
        gap = "" if before is None else f"+{step.at - before:.3f} s"
        table.add_row(cell(_time(step.at)), cell(gap, style="dim"), cell(step.what, 500, style=_BY_STYLES[step.by]))
        before = step.at
    out.print(table)
    if case.left_out:
        out.print(cell(f"… and {case.left_out} more steps"))
    out.print(cell(f"now: {view.state}: {view.where}", 500, style=_STYLES.get(view.state, "cyan")))
    out.print(cell(f"next: {view.next}", 1_000))
    out.print()


def _time(epoch_s: float) -> str:
    """RFC 3339 in UTC with milliseconds; a broken record's time may lie beyond what a calendar knows."""
    try:
        return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (OverflowError, OSError, ValueError):
        return f"{epoch_s:.3f}"
