"""One run: set up, load and faults, quiet, count."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.chaos.deeds import Deeds, clock
from tests.chaos.evidence import Evidence
from tests.chaos.field import Field
from tests.chaos.field import field as set_up
from tests.chaos.judge import Finals, Judgement, judge
from tests.chaos.options import Options
from tests.chaos.stalls import Span, longest_stall
from tests.chaos.telling import tell

_SET_UP_S: Final = 240.0
_PUT_AWAY_S: Final = 420.0
_TELL_EVERY_S: Final = 10.0
_READY_S: Final = 60.0
_SUBSIDE_S: Final = 150.0
"""What is going on may take so long to end: a broker that starts, a worker that stops."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a run."""

    figures: dict[str, Any]
    judgement: Judgement
    stories: list[str] = field(default_factory=list)
    """What happened to each order or event with a violation."""
    artefacts: Path | None = None
    """Where logs and journal are kept, if they are."""

    @property
    def ok(self) -> bool:
        """Nothing that must be zero is not."""
        return not self.judgement.violations


async def run(options: Options, say: Say) -> Report:
    """Run it; bounded in time. Raises TimeoutError, and what the set-up raises."""
    folder = options.artefacts or Path(tempfile.mkdtemp(prefix="order-sync-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    for stale in ("walmart.jsonl", "deeds.log"):
        (folder / stale).unlink(missing_ok=True)
    begun = time.monotonic()
    keep = options.artefacts is not None
    try:
        async with asyncio.timeout(_SET_UP_S + (options.minutes + options.quiet_minutes) * 60 + _PUT_AWAY_S):
            deeds = Deeds(folder / "deeds.log")
            async with set_up(options, folder, deeds) as made:
                say(f"up after {time.monotonic() - begun:.0f} s; logs in {folder}")
                report = await _run(made, begun, say)
        keep = keep or not report.ok
        if report.stories:
            (folder / "violations.txt").write_text("\n\n".join(report.stories))
        return Report(report.figures, report.judgement, report.stories, folder if keep else None)
    except Exception:
        keep = True
        say(f"not finished; what there is stays in {folder}")
        raise
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


async def _run(made: Field, begun: float, say: Say) -> Report:
    options, deeds = made.options, made.deeds
    async with asyncio.TaskGroup() as group:
        helpers = [group.create_task(made.observer.run()), group.create_task(made.troop.look_after())]
        try:
            for number in range(options.workers):
                # The last one is a dynamic member: its death is noticed by its silence alone.
                member = made.troop.enlist(f"worker-{number}", static=number < options.workers - 1)
                await made.troop.start(member)
            await made.troop.muster(_READY_S)
            await _storm(made, say)
            say("quiet: waiting for everything to settle")
            quiet = time.monotonic()
            async with asyncio.timeout(_SUBSIDE_S):
                await made.weather.clear()
            settled = await made.settle()
            settled_s = time.monotonic() - quiet
            if not settled:
                say(f"not settled after {settled_s:.0f} s")
            await made.disband()
            say("counting")
            evidence = await made.evidence()
        finally:
            for helper in helpers:
                helper.cancel()
    judgement = judge(evidence)
    figures = {
        **_figures(made, evidence),
        **judgement.counts,
        **_stall(evidence, deeds),
        "settled_after_seconds": round(settled_s, 1),
        "seconds": round(time.monotonic() - begun),
        "ok": not judgement.violations,
    }
    stories = await tell(judgement, evidence, made.troop.logs, deeds, made.control)
    return Report(figures, judgement, stories)


async def _storm(made: Field, say: Say) -> None:
    """Load and faults, for the minutes or the kills that were asked for."""
    options, deeds = made.options, made.deeds
    until = time.monotonic() + options.minutes * 60
    told = time.monotonic()
    async with asyncio.TaskGroup() as group:
        loading = group.create_task(made.load.run())
        blowing = group.create_task(made.weather.blow())
        while time.monotonic() < until and (options.kills is None or deeds.kills.total() < options.kills):
            await asyncio.sleep(0.5)
            unfinished = made.count_open()
            if time.monotonic() - told >= _TELL_EVERY_S:
                told += _TELL_EVERY_S
                ready = sum(member.ready for member in made.troop.members)
                say(
                    f"{max(0.0, until - time.monotonic()):5.0f} s left, {deeds.kills.total()} kills, "
                    f"{len(made.load.published)} events, {unfinished} unfinished, {ready} ready"
                )
        loading.cancel()
        made.weather.subside()
        async with asyncio.timeout(_SUBSIDE_S):
            await asyncio.wait([loading, blowing])
            await made.load.finish()


def _figures(made: Field, evidence: Evidence) -> dict[str, Any]:
    options, deeds = made.options, made.deeds
    published = evidence.published
    return {
        "seed": options.seed,
        "minutes": options.minutes,
        "nodes": options.nodes,
        "workers": options.workers,
        "partitions": options.partitions,
        "rate": options.rate,
        "read_lag_seconds": options.lag_seconds,
        "allowance_seconds": options.allowance_seconds,
        "delay_seconds": options.delay_seconds,
        "orders": len({one.step.order for one in published if one.step is not None}),
        "events": len(published),
        "events_by_kind": _sorted(made.load.kinds),
        "results": len(evidence.told),
        "results_final": sum(one.final for one in evidence.told),
        "results_retrying": sum(not one.final for one in evidence.told),
        "parked": sum(letter.state == "waiting" for letter in evidence.letters),
        "dead_letters": len({letter.origin for letter in evidence.letters if letter.state == "dead"}),
        "effects": len(evidence.effects),
        "kills": deeds.kills.total(),
        "kills_by_kind": _sorted(deeds.kills),
        "faults": _sorted(deeds.faults),
        "workers_ended": _sorted(deeds.ends),
    }


def _sorted(counts: dict[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items()))


def _stall(evidence: Evidence, deeds: Deeds) -> dict[str, Any]:
    finals = Finals(evidence.told)
    owed = []
    for one in evidence.published:
        told = finals.by_place.get(one.place)
        if told:
            owed.append(Span(one.at, max(one.at, told[0].at)))
        elif finals.of(one) is None:
            owed.append(Span(one.at, float("inf")))
    until = max((one.at for one in evidence.told), default=0.0)
    stall = longest_stall((one.at for one in evidence.told if one.final), owed, deeds.unwell_spans(), until)
    return {
        "longest_stall_seconds": round(stall.seconds, 1),
        "longest_stall_at": clock(stall.begin) if stall.seconds else None,
    }
