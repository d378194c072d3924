"""The filters of the `dlq` commands, and how a selection is made of them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.exit_codes import ExitCode
from worker.cli.output import end

if TYPE_CHECKING:
    from worker.oncall.selection import Selection

Code = Annotated[list[str] | None, typer.Option("--code", metavar="CODE", help="Only this error code. Repeatable.")]
Category = Annotated[
    list[str] | None,
    typer.Option(
        "--category",
        metavar="CATEGORY",
        help="Only codes of this category: data, mapping, configuration, conflict, credentials, throttled, walmart, "
        "internal. Repeatable.",
    ),
]
Store = Annotated[list[str] | None, typer.Option("--store", metavar="STORE", help="Only this store. Repeatable.")]
Order = Annotated[
    list[str] | None, typer.Option("--order", metavar="PO", help="Only this purchase order id. Repeatable.")
]
State = Annotated[
    list[str] | None,
    typer.Option(
        "--state",
        metavar="STATE",
        help="dead (needs a person), waiting (the worker takes it up again), replay (asked for), broken (its headers "
        "cannot be read) or corrected (marks a tracking number corrected away). Repeatable. Default: all but the last.",
    ),
]
Since = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="First seen since: 90m, 2h, 1d, or a time like 2026-11-20T15:00:00Z."),
]


def selection(
    *,
    keys: list[str] | None = None,
    codes: list[str] | None = None,
    categories: list[str] | None = None,
    stores: list[str] | None = None,
    orders: list[str] | None = None,
    states: list[str] | None = None,
    since: str | None = None,
    as_json: bool = False,
) -> Selection:
    """The selection these options ask for; a word that means nothing ends the command."""
    from typing import get_args

    from schemas.results import Category as CategoryName
    from worker.errors import ERRORS
    from worker.oncall.letters import STATES
    from worker.oncall.selection import Selection, parse_since

    for option, given, known in (
        ("--code", codes, tuple(ERRORS)),
        ("--category", categories, get_args(CategoryName)),
        ("--state", states, STATES),
    ):
        for word in given or ():
            if word not in known:
                end(ExitCode.MISTAKE, f"{option} {word}: unknown{_meant(word, known)}", as_json=as_json)
    try:
        from_time = None if since is None else parse_since(since, time.time())
    except ValueError as error:
        end(ExitCode.MISTAKE, f"--since: {error}", as_json=as_json)
    return Selection(
        keys=frozenset(keys or ()),
        codes=frozenset(codes or ()),
        categories=frozenset(categories or ()),
        stores=frozenset(stores or ()),
        orders=frozenset(orders or ()),
        states=frozenset(states or ()),
        since=from_time,
    )


def _meant(word: str, known: tuple[str, ...]) -> str:
    import difflib

    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; known are {', '.join(known)}" if len(known) < 12 else "; known codes stand in worker/ERRORS.md"
