"""What a worker knew of its partitions before an assignment says nothing about them after it."""

from __future__ import annotations

from parked_world import DOWN, World, delivery

from worker.parked.unfinished import MARKER_DAYS


async def test_what_others_have_settled_meanwhile_is_gone_though_its_tombstone_is_compacted_away() -> None:
    world = World()
    await world.room.put_waiting(delivery(), DOWN, 0)
    world.restore()
    assert world.room.parked_count == 1
    world.log.records.clear()
    world.restore()
    assert world.room.parked_count == 0
    assert not world.room.blocked(delivery("e2", offset=8))
    assert await world.keys() == []


async def test_a_marker_is_kept_for_its_days_and_no_longer() -> None:
    world = World()
    world.restore()
    event = delivery()
    assert await world.room.mark("PO1", "1Z|1", event.happened_at, event)
    world.clock.time += MARKER_DAYS * 86_400
    await world.room.keep_house()
    assert world.room.superseded_at("PO1", "1Z|1") == event.happened_at
    world.clock.time += 1
    await world.room.keep_house()
    assert world.room.superseded_at("PO1", "1Z|1") is None
