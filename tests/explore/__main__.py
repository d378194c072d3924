"""`make explore`: every interleaving in the small.

Exit codes: 0: all promises are kept; 1: one is broken, or not every state was seen.
"""

from __future__ import annotations

import argparse
import gc
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict

import orjson

from tests.explore.base import WRONG
from tests.explore.quiet import quiet
from tests.explore.search import BOUND, Found, Search
from tests.explore.stories import STORIES

_ALL = 2
"""Faults that are searched wherever that is feasible."""
_COLUMNS = ("story", "faults", "states", "transitions", "ends", "depth", "ticks", "seconds")


def main() -> None:
    """Search as the command line asks."""
    options = _options()
    names = options.scenario or list(STORIES)
    jobs = [(name, options.faults, options.bound, frozenset(options.wrong), not options.json) for name in names]
    if options.jobs == 1 or len(jobs) == 1:
        every = [_one(*job) for job in jobs]
    else:
        with ProcessPoolExecutor(options.jobs) as pool:
            every = list(pool.map(_one, *zip(*jobs, strict=True)))
    if options.json:
        figures = [{**asdict(found), "ok": found.ok} for found in every]
        sys.stdout.write(orjson.dumps(figures, option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        _show(every)
    raise SystemExit(0 if all(found.ok for found in every) else 1)


def _one(name: str, faults: int | None, bound: int, wrong: frozenset[str], tells: bool) -> Found:
    tell = (lambda text: print(text, file=sys.stderr, flush=True)) if tells else (lambda _: None)
    story = STORIES[name]
    most = story.faults if faults is None else faults
    # Almost nothing that is made is ever dropped, and what is dropped is in no circle.
    gc.set_threshold(200_000, 50, 100)
    with quiet():
        return Search(story, faults=most, bound=bound, wrong=wrong, tell=tell).run()


def _show(every: list[Found]) -> None:
    rows = [
        _COLUMNS,
        *(
            [
                f"{getattr(found, name):,}" if name not in ("story", "seconds") else str(getattr(found, name))
                for name in _COLUMNS
            ]
            for found in every
        ),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    for row in rows:
        print(
            "  ".join(
                text.rjust(width) if at else text.ljust(width)
                for at, (text, width) in enumerate(zip(row, widths, strict=True))
            )
        )
    fewer = [found.story for found in every if found.faults < STORIES[found.story].faults]
    limited = [found.story for found in every if found.faults == STORIES[found.story].faults < _ALL]
    for names, why in ((fewer, "as asked (--faults)"), (limited, "two are too many states (tests/README.md)")):
        if names:
            print(f"\nsearched with fewer than {_ALL} faults: {', '.join(names)}: {why}")
    for found in every:
        if found.broken:
            print(f"\n{found.story}: {found.broken}")
            print("\n".join(f"{number:4}  {line}" for number, line in enumerate(found.trace, 1)))
        elif not found.is_complete:
            print(f"\n{found.story}: not all states were seen (--bound)")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.explore", description=__doc__)
    told = ", ".join(f"{story.name}: {story.about}" for story in STORIES.values())
    parser.add_argument("--scenario", action="append", choices=list(STORIES), metavar="NAME", help=told)
    parser.add_argument(
        "--faults",
        type=int,
        choices=range(4),
        help="at most so many (default: 2; 1 where one of three events is parked, too)",
    )
    parser.add_argument("--bound", type=int, default=BOUND, help="more states than these are a failure")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--wrong", action="append", default=[], choices=list(WRONG), help="break a rule on purpose")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
