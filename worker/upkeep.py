"""What has to be seen to as time passes: who makes room in memory, and who is told to be late."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from worker.clock import Clock
from worker.delivery import Delivery
from worker.gatekeeper import STARTING, Gatekeeper
from worker.handling import Handling
from worker.lanes.lanes import Lanes
from worker.parked.room import Room
from worker.settings import Settings
from worker.walmart.accounts import Accounts
from worker.window import PATIENCE_S, Window

log = structlog.get_logger()

RELIEF_S: Final = 0.1
"""Often, so that what has to leave leaves in small lumps."""
LATE_CHECK_S: Final = 1.0
FORGET_EACH_S: Final = 60.0
LATE_UNTRIED_S: Final = 10.0
"""An event that is late already when it is read (a backlog) gets this long before it is told to be late."""

_WAITED_AT: Final = frozenset({"", "read", "ship", "cancel"})
"""Endpoint groups whose gates events stand behind; inventory and the token are no event's own."""


class Upkeep:
    """Two loops."""

    def __init__(
        self,
        settings: Settings,
        lanes: Lanes[Delivery],
        gatekeeper: Gatekeeper,
        accounts: Accounts,
        window: Window,
        room: Room,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._lanes = lanes
        self._gatekeeper = gatekeeper
        self._accounts = accounts
        self._window = window
        self._room = room
        self._clock = clock
        self._full = False
        self._forgot_at = 0.0

    def configure(self, settings: Settings) -> None:
        """Take new settings."""
        self._settings = settings

    async def relieve(self) -> None:
        """Park what waits too long, and what an account holds beyond its share while it does not flow."""
        while True:
            await asyncio.sleep(RELIEF_S)
            self.relieve_now()

    def relieve_now(self) -> None:
        """One round."""
        now = self._clock.now()
        full = self._room.is_full
        if full != self._full:
            self._full = full
            if full:
                log.error("waiting_room_full", parked=self._room.parked_count)
            else:
                log.info("waiting_room_has_room", parked=self._room.parked_count)
        lanes = self._lanes
        self._forget_idle(now)
        counts = dict(lanes.counts)
        surplus = self._window.surplus(counts, lanes.count, lanes.size, now, held=self._held(counts, now))
        if full:
            return
        lanes.evict_stuck(now, now - self._settings.timing.longest_in_memory_seconds)
        for group, keep in surplus.items():
            lanes.evict_group(group, keep)

    def _forget_idle(self, now: float) -> None:
        """What is known of accounts that have no event here and had none for long takes no memory."""
        if 0 <= now - self._forgot_at < FORGET_EACH_S:
            return
        self._forgot_at = now
        self._accounts.forget_idle()
        self._gatekeeper.forget_idle(self._lanes.counts)
        self._window.forget_idle(self._lanes.counts, now)

    def _held(self, counts: dict[str, int], now: float) -> set[str]:
        """Accounts whose events stand behind a gate that does not open in a moment."""
        held: set[str] = set()
        for view in self._gatekeeper.gates.views():
            kind, _, rest = view.name.partition(":")
            account, _, group = rest.partition("/")
            # One that waits for its first token flows in a moment.
            soon = view.state == "slow" and (view.reason == STARTING or view.next_at - now <= PATIENCE_S)
            if kind == "account" and group in _WAITED_AT and not soon:
                held.add(account)
        return held & set(counts)

    async def tell_late(self, handling: Handling) -> None:
        """Publish one `retrying` result for each event in memory that is not settled after the SLO time."""
        while True:
            await asyncio.sleep(LATE_CHECK_S)
            now = self._clock.now()
            late_before = now - self._settings.timing.slo_seconds
            late = [
                entry
                for entry in self._lanes
                if not entry.item.told_retrying
                and entry.item.happened_at < late_before
                and (entry.item.last_again is not None or entry.item.waiting_since < now - LATE_UNTRIED_S)
            ]
            for entry in late:
                # Looked at one by one: while the others were told it may have been settled, or let go of.
                if not entry.running and not entry.gone:
                    entry.item.told_retrying = True
                    handling.waited(entry.item, self._lanes.waits(entry, self._clock.now()))
                    await handling.still_retrying(entry.item)
