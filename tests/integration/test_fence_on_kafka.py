"""The intake on a real Kafka: what the fence relies on, members of one name, consumers that are made anew."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from worker.clock import SystemClock
from worker.delivery import Delivery, Envelope, Place, Record
from worker.intake.consumer import Intake, IntakeDoors
from worker.intake.intents import mark_of, read_intents, write_intents
from worker.intake.membership import FencedError
from worker.sandbox.kafka import EmbeddedKafka, create_topics
from worker.settings import Settings, TopicSettings
from worker.telemetry.metrics import Metrics

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

CLOCK = SystemClock()


def settings(kafka: str, topics: TopicSettings, group: str, **more: Any) -> Settings:
    quick = {"session_timeout_seconds": 6, "rebalance_timeout_seconds": 6, "request_timeout_seconds": 5}
    return Settings.model_validate(
        {
            "kafka": {"bootstrap_servers": kafka, "group_id": group, **quick, **more},
            "topics": topics.model_dump(),
            "accounts": {"main": {"client_id": "c", "client_secret": "s"}},
            "stores": {"us": {"account": "main"}},
        }
    )


class Worker:
    """An intake and what it hands out."""

    def __init__(self, given: Settings) -> None:
        self.topics = given.topics
        self.taken: list[tuple[str, int, int]] = []
        self.records: dict[tuple[str, int, int], Record] = {}
        self.let_go_s = 0.0
        self.room = True
        topics = given.topics
        self.metrics = Metrics(topics=(topics.order_shipped, topics.order_cancelled))
        self.intake = Intake(
            given,
            self.metrics,
            IntakeDoors(
                accept=self._accept,
                too_large=lambda *_: None,
                unreadable=lambda *_: None,
                has_room=lambda: self.room,
                let_go=self._let_go,
                take_over=lambda *_: None,
                may_read=lambda _: True,
            ),
            clock=CLOCK,
        )
        self.running: asyncio.Task[None] | None = None
        self.committing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.intake.start()
        self.running = asyncio.create_task(self.intake.run())
        self.committing = asyncio.create_task(self.intake.committer.run())
        await until(lambda: self.intake.intents_known)

    async def stop(self) -> None:
        tasks = [task for task in (self.running, self.committing) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self.intake.close()

    # Each event is of an order of its own: the order's name is the event's.
    def delivery(self, topic: str, partition: int = 0, *, offset: int = 0, key: str = "k", **more: Any) -> Delivery:
        record = self.records.get((topic, partition, offset)) or Record(topic, partition, offset, 0, None, None, ())
        return Delivery(record, None, Envelope(), None, key, key, CLOCK.now(), epoch=self.intake.epoch, **more)

    async def intend(self, delivery: Delivery, within_s: float = 10.0) -> bool:
        event: Any = None
        return await self.intake.fence.intend(event, event, CLOCK.now() + within_s, delivery)

    def finish(self, place: tuple[str, int, int]) -> None:
        self.intake.finished(self.records[place], self.intake.epoch)

    def _accept(self, record: Record, epoch: int) -> None:
        assert epoch == self.intake.epoch
        place = (record.topic, record.partition, record.offset)
        self.taken.append(place)
        self.records[place] = record

    async def _let_go(self, budget_s: float) -> None:
        await asyncio.sleep(min(self.let_go_s, budget_s))


@asynccontextmanager
async def working(given: Settings) -> AsyncIterator[Worker]:
    worker = Worker(given)
    try:
        await worker.start()
        yield worker
    finally:
        await worker.stop()


async def until(happened: Callable[[], Any], within_s: float = 30) -> None:
    async with asyncio.timeout(within_s):
        while not happened():  # nobody sets an event for us
            await asyncio.sleep(0.02)


@pytest.fixture
def group() -> str:
    return f"group-{uuid.uuid4().hex[:8]}"


async def at_broker(kafka: str, group: str) -> dict[tuple[str, int], tuple[int, dict[str, float]]]:
    client = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await client.start()
    try:
        offsets = await client.list_consumer_group_offsets(group)
    finally:
        await client.close()
    return {(one.topic, one.partition): (at.offset, read_intents(at.metadata)[0]) for one, at in offsets.items()}


async def publish(kafka: str, topic: str, count: int, partition: int = 0) -> None:
    client = AIOKafkaProducer(bootstrap_servers=kafka, acks="all")
    await client.start()
    try:
        for number in range(count):
            await client.send_and_wait(topic, key=b"k", value=b"%d" % number, partition=partition)
    finally:
        await client.stop()


async def test_an_intent_is_at_the_broker_before_the_call_and_gone_when_reads_are_believed_again(
    kafka: str, topics: TopicSettings, group: str
) -> None:
    place = (topics.order_shipped, 0)
    async with working(settings(kafka, topics, group)) as worker:
        await publish(kafka, topics.order_shipped, 3)
        await until(lambda: len(worker.taken) == 3)
        worker.finish((*place, 0))
        delivery = worker.delivery(*place, offset=1, key="the event")
        begun = time.monotonic()
        assert await worker.intend(delivery)
        assert time.monotonic() - begun < 5
        offset, intents = (await at_broker(kafka, group))[place]
        assert (offset, set(intents)) == (1, {mark_of("the event")})
        worker.intake.intents.keep_s = 0.5
        worker.intake.fence.ended(delivery)
        async with asyncio.timeout(5):
            while (await at_broker(kafka, group))[place] != (1, {}):
                await asyncio.sleep(0.1)
    assert worker.metrics.value("fence_total", outcome="taken") == 1


async def test_nothing_read_and_nothing_committed_yet(kafka: str, topics: TopicSettings, group: str) -> None:
    """An event out of the waiting room, on a partition of which this group knows nothing; and of a topic not ours."""
    async with working(settings(kafka, topics, group)) as worker:
        worker.room = False
        assert await worker.intend(worker.delivery(topics.order_cancelled, 2, offset=77, room_place=Place(2, 5)))
        assert await worker.intend(worker.delivery("an-older-topic", 1, key="old", room_place=Place(1, 5)))
        assert not await worker.intend(worker.delivery("an-older-topic", 9, room_place=Place(9, 5)))
        found = await at_broker(kafka, group)
        assert found[topics.order_cancelled, 2] == (0, {mark_of("k"): pytest.approx(CLOCK.now() + 10, abs=6)})
        assert set(found[topics.order_shipped, 1][1]) == {mark_of("old")}
        worker.room = True
        await publish(kafka, topics.order_cancelled, 1, partition=2)
        await until(lambda: worker.taken == [(topics.order_cancelled, 2, 0)])


async def test_a_hundred_intents_share_a_few_commits(kafka: str, topics: TopicSettings, group: str) -> None:
    async with working(settings(kafka, topics, group)) as worker:
        deliveries = [worker.delivery(topics.order_shipped, n % 3, key=str(n)) for n in range(100)]
        assert all(await asyncio.gather(*(worker.intend(one) for one in deliveries)))
        found = await at_broker(kafka, group)
        marks = {mark for _, intents in found.values() for mark in intents}
        assert marks == {mark_of(str(n)) for n in range(100)}
        assert worker.metrics.value("commits_total", outcome="committed") <= 5


async def test_the_next_owner_finds_the_intents_and_carries_them_on(
    kafka: str, topics: TopicSettings, group: str
) -> None:
    """The first one is killed: no clean commit. The second one dies, too, and the third still knows."""
    place = (topics.order_shipped, 0)
    await publish(kafka, topics.order_shipped, 2)
    given = settings(kafka, topics, group, group_instance_id="one-name")
    async with working(given) as first:
        await until(lambda: len(first.taken) == 2)
        assert await first.intend(first.delivery(*place, offset=0, key="in flight"))
        async with working(given) as second:
            found = second.intake.found_intent("in flight")
            assert found is not None
            assert found.deadline > CLOCK.now()
            assert second.intake.found_intent("another") is None
            await until(lambda: len(second.taken) == 2)
            assert second.taken == [(*place, 0), (*place, 1)], "nothing was committed over"
            second.finish((*place, 0))
            async with asyncio.timeout(5):
                while (await at_broker(kafka, group))[place][0] != 1:
                    await asyncio.sleep(0.05)
            assert set((await at_broker(kafka, group))[place][1]) == {mark_of("in flight")}
            async with working(given) as third:
                assert third.intake.found_intent("in flight") is not None


async def test_the_metadata_of_others_is_survived_and_told(kafka: str, topics: TopicSettings, group: str) -> None:
    from aiokafka import AIOKafkaConsumer

    client = AIOKafkaConsumer(bootstrap_servers=kafka, group_id=group, enable_auto_commit=False)
    await client.start()
    one, two = TopicPartition(topics.order_shipped, 0), TopicPartition(topics.order_shipped, 1)
    client.assign([one, two])
    good = write_intents({mark_of("k"): CLOCK.now() + 5})
    await client.commit({one: (0, "somebody's tool"), two: (0, good + " \x00rubbish")})
    await client.stop()
    async with working(settings(kafka, topics, group)) as worker:
        assert worker.metrics.value("commit_metadata_unreadable_total") == 2
        assert worker.intake.found_intent("k") is not None
        assert await worker.intend(worker.delivery(topics.order_shipped, 0, key="n"))


async def test_a_stale_member_is_refused_once_the_group_has_moved_its_partitions(
    kafka: str, topics: TopicSettings, group: str
) -> None:
    """It does not know yet: its epoch is the present one, as far as it can see. Only the broker can tell."""
    given = settings(kafka, topics, group)
    async with working(given) as stale:
        # Frozen, as far as the group can see: no heartbeat, no rejoin.
        coordinator = stale.intake.consumer._coordinator
        await coordinator._stop_heartbeat_task()
        delivery = stale.delivery(topics.order_shipped, 0)
        async with working(given) as newcomer:
            await until(lambda: len(newcomer.intake.assigned) == 6)
            assert stale.intake.assignment.may_send, "it does not know"
            assert not await stale.intend(delivery)
            assert stale.metrics.value("fence_total", outcome="refused") == 1
            assert mark_of("k") not in str(await at_broker(kafka, group))
            assert await newcomer.intend(newcomer.delivery(topics.order_shipped, 0))


async def test_while_partitions_are_given_back_nothing_is_sent(kafka: str, topics: TopicSettings, group: str) -> None:
    given = settings(kafka, topics, group)
    async with working(given) as worker:
        worker.let_go_s = 2
        delivery = worker.delivery(topics.order_shipped, 0)
        epoch = worker.intake.epoch
        newcomer = asyncio.create_task(_join_and_leave(given))
        await until(lambda: not worker.intake.joined)
        assert worker.intake.epoch == epoch, "still letting go"
        assert not await worker.intend(delivery)
        await until(lambda: worker.intake.intents_known and worker.intake.epoch > epoch)
        assert not await worker.intend(delivery), "of an older assignment"
        assert await worker.intend(worker.delivery(*next(iter(worker.intake.assigned))))
        await newcomer


async def _join_and_leave(given: Settings) -> None:
    async with working(given) as worker:
        assert len(worker.intake.assigned) in (2, 4)


@pytest.mark.faults
async def test_a_broker_that_dies_during_the_commit_is_a_no_within_the_bound_and_reading_goes_on_when_it_is_back(
    group: str,
) -> None:
    async with EmbeddedKafka() as broker:
        names = TopicSettings()
        await create_topics(broker.bootstrap_servers, names, partitions=1)
        async with working(settings(broker.bootstrap_servers, names, group)) as worker:
            assert await worker.intend(worker.delivery(names.order_shipped, key="before"))
            broker.kill()
            for within_s in (1.0, 60.0):
                begun = time.monotonic()
                assert not await worker.intend(worker.delivery(names.order_shipped, key="during"), within_s)
                assert time.monotonic() - begun < within_s + 4, "the deadline, or the request timeout"
            assert worker.intake.intents.running() == 1
            assert await worker.intake.shipped_end(0) is None
            await broker.restart()
            await publish(broker.bootstrap_servers, names.order_shipped, 2)
            await until(lambda: len(worker.taken) == 2)
            async with asyncio.timeout(30):
                while not await worker.intend(worker.delivery(names.order_shipped, key="after")):
                    await asyncio.sleep(0.2)
            marks = set((await at_broker(broker.bootstrap_servers, group))[names.order_shipped, 0][1])
            assert mark_of("after") in marks
            assert worker.intake.failed is None
            assert worker.metrics.value("consumer_rebuilds_total") == 0


async def test_a_second_process_of_one_name_ends_the_first_and_they_do_not_fight(
    kafka: str, topics: TopicSettings, group: str
) -> None:
    given = settings(kafka, topics, group, group_instance_id="order-sync-0")
    async with working(given) as older:
        assert await older.intend(older.delivery(topics.order_shipped, 0))
        async with working(given) as newer:
            assert older.running is not None
            assert not await older.intend(older.delivery(topics.order_shipped, 0, key="second"))
            await asyncio.wait({older.running}, timeout=20)
            assert older.running.done()
            with pytest.raises(FencedError, match="group_instance_id"):
                older.running.result()
            name = newer.intake.consumer._coordinator.member_id
            await older.stop()
            await asyncio.sleep(2)
            assert newer.intake.consumer._coordinator.member_id == name, "nobody took it away again"
            assert newer.intake.epoch == 1
            assert await newer.intend(newer.delivery(topics.order_shipped, 0))


async def test_a_name_that_was_taken_over_is_not_taken_back_by_a_new_consumer(
    kafka: str, topics: TopicSettings, group: str
) -> None:
    given = settings(kafka, topics, group, group_instance_id="order-sync-0")
    async with working(given) as older:
        await older.intake.consumer._coordinator._stop_heartbeat_task()
        async with working(given) as newer:
            older.intake.rebuild("test")
            assert older.running is not None
            await asyncio.wait({older.running}, timeout=20)
            with pytest.raises(FencedError):
                older.running.result()
            assert await newer.intend(newer.delivery(topics.order_shipped, 0))


async def test_a_static_member_that_stops_keeps_its_place_and_its_successor_goes_on_at_once(
    kafka: str, topics: TopicSettings, group: str
) -> None:
    await publish(kafka, topics.order_shipped, 2)
    other = settings(kafka, topics, group, group_instance_id="b")
    async with working(settings(kafka, topics, group, group_instance_id="a")) as one, working(other) as two:
        await until(lambda: len(one.intake.assigned) + len(two.intake.assigned) == 6)
        epoch, ours = two.intake.epoch, one.intake.assigned
        begun = time.monotonic()
        await one.stop()
        assert time.monotonic() - begun < 5
        async with working(settings(kafka, topics, group, group_instance_id="a")) as successor:
            assert successor.intake.assigned == ours
            assert two.intake.epoch == epoch, "the other one was not disturbed"


@pytest.mark.parametrize("name", [None, "order-sync-0"])
async def test_a_consumer_is_made_anew_in_the_process(
    kafka: str, topics: TopicSettings, group: str, name: str | None
) -> None:
    place = (topics.order_shipped, 0)
    await publish(kafka, topics.order_shipped, 3)
    async with working(settings(kafka, topics, group, group_instance_id=name)) as worker:
        await until(lambda: len(worker.taken) == 3)
        worker.finish((*place, 0))
        epoch, old = worker.intake.epoch, worker.intake.consumer
        left = worker.delivery(*place, offset=1)
        worker.intake.rebuild("test")
        await until(lambda: worker.intake.consumer is not old and worker.intake.intents_known)
        assert worker.intake.epoch > epoch
        assert not await worker.intend(left), "of an older assignment"
        await until(lambda: len(worker.taken) == 5)
        assert worker.taken[3:] == [(*place, 1), (*place, 2)], "what was finished was committed first"
        assert old._closed
        assert worker.metrics.value("consumer_rebuilds_total") == 1


async def test_the_barrier_counts_what_was_taken_not_what_was_fetched(
    kafka: str, topics: TopicSettings, group: str
) -> None:
    async with working(settings(kafka, topics, group)) as worker:
        worker.room = False
        assert await worker.intake.shipped_end(0) == 0
        assert await worker.intake.read_past(0, 0)
        await publish(kafka, topics.order_shipped, 5)
        end = await worker.intake.shipped_end(0)
        assert end == 5
        await asyncio.sleep(0.5)
        assert not await worker.intake.read_past(0, end), "fetched, most likely, but nobody has it"
        worker.room = True
        await until(lambda: len(worker.taken) == 5)
        assert await worker.intake.read_past(0, end)
        assert await worker.intake.shipped_end(9) is None
        assert not await worker.intake.read_past(9, 0)


async def test_transaction_markers_count_as_read(kafka: str, topics: TopicSettings, group: str) -> None:
    """They take offsets and are never handed out: an end counted in records would never be reached."""
    client = AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=f"t-{group}")
    await client.start()
    async with client.transaction():
        await client.send_and_wait(topics.order_shipped, key=b"k", value=b"v", partition=0)
    await client.stop()
    async with working(settings(kafka, topics, group)) as worker:
        end = await worker.intake.shipped_end(0)
        assert end == 2
        await until(lambda: len(worker.taken) == 1)
        async with asyncio.timeout(10):
            while not await worker.intake.read_past(0, end):
                await asyncio.sleep(0.05)


async def test_partitions_that_are_added_are_noticed_and_read(
    kafka: str, topics: TopicSettings, group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with working(settings(kafka, topics, group)) as worker:
        assert worker.intake.partition_count(topics.order_cancelled) == 3
        client = AIOKafkaAdminClient(bootstrap_servers=kafka)
        await client.start()
        await client.create_partitions({topics.order_cancelled: NewPartitions(4)})
        # The client looks once a minute by itself.
        await _seen(worker, topics.order_cancelled, 4)
        assert worker.intake.counts_differ
        await until(lambda: (topics.order_cancelled, 3) in worker.intake.assigned)
        assert worker.intake.pairing_broken
        await publish(kafka, topics.order_cancelled, 1, partition=3)
        await publish(kafka, topics.order_cancelled, 1, partition=2)
        await until(lambda: (topics.order_cancelled, 2, 0) in worker.taken)
        assert (topics.order_cancelled, 3, 0) not in worker.taken, "a cancel does not run blind"
        await client.create_partitions({topics.order_shipped: NewPartitions(4)})
        await client.close()
        await _seen(worker, topics.order_shipped, 4)
        await until(lambda: (topics.order_cancelled, 3, 0) in worker.taken)
        assert not worker.intake.counts_differ
        assert not worker.intake.pairing_broken


async def _seen(worker: Worker, topic: str, count: int) -> None:
    async with asyncio.timeout(20):
        while worker.intake.partition_count(topic) != count:
            await worker.intake.consumer._client.force_metadata_update()
            await asyncio.sleep(0.2)
