"""Figures: what was measured, its spread over the runs, and how it is shown."""

from __future__ import annotations

import math
import operator
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import orjson

Aim = tuple[Literal["<", "<=", ">="], float]
"""What the median is held against."""


@dataclass
class Figure:
    """One number, measured once per run."""

    measurement: str
    contender: str
    name: str
    unit: str
    values: list[float] = field(default_factory=list)
    aim: Aim | None = None
    """Where the project has set itself one."""

    @property
    def median(self) -> float:
        """Of the runs."""
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the median meets the aim; None where there is none."""
        if self.aim is None:
            return None
        sign, bound = self.aim
        return _HOLDS[sign](self.median, bound)

    @property
    def told(self) -> str:
        """The median and its unit."""
        return f"{short(self.median)} {self.unit}".strip()

    def to_json(self) -> dict[str, Any]:
        """Everything about it."""
        return {
            "measurement": self.measurement,
            "contender": self.contender,
            "figure": self.name,
            "unit": self.unit,
            "median": self.median,
            "min": min(self.values),
            "max": max(self.values),
            "values": self.values,
            "aim": None if self.aim is None else " ".join(map(str, self.aim)),
            "met": self.met,
        }


_HOLDS: Final[dict[str, Callable[[float, float], bool]]] = {"<": operator.lt, "<=": operator.le, ">=": operator.ge}


def ratio(measurement: str, name: str, ours: Figure, theirs: Figure, aim: Aim | None = None) -> Figure:
    """Ours divided by theirs, run by run (the runs of one round follow each other)."""
    values = [a / b for a, b in zip(ours.values, theirs.values, strict=True)]
    return Figure(measurement, f"{ours.contender} / {theirs.contender}", name, "", values, aim)


def percentile(values: Sequence[float], part: float) -> float:
    """The smallest value that at least `part` (0 to 1) of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


def show(figures: Sequence[Figure], say: Callable[[str], None]) -> None:
    """A table of all figures."""
    rows = [("measurement", "who", "figure", "median", "min … max", "runs", "aim")]
    for one in figures:
        spread = f"{short(min(one.values))} … {short(max(one.values))}"
        aim = "" if one.aim is None else f"{one.aim[0]} {one.aim[1]:g}: {'met' if one.met else 'MISSED'}"
        rows.append((one.measurement, one.contender, one.name, one.told, spread, str(len(one.values)), aim))
    _table(rows, say)


def aims(figures: Sequence[Figure], say: Callable[[str], None]) -> None:
    """What was aimed at, and what came of it."""
    held = [one for one in figures if one.aim is not None]
    if not held:
        return
    rows = [("", "aim", "measured", "what")]
    for one in held:
        assert one.aim is not None
        sign, bound = one.aim
        what = f"{one.measurement}: {one.name} ({one.contender})"
        rows.append(("met" if one.met else "MISSED", f"{sign} {bound:g} {one.unit}".strip(), one.told, what))
    _table(rows, say)
    say(f"{sum(one.met is True for one in held)} of {len(held)} aims met")


def _table(rows: Sequence[tuple[str, ...]], say: Callable[[str], None]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def short(value: float) -> str:
    """Three digits, or all before the point."""
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.3g}"


def to_json(about: dict[str, Any], figures: Sequence[Figure]) -> bytes:
    """The whole answer."""
    document = {"about": about, "figures": [one.to_json() for one in figures]}
    return orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n"
