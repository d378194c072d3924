"""Corrections behind dead letters: attempts before a real waiting room, over a topic in memory."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
from sync_bench import NOW, Bench, event_of, item, package, shipped
from sync_model import RefusedError, Walmart, line

from tests.unit.parked.parked_world import World, ask_replay
from worker.delivery import Delivery, Envelope, Record
from worker.errors import Failure
from worker.outcome import Again, Verdict

PO = "1796277083022"
TOPIC = "commerce.order-shipped.v1"


def of(data: Any, name: str, offset: int, at: float, *, partition: int = 2) -> Delivery:
    event = event_of(data, at)
    record = Record(TOPIC, partition, offset, int(at * 1000), PO.encode(), data.model_dump_json().encode(), ())
    envelope = Envelope("/s", name, "ty", at, data.store, PO, "100", data.shipment_id)
    return Delivery(record, event, envelope, None, f"{TOPIC}|/s|{name}", PO, at, first_seen=at)


async def settle(bench: Bench, world: World, delivery: Delivery) -> Verdict:
    """As handling and report do it."""
    assert delivery.event is not None
    for _ in range(60):
        delivery.progress.attempts += 1
        outcome = await bench.sync.attempt(delivery.event, delivery.progress, delivery)
        if isinstance(outcome, Verdict):
            break
        assert isinstance(outcome, Again)
        delivery.progress.failed_tries += 1
        bench.clock.time += outcome.after_s or 1.0
    else:
        raise AssertionError("no verdict")
    if outcome.status == "failed":
        await world.room.put_dead(delivery, outcome)
    else:
        await world.room.settle(delivery)
    return outcome


BAD = {"code": "speedy"}


async def test_a_repeat_of_a_dead_correction_does_not_wait_for_itself() -> None:
    """The store was not in the settings; it is now, and commerce publishes the same event once more."""
    world, walmart = World(), Walmart({"1": line(ordered=2)})
    bench = Bench(walmart, corrections=world.room)
    correction = shipped(package("N2", item("1"), replaces_tracking_number="N1"))
    bench.sync._rules, rules = {}, bench.sync._rules
    end = await settle(bench, world, of(correction, "c1", 7, NOW - 60))
    assert end.failure is not None
    assert end.failure.code == "store_unknown"
    bench.sync._rules = rules
    again = await settle(bench, world, of(correction, "c1", 8, NOW - 60))
    assert again.status == "succeeded"
    assert walmart.lines["1"].parcels == {"N2": 1}


async def test_the_shipment_sent_again_with_a_number_supersedes_its_dead_correction() -> None:
    """product.md: "the same shipment_id sent again with one supersedes it". Nothing of the order has shipped."""
    world, walmart = World(), Walmart({"1": line(ordered=2)})
    bench = Bench(walmart, corrections=world.room)
    without = shipped(package(None, item("1"), replaces_tracking_number="N1"))
    end = await settle(bench, world, of(without, "c1", 7, NOW - 60))
    assert end.failure is not None
    assert end.failure.code == "tracking_number_missing"
    with_one = shipped(package("N2", item("1"), replaces_tracking_number="N1"))
    again = await settle(bench, world, of(with_one, "c2", 8, NOW - 50))
    assert again.status == "succeeded"
    assert walmart.lines["1"].parcels == {"N2": 1}


async def test_a_correction_refused_for_good_does_not_stop_another_lines() -> None:
    """Line 1's correction was refused by Walmart (too late), and is marked; line 2 was never shipped."""
    world, walmart = World(), Walmart({"1": line(ordered=2, OLD=1), "2": line(ordered=2)})
    bench = Bench(walmart, corrections=world.room)
    post = walmart.post

    def late(path: str, body: Any) -> Any:
        if path == "shipping" and "PARTIAL_UPDATE" in str(body):
            raise RefusedError("tracking cannot be updated after 4 hours")
        return post(path, body)

    walmart.post = late  # type: ignore[method-assign]
    first = shipped(package("NEW", item("1"), replaces_tracking_number="OLD"), shipment_id="S1")
    end = await settle(bench, world, of(first, "c1", 7, NOW - 60))
    assert end.status == "failed"
    assert world.room.superseded_at(PO, "OLD|1") is not None, "it is marked: nothing about it is unknown"
    # Its first event failed (carrier unmapped), and commerce put both right in one correction.
    dead = shipped(package("X1", item("2"), carrier=BAD), shipment_id="S2")
    assert (await settle(bench, world, of(dead, "s2", 8, NOW - 55))).status == "failed"
    second = shipped(package("X2", item("2"), replaces_tracking_number="X1"), shipment_id="S2")
    again = await settle(bench, world, of(second, "c2", 9, NOW - 50))
    assert again.status == "succeeded"


async def test_two_corrections_replayed_at_once_do_not_wait_for_each_other() -> None:
    """Keys were misplaced, or partitions were added: they lie in different partitions. `dlq replay --order`."""
    world, walmart = World(), Walmart({"1": line(ordered=2)})
    bench = Bench(walmart, corrections=world.room)
    rules, bench.sync._rules = bench.sync._rules, {}
    c1 = of(shipped(package("N2", item("1"), replaces_tracking_number="N1")), "c1", 7, NOW - 60, partition=1)
    c2 = of(shipped(package("N3", item("1"), replaces_tracking_number="N2")), "c2", 3, NOW - 50, partition=2)
    for each in (c1, c2):
        assert (await settle(bench, world, each)).status == "failed"
    bench.sync._rules = rules
    world.follow()
    for each in (c1, c2):
        await ask_replay(world, each.key)
    world.follow()
    e1, e2 = await settle(bench, world, c1), await settle(bench, world, c2)
    assert (e1.status, e2.status) == ("succeeded", "succeeded")


async def test_what_is_unreadable_later_still_corrects() -> None:
    """The header is of the event's bytes; a dead letter whose headers broke is written without the event."""
    world = World()
    c1 = of(shipped(package("N2", item("1"), replaces_tracking_number="N1")), "c1", 7, NOW - 60)
    c2 = of(shipped(package("N3", item("1"), replaces_tracking_number="N2")), "c2", 8, NOW - 50)
    failed = Verdict("correct", "none", Failure("carrier_unmapped", "x"))
    await world.room.put_dead(c1, failed)
    assert list(world.room.unsettled(PO, c2)) == ["N2"]
    # As `restore` leaves it where order-sync-progress cannot be read.
    c1.event, c1.refusal = None, Failure("dead_letter_unreadable", "y")
    await world.room.put_dead(c1, replace(failed, failure=c1.refusal))
    assert list(world.room.unsettled(PO, c2)) == ["N2"]


@pytest.mark.parametrize("order", ["".join(names) for names in permutations("abc")])
async def test_a_chain_of_dead_letters_charges_once_in_whichever_order_it_is_replayed(order: str) -> None:
    world, walmart = World(), Walmart({"1": line(ordered=3)})
    bench = Bench(walmart, corrections=world.room)
    rules, bench.sync._rules = bench.sync._rules, {}

    first = shipped(package("N1", item("1")), shipment_id="S1")
    second = shipped(package("N2", item("1"), replaces_tracking_number="N1"), shipment_id="S2")
    third = shipped(package("N3", item("1"), replaces_tracking_number="N2"), shipment_id="S3")

    def all_of() -> dict[str, Delivery]:
        told = (("a", first, 7), ("b", second, 8), ("c", third, 9))
        return {name: of(data, name, offset, NOW - 100 + offset) for name, data, offset in told}

    for each in all_of().values():
        await settle(bench, world, each)
    bench.sync._rules = rules
    for name in order + "abc":
        await settle(bench, world, all_of()[name])
    assert walmart.lines["1"].parcels == {"N3": 1}
