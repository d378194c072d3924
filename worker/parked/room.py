"""The one door to unfinished events: the table, its tail, its writes, and the way back into memory.

Every write is seen in the table at once. Who may write what is settled by the partitions: only the owner of the input
partition writes the dead letters of its number. What a worker that has lost its partitions still writes is survived:
the newest record of an event counts, and what it knows less is made up for by waiting (`_stranger`).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable

import structlog
from aiokafka.structs import ConsumerRecord

from schemas import deadletter
from schemas.deadletter import DeadLetterHeaders
from worker.clock import Clock
from worker.delivery import Delivery, Place, Record
from worker.errors import Failure
from worker.kafka import NotPublishedError
from worker.outcome import Verdict
from worker.parked import letters
from worker.parked.fetching import Fetcher
from worker.parked.housekeeping import Housekeeping
from worker.parked.pump import Pump, RoomDoors, TakenUp
from worker.parked.table import Table, marker_key
from worker.parked.tail import Tail
from worker.parked.unfinished import Rules, Stage, Unfinished, digest_of, is_whole, row_of
from worker.parked.writer import Send, Writer
from worker.settings import Settings
from worker.telemetry.metrics import Metrics

log = structlog.get_logger()

__all__ = ["Room", "RoomDoors", "TakenUp", "Unfinished"]

_NOT_NEEDED = frozenset({"order-sync-story", "order-sync-reason", "order-sync-why", "order-sync-by"})
"""Headers that no row is made of."""


class Room:
    """Unfinished events of the partition numbers this worker owns."""

    def __init__(self, settings: Settings, publisher: Send, metrics: Metrics, clock: Clock, doors: RoomDoors) -> None:
        self._clock = clock
        self._take(settings)
        self._writer = Writer(settings.topics.dead_letter, publisher, clock)
        self._partitions: frozenset[int] = frozenset()
        self._writing: Counter[str] = Counter()
        """Keys of the records that are being written just now."""
        self.table = Table()
        self.tail = Tail(settings, read=self._read, began=self._began, caught_up=self._caught_up)
        self._fetcher = Fetcher(settings)
        self._pump = Pump(self.table.waiting, self._fetcher, clock, doors)
        self._housekeeping = Housekeeping(self.table, self._writer, clock)
        metrics.at_scrape(
            lambda: metrics.dead_letters.replace(
                {(state, code or None): float(count) for (state, code), count in self.table.counts.items() if count > 0}  # type: ignore[misc]
            )
        )

    def _take(self, settings: Settings) -> None:
        timing = settings.timing
        self._most_parked = settings.limits.max_parked_events
        self._stranger_s = timing.call_timeout_seconds + timing.read_lag_seconds
        self._rules = Rules.of(settings)

    def configure(self, settings: Settings) -> None:
        """Take new settings. What is parked is late, and given up, as the new ones say."""
        before = self._rules
        self._take(settings)
        late_s, give_up_s = self._rules.slo_s - before.slo_s, self._rules.give_up_s - before.give_up_s
        if late_s or give_up_s:
            self.table.move_times(late_s, give_up_s, self._clock.now())
        self._pump.wake()

    # -- life

    async def start(self) -> None:
        """Connect. Raises aiokafka's error when no broker answers."""
        await self.tail.start()

    async def run(self) -> None:
        """Follow the topic, bring back what comes up, and keep house, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.tail.run())
            group.create_task(self._pump.run())
            group.create_task(self._housekeeping.run(self._ready))

    async def close(self) -> None:
        """Close both consumers, within a bound."""
        await self._fetcher.close()
        await self.tail.close()

    def follow(self, partitions: frozenset[int]) -> None:
        """These partition numbers are ours now (possibly anew): read them from the beginning."""
        self._partitions = partitions
        self._pump.hold()
        self.tail.follow(partitions)

    def hold(self) -> None:
        """The partitions are about to be given back: nothing comes up any more. The table stays as it is."""
        self._pump.hold()
        self.tail.hold()

    def wake(self) -> None:
        """There is room again, a gate opened, or a setting changed: look who comes up."""
        self._pump.wake()

    # -- what handling asks

    def settled_elsewhere(self, delivery: Delivery) -> bool:
        """True when this delivery must not run: its event is in the room to be run from there, or was settled there."""
        if delivery.room_place is not None:
            return not self.holds(delivery)
        partition = delivery.record.partition
        if self.table.is_empty(partition):
            return False
        digest = digest_of(delivery.record.value)
        rows = (self.table.get(partition, key) for key in self._own_keys(delivery))
        return any(row is not None and row.state in ("waiting", "replay") and row.digest == digest for row in rows)

    def other_event_with_this_identity(self, delivery: Delivery) -> bool:
        """True when the table holds this identity with other bytes."""
        row = self._row(delivery)
        return delivery.room_place is None and row is not None and row.digest != digest_of(delivery.record.value)

    def blocked_by(self, delivery: Delivery) -> Unfinished | None:
        """A waiting row of its order that it may not pass; None: nobody stands before it."""
        order = delivery.envelope.order
        if order is None or order != delivery.lane:
            return None
        queues = self.table.waiting.queues
        if not queues.any_of(order):
            return None
        if delivery.room_state == "waiting":
            row = self._row(delivery)
            if row is None or row.place != delivery.room_place or queues.is_front(row):
                return None
            return queues.fronts(order)[0]
        # A replay is as old as its event: those of its own topic that came later stand behind it.
        offset = delivery.record.offset if delivery.room_state == "replay" else None
        ships = delivery.envelope.shipment is not None
        return queues.before(order, ships=ships, own=self._own_keys(delivery), offset=offset)

    def blocked(self, delivery: Delivery) -> bool:
        """True when a waiting event of its order stands before it that it may not pass: park it behind that one."""
        return self.blocked_by(delivery) is not None

    def holds(self, delivery: Delivery) -> bool:
        """True while the record it was taken up from is still the newest of its event."""
        row = self._row(delivery)
        return row is not None and row.state == delivery.room_state and row.place == delivery.room_place

    def may_run(self, delivery: Delivery) -> bool:
        """Of one that was taken up: its record still counts, and nobody stands before it whom it may not pass."""
        row = self._row(delivery)
        return self.holds(delivery) and row is not None and self.table.waiting.is_front(row)

    def untake(self, delivery: Delivery) -> None:
        """It was taken up in vain: it is offered again after a moment, if its record still counts."""
        row = self._row(delivery)
        if row is not None and row.place == delivery.room_place:
            self.table.waiting.untake(row, self._clock.now())
            self._pump.wake()

    def wake_order(self, order: str) -> None:
        """A shipment of the order is settled: its parked cancels that wait for shipments come up now."""
        self.table.waiting.wake(order, self._clock.now())
        self._pump.wake()

    def unfinished_shipment(self, order: str, record_key: bytes | None) -> Unfinished | None:
        """A shipment of the order that is dead, waits or is replayed; by record key where its bytes named no order."""
        return self.table.unfinished_shipment(order, record_key)

    @property
    def parked_count(self) -> int:
        """Events with the state `waiting`."""
        return self.table.waiting.parked

    @property
    def coming(self) -> int:
        """Events that come back into memory in a moment."""
        return self._pump.coming

    @property
    def is_full(self) -> bool:
        """Nothing more may be parked."""
        return self.parked_count >= self._most_parked

    # -- what is written for events

    async def put_waiting(self, delivery: Delivery, failure: Failure, next_at: float) -> Place:
        """Park the event: it is taken up again not before `next_at` (epoch seconds; 0: whenever its gate is open).

        A failure with the code `paused` marks time that does not count. Raises NotPublishedError; call it again then.
        """
        known = self._row(delivery)
        first = delivery.first_parked
        if first is None and known is not None and known.state == "waiting":
            first = known.first_parked
        now = self._clock.now()
        about = letters.waiting(delivery, failure, next_try=next_at, first_parked=first, now=now)
        return await self._put(delivery, about)

    async def put_dead(self, delivery: Delivery, verdict: Verdict) -> Place:
        """Write the dead letter: the event as it came, and what we know of it. Raises NotPublishedError."""
        return await self._put(delivery, letters.dead(delivery, verdict))

    async def settle(self, delivery: Delivery, *, own_only: bool = False) -> None:
        """Write the tombstones a success calls for: its own record's, and older dead letters' of the same shipment."""
        for row in self._closed_by(delivery)[: 1 if own_only else None]:
            headers = deadletter.encode(DeadLetterHeaders(state="settled", order=row.order or None))
            place = await self._writer.write(row.key, None, headers, row.partition)
            self.table.wrote(row.key, None, place, self._clock.now())
        self._pump.wake()

    async def _put(self, delivery: Delivery, about: DeadLetterHeaders) -> Place:
        record = delivery.record
        value, headers = deadletter.write(about, record.value, record.headers)
        self._writing[delivery.key] += 1
        try:
            place = await self._writer.write(delivery.key, value, headers, record.partition)
        finally:
            self._writing[delivery.key] -= 1
            if not self._writing[delivery.key]:
                del self._writing[delivery.key]
        now = self._clock.now()
        row = row_of(delivery.key, about, place, record.value, written_at=now, rules=self._rules)
        self.table.wrote(delivery.key, row, place, now)
        self._pump.wake()
        return place

    def _closed_by(self, delivery: Delivery) -> list[Unfinished]:
        own = self._row(delivery)
        closed = [own] if own is not None and own.state != "corrected" else []
        shipment, order = delivery.envelope.shipment, delivery.envelope.order
        if shipment is None or order is None:
            return closed
        store = delivery.envelope.store or ""
        return closed + [
            row
            for row in self.table.dead_of_order(order)
            if row.state == "dead"
            and (row.shipment, row.store) == (shipment, store)
            and row is not own
            and _came_before(row, delivery.record)
        ]

    def _row(self, delivery: Delivery) -> Unfinished | None:
        return self.table.get(delivery.record.partition, delivery.key)

    @staticmethod
    def _own_keys(delivery: Delivery) -> frozenset[str]:
        # One that reuses an identity was parked under its coordinates.
        return frozenset({delivery.key, delivery.record.coordinates})

    # -- numbers corrected away (the sync room's Corrections)

    def superseded_at(self, order: str, number: str) -> float | None:
        """Epoch seconds of the event that corrected this number away; None if nothing did."""
        row = self.table.marker(order, number)
        return None if row is None else row.event_time

    def unsettled(self, order: str, delivery: Delivery | None) -> Iterable[str]:
        """The numbers, as told, that the order's corrections from before this event lead to and are not settled."""
        assert delivery is not None, "nothing comes before what was never read"
        for row in self.table.of_order(order):
            if row.leads_to and _came_before(row, delivery.record):
                yield from row.leads_to

    async def mark(self, order: str, number: str, event_time: float, delivery: Delivery | None) -> bool:
        """Remember that this number is corrected away; True once Kafka has acknowledged it."""
        assert delivery is not None, "a correction belongs to the partition its event came from"
        key = marker_key(order, number)
        about = DeadLetterHeaders(state="corrected", order=order, timestamp_ms=round(event_time * 1000))
        try:
            place = await self._writer.write(key, b"", deadletter.encode(about), delivery.record.partition)
        except NotPublishedError:
            return False
        now = self._clock.now()
        self.table.wrote(key, row_of(key, about, place, b"", written_at=now, rules=self._rules), place, now)
        return True

    async def free(self, order: str, number: str, delivery: Delivery | None) -> bool:
        """A later correction went back to this number: forget the marker; True once Kafka has acknowledged it."""
        del delivery
        row = self.table.marker(order, number)
        if row is None:
            return True
        try:
            place = await self._writer.write(row.key, None, [], row.partition)
        except NotPublishedError:
            return False
        self.table.wrote(row.key, None, place, self._clock.now())
        return True

    # -- keeping the table

    async def keep_house(self) -> None:
        """One round of housekeeping. Raises NotPublishedError."""
        await self._housekeeping.keep(self._ready())

    def _ready(self) -> frozenset[int]:
        return frozenset(partition for partition in self._partitions if self.tail.is_ready(partition))

    def _began(self, partitions: frozenset[int]) -> None:
        del partitions
        self.table.clear()
        self._writer.clear()

    def _caught_up(self, partition: int) -> None:
        self.table.waiting.activate(partition, self.table.rows_to_run(partition), self._clock.now())
        self._pump.go()

    def _read(self, read: ConsumerRecord) -> None:
        self._writer.saw(read.partition, read.timestamp / 1000)
        place = Place(read.partition, read.offset)
        if read.key is None:
            self.table.passed(place)
            return
        key, now = read.key.decode("utf-8", "replace"), self._clock.now()
        letter = deadletter.read(read.value, read.headers, without=_NOT_NEEDED)
        about = letter.about
        if about.state in ("settled", "heartbeat"):
            self.table.read(key, None, place, now)
        elif about.state is None:
            # Foreign or broken: kept for people to see, never run.
            log.warning("dead_letter_foreign", partition=read.partition, offset=read.offset)
            self.table.passed(place)
        else:
            if about.state in ("waiting", "replay") and not is_whole(about, place):
                log.error("parked_event_broken", partition=read.partition, offset=read.offset)
                about = DeadLetterHeaders(state="dead", key=about.key, code="dead_letter_unreadable", order=about.order)
            row = row_of(key, about, place, letter.value, written_at=read.timestamp / 1000, rules=self._rules)
            self._stranger(row, now)
            self.table.read(key, row, place, now)
        self._pump.wake()

    def _stranger(self, row: Unfinished, now: float) -> None:
        """Somebody else parks what is ours: it may know nothing of a call we have just made.

        By the time it is tried again a read shows what became of that call.
        """
        if not self.tail.is_ready(row.partition) or self.table.is_own(row.key, row.place):
            return
        if row.state == "replay":
            # Asked for twice: the first one may be in the middle of a call that this record knows nothing of.
            known = self.table.get(row.partition, row.key)
            if known is None or known.stage is not Stage.TAKEN:
                return
        elif row.state != "waiting":
            return
        if row.key in self._writing:
            # Our own: the tail is quicker than the acknowledgement.
            return
        log.warning("parked_by_another_worker", partition=row.partition, offset=row.offset)
        row.next_try = max(row.next_try, now + self._stranger_s)


def _came_before(row: Unfinished, record: Record) -> bool:
    """A newer dead letter of a shipment may name packages that the success of an older event knows nothing of."""
    if (row.topic, row.partition) == (record.topic, record.partition):
        return row.source_offset < record.offset
    return row.event_time < record.timestamp_ms / 1000
