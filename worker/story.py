"""The short story of an event: what happened to it, step by step, bounded. For log lines, dead letters, `explain`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

FIRST_STEPS: Final = 8
LAST_STEPS: Final = 24
_LONGEST_STEP: Final = 200
_GAP: Final = re.compile(r"… (\d{1,9}) more steps …")


@lru_cache(maxsize=512)
def step_text(what: str) -> str:
    """One line, and not endless."""
    return " ".join(what.split())[:_LONGEST_STEP]


def is_gap(what: str) -> bool:
    """True for the step that stands for what was left out."""
    return _GAP.fullmatch(what) is not None


@dataclass(slots=True)
class Story:
    """Steps with the time they happened; of a long story the first and the last ones are kept."""

    begun_at: float = 0.0
    """Epoch seconds of the first step."""
    _first: list[tuple[float, str]] = field(default_factory=list)
    _last: list[tuple[float, str]] = field(default_factory=list)
    _left_out: int = 0

    def add(self, at: float, what: str) -> None:
        """Note a step at `at` (epoch seconds). No personal data, no secrets: it goes into logs and headers."""
        if not self._first:
            self.begun_at = at
        step = (at, step_text(what))
        if len(self._first) < FIRST_STEPS:
            self._first.append(step)
            return
        self._last.append(step)
        if len(self._last) > LAST_STEPS:
            del self._last[0]
            self._left_out += 1

    def steps(self) -> list[tuple[float, str]]:
        """(epoch seconds, what), oldest first; a gap is told as a step of its own."""
        gap = [(self._last[0][0], f"… {self._left_out} more steps …")] if self._left_out else []
        return [*self._first, *gap, *self._last]

    def ends_with(self, what: str) -> bool:
        """True if that is the latest step."""
        latest = self._last or self._first
        return bool(latest) and latest[-1][1] == what[:_LONGEST_STEP]

    def lines(self) -> list[str]:
        """`+1.234 s what`, counted from the first step."""
        return [f"+{at - self.begun_at:.3f} s {what}" for at, what in self.steps()]

    def restore(self, steps: Iterable[tuple[float, str]]) -> None:
        """Go on with the story a dead letter tells; what that one left out is counted on."""
        self._first, self._last, self._left_out, self.begun_at = [], [], 0, 0.0
        for at, what in steps:
            gap = _GAP.fullmatch(what)
            if gap is not None and len(self._first) == FIRST_STEPS:
                self._left_out += int(gap[1])
            else:
                self.add(at, what)
