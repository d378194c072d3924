"""Lanes and gates alone, driven as the engine drives them: what one event costs beside so many others that wait.

Run as `python -m tests.bench.lanes_runner LANES EVENTS MODE`; prints microseconds of processor time per event.
"""

from __future__ import annotations

import gc
import itertools
import sys
import time
from collections import deque
from typing import Final, Literal, get_args

from worker.garbage import expect_little
from worker.lanes.gates import Gates
from worker.lanes.lanes import Entry, Lanes

Mode = Literal["ready", "held"]
"""What the others wait for: `ready`: for a slot; `held`: for the gate of their account, or for their retry time."""

ACCOUNTS: Final = 50
IN_FLIGHT: Final = 256
RETRY_EVERY: Final = 10
"""Every so many turns ends in a retry, a second later."""
_TICK_S: Final = 0.001
_OTHERS_RETRY_S: Final = 86_400.0


def gates_of(account: int) -> tuple[str, ...]:
    """As many as a shipment stands behind."""
    name = f"account:{account:02d}"
    return ("worker", name, f"store:{account:02d}", f"{name}/read", f"{name}/ship")


class Drive:
    """`lanes` lanes wait all the time while events come, have their turns and go."""

    def __init__(self, lanes: int, mode: Mode) -> None:
        self.now = 1_000_000.0
        self.turns = 0
        self.lanes: Lanes[int] = Lanes(Gates())
        self._numbers = itertools.count()
        self._running: deque[Entry[int]] = deque()
        self._gates = [gates_of(account) for account in range(ACCOUNTS)]
        self._open = range(ACCOUNTS) if mode == "ready" else range(ACCOUNTS // 2)
        if mode == "held":
            self._hold(lanes)
        else:
            for _ in range(lanes):
                self._add()

    def _hold(self, count: int) -> None:
        """Half of them behind gates that are closed or slow, half waiting for their retry."""
        now, gates = self.now, self.lanes.gates
        for account in range(ACCOUNTS // 2, ACCOUNTS):
            name = self._gates[account][1]
            if account % 2:
                gates.close(name, "credentials_rejected", now + _OTHERS_RETRY_S, now)
            else:
                gates.slow(name, now + _OTHERS_RETRY_S, "throttled", now)
        for number in range(count):
            entry = self._entry(ACCOUNTS // 2 + number % (ACCOUNTS // 2))
            if number % 2:
                entry.ready_at = now + _OTHERS_RETRY_S + number
            self.lanes.add(entry)
        assert self.lanes.take(now) is None

    def event(self) -> None:
        """One comes; as many have their turns as there is room for; the oldest turn ends."""
        self.now += _TICK_S
        lanes, running = self.lanes, self._running
        self._add()
        while len(running) < IN_FLIGHT and (entry := lanes.take(self.now)) is not None:
            running.append(entry)
        lanes.next_at(self.now)
        entry = running.popleft()
        lanes.attempted(entry)
        self.turns += 1
        # Its second turn settles it.
        if self.turns % RETRY_EVERY == 0 and entry.ready_at == 0 and entry.item >= 0:
            entry.item = -1
            lanes.retry(entry, at=self.now + 1.0)
        else:
            lanes.settle(entry)

    def _add(self) -> None:
        self.lanes.add(self._entry(self._open[next(self._numbers) % len(self._open)]))

    def _entry(self, account: int) -> Entry[int]:
        number = next(self._numbers)
        gates = self._gates[account]
        return Entry(number, str(1_815_000_000_000 + number), gates, gates[1], 2_000, passes=True, since=self.now)


def measure(lanes: int, events: int, mode: Mode) -> float:
    """Microseconds of processor time per event."""
    drive = Drive(lanes, mode)
    for _ in range(max(1_000, events // 10)):
        drive.event()
    expect_little()
    gc.collect()
    begun = time.process_time()
    for _ in range(events):
        drive.event()
    return (time.process_time() - begun) / events * 1e6


if __name__ == "__main__":
    assert sys.argv[3] in get_args(Mode)
    sys.stdout.write(f"{measure(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])}\n")  # type: ignore[arg-type]
