"""A Kafka cluster without sockets: partition logs, two brokers, what they lose, delay and compact."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from aiokafka.partitioner import murmur2

from tests.sim.group import Group
from tests.sim.history import History
from tests.sim.virtual_loop import Process, VirtualLoop

START: Final = 1_795_000_000.0
"""Epoch seconds at loop time 1,000."""

Headers = tuple[tuple[str, bytes | None], ...]
Place = tuple[str, int]


@dataclass(slots=True)
class Stored:
    """One record in a log."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    visible_at: float
    """Loop time from which fetches show it: followers' fetches move the high-water mark a little later."""
    by: Process | None


@dataclass(slots=True)
class Log:
    """One partition."""

    records: list[Stored] = field(default_factory=list)
    end: int = 0

    def visible_end(self, now: float) -> int:
        """The high-water mark as fetches show it."""
        end = self.end
        for record in reversed(self.records):
            if record.visible_at <= now:
                break
            end = record.offset
        return end

    def read(self, offset: int, end: int, most: int) -> list[Stored]:
        """Records from `offset` to before `end`."""
        first = bisect_left(self.records, offset, key=lambda record: record.offset)
        taken = self.records[first : first + most]
        while taken and taken[-1].offset >= end:
            taken.pop()
        return taken


@dataclass
class Trouble:
    """Chances per request, and how long things take (seconds)."""

    lost_ack: float = 0.0
    """A record is written, the producer is told it was not."""
    not_written: float = 0.0
    delayed: float = 0.0
    late_commit: float = 0.0
    lost_commit_answer: float = 0.0
    lagging: float = 0.0
    """A record becomes visible to fetches only a while after it was acknowledged."""


class Broker:
    """One node."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.down_until = 0.0


class Cluster:
    """Topics on two brokers; the first one coordinates the groups."""

    def __init__(self, loop: VirtualLoop, chance: random.Random, history: History, partitions: int) -> None:
        self.loop, self.chance, self.history = loop, chance, history
        self.partitions = partitions
        self.brokers = (Broker(0), Broker(1))
        self.logs: dict[Place, Log] = {}
        self.topics: list[str] = []
        self.groups: dict[str, Group] = {}
        self.trouble = Trouble()
        self.over = False
        """The run has ended: whoever still calls is a coroutine being buried."""
        self.broken: Callable[[str], None] = lambda _: None
        """Told of what a client swallows although it must not happen."""
        self.written: list[Callable[[str, int, Stored], None]] = []
        """Told of every record that was written."""
        self.committed: list[Callable[[Place, int, str, Process], None]] = []
        """Told of every offset that was committed."""
        self._fetchers: list[Callable[[Place], None]] = []

    def create(self, topic: str, partitions: int) -> None:
        """Make a topic."""
        self.topics.append(topic)
        for partition in range(partitions):
            self.logs[topic, partition] = Log()

    def partitions_of(self, topic: str) -> set[int]:
        """Its partition numbers."""
        return {partition for name, partition in self.logs if name == topic}

    def group(self, name: str) -> Group:
        """The group, made where nobody knew it."""
        group = self.groups.get(name)
        if group is None:
            group = self.groups[name] = Group(self, name)
        return group

    # -- who reaches whom

    @property
    def now_ms(self) -> int:
        """Epoch milliseconds."""
        return round((START + self.loop.time() - 1_000) * 1000)

    def leader(self, topic: str, partition: int) -> Broker:
        """Where a partition lives."""
        return self.brokers[(partition + len(topic)) % 2]

    @property
    def coordinator(self) -> Broker:
        """Of all groups."""
        return self.brokers[0]

    def reaches_at(self, broker: Broker, process: Process | None) -> float:
        """Loop time from which the two reach each other."""
        return max(broker.down_until, process.cut_off_until if process is not None else 0.0)

    def reaches(self, broker: Broker, process: Process | None) -> bool:
        """Whether the two reach each other now."""
        return self.reaches_at(broker, process) <= self.loop.time()

    def latency(self) -> float:
        """Of one way, usually."""
        return self.chance.choice((0.001, 0.002, 0.005, 0.03))

    def outage(self, brokers: tuple[Broker, ...], seconds: float) -> None:
        """These answer nobody for a while."""
        until = self.loop.time() + seconds
        for broker in brokers:
            broker.down_until = max(broker.down_until, until)
        self.history.count("broker outages")
        self.history.add(f"broker {[broker.number for broker in brokers]} down for {seconds:.1f} s", "kafka")

    # -- records

    def follow(self, notify: Callable[[Place], None]) -> None:
        """Be told when a partition has something new to fetch."""
        self._fetchers.append(notify)

    def unfollow(self, notify: Callable[[Place], None]) -> None:
        """No more."""
        if notify in self._fetchers:
            self._fetchers.remove(notify)

    def partition_for(self, topic: str, key: bytes | None) -> int:
        """Kafka's default partitioner."""
        count = len(self.partitions_of(topic))
        return self.chance.randrange(count) if key is None else (murmur2(key) & 0x7FFFFFFF) % count

    def append(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        *,
        timestamp_ms: int | None = None,
        by: Process | None = None,
        more: bool = False,
    ) -> Stored:
        """Write a record; sometimes the offset after it is a control record's, which nobody sees.

        `more` of its batch follow: these have the next offsets (a record's offset is its batch's and a delta).
        """
        log = self.logs[topic, partition]
        now = self.loop.time()
        lag = 0.0
        if self.trouble.lagging and self.chance.random() < self.trouble.lagging:
            lag = self.chance.choice((0.02, 0.2, 1.0, 3.0))
            self.history.count("lagging high-water marks")
        visible_at = max(now + lag, log.records[-1].visible_at if log.records else 0.0)
        stored = Stored(
            log.end, self.now_ms if timestamp_ms is None else timestamp_ms, key, value, headers, visible_at, by
        )
        log.records.append(stored)
        log.end += 1 if self.chance.random() < 0.95 or more else 2
        for told in self.written:
            told(topic, partition, stored)
        if visible_at > now:
            self.loop.in_world(visible_at - now, self._notify, (topic, partition))
        else:
            self._notify((topic, partition))
        return stored

    def _notify(self, place: Place) -> None:
        for notify in list(self._fetchers):
            notify(place)

    def compact(self, topic: str, *, tombstones_older_than_s: float) -> None:
        """Keep the last record of each key (the active segment's are left alone), drop old tombstones."""
        for (name, _), log in self.logs.items():
            if name != topic or len(log.records) < 4:
                continue
            active = self.chance.randrange(1, 4)
            last = {record.key: record.offset for record in log.records}
            before = len(log.records)
            oldest_ms = self.now_ms - tombstones_older_than_s * 1000
            log.records = [
                record
                for place, record in enumerate(log.records)
                if place >= before - active
                or (
                    last[record.key] == record.offset and not (record.value is None and record.timestamp_ms < oldest_ms)
                )
            ]
            if len(log.records) < before:
                self.history.count("records compacted away", before - len(log.records))
