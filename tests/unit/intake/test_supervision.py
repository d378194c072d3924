"""Supervision over a scripted client: when it asks the broker, what it advises, and whose fault is told apart."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from worker.intake.partition_counts import PartitionCounts
from worker.intake.supervision import Supervision
from worker.intake.watchdog import Watchdog
from worker.settings import TopicSettings
from worker.telemetry.metrics import Metrics

TOPICS = TopicSettings()
SHIPPED, CANCELLED = TOPICS.order_shipped, TOPICS.order_cancelled
ONE = TopicPartition(SHIPPED, 0)


class Client:
    def __init__(self) -> None:
        self.offset = 5
        self.end = 9
        self.answers = True
        self.partitions = {SHIPPED: {0, 1}, CANCELLED: {0, 1}}

    async def position(self, partition: TopicPartition) -> int:
        return self.offset

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        if not self.answers:
            await asyncio.Event().wait()
        return dict.fromkeys(partitions, self.end)

    def partitions_for_topic(self, topic: str) -> set[int]:
        return self.partitions[topic]


class Broker:
    def __init__(self) -> None:
        self.up = True
        self.leaders = frozenset({(SHIPPED, 0)})
        self.asked = 0

    async def led(self, topics: Iterable[str]) -> frozenset[tuple[str, int]]:
        self.asked += 1
        if not self.up:
            raise KafkaConnectionError
        return self.leaders

    async def committed(self, places: Iterable[Any]) -> dict[Any, Any]:
        raise AssertionError(places)


class World:
    """Its own reader: what is wanted, and when a poll came back."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: self.now)
        self.client = self.consumer = Client()
        self.broker = Broker()
        self.joined = True
        self.polled_at = self.now
        self.polls = True
        self.wanted = [ONE]
        self.counts = PartitionCounts((SHIPPED, CANCELLED), Metrics(topics=(SHIPPED, CANCELLED)))
        self.dog = Watchdog(still_s=120, unsettled_s=180, poll_s=60, fail_s=180)
        reader: Any = self
        self.supervision = Supervision(self, self.broker, reader, TOPICS, self.dog, timeout_s=0.05)

    def hopeful(self) -> list[TopicPartition]:
        return self.wanted

    async def pass_by(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now += 1
            if self.polls:
                self.polled_at = self.now
            await self.supervision.look()

    @property
    def asked(self) -> bool:
        return self.supervision.rebuild_asked.is_set()


async def test_a_consumer_that_reads_nothing_is_to_be_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    await world.pass_by(115)
    assert not world.asked
    await world.pass_by(25)
    assert world.asked
    assert world.supervision.failed is None


async def test_a_rebuild_that_did_not_help_is_told_to_liveness(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    for _ in range(500):
        await world.pass_by(1)
        world.supervision.rebuild_asked.clear()
    assert world.supervision.failed is not None
    for _ in range(300):
        world.client.offset += 1
        await world.pass_by(1)
    assert world.supervision.failed is None


async def test_a_broker_that_is_away_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    world.broker.up = False
    await world.pass_by(2_000)
    world.joined = world.polls = False
    await world.pass_by(2_000)
    assert not world.asked
    assert world.supervision.failed is None
    assert 0 < world.broker.asked <= 4_000 / 15


async def test_a_client_that_gets_no_answer_from_a_broker_that_is_there_is_stuck(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(monkeypatch)
    world.supervision._timeout_s = 0
    world.client.answers = False
    await world.pass_by(150)
    assert world.asked


@pytest.mark.parametrize("what", ["no_leader", "no_room", "read_to_its_end"])
async def test_what_a_new_consumer_would_not_mend(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    if what == "no_leader":
        world.broker.leaders = frozenset()
    elif what == "no_room":
        world.wanted = []
    else:
        world.client.offset = world.client.end
    await world.pass_by(1_000)
    assert not world.asked
    if what == "no_room":
        assert world.broker.asked == 0


async def test_a_rebalance_that_holds_up_the_poll_is_a_sign_of_life_until_it_takes_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Liveness would call a loop dead that has not turned for 120 s."""
    world = World(monkeypatch)
    world.joined = world.polls = False
    await world.pass_by(170)
    assert world.supervision.waited_at == world.now
    assert not world.asked
    await world.pass_by(30)
    assert world.asked


async def test_a_dead_poll_without_a_rebalance_is_no_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    world.polls = False
    begun = world.now
    await world.pass_by(50)
    assert world.supervision.waited_at < begun
    await world.pass_by(30)
    assert world.asked


async def test_raised_counts_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    counts, client = world.counts, world.client
    assert counts.of(SHIPPED, client) == 2
    assert not counts.differ
    client.partitions[CANCELLED] = {0, 1, 2}
    counts.refresh(client)
    assert counts.of(CANCELLED, client) == 3
    assert counts.differ
    client.partitions[SHIPPED] = {0, 1, 2}
    counts.refresh(client)
    assert not counts.differ
