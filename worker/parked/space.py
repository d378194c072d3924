"""What there is room for in memory, as the waiting room is told it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Space:
    """Of all accounts together."""

    turns: int
    """Events that may come up now for their turn."""
    overdue: int
    """Events that may be in memory only to be told late, and as many whose time is over, however full it is."""


NO_BOUND: Final = Space(1_000_000_000, 1_000_000_000)
