"""`order-sync dlq show`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.common import load_settings, quiet, run_bounded
from worker.cli.dlq_ls import STATE_STYLES
from worker.cli.exit_codes import ExitCode
from worker.cli.options import AsJson, Config
from worker.cli.output import cell, console, emit, end, exact
from worker.cli.teaching import teaches

if TYPE_CHECKING:
    from rich.console import Console

    from worker.oncall.letters import Letter
    from worker.oncall.view import EventView


@teaches(
    "order-sync dlq show 'commerce.order-shipped.v1|/commerce/us|shipment-1'",
    "order-sync dlq show shipment-1        the id will do where only one has it",
    "order-sync dlq show shipment-1 --raw > event.json",
)
def show(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Key of the dead letter, or the id of its event.")],
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Show addresses and fields the contract does not know: personal data.")
    ] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="Write the original bytes to standard output, and nothing else.")
    ] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show one unfinished event: what went wrong, what to do, what Walmart confirmed, and the event as it came.

    Personal data (return addresses, fields the contract does not know) is hidden unless --reveal or --raw asks for it.
    """
    from worker.oncall.snapshot import snapshot
    from worker.oncall.telling import letter_told
    from worker.oncall.view import view

    settings = load_settings(config, as_json=as_json)
    quiet()
    read = run_bounded(snapshot(settings, keep=lambda letter: _fits(letter, key)), as_json=as_json)
    letter = _the_one([one for one in read.letters if _fits(one, key)], key, as_json=as_json)
    if raw:
        sys.stdout.flush()
        sys.stdout.buffer.write(letter.content.value or b"")
        sys.stdout.buffer.flush()
        return
    event = view(letter.content.headers, letter.content.value, reveal=reveal)
    if as_json:
        emit({
            **letter_told(letter),
            "problems": [str(problem) for problem in letter.content.problems],
            "record_key": (letter.about.key or b"").decode("utf-8", "replace") or None,
            "event": {
                "attributes": event.attributes, "headers": event.headers, "data": event.data, "note": event.note,
            },
        })  # fmt: skip
        return
    _print(console(), letter, event)


def _fits(letter: Letter, key: str) -> bool:
    return letter.key == key or letter.key.endswith(f"|{key}")


def _the_one(found: list[Letter], key: str, *, as_json: bool) -> Letter:
    exactly = [letter for letter in found if letter.key == key]
    found = exactly or found
    if not found:
        end(ExitCode.FAILED, f"there is no unfinished event {key}: settled, or misspelt (dlq ls)", as_json=as_json)
    if len({letter.key for letter in found}) > 1:
        keys = sorted({letter.key for letter in found})
        end(
            ExitCode.FAILED,
            f"several unfinished events have the id {key}; give a whole key:",
            as_json=as_json,
            lines=keys,
        )
    return max(found, key=lambda letter: letter.written_ms)


def _print(out: Console, letter: Letter, event: EventView) -> None:
    from rich.json import JSON
    from rich.table import Table

    from worker.oncall.telling import safe, time_text

    about = letter.about
    out.print(exact(letter.key, style="bold"))
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    rows: list[tuple[str, Any]] = [
        ("state", cell(letter.state, style=STATE_STYLES.get(letter.state, ""))),
        ("code", about.code and f"{about.code} ({letter.category or 'unknown to this version'})"),
        ("reason", safe(about.reason)),
        ("what to do", letter.action and cell(f"{letter.owner}: {letter.action}", 500, style="cyan")),
        ("order", about.order),
        ("store", about.store),
        ("shipment", about.shipment),
        ("first seen", time_text(letter.first_seen)),
        ("tries", about.attempts),
        ("paused", about.paused_seconds and f"{about.paused_seconds:g} s"),
        ("replays", about.replay_number),
        ("asked by", safe(about.by)),
        ("why", safe(about.why)),
        (
            "came from",
            "/".join("?" if part is None else str(part) for part in (about.topic, about.partition, about.offset)),
        ),
        ("lies at", f"partition {letter.place.partition}, offset {letter.place.offset}"),
        ("not replayable", letter.obstacle and cell(letter.obstacle, 500, style="magenta")),
    ]
    for name, value in rows:
        if value not in (None, "", 0, 0.0):
            table.add_row(name, cell(value, 500) if not hasattr(value, "plain") else value)
    for problem in letter.content.problems:
        table.add_row("broken header", cell(problem, style="magenta"))
    for units in about.confirmed or ():
        number = f"under {units.tracking_number}" if units.tracking_number else "cancelled"
        table.add_row("confirmed", cell(f"line {units.line_number}: {units.quantity} {number}", style="green"))
    out.print(table)
    out.print()
    if event.attributes or event.headers:
        out.print(JSON.from_data({**event.attributes, **({"headers": event.headers} if event.headers else {})}))
    if event.note is not None:
        out.print(cell(event.note, 500, style="yellow"))
    if isinstance(event.data, str):
        out.print(cell(event.data, 20_000))
    elif event.data is not None:
        out.print(JSON.from_data(event.data))
