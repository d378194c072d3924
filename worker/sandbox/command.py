"""`order-sync sandbox`: the main job, shown on a real Kafka, a simulated Walmart and sample traffic."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections import Counter

import orjson
from rich.console import Console
from rich.rule import Rule

from schemas.results import SyncResult
from worker.sandbox import screen
from worker.sandbox.sample import Sample, load_samples
from worker.sandbox.show import Row, Show
from worker.sandbox.stage import Stage, set_up
from worker.sandbox.walmart.specs import NewLine

EXIT_OK = 0
EXIT_NOT_AS_EXPECTED = 1


def run_sandbox(*, once: bool, as_json: bool) -> int:
    """Run it; return the exit code. 0: every sample event ended as its sample file says (and a clean stop)."""
    return asyncio.run(_run(once=once, as_json=as_json))


async def _run(*, once: bool, as_json: bool) -> int:
    started = time.monotonic()
    console = Console(stderr=as_json)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    asked = asyncio.create_task(stop.wait())
    performing = asyncio.create_task(_perform(console, stop, once=once, as_json=as_json, started=started))
    done, _ = await asyncio.wait({asked, performing}, return_when=asyncio.FIRST_COMPLETED)
    if performing not in done and once:
        performing.cancel()
    try:
        return await performing
    except asyncio.CancelledError:
        return 130
    finally:
        asked.cancel()


async def _perform(console: Console, stop: asyncio.Event, *, once: bool, as_json: bool, started: float) -> int:
    async with set_up(lambda line: console.print(f"[dim]{time.monotonic() - started:5.1f} s  {line}[/dim]")) as stage:
        samples = load_samples()
        ready = time.monotonic() - started
        if once:
            show = Show(stage)
            async with show.open() as producer:
                await show.play(samples, producer)
        else:
            show = await _live(console, stage, samples, stop)
    summary = _summary(show.rows, ready=ready, seconds=time.monotonic() - started)
    if as_json:
        sys.stdout.write(orjson.dumps(summary, option=orjson.OPT_INDENT_2).decode() + "\n")
    elif once:
        console.print(screen.table(show.rows))
    if not as_json:
        console.print(f"{summary['as_expected']} of {summary['events']} events ended as expected.")
    return EXIT_OK if summary["as_expected"] == summary["events"] or not once else EXIT_NOT_AS_EXPECTED


async def _live(console: Console, stage: Stage, samples: dict[str, Sample], stop: asyncio.Event) -> Show:
    """A table that grows by a row per event, the samples' first, then whatever a person sends; until `stop`."""
    playground = await stage.control.add_order([NewLine(sku="MUG", quantity=5)])
    done: asyncio.Queue[Row] = asyncio.Queue()
    show = Show(stage, done.put_nowait)

    def theirs(result: SyncResult) -> None:
        row = Row("yours", result.purchase_order_id or "", result.event.id or "?", result)
        show.rows.append(row)
        done.put_nowait(row)

    async def print_rows() -> None:
        head = True
        while True:
            row = await done.get()
            if row.title == "yours":
                row.walmart = await show.walmart(row.order)
            console.print(screen.table([row], head=head), Rule(style="dim"))
            head = False

    async with show.open() as producer:
        assert show.results is not None
        show.results.others = theirs
        printing = asyncio.create_task(print_rows())
        stopped = asyncio.create_task(stop.wait())
        playing = asyncio.create_task(show.play(samples, producer))
        await asyncio.wait({playing, stopped}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(0.1)
        console.print(screen.addresses(stage, playground, screen.program_name()))
        await asyncio.wait({stopped, printing}, return_when=asyncio.FIRST_COMPLETED)
        for task in (playing, stopped, printing):
            task.cancel()
        await asyncio.wait({playing, stopped, printing})
        if not playing.cancelled():
            playing.result()
    return show


def _summary(rows: list[Row], *, ready: float, seconds: float) -> dict[str, object]:
    results = [row.result for row in rows if row.result is not None]
    unexpected = [
        {"sample": row.title, "order": row.order, "asked": row.asks, "problems": row.problems}
        for row in rows
        if row.problems or row.result is None
    ]
    return {
        "ok": not unexpected,
        "events": len(rows),
        "as_expected": len(rows) - len(unexpected),
        "statuses": Counter(result.status for result in results),
        "effects": Counter(result.effect for result in results),
        "codes": Counter(result.error.code for result in results if result.error is not None),
        "dead_letters": sum(result.dead_letter is not None for result in results),
        "unexpected": unexpected,
        "ready_after_seconds": round(ready, 1),
        "seconds": round(seconds, 1),
    }
