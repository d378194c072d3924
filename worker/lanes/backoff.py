"""How long to wait before the next try: exponential, with full jitter."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """`random(0, min(max, base * 2**(tries - 1)))`, but never less than a tenth of the ceiling.

    Full jitter spreads the tries of many orders over the whole time (AWS Architecture Blog, "Exponential Backoff
    And Jitter"); the floor keeps an unlucky draw from trying again at once.
    """

    base_s: float
    max_s: float

    def delay(self, failed_tries: int, random_source: random.Random) -> float:
        """Seconds to wait after the given number of consecutive failed tries (>= 1)."""
        ceiling = min(self.max_s, self.base_s * 2.0 ** min(max(0, failed_tries - 1), 30))
        return max(ceiling / 10, random_source.random() * ceiling)
