"""Workers join, leave and are replaced under load: every event ends once, no unit is shipped twice."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from schemas import deadletter
from tests.system.stage import PARTITIONS, UPS, Stage, cancelled, package, shipped
from worker.sandbox.walmart.specs import FaultSpec, NewLine, NewOrder

pytestmark = [pytest.mark.integration, pytest.mark.faults, pytest.mark.timeout(180)]

OTHER = "1Z999AA10123456785"
QUICK = {"session_timeout_seconds": 6, "rebalance_timeout_seconds": 10}


async def ended_once(stage: Stage, orders: list[str], places: list[tuple[str, int, int]]) -> Counter[str]:
    """Every event has succeeded and everything was shipped once; the results' effects, repeats included."""
    results = await stage.results(places, within_s=60)
    assert {result.status for result in results} == {"succeeded"}
    for order in orders:
        line = (await stage.control.order(order)).line("1")
        assert (line.tracking, line.cancelled, line.charged) == ({UPS: 1, OTHER: 1}, 1, 2)
    everything = [result for result in await stage.all_results() if result.final]
    applied = Counter(one.event.id for one in everything if one.effect == "applied")
    assert max(applied.values()) == 1, "no event is applied twice"
    return Counter(one.effect for one in everything)


async def settled(stage: Stage, places: list[tuple[str, int, int]]) -> None:
    """Wait until all offsets are committed."""
    wanted: dict[tuple[str, int], int] = {}
    for topic, partition, offset in places:
        wanted[topic, partition] = max(wanted.get((topic, partition), 0), offset + 1)
    async with asyncio.timeout(20):
        while {place: offset for place, offset in (await stage.committed()).items() if place in wanted} != wanted:
            await asyncio.sleep(0.2)


def three_events(order: str) -> list[dict[str, Any]]:
    """Two packages of one unit each, and the third unit cancelled."""
    return [
        shipped(order, package(UPS, 1, total=1)),
        shipped(order, package(OTHER, 1, total=1)),
        cancelled(order, 1, 2),
    ]


@pytest.mark.parametrize("seed", [1, 2])
async def test_workers_join_and_leave_under_load(stage: Stage, seed: int) -> None:
    """Up to three at once, some stopped in order and some killed, Walmart slow enough to be caught at every step."""
    draw = random.Random(seed)
    await stage.control.add_fault(FaultSpec(kind="delay", seconds=0.05))
    orders = await stage.control.add_orders([NewOrder(lines=(NewLine(sku="MUG", quantity=3),))] * 80)
    places: list[tuple[str, int, int]] = []

    async def load() -> None:
        for order in orders:
            places.extend([await stage.send(event) for event in three_events(order)])
            await asyncio.sleep(0.05)

    running = [await stage.worker(kafka=QUICK)]
    loading = asyncio.create_task(load())
    for _ in range(4):
        if len(running) < 3 and (len(running) < 2 or draw.random() < 0.5):
            running.append(await stage.worker(kafka=QUICK))
        else:
            leaving = running.pop(draw.randrange(len(running)))
            if draw.random() < 0.3:
                await leaving.kill()
            else:
                assert await leaving.stop() == 0
        await asyncio.sleep(draw.random())
    if not running:
        await stage.worker(kafka=QUICK)
    await loading
    effects = await ended_once(stage, orders, places)
    await settled(stage, places)
    assert effects["applied"] <= 240
    assert await stage.dead_letters() == {}


async def test_a_rolling_restart_repeats_no_change_at_walmart(stage: Stage) -> None:
    """SIGTERM, wait, start the next. Only what finished before an earlier event of its partition is looked at again."""
    await stage.control.add_fault(FaultSpec(kind="delay", seconds=0.05))
    orders = await stage.control.add_orders([NewOrder(lines=(NewLine(sku="MUG", quantity=3),))] * 60)
    places: list[tuple[str, int, int]] = []

    async def load() -> None:
        for order in orders:
            places.extend([await stage.send(event) for event in three_events(order)])
            await asyncio.sleep(0.05)

    worker = await stage.worker(kafka=QUICK)
    loading = asyncio.create_task(load())
    for _ in range(3):
        await asyncio.sleep(0.7)
        assert await worker.stop() == 0
        worker = await stage.worker(kafka=QUICK)
    await loading
    effects = await ended_once(stage, orders, places)
    assert effects["applied"] == 180
    calls = Counter(one.operation for one in await stage.control.latest_requests())
    assert (calls["ship"], calls["cancel"]) == (120, 60)


async def test_replays_during_rebalances_run_once(stage: Stage) -> None:
    """Asked for while workers come and go: each dead letter is replayed, and its units are shipped once."""
    worker = await stage.worker(kafka=QUICK)
    orders = await stage.control.add_orders([NewOrder(lines=(NewLine(sku="MUG", quantity=2),))] * 60)
    places = [await stage.send(shipped(order, package("PRO 12345", 1, carrier="frt"))) for order in orders]
    assert {result.status for result in await stage.results(places)} == {"failed"}
    await worker.stop()
    await stage.control.add_fault(FaultSpec(kind="delay", seconds=0.05))
    mapped = {"sandbox": {"account": "main", "carriers": {"frt": "ESTES"}}}
    running = [await stage.worker(kafka=QUICK, stores=mapped)]

    async def ask() -> None:
        for record in (await stage.dead_letters()).values():
            letter = deadletter.read(record.value, record.headers)
            about = replace(letter.about, state="replay", replay_number=1, by="test", why="test")
            value, headers = deadletter.write(about, letter.value, letter.headers)
            await stage.producer.send_and_wait(
                stage.topics.dead_letter, value, key=record.key, headers=headers, partition=record.partition
            )
            await asyncio.sleep(0.1)

    asking = asyncio.create_task(ask())
    while not asking.done():
        running.append(await stage.worker(kafka=QUICK, stores=mapped))
        await running.pop(0).stop()
    await asking
    async with asyncio.timeout(40):
        while await stage.dead_letters():
            await asyncio.sleep(0.3)
    replays = [one for one in await stage.all_results() if one.status == "succeeded"]
    assert {one.event.id for one in replays} == {one.event.id for one in await stage.results(places)}
    for order in orders:
        line = (await stage.control.order(order)).line("1")
        assert line.charged == 1


async def test_a_header_that_no_client_can_read_stops_nothing(stage: Stage) -> None:
    """Its name is not UTF-8: it is told by its coordinates, and so is what stands behind it in the same batch."""
    worker = await stage.worker()
    orders = await stage.control.add_orders([NewOrder(lines=(NewLine(sku="MUG"),))] * 6)
    events = [shipped(order, package(UPS)) for order in orders]
    batch = Poisoned(events, poisoned=4)
    place = TopicPartition(stage.topics.order_shipped, 1)
    sent = await (await stage.producer.send_batch(batch, place.topic, partition=place.partition))
    places = [(place.topic, place.partition, sent.offset + number) for number in range(len(events))]
    elsewhere = await stage.control.add_order([NewLine(sku="MUG")])
    places.append(await stage.send(shipped(elsewhere, package(UPS)), partition=(place.partition + 1) % PARTITIONS))
    later = await stage.control.add_order([NewLine(sku="MUG")])
    places.append(await stage.send(shipped(later, package(UPS)), partition=place.partition))
    results = await stage.results(places)
    assert [one.error.code if one.error else one.status for one in results] == [
        "event_undecodable" if number in (4, 5) else "succeeded" for number in range(8)
    ]
    assert worker.exit_code is None
    assert set(await stage.dead_letters()) == {"/".join(map(str, places[number])) for number in (4, 5)}
    await settled(stage, places)


class Poisoned:
    """A batch of events for `send_batch`, one of which has a header name that is not UTF-8."""

    NAME = "x-name-to-be-broken"

    def __init__(self, events: list[dict[str, Any]], *, poisoned: int) -> None:
        import orjson

        builder = DefaultRecordBatchBuilder(
            2, 0, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=0, batch_size=1_000_000
        )
        for number, event in enumerate(events):
            headers = [("content-type", b"application/cloudevents+json")]
            if number == poisoned:
                headers.append((self.NAME, b"v"))
            key = event["data"]["purchase_order_id"].encode()
            assert builder.append(number, None, key, orjson.dumps(event), headers=headers) is not None
        raw = bytearray(bytes(builder.build()).replace(self.NAME.encode(), b"\xff" * len(self.NAME)))
        # The batch's checksum covers everything from its attributes on.
        raw[17:21] = calc_crc32c(bytes(raw[21:])).to_bytes(4, "big")
        self._raw, self._count = bytes(raw), len(events)

    def _build(self) -> bytes:
        return self._raw

    def close(self) -> None:
        """Nothing can be added."""

    def closed(self) -> bool:
        """Always."""
        return True

    def size(self) -> int:
        """In bytes."""
        return len(self._raw)

    def record_count(self) -> int:
        """Of the events."""
        return self._count
