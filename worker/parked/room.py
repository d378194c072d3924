"""The one door to unfinished events: the table, its tail and its writes.

Every write is seen in the table at once. Who may write what is settled by the partitions: only the owner of the input
partition writes the dead letters of its number.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog
from aiokafka.structs import ConsumerRecord

from schemas import deadletter
from schemas.deadletter import Confirmed, DeadLetterHeaders
from worker.clock import Clock
from worker.delivery import Delivery, Place, Record
from worker.kafka import NotPublishedError
from worker.outcome import Verdict
from worker.parked.table import Table, Unfinished, marker_key
from worker.parked.tail import Tail
from worker.settings import Settings
from worker.telemetry.metrics import Metrics

log = structlog.get_logger()

MARKER_DAYS = 30
"""How long a number stays known as corrected away."""
HEARTBEAT_S = 86_400
"""A quiet partition is never compacted, so settled records (with buyers' addresses) would linger: write once a day."""
HOUSEKEEPING_S = 600.0


class Send(Protocol):
    """The publisher, as this room needs it. Raises NotPublishedError."""

    async def send(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: list[tuple[str, bytes | None]],
        partition: int | None = None,
    ) -> Place:
        """Write one record and return where it lies."""
        ...


@dataclass(frozen=True, slots=True)
class Replay:
    """An unfinished event that a person asked to run again."""

    original: Record
    about: DeadLetterHeaders
    place: Place
    key: str


class Room:
    """Unfinished events of the partition numbers this worker owns."""

    def __init__(
        self, settings: Settings, publisher: Send, metrics: Metrics, clock: Clock, *, replay: Callable[[Replay], None]
    ) -> None:
        self._topic = settings.topics.dead_letter
        self._publisher = publisher
        self._clock = clock
        self._replay = replay
        self._replays: dict[str, Replay] = {}
        self._partitions: frozenset[int] = frozenset()
        self._written_at: dict[int, float] = {}
        self.table = Table()
        self.tail = Tail(settings, read=self._read, began=self._began, caught_up=self._caught_up)
        metrics.at_scrape(
            lambda: metrics.dead_letters.replace(
                {(state, code or None): float(count) for (state, code), count in self.table.counts.items() if count > 0}  # type: ignore[misc]
            )
        )

    # -- what handling asks

    def settled_elsewhere(self, delivery: Delivery) -> bool:
        """True when this delivery must not run: its event is in the room to be run from there, or was settled there."""
        row = self.table.get(delivery.key)
        if delivery.room_place is not None:
            return row is None or row.state != "replay" or row.place != delivery.room_place
        return row is not None and row.state in ("waiting", "replay") and row.digest == hash(delivery.record.value)

    def other_event_with_this_identity(self, delivery: Delivery) -> bool:
        """True when the table holds this identity with other bytes."""
        row = self.table.get(delivery.key)
        return delivery.room_place is None and row is not None and row.digest != hash(delivery.record.value)

    # -- what reporting asks

    async def put_dead(self, delivery: Delivery, verdict: Verdict) -> Place:
        """Write the dead letter: the event as it came, and what we know of it."""
        failure, record, progress = verdict.failure, delivery.record, delivery.progress
        assert failure is not None
        about = DeadLetterHeaders(
            state="dead",
            key=record.key,
            code=failure.code,
            reason=failure.message,
            store=delivery.envelope.store,
            order=delivery.envelope.order,
            shipment=delivery.envelope.shipment,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            timestamp_ms=record.timestamp_ms,
            first_seen=delivery.first_seen,
            attempts=progress.attempts,
            confirmed=tuple(
                Confirmed(unit.line_number, unit.quantity, unit.tracking_number)
                for unit in verdict.confirmed or progress.confirmed
            ),
            replay_number=delivery.replay_number,
        )
        value, headers = deadletter.write(about, record.value, record.headers)
        place = await self._write(delivery.key, value, headers, record.partition)
        row = _row(delivery.key, about, place, digest=hash(record.value), now=self._clock.now())
        self.table.wrote(delivery.key, row, place)
        return place

    async def settle(self, delivery: Delivery) -> None:
        """Write the tombstones a success calls for: its own dead letter's, and older ones of the same shipment."""
        for row in self._closed_by(delivery):
            headers = deadletter.encode(DeadLetterHeaders(state="settled", order=row.order or None))
            place = await self._write(row.key, None, list(headers), row.place.partition)
            self.table.wrote(row.key, None, place)

    def _closed_by(self, delivery: Delivery) -> list[Unfinished]:
        if not len(self.table):
            return []
        own = self.table.get(delivery.key)
        closed = [own] if own is not None and own.state != "corrected" else []
        shipment = delivery.envelope.shipment
        if shipment is not None and delivery.envelope.order is not None:
            closed += [
                row
                for row in self.table.of_order(delivery.envelope.order)
                if row.state == "dead"
                and row.shipment == shipment
                and row.store == (delivery.envelope.store or "")
                and row.key != delivery.key
                and _came_before(row, delivery.record)
            ]
        return closed

    # -- numbers corrected away (the sync room's Corrections)

    def superseded_at(self, order: str, number: str) -> float | None:
        """Epoch seconds of the event that corrected this number away; None if nothing did."""
        row = self.table.get(marker_key(order, number))
        return None if row is None or row.state != "corrected" else row.event_time

    async def mark(self, order: str, number: str, event_time: float, delivery: Delivery | None) -> bool:
        """Remember that this number is corrected away; True once Kafka has acknowledged it."""
        assert delivery is not None, "a correction belongs to the partition its event came from"
        key = marker_key(order, number)
        about = DeadLetterHeaders(state="corrected", order=order, timestamp_ms=round(event_time * 1000))
        try:
            place = await self._write(key, b"", list(deadletter.encode(about)), delivery.record.partition)
        except NotPublishedError:
            return False
        self.table.wrote(key, _row(key, about, place, digest=0, now=self._clock.now()), place)
        return True

    async def free(self, order: str, number: str, delivery: Delivery | None) -> bool:
        """A later correction went back to this number: forget the marker; True once Kafka has acknowledged it."""
        del delivery
        key = marker_key(order, number)
        row = self.table.get(key)
        if row is None:
            return True
        try:
            place = await self._write(key, None, [], row.place.partition)
        except NotPublishedError:
            return False
        self.table.wrote(key, None, place)
        return True

    # -- keeping the table

    def follow(self, partitions: frozenset[int]) -> None:
        """These partition numbers are ours now (possibly anew): read them from the beginning."""
        self._partitions = partitions
        self.tail.follow(partitions)

    def hold(self) -> None:
        """The partitions are about to be given back: start no replay any more. The table stays as it is."""
        self.tail.hold()

    async def run(self) -> None:
        """Follow the topic and keep house, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.tail.run())
            group.create_task(self._keep_house())

    def _began(self, partitions: frozenset[int]) -> None:
        self.table.forget(frozenset(row.place.partition for row in self.table))
        self._replays.clear()
        self._written_at = dict.fromkeys(partitions, 0.0)

    def _read(self, read: ConsumerRecord) -> None:
        self._written_at[read.partition] = max(self._written_at.get(read.partition, 0.0), read.timestamp / 1000)
        if read.key is None:
            return
        key = read.key.decode("utf-8", "replace")
        place = Place(read.partition, read.offset)
        letter = deadletter.read(read.value, read.headers)
        about = letter.about
        if read.value is None or about.state in ("settled", "heartbeat"):
            if self.table.read(key, None, place):
                self._replays.pop(key, None)
            return
        if about.state is None:
            # Foreign or broken: kept for people to see, never run.
            log.warning("dead_letter_foreign", partition=read.partition, offset=read.offset)
            return
        row = _row(key, about, place, digest=hash(letter.value), now=read.timestamp / 1000)
        if not self.table.read(key, row, place):
            return
        self._replays.pop(key, None)
        if about.state == "replay":
            original = Record(
                about.topic or "", about.partition if about.partition is not None else read.partition,
                about.offset or 0, about.timestamp_ms or read.timestamp, letter.key, letter.value, letter.headers,
            )  # fmt: skip
            replay = Replay(original, about, place, key)
            if self.tail.is_ready(read.partition):
                self._replay(replay)
            else:
                self._replays[key] = replay

    def _caught_up(self, partition: int) -> None:
        for key, replay in list(self._replays.items()):
            if replay.place.partition == partition:
                del self._replays[key]
                self._replay(replay)

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(HOUSEKEEPING_S)
            try:
                await self.keep_house()
            except Exception as error:  # noqa: BLE001  # best effort: the next round does what this one could not
                log.warning("housekeeping_failed", error=type(error).__name__)

    async def keep_house(self) -> None:
        """Forget markers older than 30 days; write a heartbeat where a partition was quiet for a day."""
        now = self._clock.now()
        ready = {partition for partition in self._partitions if self.tail.is_ready(partition)}
        for row in self.table:
            if (
                row.state == "corrected"
                and row.place.partition in ready
                and now - row.written_at > MARKER_DAYS * 86_400
            ):
                place = await self._write(row.key, None, [], row.place.partition)
                self.table.wrote(row.key, None, place)
        for partition in ready:
            if now - self._written_at.get(partition, 0.0) > HEARTBEAT_S:
                headers = deadletter.encode(DeadLetterHeaders(state="heartbeat"))
                await self._write("heartbeat", b"", list(headers), partition)

    async def _write(
        self, key: str, value: bytes | None, headers: list[tuple[str, bytes | None]], partition: int
    ) -> Place:
        place = await self._publisher.send(
            self._topic, key=key.encode(), value=value, headers=headers, partition=partition
        )
        self._written_at[partition] = self._clock.now()
        return place


def _came_before(row: Unfinished, record: Record) -> bool:
    """A newer dead letter of a shipment may name packages that the success of an older event knows nothing of."""
    topic, partition, offset = row.source
    if (topic, partition) == (record.topic, record.partition):
        return offset < record.offset
    return row.event_time < record.timestamp_ms / 1000


def _row(key: str, about: DeadLetterHeaders, place: Place, *, digest: int, now: float) -> Unfinished:
    assert about.state in ("dead", "waiting", "replay", "corrected")
    return Unfinished(
        key=key,
        state=about.state,
        place=place,
        code=about.code or "",
        order=about.order or "",
        store=about.store or "",
        shipment=about.shipment,
        digest=digest,
        replay_number=about.replay_number,
        event_time=(about.timestamp_ms or 0) / 1000,
        source=(about.topic or "", about.partition or 0, about.offset or 0),
        written_at=now,
    )
