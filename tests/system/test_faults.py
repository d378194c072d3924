"""What breaks must lose nothing: kill -9 of the real process, a broker that goes and comes, lost answers, garbage."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter

import pytest

from schemas import deadletter
from tests.mutations import example_records, mutate
from tests.system.stage import UPS, Stage, cancelled, package, shipped
from worker.sandbox.walmart.specs import FaultSpec, NewLine, NewOrder

pytestmark = [pytest.mark.integration, pytest.mark.faults]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("seed", [1, 2])
async def test_kill_9_loses_nothing_and_applies_nothing_twice(stage: Stage, seed: int) -> None:
    """Kill -9 again and again under load: every event has a final result, no unit is shipped or cancelled twice."""
    draw = random.Random(seed)
    orders = await stage.control.add_orders([NewOrder(lines=(NewLine(sku="MUG", quantity=3),))] * 150)
    places = []

    async def load() -> None:
        for order in orders:
            places.append(await stage.send(shipped(order, package(UPS, 2, total=2))))
            places.append(await stage.send(cancelled(order, 1, 2)))
            if draw.random() < 0.2:
                places.append(await stage.send(shipped(order, package(None))))
            await asyncio.sleep(0.02)

    loading = asyncio.create_task(load())
    kills = 0
    worker = await stage.worker(kafka={"session_timeout_seconds": 6})
    while not loading.done() or kills < 4:
        await asyncio.sleep(0.2 + draw.random() * 1.2)
        await worker.kill()
        kills += 1
        worker = await stage.worker(kafka={"session_timeout_seconds": 6})
    await loading
    results = await stage.results(places, within_s=90)
    assert Counter(result.status for result in results)["succeeded"] == 300
    for entry in await stage.control.journal(kind="shipped"):
        assert entry.charged <= 2
    for order in orders:
        line = (await stage.control.order(order)).line("1")
        assert (line.tracking, line.cancelled, line.charged) == ({UPS: 2}, 1, 2)
    failed = {f"{one.event.topic}|/test|{one.event.id}" for one in results if one.status == "failed"}
    assert set(await stage.dead_letters()) == failed


async def test_a_lost_answer_is_resolved_by_reading(stage: Stage) -> None:
    """The call had worked, the answer was lost: no second POST, and the result says applied."""
    await stage.worker()
    order = await stage.control.add_order([NewLine(sku="MUG", quantity=3)])
    await stage.control.add_fault(FaultSpec(kind="drop", when="after", operation="ship", times=1))
    result = await stage.result(await stage.send(shipped(order, package(UPS, 1))))
    assert (result.status, result.effect) == ("succeeded", "applied")
    line = (await stage.control.order(order)).line("1")
    assert (line.tracking, line.charged) == ({UPS: 1}, 1)


async def test_a_lost_call_is_sent_again_only_when_old_reads_are_believed(stage: Stage) -> None:
    """The connection broke before the effect: after the allowance, and two reads, it is sent once more."""
    await stage.worker()
    order = await stage.control.add_order([NewLine(sku="MUG", quantity=3)])
    await stage.control.add_fault(FaultSpec(kind="drop", when="before", operation="ship", times=1))
    result = await stage.result(await stage.send(shipped(order, package(UPS, 1))))
    assert (result.status, result.effect) == ("succeeded", "applied")
    assert (await stage.control.order(order)).line("1").charged == 1
    reads = [one for one in await stage.control.latest_requests(order) if one.operation == "get_order"]
    assert len(reads) >= 3


async def test_duplicates_within_the_lag_of_reads_never_charge_twice(stage: Stage) -> None:
    """Reads lag behind writes; the same partial shipment comes three times in a row."""
    await stage.worker()
    order = await stage.control.add_order([NewLine(sku="MUG", quantity=3)])
    await stage.control.add_fault(FaultSpec(kind="read_lag", seconds=1.0, operation="get_order"))
    event = shipped(order, package(UPS, 1))
    results = await stage.results([await stage.send(event) for _ in range(3)])
    assert [result.status for result in results] == ["succeeded"] * 3
    assert (await stage.control.order(order)).line("1").charged == 1


async def test_dead_credentials_hold_the_event_until_they_work(stage: Stage) -> None:
    await stage.worker()
    order = await stage.control.add_order([NewLine(sku="MUG")])
    fault = await stage.control.add_fault(FaultSpec(kind="revoked"))
    place = await stage.send(shipped(order, package(UPS)))
    await asyncio.sleep(2)
    assert await stage.all_results() == []
    await stage.control.clear_faults(fault.id)
    assert (await stage.result(place)).status == "succeeded"
    assert await stage.dead_letters() == {}


async def test_a_stopped_worker_that_wakes_up_repeats_no_unit(stage: Stage) -> None:
    """SIGSTOP until the partitions are lost, a second worker takes over, SIGCONT: everything once."""
    sleeper = await stage.worker(kafka={"session_timeout_seconds": 6})
    orders = await stage.control.add_orders([NewOrder(lines=(NewLine(sku="MUG", quantity=2),))] * 40)
    places = [await stage.send(shipped(order, package(UPS, 1, total=1))) for order in orders]
    await asyncio.sleep(0.1)
    sleeper.send_signal(signal.SIGSTOP)
    await stage.worker(kafka={"session_timeout_seconds": 6})
    places += [await stage.send(shipped(order, package(UPS, 1, total=2))) for order in orders]
    await stage.results(places, within_s=60)
    sleeper.send_signal(signal.SIGCONT)
    await asyncio.sleep(2)
    for order in orders:
        line = (await stage.control.order(order)).line("1")
        assert (line.tracking, line.charged) == ({UPS: 2}, 2)


@pytest.mark.timeout(300)
async def test_10_000_mutations_end_as_results_and_identical_dead_letters(stage: Stage) -> None:
    """Whatever is in a record, it ends as a final result; what failed is kept byte for byte; the worker goes on."""
    worker = await stage.worker()
    sent: dict[tuple[str, int, int], tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]] = {}
    futures = []
    draw, examples = random.Random(7), example_records()
    for _ in range(10_000):
        headers, key, value = mutate(draw.choice(examples), draw)
        topic = stage.topics.order_cancelled if b"cancelled" in (value or b"") else stage.topics.order_shipped
        futures.append(
            (topic, (key, value, headers), await stage.producer.send(topic, value, key=key, headers=headers))
        )
    for topic, record, future in futures:
        metadata = await future
        sent[topic, metadata.partition, metadata.offset] = record
    results = await stage.results(list(sent), within_s=200)
    assert worker.exit_code is None
    kept = {}
    for record in await stage.read(stage.topics.dead_letter):
        letter = deadletter.read(record.value, record.headers)
        about = letter.about
        if about.state == "dead":
            assert about.topic is not None
            assert about.partition is not None
            assert about.offset is not None
            kept[about.topic, about.partition, about.offset] = (letter.key, letter.value, list(letter.headers))
    failed = [place for place, result in zip(sent, results, strict=True) if result.status == "failed"]
    assert len(failed) > 5_000
    for place in failed:
        assert kept[place] == sent[place]
    named = [one.error.message for one in results if one.error is not None and one.error.code == "event_invalid"]
    assert named
    assert all(":" in message for message in named), "field and value are named"
