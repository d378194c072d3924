"""What the owner of a partition does for its upkeep: old markers are forgotten, quiet partitions get a heartbeat."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from schemas import deadletter
from schemas.deadletter import DeadLetterHeaders
from worker.clock import Clock
from worker.parked.table import Table
from worker.parked.writer import Writer

log = structlog.get_logger()

HEARTBEAT_S: Final = 86_400
"""A quiet partition is never compacted, so settled records (with buyers' addresses) would linger: write once a day."""
HOUSEKEEPING_S: Final = 600.0


class Housekeeping:
    """Goes through the table now and then."""

    def __init__(self, table: Table, writer: Writer, clock: Clock) -> None:
        self._table = table
        self._writer = writer
        self._clock = clock

    async def run(self, ready: Callable[[], frozenset[int]]) -> None:
        """Keep house until cancelled; `ready` tells the partitions whose table is whole."""
        while True:
            await asyncio.sleep(HOUSEKEEPING_S)
            try:
                await self.keep(ready())
            except Exception as error:  # noqa: BLE001  # best effort: the next round does what this one could not
                log.warning("housekeeping_failed", error=type(error).__name__)

    async def keep(self, ready: frozenset[int]) -> None:
        """Forget markers older than 30 days; write a heartbeat where a partition was quiet for a day."""
        now = self._clock.now()
        for row in self._table.markers(ready):
            if now > row.expires_at:
                place = await self._writer.write(row.key, None, [], row.partition)
                self._table.wrote(row.key, None, place, now)
        for partition in ready:
            if now - self._writer.quiet_since(partition) > HEARTBEAT_S:
                headers = deadletter.encode(DeadLetterHeaders(state="heartbeat"))
                await self._writer.write("heartbeat", b"", headers, partition)
