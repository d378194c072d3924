"""Python's cycle collector, told what kind of process this is."""

from __future__ import annotations

import gc
from typing import Final

_COLLECT_AFTER: Final = (200_000, 20, 100)
"""New objects before the youngest are looked through, and how often per look at the older ones. The events in memory
are many small objects that live for a moment and hardly ever form cycles: with Python's own (700, 10, 10) a third of
the processor's time went into looking for some, with (50_000, 20, 20) a seventh, and now nothing that can be measured.
200,000 objects are some 30 MB, should they ever be garbage that only the collector finds."""


def expect_little() -> None:
    """Call it once everything that lives as long as the process is built: that is not looked through any more."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)
