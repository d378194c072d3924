"""`order-sync dlq replay`."""

from __future__ import annotations

import asyncio
import getpass
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli import dlq_options as filters
from worker.cli.common import load_settings, quiet, run_bounded
from worker.cli.dlq_ls import print_letters
from worker.cli.exit_codes import ExitCode
from worker.cli.options import AsJson, Config
from worker.cli.output import cell, console, emit, end, exact
from worker.cli.teaching import teaches

if TYPE_CHECKING:
    from worker.oncall.replay import Item, Plan
    from worker.oncall.replaying import Replaying

_SHOWN_BEFORE = 20
_LONGEST = 40
_LONGEST_NOTE = 80
_STYLES = {"succeeded": "green", "failed": "red", "asked": "cyan", "observed": "yellow"}


@teaches(
    "order-sync dlq replay --code carrier_unmapped --why 'mapped, OPS-512'",
    "order-sync dlq replay --order 1796277083022 --why 'repaired by hand' --yes",
    "order-sync dlq replay --json --yes --why 'try again' \\",
    "    --key 'commerce.order-shipped.v1|/commerce/us|shipment-1'",
)
def replay(
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="Why; kept with each record. Required.")],
    key: Annotated[
        list[str] | None, typer.Option("--key", metavar="KEY", help="Only this dead letter. Repeatable.")
    ] = None,
    code: filters.Code = None,
    category: filters.Category = None,
    store: filters.Store = None,
    order: filters.Order = None,
    since: filters.Since = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every dead letter: needed where no filter is given.")
    ] = False,
    rate: Annotated[float, typer.Option(min=0.01, max=1_000, metavar="N", help="At most N a second.")] = 5.0,
    by: Annotated[
        str | None, typer.Option("--by", metavar="NAME", help="Who asks; default: your user name and this host.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask. Needed where there is no terminal.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for each one's final result.")] = True,
    timeout: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="How long to wait after the last one was written.")
    ] = 300.0,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Ask the worker to run dead letters again, and wait until it is known what became of each.

    Only `dead` ones: `waiting` ones the worker takes up by itself. What Walmart confirmed before is never sent again.
    Events of one order keep their order. It may be interrupted and repeated: what was asked for already is awaited,
    not asked for twice. Nothing that dies while the command runs is added. Ends with 0 only if all succeeded.
    """
    from worker.oncall.replay import plan
    from worker.oncall.replaying import Asking, Replaying
    from worker.oncall.snapshot import snapshot

    chosen = filters.selection(
        keys=key, codes=code, categories=category, stores=store, orders=order, since=since, as_json=as_json
    )
    if not (chosen.narrows or everything):
        end(ExitCode.MISTAKE, "which ones? Give a filter (--key, --code, --order, …) or --all", as_json=as_json)
    if not why.strip():
        end(ExitCode.MISTAKE, "--why must say something", as_json=as_json)
    if not yes and not _can_ask():
        end(ExitCode.MISTAKE, "there is no terminal to ask at: add --yes", as_json=as_json)
    settings = load_settings(config, as_json=as_json)
    quiet()
    read = run_bounded(snapshot(settings, keep=chosen.matches), as_json=as_json)
    made = plan([letter for letter in read.letters if chosen.matches(letter)], chosen.keys)
    _ask(made, yes=yes)
    asking = Asking(by=by or _me(), why=why, rate=rate, wait_s=timeout if wait else 0.0)
    with _progress(made) as progress:
        lost = _run(Replaying(settings, made, read.marks, asking, progress=progress), made, as_json=as_json)
    _tell(made, lost, as_json=as_json)
    end(ExitCode.UNREACHABLE if lost else _exit_code(made))


def _run(replaying: Replaying, plan: Plan, *, as_json: bool) -> str | None:
    """Run it; return why Kafka was lost, if it was. Ctrl-C tells how far it came."""
    from worker.oncall.kafka import KafkaUnreachableError

    if not plan.fresh and not plan.earlier:
        return None
    try:
        asyncio.run(replaying.run())
    except KafkaUnreachableError as error:
        return str(error)
    except KeyboardInterrupt:
        _tell(plan, "interrupted; run the command again to go on", as_json=as_json)
        raise
    return None


def _ask(plan: Plan, *, yes: bool) -> None:
    """Say what is about to happen and let the person decide."""
    errors = console(stderr=True)
    for name in plan.unknown_keys:
        errors.print(cell(f"not there (settled, or misspelt): {name}", 500, style="yellow"))
    for item in plan.impossible:
        errors.print(cell(f"cannot be replayed: {item.key}: {item.note}", 800, style="magenta"))
    if plan.waiting:
        errors.print(f"{plan.waiting} waiting: the worker takes these up by itself, they are left alone")
    if plan.earlier:
        errors.print(f"{len(plan.earlier)} asked for earlier: awaited, not asked for again")
    if not plan.fresh or yes:
        return
    print_letters([item.letter for item in plan.fresh[:_SHOWN_BEFORE]], stderr=True)
    if len(plan.fresh) > _SHOWN_BEFORE:
        errors.print(f"… and {len(plan.fresh) - _SHOWN_BEFORE} more")
    if not typer.confirm(f"Replay {len(plan.fresh)} dead letter(s)?", err=True):
        end(ExitCode.OK, "nothing was done")


def _can_ask() -> bool:
    return sys.stdin.isatty()


def _me() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "unknown user"
    # Not user@host: that reads as an e-mail address, which the header does not keep.
    return f"{user} on {socket.gethostname()}"


@contextmanager
def _progress(plan: Plan) -> Iterator[Callable[[Sequence[Item]], None]]:
    """A bar on standard error, where somebody looks."""
    total = len(plan.fresh) + len(plan.earlier)
    if not sys.stderr.isatty() or total == 0:
        yield lambda _: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    impossible = len(plan.impossible)
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        asked = bar.add_task("asked for", total=total)
        known = bar.add_task("known", total=total)

        def show(items: Sequence[Item]) -> None:
            bar.update(asked, completed=sum(item.written or item.earlier for item in items))
            bar.update(known, completed=sum(item.became is not None for item in items) - impossible)

        yield show


def _exit_code(plan: Plan) -> ExitCode:
    became = {item.became for item in plan.items}
    if plan.unknown_keys or became - {"succeeded", "asked", "no_answer"}:
        return ExitCode.FAILED
    return ExitCode.NO_ANSWER if "no_answer" in became else ExitCode.OK


def _tell(plan: Plan, lost: str | None, *, as_json: bool) -> None:
    from worker.oncall.telling import item_told

    counts: Counter[str] = Counter(item.became or "not_written" for item in plan.items)
    if as_json:
        document = {
            "count": len(plan.items),
            "counts": dict(counts),
            "waiting": plan.waiting,
            "unknown_keys": plan.unknown_keys,
            "letters": [item_told(item) for item in plan.items],
        }
        emit(document if lost is None else {**document, "error": lost})
        return
    _print(plan, counts)
    if lost is not None:
        console(stderr=True).print(cell(lost, 1_000, style="red"), soft_wrap=True)


def _print(plan: Plan, counts: Counter[str]) -> None:
    from rich.table import Table

    out = console(wide=True)
    if not plan.items:
        out.print("No dead letters like that.")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("order", "store", "before", "became", "effect", "code", "note", "key"):
        table.add_column(title, no_wrap=True)
    for item in plan.items:
        about, became = item.letter.about, item.became or "not_written"
        table.add_row(
            cell(about.order, _LONGEST),
            cell(about.store, _LONGEST),
            cell(about.code, _LONGEST),
            cell(became, style=_STYLES.get(became, "magenta")),
            cell(item.result.effect if item.result else None),
            cell(item.code, _LONGEST),
            cell(item.note, _LONGEST_NOTE),
            exact(item.key, style="dim"),
        )
    out.print(table)
    out.print(", ".join(f"{count} {name}" for name, count in counts.most_common()))
