"""`order-sync`: the commands. Each imports what it needs when it runs, so that `--help` is quick."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated

import typer

from worker.cli import check, dlq, explain, run, sandbox, schemas, send
from worker.cli.exit_codes import ExitCode, help_text
from worker.cli.options import GlobalConfig
from worker.cli.teaching import page

app = typer.Typer(
    name="order-sync",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=page(
        "Order shipped and order cancelled events from Kafka, made true on Walmart Marketplace.",
        "order-sync sandbox --once                    see it work",
        "order-sync check --config order-sync.toml    is everything ready?",
        "order-sync run --config order-sync.toml      the worker",
        "order-sync dlq ls                            what could not be done, and why",
        "order-sync explain EVENT                     what happened to an event",
    ),
    epilog=help_text(),
)


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(f"order-sync {version('order-sync')}")
        except PackageNotFoundError:
            typer.echo("order-sync (not installed as a package)")
        raise typer.Exit


@app.callback()
def top(
    config: GlobalConfig = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """The commands."""


app.command("run")(run.run)
app.command("check")(check.check)
app.add_typer(send.app, name="send")
app.command("explain")(explain.explain)
app.command("sandbox")(sandbox.sandbox)
app.add_typer(schemas.app, name="schemas")
app.add_typer(dlq.app, name="dlq")


def main() -> None:
    """Entry point of the `order-sync` program."""
    try:
        app()
    except Exception as error:  # noqa: BLE001  # the last net: say what to do with it, and a code of its own
        traceback.print_exception(error)
        sys.stderr.write("\nThis is a bug in order-sync: please report it with the lines above.\n")
        raise SystemExit(ExitCode.BUG) from None


if __name__ == "__main__":
    main()
