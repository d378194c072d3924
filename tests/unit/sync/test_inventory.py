"""Inventory updates after a cancellation."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sync_bench import NOW, Bench, cancelled, gone, iso, settings, warned
from sync_model import PO, Walmart, line

from worker.outcome import Verdict
from worker.sync import inventory
from worker.walmart.answer import CallError, CallKind, Done

PRICE = {"code": "SELLER_CANCEL_PRICING_ERROR"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "QUICK_WAIT_S", 0.0)


def level(quantity: int = 12, as_of: float = NOW - 30, sku: str = "A", node: str | None = None) -> dict[str, Any]:
    return {"sku": sku, "quantity": quantity, "as_of": iso(as_of), "ship_node": node}


def event(*levels: dict[str, Any], reason: Any = PRICE, units: int = 1) -> Any:
    return cancelled(gone("1", units), reason=reason, inventory=list(levels))


def states(verdict: Verdict) -> list[tuple[str, str | None]]:
    return [(each.state, each.reason) for each in verdict.inventory]


async def test_inventory_is_sent_after_a_cancel() -> None:
    bench = Bench(Walmart({"1": line()}))
    end = await bench.settle(event(level(), level(3, sku="B", node="N1")))
    assert states(end) == [("updated", None), ("updated", None)]
    assert bench.api.stock == {("A", None): 12, ("B", "N1"): 3}


async def test_inventory_is_sent_after_already_applied() -> None:
    bench = Bench(Walmart({"1": line()}))
    await bench.settle(event())
    end = await bench.next_event(event(level()))
    assert end.effect == "already_applied"
    assert states(end) == [("updated", None)]


async def test_inventory_is_never_sent_after_a_failed_cancel() -> None:
    bench = Bench(Walmart({"1": line(ordered=1, Z=1)}))
    end = await bench.settle(event(level()))
    assert end.status == "failed"
    assert end.inventory == ()
    assert bench.api.stock == {}


async def test_an_old_number_is_skipped_as_stale() -> None:
    """A replay next day must not overwrite today's stock."""
    bench = Bench(Walmart({"1": line()}))
    end = await bench.settle(event(level(as_of=NOW - 301)))
    assert states(end) == [("skipped", "stale")]
    assert warned(end) == {"inventory_skipped"}
    assert bench.api.stock == {}


@pytest.mark.parametrize("allowed", [True, False])
async def test_after_an_out_of_stock_reason_it_is_skipped_unless_the_store_says_otherwise(allowed: bool) -> None:
    bench = Bench(Walmart({"1": line()}), tree=settings({"inventory_after_out_of_stock": allowed}))
    end = await bench.settle(event(level(), reason={"text": "The item is out of stock"}))
    assert states(end) == [("updated", None) if allowed else ("skipped", "out_of_stock_reason")]


async def test_a_number_older_than_the_newest_sent_is_skipped() -> None:
    bench = Bench(Walmart({"1": line()}))
    await bench.settle(event(level(5, NOW - 10)))
    end = await bench.next_event(event(level(9, NOW - 11), level(9, NOW - 11, node="N1"), level(7, NOW - 9)))
    assert states(end) == [("skipped", "older_than_sent"), ("updated", None), ("updated", None)]
    assert bench.api.stock == {("A", None): 7, ("A", "N1"): 9}


async def test_an_as_of_in_the_future_does_not_block_what_comes_after_it() -> None:
    bench = Bench(Walmart({"1": line()}))
    await bench.settle(event(level(5, NOW + 3600)))
    bench.clock.time += 5
    end = await bench.next_event(event(level(6, NOW + 4)))
    assert states(end) == [("updated", None)]


async def test_it_is_best_effort_a_few_quick_tries_then_failed_and_the_event_still_succeeds() -> None:
    bench = Bench(Walmart({"1": line()}))
    bench.api.faults = {"inventory": [CallError(CallKind.UNKNOWN, "timed out")] * 9}
    end = await bench.settle(event(level()))
    assert end.status == "succeeded"
    assert states(end) == [("failed", "timed out")]
    assert warned(end) == {"inventory_failed"}
    assert bench.api.calls.count("inventory") == inventory.QUICK_TRIES


async def test_a_quick_second_try_is_enough() -> None:
    bench = Bench(Walmart({"1": line()}))
    bench.api.faults = {"inventory": [CallError(CallKind.NOT_SENT, "no connection")]}
    assert states(await bench.settle(event(level()))) == [("updated", None)]


@pytest.mark.parametrize(
    "fault",
    [
        CallError(CallKind.REFUSED, "SKU_NOT_FOUND", 404, not_found=True),
        CallError(CallKind.THROTTLED, "too many", 429, retry_after_s=30),
    ],
)
async def test_what_a_quick_try_cannot_help_is_not_tried_again(fault: CallError) -> None:
    bench = Bench(Walmart({"1": line()}))
    bench.api.faults = {"inventory": [fault] * 9}
    assert states(await bench.settle(event(level()))) == [("failed", fault.message)]
    assert bench.api.calls.count("inventory") == 1


async def test_one_at_a_time_per_account_sku_and_node() -> None:
    """Two orders finish together: their numbers for one SKU never overlap at Walmart, other SKUs do."""
    bench = Bench(Walmart({"1": line(ordered=9)}))
    running: dict[str, int] = {}
    most: dict[str, int] = {}
    both = 0

    async def slow(sku: str, quantity: int, node: str | None) -> Done:
        nonlocal both
        running[sku] = running.get(sku, 0) + 1
        most[sku] = max(most.get(sku, 0), running[sku])
        both = max(both, sum(running.values()))
        await asyncio.sleep(0.01)
        running[sku] -= 1
        return Done()

    bench.api.put_inventory = slow  # type: ignore[method-assign,assignment]
    rules, room = bench.sync._rules["main_store"], bench.sync._room
    await asyncio.gather(
        *(
            room.inventory.update(
                bench.api,
                rules,
                event(level(sku=sku)).inventory,
                order=PO,
                reason=None,
                max_age_s=300,
                progress=bench.progress,
            )
            for sku in ("A", "A", "A", "B")
        )
    )
    assert most == {"A": 1, "B": 1}
    assert both == 2


async def test_observe_mode_tells_the_updates_and_sends_none() -> None:
    bench = Bench(Walmart({"1": line()}), tree=settings({"observe": True}))
    end = await bench.settle(event(level(node="N1"), level(as_of=NOW - 999)))
    assert states(end) == [("updated", None), ("skipped", "stale")]
    assert end.planned[-1].method == "PUT"
    assert bench.api.stock == {}
