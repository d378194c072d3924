"""`order-sync dlq ls`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli import dlq_options as filters
from worker.cli.common import load_settings, quiet, run_bounded
from worker.cli.options import AsJson, Config
from worker.cli.output import cell, console, emit, exact
from worker.cli.teaching import teaches

if TYPE_CHECKING:
    from worker.oncall.letters import Letter

_LONGEST = 40
STATE_STYLES = {"dead": "red", "waiting": "yellow", "replay": "cyan", "broken": "bold magenta"}


@teaches(
    "order-sync dlq ls",
    "order-sync dlq ls --order 1796277083022",
    "order-sync dlq ls --category mapping --store us_store_view --since 2h",
    "order-sync dlq ls --state waiting --json | jq -r '.letters[].key'",
)
def ls(
    code: filters.Code = None,
    category: filters.Category = None,
    store: filters.Store = None,
    order: filters.Order = None,
    state: filters.State = None,
    since: filters.Since = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Rows in the table; --json always has all.")] = 100,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """List unfinished events, oldest first, and count them by error code.

    Nothing is changed, and no personal data is shown. Filters of different kinds must all fit; of one kind, any.
    """
    from worker.oncall.selection import counts_by_code, in_order
    from worker.oncall.snapshot import snapshot
    from worker.oncall.telling import letter_told

    chosen = filters.selection(
        codes=code, categories=category, stores=store, orders=order, states=state, since=since, as_json=as_json
    )
    settings = load_settings(config, as_json=as_json)
    quiet()
    read = run_bounded(snapshot(settings), as_json=as_json)
    letters = in_order(letter for letter in read.letters if chosen.matches(letter))
    counts = counts_by_code(letters)
    if as_json:
        emit({
            "topic": settings.topics.dead_letter,
            "count": len(letters),
            "by_code": dict(counts),
            "letters": [letter_told(letter) for letter in letters],
        })  # fmt: skip
        return
    out = console()
    if not letters:
        out.print("No unfinished events" + (" like that." if chosen.narrows or chosen.states else "."))
        return
    print_letters(letters[:limit])
    if len(letters) > limit:
        out.print(f"… and {len(letters) - limit} more (--limit, or filters)")
    out.print()
    _print_counts(counts)


def _print_counts(counts: list[tuple[str, int]]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right")
    for name, count in counts:
        table.add_row(cell(count), cell(name))
    console().print(table)


def print_letters(letters: list[Letter], *, stderr: bool = False) -> None:
    """The table of letters."""
    from rich.table import Table

    from worker.oncall.telling import age_text, time_text

    now = time.time()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("first seen", "age", "order", "store", "code", "owner", "tries", "state", "key"):
        table.add_column(title, no_wrap=True)
    for letter in letters:
        about = letter.about
        table.add_row(
            cell(time_text(letter.first_seen)),
            cell(age_text(now - letter.first_seen)),
            cell(about.order, _LONGEST),
            cell(about.store, _LONGEST),
            cell(about.code, _LONGEST),
            cell(letter.owner),
            cell(about.attempts),
            cell(letter.state, style=STATE_STYLES.get(letter.state, "")),
            exact(letter.key, style="dim"),
        )
    console(stderr=stderr, wide=True).print(table)
