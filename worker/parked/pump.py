"""Brings parked events back into memory: asks what comes up, fetches its bytes, hands it over. Thin."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import structlog
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

from schemas import deadletter
from schemas.deadletter import DeadLetterHeaders
from worker.clock import Clock
from worker.delivery import Place, Record
from worker.parked.fetching import Fetcher, Missing
from worker.parked.space import NO_BOUND, Space
from worker.parked.unfinished import Stage, Unfinished, is_whole
from worker.parked.waiting import Waiting, Why

log = structlog.get_logger()

MOST_ROWS: Final = 100
MOST_BYTES: Final = 4 * 1_048_576
"""Fetched in one go, at most; a single larger record comes all the same."""
LOOK_S: Final = 1.0
"""How often it is asked again whether there is room, where nobody says so."""
RETRY_S: Final = 1.0
MISSING_AGAIN_S: Final = 300.0
"""What is not where the table says: its newer record is about to be read. Otherwise it stays, and is told again."""


@dataclass(frozen=True, slots=True)
class TakenUp:
    """An unfinished event that comes back into memory."""

    original: Record
    about: DeadLetterHeaders
    place: Place
    key: str
    why: Why
    """`turn`: to be tried; `late`: only to be told late and parked again; `expired`: its time to give up has come;
    `replay`: a person asked for it."""


@dataclass(frozen=True, slots=True)
class RoomDoors:
    """What the waiting room needs of the rest of the worker."""

    group_of: Callable[[str, bool], str]
    """The group of a store's shipments (True) or cancellations: those that stand behind the same gates. Empty where
    the store is unknown: such events stand behind none."""
    allowance: Callable[[str, float], int]
    """How many of a group may be taken up now; 0 while its gates do not admit."""
    take_up: Callable[[TakenUp], None]
    """Called once for each event; what cannot be run after all is given back by `Room.untake`."""
    space: Callable[[], Space] = lambda: NO_BOUND
    """What there is room for in memory."""


class Pump:
    """Runs as long as the worker."""

    def __init__(self, waiting: Waiting, fetcher: Fetcher, clock: Clock, doors: RoomDoors) -> None:
        self._waiting = waiting
        self._fetcher = fetcher
        self._clock = clock
        self._doors = doors
        self._wake = asyncio.Event()
        self._held = True
        self.coming = 0
        """Events that are being fetched: they will be in memory in a moment."""

    def go(self) -> None:
        """Begin to offer."""
        self._held = False
        self._wake.set()

    def hold(self) -> None:
        """Hand nothing over any more, until `go`."""
        self._held = True

    def wake(self) -> None:
        """Look again: there is room, a gate opened, something was parked."""
        self._wake.set()

    async def run(self) -> None:
        """Offer until cancelled."""
        while True:
            self._wake.clear()
            if not await self.once():
                await self._rest()
            # Records that lie in memory already are fetched without waiting: let the others run.
            await asyncio.sleep(0)

    async def once(self) -> bool:
        """One round: hand over what comes up now. False: nothing did."""
        rows = [] if self._held else self._take()
        if rows:
            await self._hand_over(rows)
        return bool(rows)

    def _take(self) -> list[tuple[Unfinished, Why]]:
        doors = self._doors
        return self._waiting.take(
            self._clock.now(), MOST_ROWS, group_of=doors.group_of, allowance=doors.allowance, space=doors.space()
        )

    async def _rest(self) -> None:
        now, waiting = self._clock.now(), self._waiting
        due = None if self._held else waiting.next_at()
        rest_s = LOOK_S if waiting.has_ready and not self._held else None
        if due is not None:
            rest_s = min(rest_s if rest_s is not None else due - now, max(0.01, due - now))
        try:
            async with asyncio.timeout(rest_s):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _hand_over(self, rows: list[tuple[Unfinished, Why]]) -> None:
        asked = {row.place: (row, why) for row, why in rows}
        self.coming, size = len(asked), 0

        def got(place: Place, found: ConsumerRecord | Missing) -> bool:
            nonlocal size
            if self._held:
                return False
            row, why = asked.pop(place)
            self.coming = len(asked)
            if row.stage is not Stage.TAKEN:
                return True
            taken = None if isinstance(found, Missing) else _taken_up(row, why, found)
            if taken is None:
                self._missing(row, found)
                return True
            self._doors.take_up(taken)
            size += taken.original.size
            return size < MOST_BYTES

        failed = False
        try:
            await self._fetcher.fetch(list(asked), got)
        except (KafkaError, TimeoutError, OSError, ValueError) as error:
            failed = True
            log.warning("parked_events_not_fetched", error=type(error).__name__, detail=str(error)[:200])
        finally:
            now, self.coming = self._clock.now(), 0
            for row, _ in asked.values():
                self._waiting.untake(row, now, RETRY_S if failed else 0.0)
        if failed:
            await self._fetcher.close()
            await asyncio.sleep(RETRY_S)

    def _missing(self, row: Unfinished, found: ConsumerRecord | Missing) -> None:
        why = found.value if isinstance(found, Missing) else "overwritten"
        log.warning("parked_event_missing", partition=row.partition, offset=row.offset, why=why)
        self._waiting.untake(row, self._clock.now(), MISSING_AGAIN_S)


def _taken_up(row: Unfinished, why: Why, record: ConsumerRecord) -> TakenUp | None:
    """None: that is not the record the row was made of."""
    letter = deadletter.read(record.value, record.headers)
    about = letter.about
    if record.key != row.key.encode() or about.state != row.state or not is_whole(about, row.place):
        return None
    assert about.topic is not None
    assert about.partition is not None
    time_ms = record.timestamp if about.timestamp_ms is None else about.timestamp_ms
    original = Record(
        about.topic, about.partition, row.source_offset, time_ms, letter.key, letter.value, letter.headers
    )
    if row.state == "waiting":
        about = replace(about, first_parked=row.first_parked)
    return TakenUp(original, about, row.place, row.key, why)
