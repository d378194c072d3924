"""What may be held in memory, and who has to make room when it is full. Pure, the time is passed in.

Each account has a share. What an account holds beyond it stays only while it flows: if its events would have their
turn within `park_after_seconds` at the rate of the last seconds, a full window is an ordinary backlog and intake simply
waits; else the surplus is parked, so that nobody waits for somebody else's account.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from worker.settings import LimitSettings, TimingSettings

PATIENCE_S: Final = 2.0
"""A window may be full for so long before somebody has to make room: polling must not stop for longer than seconds."""
RATE_OVER_S: Final = 10.0
_SHIPPED_RESERVE: Final = 1.25
"""Shipments are read on when the window is full of cancellations that wait for them."""


@dataclass(slots=True)
class _Flow:
    """Conclusions of the present and the last span of RATE_OVER_S seconds."""

    begun_at: float
    here: int = 0
    before: int = 0
    first_at: float = field(default=0.0)


class Window:
    """Bounds in events and bytes, with a share per account."""

    def __init__(self, limits: LimitSettings, timing: TimingSettings) -> None:
        self._limits, self._timing = limits, timing
        self._flows: dict[str, _Flow] = {}
        self._full_since: float | None = None

    def configure(self, limits: LimitSettings, timing: TimingSettings) -> None:
        """Take new settings."""
        self._limits, self._timing = limits, timing

    def concluded(self, group: str, now: float) -> None:
        """An event of the group was settled (parked ones do not count)."""
        self._flow(group, now).here += 1

    def has_room(self, count: int, size: int, *, cancellations: int | None = None) -> bool:
        """True while another event may be read. `count`, `size`: events and bytes in memory.

        `cancellations`: for a shipment, how many of these events are some. It may take as many places more, up to the
        reserve: they may wait for it. A window full of shipments has no reserve.
        """
        most, most_bytes = self._limits.max_queued_events, self._limits.max_queued_bytes
        if not cancellations:
            return count < most and size < most_bytes
        return count < min(most * _SHIPPED_RESERVE, most + cancellations) and size < most_bytes * _SHIPPED_RESERVE

    def share(self, groups: int) -> int:
        """Events an account may hold whatever it does, with so many accounts active."""
        fair = self._limits.max_queued_events // max(1, groups)
        return max(1, min(self._limits.max_queued_events_per_account, fair))

    def surplus(
        self, counts: Mapping[str, int], count: int, size: int, now: float, *, held: Iterable[str]
    ) -> dict[str, int]:
        """Group -> how many events it may keep, for the groups that have to make room now.

        `held`: groups that stand behind a gate that does not open yet.
        """
        full = not self.has_room(count, size)
        if not full:
            self._full_since = None
        elif self._full_since is None or now < self._full_since:
            self._full_since = now
        pressed = self._full_since is not None and now - self._full_since >= PATIENCE_S
        share, stuck = self.share(len(counts) if pressed else 1), set(held)
        keep: dict[str, int] = {}
        for group, events in counts.items():
            if events <= share or not (pressed or group in stuck):
                continue
            flows = (
                share if group in stuck else max(share, int(self.rate(group, now) * self._timing.park_after_seconds))
            )
            if events > flows:
                keep[group] = flows
        return keep

    def rate(self, group: str, now: float) -> float:
        """Events a second the group has settled lately."""
        flow = self._flow(group, now)
        seconds = min(now - flow.first_at, RATE_OVER_S + (now - flow.begun_at))
        return (flow.here + flow.before) / max(1.0, seconds)

    def _flow(self, group: str, now: float) -> _Flow:
        flow = self._flows.get(group)
        if flow is None:
            flow = self._flows[group] = _Flow(now, first_at=now)
        passed = now - flow.begun_at
        if passed >= RATE_OVER_S or passed < 0:
            flow.before = flow.here if 0 <= passed < 2 * RATE_OVER_S else 0
            flow.here = 0
            flow.begun_at = now
        return flow

    def forget_idle(self, counts: Container[str], now: float) -> None:
        """Groups that hold nothing (are not in `counts`), and settled nothing lately, need no flow."""
        for group in [group for group, flow in self._flows.items() if abs(now - flow.begun_at) > 2 * RATE_OVER_S]:
            if group not in counts:
                del self._flows[group]
