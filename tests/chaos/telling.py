"""What happened to each order or event with a violation: all that is known of it, so that it can be understood."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.chaos.deeds import Deeds, clock
from tests.chaos.evidence import Evidence, Place
from tests.chaos.judge import ZERO, Judgement, Violation
from worker.sandbox.walmart.control import WalmartControl

_STORIES: Final = 40
_LINES: Final = 120
"""Of the workers' logs, per story."""


async def tell(
    judgement: Judgement, evidence: Evidence, logs: Sequence[Path], deeds: Deeds, control: WalmartControl
) -> list[str]:
    """One text per order (or event that has none), at most 40."""
    about: dict[str | Place | None, list[Violation]] = defaultdict(list)
    for violation in judgement.violations:
        about[violation.order or violation.place].append(violation)
    stories = []
    for subject, violations in list(about.items())[:_STORIES]:
        lines = [f"=== {violation.kind}: {violation.text}" for violation in violations]
        if isinstance(subject, str):
            lines += await _order(subject, evidence, control)
        elif subject is not None:
            lines += _event(subject, evidence)
        lines += _logged(subject, logs)
        lines += _around(subject, evidence, deeds)
        stories.append("\n".join(lines))
    if len(about) > _STORIES:
        stories.append(f"… and {len(about) - _STORIES} more orders and events")
    return stories


async def _order(order: str, evidence: Evidence, control: WalmartControl) -> list[str]:
    lines = [f"-- order {order}: {dict(evidence.ordered.get(order, {}))} ordered; events"]
    for one in evidence.published:
        if one.step is not None and one.step.order == order:
            repeat = " (repeat)" if one.repeat else ""
            units = ", ".join(
                f"line {moved.line} {moved.number or 'cancelled'} +{moved.quantity}" for moved in one.step.units
            )
            where = "/".join(map(str, one.place))
            lines.append(f"{clock(one.at)} {where} {one.step.event_id} {one.step.kind}{repeat}: {units}")
            lines += [f"    {text}" for text in _event(one.place, evidence)]
    lines.append("-- Walmart's journal")
    for effect in evidence.effects:
        if effect.order == order:
            moved = ", ".join(f"line {line} {number or 'cancelled'} +{units}" for line, number, units in effect.units)
            lines.append(f"{clock(effect.at)} n={effect.n} {moved}")
    try:
        state = await control.order(order)
    except Exception as error:  # noqa: BLE001  # a story is worth telling without its end
        lines.append(f"-- Walmart does not tell how it is now: {type(error).__name__}")
    else:
        lines.append("-- at Walmart now")
        for line in state.lines:
            opened = line.created + line.acknowledged
            lines.append(f"line {line.line_number}: open {opened}, cancelled {line.cancelled}, {line.tracking}")
    return lines


def _event(place: Place, evidence: Evidence) -> list[str]:
    lines = [
        f"{clock(one.at)} result: {one.status}{'' if one.final else ' (not final)'}, {one.effect}, {one.code}"
        for one in evidence.told
        if one.place == place
    ]
    lines += [
        f"letter {letter.at.partition}/{letter.at.offset} {letter.key}: {letter.state} ({letter.code})"
        for letter in evidence.letters
        if letter.origin == place
    ]
    return lines


def _logged(subject: str | Place | None, logs: Sequence[Path]) -> list[str]:
    """The workers' lines that name the order, or else the event's coordinates."""
    if subject is None:
        return []
    name = (subject if isinstance(subject, str) else "/".join(map(str, subject))).encode()
    found: list[tuple[str, str]] = []
    for log in logs:
        for line in log.read_bytes().splitlines():
            if name in line or _is_at(subject, line):
                text = line.decode("utf-8", "replace")
                found.append((_time_of(text), f"{log.stem} {text[:600]}"))
    found.sort()
    return [f"-- the workers' logs ({len(found)} lines)", *(text for _, text in found[:_LINES])]


def _is_at(subject: str | Place, line: bytes) -> bool:
    if isinstance(subject, str):
        return False
    topic, partition, offset = subject
    return f'"topic":"{topic}","partition":{partition},"offset":{offset},'.encode() in line


def _time_of(line: str) -> str:
    _, mark, rest = line.partition('"time":"')
    return rest[:24] if mark else ""


def _around(subject: str | Place | None, evidence: Evidence, deeds: Deeds) -> list[str]:
    """What was done to the system while these events were on their way."""
    events = [
        one
        for one in evidence.published
        if one.place == subject or (one.step is not None and one.step.order == subject)
    ]
    if not events:
        return []
    places = {one.place for one in events}
    ends = [one.at for one in evidence.told if one.place in places]
    begin, end = min(one.at for one in events) - 5, max([*ends, *(one.at for one in events)]) + 5
    return ["-- done to the system meanwhile", *deeds.around(begin, min(end, begin + 300))]


def table(figures: dict[str, Any]) -> str:
    """The figures for people; what must be zero is marked where it is not."""
    lines = []
    for name, value in figures.items():
        mark = "  <-- must be 0: " + ZERO[name] if name in ZERO and value else ""
        shown = ", ".join(f"{key} {count}" for key, count in value.items()) if isinstance(value, dict) else value
        lines.append(f"{name:28} {shown}{mark}")
    return "\n".join(lines)
