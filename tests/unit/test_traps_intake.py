"""The intake and its client's habits: nothing stops polling, nothing raised is lost, nothing skipped is forgotten."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import MagicMock

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import RecordTooLargeError

from worker.clock import SystemClock
from worker.intake import consumer as room
from worker.intake.consumer import Intake
from worker.intake.offsets import Offsets
from worker.intake.reader import Reader
from worker.settings import Settings
from worker.telemetry.health import Vitals, judge
from worker.telemetry.metrics import Metrics

SETTINGS = Settings.model_validate(
    {"accounts": {"main": {"client_id": "c", "client_secret": "s"}}, "stores": {"us": {"account": "main"}}}
)
SHIPPED = SETTINGS.topics.order_shipped
OURS = TopicPartition(SHIPPED, 0)


class Client:
    """Notes what it is asked for, and raises what it is told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked: list[tuple[TopicPartition, ...]] = []
        self.error = error

    async def getmany(self, *partitions: TopicPartition, timeout_ms: int, max_records: int) -> dict[Any, Any]:
        await asyncio.sleep(0)
        self.asked.append(partitions)
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        return {}


def reader(offsets: Offsets, **doors: Any) -> Reader:
    given: Any = MagicMock(**{"has_room.return_value": True})
    for name, door in doors.items():
        setattr(given, name, door)
    made = Reader(given, offsets, Metrics(), SystemClock(), may_read=lambda _: True, timeout_s=1)
    made.assign(frozenset({tuple(OURS)}), 1)
    return made


async def test_a_full_window_is_polled_on_and_takes_nothing() -> None:
    """Not polling at all costs the membership after max_poll_interval, however well the heartbeats go."""
    full, client = [True], Client()
    one: Any = reader(Offsets(), has_room=lambda *_, **__: not full[0])
    consumer: Any = client
    for _ in range(3):
        before = one.polled_at
        await one.poll(consumer)
        assert one.polled_at > before
    assert len(client.asked) == 3
    assert all(OURS not in asked and asked for asked in client.asked), "asking for nothing would mean: everything"
    full[0] = False
    await one.poll(consumer)
    assert client.asked[-1] == (OURS,)


async def test_a_record_too_large_to_fetch_is_told_with_its_coordinates_and_holds_its_offset() -> None:
    """The client skips it and raises: without this it would be committed over in silence."""
    offsets, told = Offsets(), []
    offsets.assign({tuple(OURS)}, 1)
    one = reader(offsets, too_large=lambda record, epoch: told.append((record, epoch)))
    consumer: Any = Client(RecordTooLargeError("too large", OURS, 41))
    await one.poll(consumer)
    ((record, epoch),) = told
    assert (record.coordinates, record.value, epoch) == (f"{SHIPPED}/0/41", None, 1)
    assert offsets.to_commit() == {}
    assert offsets.finished(SHIPPED, 0, 41, 1)
    assert offsets.to_commit() == {(SHIPPED, 0): 42}


class Subscribed:
    """The client as far as it goes before it has a broker."""

    def __init__(self, **options: Any) -> None:
        self.listener: Any = None
        self._coordinator = MagicMock()

    def subscribe(self, topics: list[str], listener: Any) -> None:
        self.listener = listener

    async def start(self) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return MagicMock(return_value=None)


async def started(monkeypatch: pytest.MonkeyPatch, let_go: Any) -> tuple[Intake, Any]:
    """An intake, and its client, through which a rebalance is told."""
    monkeypatch.setattr(room, "AIOKafkaConsumer", Subscribed)
    doors: Any = MagicMock()
    doors.let_go = let_go
    one = Intake(SETTINGS, Metrics(), doors)
    await one.start()
    return one, one.consumer


async def fine(budget_s: float) -> None:
    """What runs has ended."""


async def broken(budget_s: float) -> None:
    """A bug in what ends it."""
    raise ValueError


async def test_the_first_event_of_a_new_member_is_an_empty_revocation_and_means_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, client = await started(monkeypatch, broken)
    epoch = one.epoch
    await client.listener.on_partitions_revoked(set())
    assert (one.epoch, one.listener_failed) == (epoch, False)


async def test_what_the_rebalance_listener_raises_is_not_swallowed_with_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The client would log it and go on as if nothing had happened."""
    one, client = await started(monkeypatch, broken)
    await client.listener.on_partitions_revoked({OURS})
    assert one.listener_failed
    vitals = Vitals(assigned=one.joined and not one.listener_failed, table_caught_up=True, producer_up=True)
    assert not judge(vitals, 0.0).ready


async def test_a_drain_that_raises_gives_the_partitions_up_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it was: from here on they are somebody else's, so nothing of theirs may be sent."""
    one, client = await started(monkeypatch, broken)
    await client.listener.on_partitions_assigned({OURS})
    one.assignment.intents_known = True
    might = one.assignment.may_send
    await client.listener.on_partitions_revoked({OURS})
    assert (might, one.assignment.may_send) == (True, False)
    one.assignment.end()


async def test_a_consumer_that_was_replaced_decides_nothing_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is being closed it may still finish a join."""
    one, older = await started(monkeypatch, fine)
    await one.start()
    await older.listener.on_partitions_assigned({OURS})
    before, present = one.joined, one.consumer
    assert present is not None
    await present.listener.on_partitions_assigned({OURS})
    assert (before, one.joined) == (False, True)
    one.assignment.end()
