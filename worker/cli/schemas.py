"""`order-sync schemas`: the contract, offline."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.exit_codes import ExitCode
from worker.cli.options import AsJson
from worker.cli.output import cell, console, emit, end
from worker.cli.teaching import page, teaches

if TYPE_CHECKING:
    from schemas.validate import EventReport

app = typer.Typer(
    no_args_is_help=True,
    help=page(
        "The contract: JSON Schema files, an AsyncAPI document, examples and a validator. Works offline.",
        "order-sync schemas ls",
        "order-sync schemas show commerce.order.shipped.v1",
        "order-sync schemas validate event.json",
    ),
)
_SUFFIXES = (".schema.json", ".json")


@app.command("ls")
@teaches("order-sync schemas ls", "order-sync schemas ls --json")
def ls(as_json: AsJson = False) -> None:
    """List what `schemas show` can show."""
    documents = [{"name": name, "kind": kind, "about": about} for name, kind, about in _described()]
    if as_json:
        emit({"documents": documents})
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    for document in documents:
        table.add_row(
            cell(document["name"], style="bold"), cell(document["kind"], style="dim"), cell(document["about"])
        )
    console().print(table)


@app.command("show")
@teaches(
    "order-sync schemas show commerce.order.cancelled.v1 > cancelled.schema.json",
    "order-sync schemas show examples/order-shipped.complete | order-sync send -",
)
def show(name: Annotated[str, typer.Argument(metavar="NAME", help="A name of `schemas ls`.")]) -> None:
    """Write one document to standard output, as it is: it is JSON."""
    files = dict(_files())
    if name not in files:
        import difflib

        close = difflib.get_close_matches(name, files, n=1)
        end(
            ExitCode.MISTAKE,
            f"{name}: no such document" + (f"; did you mean {close[0]}?" if close else " (schemas ls)"),
        )
    sys.stdout.write(files[name].read_text("utf-8"))


@app.command("validate")
@teaches(
    "order-sync schemas validate event.json",
    "kcat -C -t commerce.order-shipped.v1 -e | order-sync schemas validate -",
)
def validate(
    path: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="Structured CloudEvents: one, a JSON array, or JSON lines. - is standard input."
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Check events as the worker would read them, and name every mistaken field.

    Advice is about what is legal but likely to disappoint. Ends with 1 if any event would be refused.
    """
    from schemas.validate import validate as check

    try:
        raw = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        end(ExitCode.MISTAKE, f"{path}: {error.strerror or error}", as_json=as_json)
    report = check(raw)
    if as_json:
        emit({
            "ok": report.ok,
            "unreadable": report.unreadable,
            "events": [_told(event) for event in report.events],
        })  # fmt: skip
    else:
        out = console()
        if report.unreadable is not None:
            out.print(cell(f"{path}: {report.unreadable}", 500, style="red"))
        for event in report.events:
            _print(event)
    end(ExitCode.OK if report.ok else ExitCode.FAILED)


def _told(event: EventReport) -> dict[str, Any]:
    def problems(found: Any) -> list[dict[str, Any]]:
        return [{"field": one.field, "value": one.value_shown, "message": one.message} for one in found]

    return {
        "place": event.place,
        "ok": event.ok,
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "purchase_order_id": event.purchase_order_id,
        "code": None if event.error is None else event.error.code,
        "problems": problems(event.problems),
        "advice": problems(event.advice),
    }


def _print(event: EventReport) -> None:
    out = console()
    about = f"{event.place}: {event.type or 'type unknown'}, id {event.id or 'unknown'}"
    if event.error is None:
        out.print(cell(f"{about}: ok", style="green"))
    else:
        out.print(cell(f"{about}: {event.error.code}", style="red"))
        for line in [str(problem) for problem in event.problems] or [event.error.message]:
            out.print("  ", cell(f"{line}", 1_000), sep="")
    for advice in event.advice:
        out.print("  ", cell(f"advice: {advice}", 1_000, style="yellow"), sep="")


def _files() -> Iterator[tuple[str, Path]]:
    """Name and file of every document of the contract."""
    import schemas

    home = Path(next(iter(schemas.__path__)))
    for folder, prefix in ((home / "json", ""), (home, ""), (home / "examples", "examples/")):
        for file in sorted(folder.glob("*.json")):
            suffix = next(one for one in _SUFFIXES if file.name.endswith(one))
            yield prefix + file.name.removesuffix(suffix), file


def _described() -> Iterator[tuple[str, str, str]]:
    import json

    for name, file in _files():
        document = json.loads(file.read_text("utf-8"))
        if "asyncapi" in document:
            yield name, "AsyncAPI", str(document.get("info", {}).get("title", ""))
        elif name.startswith("examples/"):
            yield name, "example", str(document.get("type", ""))
        else:
            about = str(document.get("description") or document.get("title") or "")
            yield name, "JSON Schema", about.partition("\n")[0]
