"""What the composition root does when partitions are given back, and when an event is over."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from worker.app import Worker
from worker.delivery import Delivery, Place, Record
from worker.lanes.engine import Engine, Retry
from worker.settings import Settings

SETTINGS = Settings.model_validate(
    {
        "accounts": {"main": {"client_id": "c", "client_secret": "s"}},
        "stores": {"us": {"account": "main"}},
        "limits": {"max_queued_events": 10},
    }
)
PLACE = (SETTINGS.topics.order_shipped, 0)


def record(offset: int) -> Record:
    return Record(*PLACE, offset, 1_000, b"PO%d" % offset, b"{}", ())


class Posting:
    """A worker whose attempts last until they are let end; those of even offsets are posting."""

    def __init__(self) -> None:
        self.worker: Any = Worker(SETTINGS)
        self.may_end = asyncio.Event()
        self.begun: list[int] = []
        self.ended: list[int] = []
        self.cancelled: list[int] = []
        self.retries = False
        """Attempts end in one more try."""
        self.engine = self.worker._engine = Engine(
            self.worker._lanes,
            attempt=self._attempt,
            conclude=self._conclude,
            failed=lambda _, error: None,
            clock=self.worker.clock,
            max_running=10,
        )

    async def _attempt(self, delivery: Delivery) -> Any:
        delivery.progress.posting = delivery.record.offset % 2 == 0
        self.begun.append(delivery.record.offset)
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled.append(delivery.record.offset)
            raise
        self.ended.append(delivery.record.offset)

    async def _conclude(self, delivery: Delivery, _: Any) -> Retry | None:
        return Retry(at=self.worker.clock.now() + 60) if self.retries else None

    def accept(self, offset: int) -> None:
        self.worker._arrivals.accept(self.worker._intake, record(offset), 0)


async def test_a_post_on_its_way_is_waited_for_and_the_rest_is_dropped() -> None:
    """What is cancelled after its bytes have left has an outcome that nobody knows."""
    world = Posting()
    for offset in (1, 2):
        world.accept(offset)
    running = asyncio.create_task(world.engine.run())
    while len(world.begun) < 2:
        await asyncio.sleep(0)
    letting_go = asyncio.create_task(world.worker._let_go(5.0))
    while not world.cancelled:
        await asyncio.sleep(0)
    assert not letting_go.done(), "one is posting"
    world.may_end.set()
    await letting_go
    assert (world.ended, world.cancelled) == ([2], [1])
    running.cancel()


async def test_a_post_that_ends_in_one_more_try_is_forgotten_too() -> None:
    """Its next turn would come under an assignment that is over."""
    world = Posting()
    world.accept(2)
    world.retries = True
    running = asyncio.create_task(world.engine.run())
    while not world.begun:
        await asyncio.sleep(0)
    world.may_end.set()
    await world.worker._let_go(5.0)
    assert (world.ended, list(world.worker._lanes)) == ([2], [])
    running.cancel()


async def test_what_walmart_answered_is_forgotten_once_the_last_attempt_has_ended() -> None:
    """Whoever owns the partition next may change the order; an attempt that ends late would save its answer still."""
    world = Posting()
    forgotten: list[list[int]] = []
    world.worker._sync = SimpleNamespace(let_go=lambda: forgotten.append(list(world.ended)))
    world.accept(2)
    running = asyncio.create_task(world.engine.run())
    while not world.begun:
        await asyncio.sleep(0)
    world.may_end.set()
    await world.worker._let_go(5.0)
    assert forgotten == [[2]]
    running.cancel()


async def test_nothing_is_taken_out_of_the_room_from_the_moment_of_letting_go() -> None:
    """It would run on, unseen, while the partition's next owner runs it too."""
    world = Posting()
    world.accept(2)
    world.worker._room._pump.go()
    running = asyncio.create_task(world.engine.run())
    while not world.begun:
        await asyncio.sleep(0)
    letting_go = asyncio.create_task(world.worker._let_go(5.0))
    await asyncio.sleep(0)
    assert world.worker._room._pump._held
    world.may_end.set()
    await letting_go
    running.cancel()


def test_what_came_out_of_the_room_finishes_no_offset() -> None:
    """Its offset may be that of a record which was read again under this assignment, and is not done."""
    worker: Any = Worker(SETTINGS)
    offsets = worker._intake.offsets
    offsets.assign({PLACE}, 0)
    offsets.started(*PLACE, 5, 1_000, 0)
    parked = _delivery(worker, 5)
    parked.room_place = Place(0, 9)
    worker._finished(parked)
    assert offsets.to_commit() == {}
    worker._finished(_delivery(worker, 5))
    assert offsets.to_commit() == {PLACE: 6}


def _delivery(worker: Any, offset: int) -> Delivery:
    decoded: Delivery = worker._arrivals._decoder.decode(record(offset), now=worker.clock.now(), epoch=0)
    return decoded


async def test_a_full_window_takes_no_more() -> None:
    world = Posting()
    for offset in range(9):
        world.accept(offset)
    assert world.worker._has_room()
    world.accept(9)
    assert not world.worker._has_room()
