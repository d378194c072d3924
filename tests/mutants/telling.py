"""What came of the mutants: a table for people, JSON for machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from tests.mutants.catching import Answer
from tests.mutants.mutant import Mutant

_NAME: Final = 52
_TESTS: Final = 110


@dataclass(frozen=True, slots=True)
class Fate:
    """A mutant and what its catchers said; None: not asked."""

    mutant: Mutant
    tests: Answer | None
    simulation: Answer | None

    @property
    def survived(self) -> bool:
        """Nobody who was asked noticed."""
        return all(answer is None or answer.caught_by is None for answer in (self.tests, self.simulation))

    def line(self) -> str:
        """One row of the table."""
        return f"{self.mutant.name:<{_NAME}} {_told(self.tests):<{_TESTS}} {_told(self.simulation)}".rstrip()


def _told(answer: Answer | None) -> str:
    if answer is None:
        return "-"
    caught_by = answer.caught_by or "NOT SEEN"
    return f"{answer.seconds:5.1f} s  {caught_by.rpartition('::')[2] or caught_by}"


def table(fates: Sequence[Fate]) -> str:
    """All rows, the survivors last."""
    rows = sorted(fates, key=lambda fate: fate.survived)
    head = f"{'mutant':<{_NAME}} {'caught by unit tests':<{_TESTS}} caught by the simulation"
    return "\n".join([head, *(row.line() for row in rows)])


def summary(fates: Sequence[Fate]) -> str:
    """The last line."""
    asked = {
        "unit tests": [fate.tests for fate in fates if fate.tests is not None],
        "the simulation": [fate.simulation for fate in fates if fate.simulation is not None],
    }
    told = [
        f"{who} caught {sum(answer.caught_by is not None for answer in answers)} of {len(answers)}"
        for who, answers in asked.items()
        if answers
    ]
    survivors = [fate.mutant.name for fate in fates if fate.survived]
    end = f"survived: {', '.join(survivors)}" if survivors else "none survived"
    return f"{len(fates)} mutants: {'; '.join([*told, end])}"


def as_json(fates: Sequence[Fate], problems: Sequence[str]) -> dict[str, Any]:
    """For machines."""
    return {
        "mutants": [
            {
                "name": fate.mutant.name,
                "path": fate.mutant.path,
                "survived": fate.survived,
                "tests": _answer(fate.tests),
                "simulation": _answer(fate.simulation),
            }
            for fate in fates
        ],
        "problems": list(problems),
    }


def _answer(answer: Answer | None) -> dict[str, Any] | None:
    return None if answer is None else {"caught_by": answer.caught_by, "seconds": round(answer.seconds, 1)}
