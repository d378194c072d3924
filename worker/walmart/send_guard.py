"""Asked, in the last moment, whether a request may still be written; knows whether it was.

`exchange` asks it when a connection is there, with no `await` between the answer and the writing: before that nothing
of the request has left this process.
"""

from __future__ import annotations

from worker.clock import Clock


class SendGuard:
    """Lets one request pass once, and not after the deadline (epoch seconds, None for no deadline)."""

    __slots__ = ("_clock", "_deadline", "too_late", "written")

    def __init__(self, clock: Clock, deadline: float | None) -> None:
        self._clock = clock
        self._deadline = deadline
        self.written = False
        """True from just before the first byte leaves."""
        self.too_late = False
        """The deadline had passed when it was about to be written."""

    def lets_pass(self) -> bool:
        """True: write now."""
        if self._deadline is not None and self._clock.now() > self._deadline:
            self.too_late = True
            return False
        if self.written:
            return False
        self.written = True
        return True
