"""The pump: bounded rounds, nothing handed over that was overruled meanwhile, sleep where there is nothing to do."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from parked_world import DOWN, NOW, World, delivery

from worker.delivery import Place
from worker.parked import pump as pumps


@pytest.fixture
def world() -> World:
    made = World()
    made.restore()
    return made


async def test_a_round_is_bounded_in_rows_and_in_bytes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(7):
        await world.room.put_waiting(delivery(f"e{n}", offset=n, order=f"PO{n}", value=b"x" * 100), DOWN, 0)
    monkeypatch.setattr(pumps, "MOST_ROWS", 3)
    await world.room._pump.once()
    assert len(world.taken) == 3
    monkeypatch.setattr(pumps, "MOST_BYTES", 200)
    await world.room._pump.once()
    assert len(world.taken) == 5, "what was asked for beyond the bytes comes up in the next round"
    await world.room._pump.once()
    await world.room._pump.once()
    assert len({taken.key for taken in world.taken}) == len(world.taken) == 7


async def test_what_is_being_fetched_is_told_as_coming(world: World) -> None:
    """Else the window would be filled from Kafka meanwhile, and come to twice its size."""
    for n in range(3):
        await world.room.put_waiting(delivery(f"e{n}", offset=n, order=f"PO{n}"), DOWN, 0)
    coming: list[int] = []
    fetch = world.fetcher.fetch

    async def watched(places: Any, got: Any) -> None:
        coming.append(world.room.coming)
        await fetch(places, lambda place, found: got(place, found) and not coming.append(world.room.coming))

    world.fetcher.fetch = watched  # type: ignore[method-assign]
    await world.room._pump.once()
    assert coming == [3, 2, 1, 0]
    world.fetcher.error = OSError("gone")
    await world.room.put_waiting(delivery("e9", offset=9, order="PO9"), DOWN, 0)
    await world.room._pump.once()
    assert world.room.coming == 0, "what could not be fetched does not come"


async def test_what_is_overruled_while_it_is_fetched_is_not_handed_over(world: World) -> None:
    await world.room.put_waiting(delivery("e"), DOWN, 0)
    rows = world.room._pump._take()
    await world.room.settle(delivery("e"))
    await world.room._pump._hand_over(rows)
    assert world.taken == []


async def test_nothing_is_handed_over_once_it_is_held_in_the_middle_of_a_round(world: World) -> None:
    for n in range(2):
        await world.room.put_waiting(delivery(f"e{n}", offset=n, order=f"PO{n}"), DOWN, 0)
    rows = world.room._pump._take()
    world.room.hold()
    await world.room._pump._hand_over(rows)
    assert world.taken == []


async def test_a_record_that_is_not_the_rows_is_not_handed_over(world: World) -> None:
    """A log that was cut off and written anew has something else there."""
    place = await world.room.put_waiting(delivery("e"), DOWN, 0)
    await world.room.put_waiting(delivery("other", order="PO2", offset=8), DOWN, NOW + 900)
    at = {Place(record.partition, record.offset): number for number, record in enumerate(world.log.records)}
    other = world.log.records[1]
    world.log.records[at[place]] = other._replace(offset=place.offset)
    assert await world.come_up() == []
    assert world.room.parked_count == 2


async def test_it_sleeps_until_something_happens(world: World) -> None:
    running = asyncio.create_task(world.room._pump.run())
    await asyncio.sleep(0)
    await world.room.put_waiting(delivery("e"), DOWN, 0)
    async with asyncio.timeout(4):
        while not world.taken:
            await asyncio.sleep(0.001)
    running.cancel()
    assert [taken.place for taken in world.taken] == [Place(2, 0)]


async def test_it_looks_again_when_it_is_told_that_there_is_room(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pumps, "LOOK_S", 3_600.0)
    world.allowed["account-of-us"] = 0
    await world.room.put_waiting(delivery("e", told_retrying=True), DOWN, 0)
    running = asyncio.create_task(world.room._pump.run())
    for _ in range(5):
        await asyncio.sleep(0)
    assert world.taken == []
    world.allowed["account-of-us"] = 5
    world.room.wake()
    async with asyncio.timeout(4):
        while not world.taken:
            await asyncio.sleep(0.001)
    running.cancel()
