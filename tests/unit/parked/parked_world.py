"""A room over a topic in memory: what is written can be read back, by this room and by others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, NamedTuple

from schemas import deadletter
from schemas.deadletter import DeadLetterHeaders
from worker.delivery import Delivery, Envelope, Place, Record
from worker.errors import Failure
from worker.kafka import NotPublishedError
from worker.parked.fetching import Missing
from worker.parked.room import Room, RoomDoors, TakenUp
from worker.parked.unfinished import Rules, Unfinished, row_of
from worker.settings import Settings
from worker.telemetry.metrics import Metrics

NOW = 1_795_000_000.0
SETTINGS = Settings.model_validate(
    {"accounts": {"main": {"client_id": "c", "client_secret": "s"}}, "stores": {"us": {"account": "main"}}}
)
SHIPPED, CANCELLED = SETTINGS.topics.order_shipped, SETTINGS.topics.order_cancelled
PARTITION = 2
DOWN = Failure("walmart_unavailable", "503")
SHIPMENTS = Failure("waiting_for_shipments", "2 units wait")
PAUSED = Failure("paused", "the account is paused")


class Read(NamedTuple):
    """A record as aiokafka gives it."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp: int


class FixedClock:
    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> float:
        return self.time


class Log:
    """The topic: a publisher whose records can be read back."""

    def __init__(self, clock: FixedClock | None = None) -> None:
        self.clock = clock or FixedClock()
        self.records: list[Read] = []
        self.down = False
        self.lost_answers = 0
        """So many next writes are taken, but their acknowledgement is lost."""
        self._ends: dict[int, int] = {}

    async def send(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: list[tuple[str, bytes | None]],
        partition: int | None = None,
    ) -> Place:
        assert topic == SETTINGS.topics.dead_letter
        assert partition is not None
        if self.down:
            raise NotPublishedError("down")
        place = self.append(key, value, headers, partition)
        if self.lost_answers:
            self.lost_answers -= 1
            raise NotPublishedError("no answer")
        return place

    def append(
        self, key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]], partition: int
    ) -> Place:
        offset = self._ends.get(partition, 0)
        self._ends[partition] = offset + 1
        self.records.append(Read(partition, offset, key, value, tuple(headers), int(self.clock.time * 1000)))
        return Place(partition, offset)

    def at(self, place: Place) -> Read | None:
        return next((r for r in self.records if (r.partition, r.offset) == (place.partition, place.offset)), None)

    def compact(self) -> None:
        """Only the newest record of each key stays."""
        newest = {(record.partition, record.key): record for record in self.records}
        self.records = [record for record in self.records if newest[record.partition, record.key] is record]


class MemoryFetcher:
    def __init__(self, log: Log) -> None:
        self.log = log
        self.asked: list[Place] = []
        self.error: Exception | None = None
        self.closed = 0

    async def fetch(self, places: Iterable[Place], got: Callable[[Place, Any], bool]) -> None:
        if self.error is not None:
            raise self.error
        for place in sorted(places, key=lambda place: (place.partition, place.offset)):
            self.asked.append(place)
            if not got(place, self.log.at(place) or Missing.GONE):
                return

    async def close(self) -> None:
        self.closed += 1


class World:
    """A room over a log, as the owner of partitions 0 to 3."""

    def __init__(self, log: Log | None = None) -> None:
        self.log = log or Log()
        self.clock = self.log.clock
        self.taken: list[TakenUp] = []
        self.allowed: dict[str, int] = {}
        """By account; 500 where none is named."""
        doors = RoomDoors(
            group_of=lambda store, _: "" if store == "unknown" else f"account-of-{store}",
            allowance=lambda group, _: self.allowed.get(group, 500),
            take_up=self.taken.append,
        )
        self.room = Room(SETTINGS, self.log, Metrics(), self.clock, doors)
        self.fetcher = MemoryFetcher(self.log)
        room: Any = self.room
        room._fetcher = room._pump._fetcher = self.fetcher
        self._read_to = 0

    def restore(self, up_to: int | None = None) -> None:
        """Read the log from the beginning, as after an assignment; up to some record only."""
        room: Any = self.room
        room._partitions = frozenset(range(4))
        room._began(frozenset(range(4)))
        room.tail._ready = frozenset()
        self._read_to = 0
        self.follow(up_to)
        room.tail._ready = frozenset(range(4))
        for partition in range(4):
            room._caught_up(partition)

    def follow(self, up_to: int | None = None) -> None:
        """Read on."""
        for record in self.log.records[self._read_to : up_to]:
            self.room._read(record)
        self._read_to = len(self.log.records) if up_to is None else up_to

    async def come_up(self) -> list[TakenUp]:
        """What is handed over until nothing more comes up."""
        self.taken.clear()
        while await self.room._pump.once():
            pass
        return list(self.taken)

    async def keys(self) -> list[str]:
        return [taken.key for taken in await self.come_up()]


def delivery(
    name: str = "e1",
    *,
    topic: str = SHIPPED,
    offset: int = 7,
    order: str | None = "PO1",
    store: str | None = "us",
    value: bytes = b"{}",
    shipment: str | None = "S1",
    at: float = NOW,
    partition: int = PARTITION,
    **more: Any,
) -> Delivery:
    """An event from input."""
    key = (order or "PO1").encode()
    record = Record(topic, partition, offset, int(at * 1000), key, value, (("x", b"y"), ("order-sync-code", b"theirs")))
    envelope = Envelope("/s", name, "ty", at, store, order, "100", shipment if topic == SHIPPED else None)
    lane = order or record.coordinates
    made = Delivery(record, None, envelope, None, f"{topic}|/s|{name}", lane, at, first_seen=at)
    for attribute, content in more.items():
        setattr(made, attribute, content)
    return made


def back(taken: TakenUp, world: World) -> Delivery:
    """A delivery made of what was handed over, as the worker makes it."""
    from worker.parked.carried import restore

    original, about = taken.original, taken.about
    envelope = Envelope("/s", taken.key, "ty", about.timestamp_ms and about.timestamp_ms / 1000, about.store,
                        about.order, "100", about.shipment)  # fmt: skip
    lane = about.order or original.coordinates
    made = Delivery(original, None, envelope, None, taken.key, lane, world.clock.now(), first_seen=world.clock.now())
    made.room_place = taken.place
    restore(made, about, world.clock.now(), SETTINGS.timing.read_lag_seconds)
    return made


def row(key: str, offset: int, state: Any = "dead", /, **about: Any) -> Unfinished:
    """A row as its record makes it."""
    given: dict[str, Any] = {"topic": SHIPPED, "partition": 0, "offset": offset, "code": "carrier_unmapped",
                             "order": "PO", "store": "us", "first_seen": NOW}  # fmt: skip
    headers = DeadLetterHeaders(state=state, **{**given, **about})
    return row_of(key, headers, Place(0, offset), b"", written_at=NOW, rules=Rules.of(SETTINGS))


async def ask_replay(world: World, key: str, *, number: int = 1) -> None:
    """As `order-sync dlq replay` writes it: from the newest record of the key."""
    newest = [record for record in world.log.records if record.key == key.encode()][-1]
    letter = deadletter.read(newest.value, newest.headers)
    about = replace(letter.about, state="replay", replay_number=number, by="kim", why="mapped now")
    value, headers = deadletter.write(about, letter.value, letter.headers)
    world.log.append(newest.key, value, headers, newest.partition)
