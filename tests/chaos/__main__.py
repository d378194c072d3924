"""`make chaos SEED=… MINUTES=…`: real processes, broken again and again; then quiet, then counting.

Exit codes: 0: all promises were kept; 1: a count that must be zero is not; 2: the run itself failed; 130: interrupted.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import traceback

import orjson

from tests.chaos.options import Options
from tests.chaos.run import Report, run
from tests.chaos.telling import table


def main() -> None:
    """Run once as the command line asks."""
    options, as_json = Options.read()
    logging.basicConfig(level=logging.CRITICAL)  # the clients complain of every broker that is killed
    try:
        report = asyncio.run(_interruptible(options))
    except asyncio.CancelledError:
        _say("interrupted; everything is stopped, nothing was counted")
        raise SystemExit(130) from None
    except Exception as error:  # noqa: BLE001  # exit code 2, and what it was
        traceback.print_exception(error)
        raise SystemExit(2) from None
    for story in report.stories:
        _say(story + "\n")
    if report.artefacts is not None:
        _say(f"logs, journal and faults are in {report.artefacts}")
    sys.stdout.write(_shown(report, as_json=as_json) + "\n")
    raise SystemExit(0 if report.ok else 1)


async def _interruptible(options: Options) -> Report:
    running = asyncio.create_task(run(options, _say))
    asked = asyncio.Event()

    def end() -> None:
        # Only once: a second one must not keep the first one from putting everything away.
        if not asked.is_set():
            asked.set()
            running.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end)
    return await running


def _shown(report: Report, *, as_json: bool) -> str:
    if as_json:
        return orjson.dumps(report.figures, option=orjson.OPT_INDENT_2).decode()
    return table(report.figures)


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
