"""A sync result for people, and the exit code it means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.cli.exit_codes import ExitCode
from worker.cli.output import cell, console

if TYPE_CHECKING:
    from schemas.results import SyncResult


def exit_code(result: SyncResult | None) -> ExitCode:
    """What a command ends with that waited for this result."""
    if result is None or not result.final:
        return ExitCode.NO_ANSWER
    return ExitCode.OK if result.status == "succeeded" else ExitCode.FAILED


def print_result(result: SyncResult | None, wait: float) -> None:
    """A few lines; None after `wait` seconds without any."""
    out = console()
    if result is None:
        console(stderr=True).print(cell(f"no result within {wait:g} s: is a worker running?", style="yellow"))
        return
    style = {"succeeded": "green", "failed": "red"}.get(result.status, "yellow")
    told = f"{result.status}: {result.effect}" + (" (observed: nothing was sent)" if result.observed else "")
    out.print(cell(f"{told}, order {result.order_status or 'not known'}, {result.latency_seconds:.2f} s", style=style))
    for line in result.lines:
        under = f" under {line.tracking_number}" if line.tracking_number else ""
        reason = f" ({line.reason})" if line.reason else ""
        out.print(
            "  ", cell(f"line {line.line_number or line.sku}: {line.quantity} {line.state}{under}{reason}"), sep=""
        )
    for level in result.inventory:
        out.print("  ", cell(f"inventory {level.sku}: {level.quantity} {level.state} {level.reason or ''}"), sep="")
    for warning in result.warnings:
        out.print("  ", cell(f"warning {warning.code}: {warning.message}", 500, style="yellow"), sep="")
    if result.error is not None:
        out.print("  ", cell(f"{result.error.code}: {result.error.message}", 800, style="red"), sep="")
        out.print("  ", cell(f"→ {result.error.owner}: {result.error.action}", 500, style="cyan"), sep="")
