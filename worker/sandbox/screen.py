"""The sandbox's table and texts."""

from __future__ import annotations

import sys
from pathlib import Path

from rich import box
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from worker.sandbox.show import Row
from worker.sandbox.stage import Stage

_COLOURS = {"applied": "green", "already_applied": "cyan", "partly_applied": "yellow", "none": "red"}


def table(rows: list[Row], *, head: bool = True) -> Table:
    """A row per event. Without head it continues the table printed before it: columns depend on the width only."""
    made = Table(expand=True, show_header=head, box=box.SIMPLE_HEAD, show_lines=True, show_edge=False, padding=(0, 1))
    made.add_column("sample", ratio=3)
    made.add_column("order", width=13)
    made.add_column("what was asked", ratio=4)
    made.add_column("result", width=15)
    made.add_column("what Walmart shows now", ratio=4)
    made.add_column("error, and what to do", ratio=5)
    for row in rows:
        made.add_row(row.title, row.order, row.asks, _result(row), row.walmart, _error(row))
    return made


def _result(row: Row) -> Text:
    if row.result is None:
        return Text("no result" if row.problems else "…", style="red" if row.problems else "dim")
    colour = _COLOURS.get(row.result.effect, "white") if row.result.status == "succeeded" else "red"
    return Text(f"{row.result.status}\n{row.result.effect}", style=colour)


def _error(row: Row) -> Text:
    text = Text()
    result = row.result
    if result is not None and result.error is not None:
        text.append(result.error.code, style="bold")
        text.append(f": {result.error.message}\n-> {result.error.action}")
    if result is not None:
        for warning in result.warnings:
            text.append(f"{warning.code}: {warning.message}\n", style="yellow")
    for problem in row.problems:
        text.append(f"\nNOT AS EXPECTED: {problem}", style="bold red")
    return text


def addresses(stage: Stage, order: str, program: str) -> Panel:
    """Where everything is, and how to send an event of one's own."""
    worker = stage.worker
    send = (
        f"{program} --config {worker.config} send shipped --store sandbox --order {order} "
        "--line 1=1 --carrier ups --tracking 1Z999AA10123456784 --wait 20"
    )
    text = Text()
    text.append("Kafka      ", style="bold").append(f"{stage.bootstrap_servers}\n")
    text.append("metrics    ", style="bold").append(f"{worker.metrics_url}   (also /livez, /readyz)\n")
    text.append("Walmart    ", style="bold").append(
        f"{stage.walmart.url}   (simulated; control: {stage.walmart.control_url}/_sim)\n"
    )
    text.append("worker log ", style="bold").append(f"{worker.log}\n")
    text.append(
        f"\nSend an event of your own, in another terminal (order {order} has 5 open MUG on line 1):\n", style="bold"
    )
    text.append(f"  {send}\n")
    text.append("Look at the dead letters:\n", style="bold")
    text.append(f"  {program} --config {worker.config} dlq ls\n")
    text.append("\nCtrl-C ends it.", style="dim")
    return Panel(text, title="running", expand=True)


def program_name() -> str:
    """How this program is called from the current folder."""
    called = Path(sys.argv[0])
    try:
        return str(called.resolve().relative_to(Path.cwd()))
    except ValueError:
        return called.name
