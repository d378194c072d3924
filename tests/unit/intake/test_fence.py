"""The fence over a scripted broker: what happens while the commit is on its way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiokafka import TopicPartition

from tests.unit.intake.test_consumer import NOW, SETTINGS, SHIPPED, FixedClock, Log, World
from worker.delivery import Delivery, Envelope, Record
from worker.intake.intents import mark_of, write_intents
from worker.outcome import Unsettled

CANCELLED = SETTINGS.topics.order_cancelled
CLOCK = FixedClock()


class Committing(Log):
    """A log that takes commits; `meanwhile` happens while one is on its way."""

    def __init__(self) -> None:
        super().__init__(p0=[None], p1=[None])
        self.commits: list[dict[TopicPartition, tuple[int, str]]] = []
        self.meanwhile: Callable[[], Awaitable[None]] | None = None

    async def commit(self, offsets: dict[TopicPartition, tuple[int, str]]) -> None:
        meanwhile, self.meanwhile = self.meanwhile, None
        self.commits.append(offsets)
        if meanwhile is not None:
            await meanwhile()


async def ready() -> tuple[World, Committing]:
    log = Committing()
    world = World(log)
    await world.assigned()
    return world, log


def delivery(world: World, topic: str = SHIPPED, partition: int = 0) -> Delivery:
    record = Record(topic, partition, 0, 0, None, None, ())
    return Delivery(record, None, Envelope(), None, "k", "order", NOW, epoch=world.intake.epoch)


async def intend(world: World, one: Delivery | None, within_s: float = 5) -> bool:
    event: Any = None
    return await world.intake.fence.intend(event, event, NOW + within_s, one)


async def test_a_call_that_is_known_to_kafka_may_be_sent() -> None:
    world, log = await ready()
    assert await intend(world, delivery(world))
    ((place, (offset, text)),) = log.commits[-1].items()
    assert (place, offset) == (TopicPartition(SHIPPED, 0), 0)
    assert text.startswith("order-sync-intents/1 ")


async def test_partitions_given_back_while_the_commit_was_on_its_way() -> None:
    """The broker took it as it may until the group has moved: the newcomer may have read the metadata before that."""
    world, log = await ready()
    one = delivery(world)

    async def moved() -> None:
        world.intake.assignment.joined = False

    log.meanwhile = moved
    assert not await intend(world, one)
    assert world.intake.intents.running() == 0


async def test_the_same_partitions_under_a_new_epoch() -> None:
    world, log = await ready()
    one = delivery(world)

    async def moved() -> None:
        await world.assigned()

    log.meanwhile = moved
    assert not await intend(world, one)
    assert not await intend(world, one), "of the older assignment for good"
    assert await intend(world, delivery(world))


@pytest.mark.parametrize(("topic", "number", "may"), [("older", 0, True), (CANCELLED, 1, True), (CANCELLED, 7, False)])
async def test_an_event_of_a_partition_that_is_not_ours_uses_its_twin(topic: str, number: int, may: bool) -> None:
    """Taken out of the waiting room: its topic may have been renamed since, its number is what we own."""
    world, log = await ready()
    assert await intend(world, delivery(world, topic, number)) == may
    assert [list(one) for one in log.commits] == ([[TopicPartition(SHIPPED, number)]] if may else [])


async def test_nobody_to_speak_for_is_a_no() -> None:
    world, log = await ready()
    assert not await intend(world, None)
    assert log.commits == []


@pytest.mark.parametrize(("received_at", "may"), [(NOW - 1, False), (NOW, True)])
async def test_an_event_that_was_taken_up_before_its_intent_was_found_is_not_sent(
    received_at: float, may: bool
) -> None:
    """Nobody told it to doubt an old read. Read afterwards, it was told."""
    world, _ = await ready()
    world.intake.intents.read_back((SHIPPED, 1), write_intents({mark_of(delivery(world).lane): NOW + 3}), NOW)
    one = delivery(world)
    one.received_at = received_at
    assert await intend(world, one) == may


@pytest.mark.parametrize(("believe_in_s", "heeded"), [(1.0, True), (0.0, False), (None, False)])
async def test_a_call_in_doubt_is_heeded_by_the_next_event_of_its_order(
    believe_in_s: float | None, heeded: bool
) -> None:
    """A person's record took the event out of our hands while nobody knew what had come of its cancel.

    The event before it, replayed, read the order as it was before, and cancelled the same units once more.
    """
    world, _ = await ready()
    one = delivery(world)
    assert await intend(world, one)
    if believe_in_s is not None:
        one.progress.unsettled = Unsettled((), NOW + believe_in_s, leaves_open=True)
    world.intake.fence.ended(one)
    assert (world.intake.fence.found_intent("order") is not None) is heeded
    assert world.intake.fence.found_intent("another order") is None
    assert world.intake.intents.running() == 0
    assert await intend(world, delivery(world)), "it is told at its turn, however long it has been in memory"


async def test_a_commit_that_was_taken_renews_the_lease() -> None:
    """Counted from when it was sent; half a session, for the group moves a silent member's partitions after one."""
    world, log = await ready()
    fence = world.intake.fence
    first = fence.owned_until
    assert first > world.intake.assignment.taken_at
    assert await intend(world, delivery(world))
    assert log.commits
    assert fence.owned_until == world.intake.committer.taken_at + SETTINGS.kafka.session_timeout_seconds / 2
