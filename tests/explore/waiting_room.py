"""The waiting room of one worker: the product's own `Room` over its own `Table`; the topic is a list of records."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar, cast

from schemas import deadletter
from schemas.deadletter import DeadLetterHeaders
from tests.explore.cells import Cells
from tests.explore.doors import Row, run
from tests.explore.memory import Held, Item, frozen, trimmed
from tests.explore.stories import PO, Story
from tests.explore.timing import BASE, SETTINGS, Hand, until
from tests.explore.tries import METRICS, Tries
from worker.delivery import Delivery, Place
from worker.errors import Failure
from worker.outcome import Verdict
from worker.parked.carried import restore
from worker.parked.room import Room, RoomDoors
from worker.parked.table import Table
from worker.parked.unfinished import Unfinished
from worker.parked.waiting import Why

R = TypeVar("R")


class Letter(NamedTuple):
    """A record of the dead-letter topic; `value` None: a tombstone."""

    key: str
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]

    def about(self) -> DeadLetterHeaders:
        """Our headers, read."""
        return deadletter.read(self.value, self.headers).about


Letters = tuple[Letter, ...]


@dataclass
class _Read:
    """A record as a consumer gives it out."""

    partition: int
    offset: int
    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp: int = int(BASE * 1000)


class _OneWriteError(Exception):
    """Another record would be written: that is the next step's."""


class _Publisher:
    """Takes one record, which will lie at the end of the topic."""

    def __init__(self) -> None:
        self.end = 0
        self.taken: Letter | None = None
        self.is_acknowledged = True

    async def send(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: list[tuple[str, bytes | None]],
        partition: int | None = None,
    ) -> Place:
        if self.taken is not None:
            raise _OneWriteError
        assert key is not None
        assert partition == 0
        self.taken = Letter(key.decode(), value, tuple(headers))
        return Place(0, self.end)


class Rooms:
    """The tables of all workers, and one room that is put over any of them."""

    def __init__(self, story: Story, tries: Tries) -> None:
        self._story, self._tries = story, tries
        self._clock = Hand()
        self._publisher = _Publisher()
        loop = asyncio.new_event_loop()
        doors = RoomDoors(group_of=lambda *_: "", allowance=lambda _, __: 1, take_up=lambda *_: None)
        self._room = Room(SETTINGS, self._publisher, METRICS, self._clock, doors)
        loop.close()
        self._abouts: dict[Letter, DeadLetterHeaders] = {}
        self._places: dict[int, frozenset[int]] = {}
        self.cells: Cells[Table] = Cells(_seen)
        self.empty = self.cells.keep(Table())

    # -- reading

    def caught_up(self, letters: Letters, now: int) -> int:
        """A new owner's table: everything is read, then rows begin to come up."""
        room = self._over(Table(), now)
        room.tail._ready = frozenset()
        for offset, letter in enumerate(letters):
            room._read(_read(letter, offset))
        room.tail._ready = frozenset({0})
        room._caught_up(0)
        return self.cells.keep(room.table)

    def read(self, cell: int, letter: Letter, offset: int, now: int) -> int:
        """The tail reads one more record."""
        return self._change(cell, now, lambda room: room._read(_read(letter, offset)), "read", letter, offset)[0]

    # -- what handling asks

    def settled_elsewhere(self, cell: int, item: Item, held: Held, now: int) -> bool:
        """See `Room`."""

        def ask(room: Room) -> Any:
            return room.settled_elsewhere(self._tries.delivery(item, held))

        return bool(self._asked(cell, now, ask, "settled_elsewhere", item, held))

    def may_run(self, cell: int, item: Item, held: Held, now: int) -> bool:
        """See `Room`."""

        def ask(room: Room) -> Any:
            return room.may_run(self._tries.delivery(item, held))

        return bool(self._asked(cell, now, ask, "may_run", item, held))

    def blocked_by(self, cell: int, item: Item, held: Held, now: int) -> Row | None:
        """See `Room`."""

        def ask(room: Room) -> Any:
            return _row(room.blocked_by(self._tries.delivery(item, held)))

        return cast("Row | None", self._asked(cell, now, ask, "blocked_by", item, held))

    def unfinished_shipment(self, cell: int, now: int) -> Row | None:
        """See `Room`."""

        def ask(room: Room) -> Any:
            return _row(room.unfinished_shipment(PO, PO.encode()))

        return cast("Row | None", self._asked(cell, now, ask, "unfinished"))

    def wake_order(self, cell: int, now: int) -> int:
        """See `Room`."""
        return self._change(cell, now, lambda room: room.wake_order(PO), "wake")[0]

    def untake(self, cell: int, item: Item, held: Held, now: int) -> int:
        """See `Room`."""
        return self._change(
            cell, now, lambda room: room.untake(self._tries.delivery(item, held)), "untake", item, held
        )[0]

    # -- what is written

    def put_waiting(
        self, cell: int, item: Item, held: Held, failure: Failure, next_at: float, end: int, now: int
    ) -> tuple[int, Letter]:
        """Park it: the table after, and the record, which lies at `end`."""

        def write(room: Room) -> Any:
            return room.put_waiting(self._tries.delivery(item, held), failure, next_at)

        return self._write(cell, write, end, now, "waiting", item, held, failure, next_at)

    def put_dead(self, cell: int, item: Item, held: Held, verdict: Verdict, end: int, now: int) -> tuple[int, Letter]:
        """Write the dead letter."""

        def write(room: Room) -> Any:
            return room.put_dead(self._tries.delivery(item, held), verdict)

        return self._write(cell, write, end, now, "dead", item, held, verdict)

    def settle(
        self, cell: int, item: Item, held: Held, end: int, now: int, *, own_only: bool
    ) -> tuple[int, Letter | None]:
        """Write the next tombstone that a success calls for; None: there is none left."""

        def write(room: Room) -> Any:
            return room.settle(self._tries.delivery(item, held), own_only=own_only)

        return self._write(cell, write, end, now, "settle", item, own_only)

    def _write(self, cell: int, write: Callable[[Room], Any], end: int, now: int, *named: Hashable) -> tuple[int, Any]:
        def change(room: Room) -> Letter | None:
            self._publisher.end, self._publisher.taken = end, None
            with contextlib.suppress(_OneWriteError):
                run(write(room))
            return self._publisher.taken

        return self._change(cell, now, change, "write", end, *named)

    # -- the way back into memory

    def take(self, cell: int, now: int) -> tuple[int, tuple[int, Why] | None]:
        """The place of the next row that comes up, and why: mirrors `Pump._take`."""

        def change(room: Room) -> tuple[int, Why] | None:
            taken = room.table.waiting.take(self._clock.now(), 1, group_of=lambda *_: "", allowance=lambda *_: 1)
            return None if not taken else (taken[0][0].offset, taken[0][1])

        return self._change(cell, now, change, "take")

    def taken_up(self, letter: Letter, offset: int, now: int, *, blind: bool) -> tuple[Item, Held]:
        """As it enters the lanes: mirrors `App._take_up`."""
        about = letter.about()
        topic, source = about.topic, about.offset
        record = next(
            index for index, one in enumerate(self._story.records) if (one.topic, one.offset) == (topic, source)
        )
        delivery: Delivery = self._story.decoded(record)
        delivery.room_place = Place(0, offset)
        self._clock.tick = now
        restore(delivery, about, self._clock.now(), SETTINGS.timing.read_lag_seconds)
        assert delivery.refusal is None
        again = delivery.last_again
        progress = frozen(delivery.progress)
        held = Held(delivery.first_parked, delivery.next_try, None, blind, now, again and trimmed(again), progress)
        return (record, offset), held

    def next_at(self, cell: int) -> float | None:
        """When the next row's time comes."""
        return self.cells.look(cell).waiting.next_at()

    # -- inside

    def _over(self, table: Table, now: int) -> Room:
        self._clock.tick = now
        self._room.table = table
        self._room.tail._ready = frozenset({0})
        return self._room

    def _asked(self, cell: int, now: int, ask: Callable[[Room], Any], *named: Hashable) -> Any:
        return self._change(cell, now, ask, *named)[1]

    def _change(self, cell: int, now: int, change: Callable[[Room], R], *named: Hashable) -> tuple[int, R]:
        return self.cells.after(cell, lambda table: change(self._over(table, now)), now, *named)

    # -- keys

    def about(self, letter: Letter) -> DeadLetterHeaders:
        """Its headers, read once."""
        about = self._abouts.get(letter)
        if about is None:
            about = self._abouts[letter] = letter.about()
        return about

    def places(self, cell: int) -> frozenset[int]:
        """Offsets of a table's rows: what may come up again."""
        known = self._places.get(cell)
        if known is None:
            known = self._places[cell] = frozenset(row.offset for row in self.cells.look(cell))
        return known

    def letter_key(self, letter: Letter, now: int) -> Hashable:
        """All that matters of a record from `now` on."""
        about = self.about(letter)
        carried = about.progress
        assert carried is not None
        unsettled = carried.unsettled
        return (
            letter.key,
            about.state,
            about.code,
            about.topic,
            about.offset,
            about.confirmed,
            about.first_parked,
            until(about.next_try or 0.0, now),
            unsettled and (unsettled.expected, until(unsettled.believe_at, now), unsettled.leaves_open),
            carried.doubted,
            # That there was one at all is a doubt that stays.
            carried.hold_until > 0,
            until(carried.hold_until, now),
            carried.read_twice,
            carried.applied,
            carried.one_by_one,
            tuple(refused._replace(final_at=until(refused.final_at, now)) for refused in carried.refused),
            carried.trouble,
        )


def newest(letters: Letters) -> dict[str, tuple[int, Letter]]:
    """Key -> offset and newest record, tombstones left out."""
    found = {letter.key: (offset, letter) for offset, letter in enumerate(letters)}
    return {key: (offset, letter) for key, (offset, letter) in found.items() if letter.value is not None}


def _row(row: Unfinished | None) -> Row | None:
    return None if row is None else Row(row.state, row.code)


def _read(letter: Letter, offset: int) -> Any:
    return cast("Any", _Read(0, offset, letter.key.encode(), letter.value, letter.headers))


def _seen(table: Table, now: int) -> Hashable:
    parts = tuple(
        (number, tuple(sorted(one.own.items())), one.read_to) for number, one in sorted(table._partitions.items())
    )
    rows = tuple(
        (
            row.key, row.state, row.offset, row.code, row.first_parked, row.source_offset, row.topic,
            until(row.next_try, now), row.stage.value,
        )
        for row in sorted(table, key=lambda row: row.key)
    )  # fmt: skip
    next_at = table.waiting.next_at()
    return (
        parts,
        rows,
        tuple(sorted(table.waiting._active)),
        table.waiting.has_ready,
        None if next_at is None else until(next_at, now),
    )
