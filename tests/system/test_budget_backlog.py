"""A shop with a backlog at Walmart's published rates: every call used, no 429, and the lateness is the budget's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.system.stage import UPS, Stage, package, shipped, staged
from worker.sandbox.walmart.specs import NewLine, NewOrder, Rate, SellerSpec
from worker.sandbox.worker_process import SECRET, WorkerProcess
from worker.settings import TopicSettings

pytestmark = pytest.mark.integration

ORDERS = 150
SPEED_UP = 10
"""One minute of Walmart's is six seconds here: 10 ship calls a second instead of one."""
BURST = 20
SLO_S = 3


@pytest.fixture
async def rationed(kafka: str, topics: TopicSettings, tmp_path: Path) -> AsyncIterator[Stage]:
    """A stage whose Walmart counts calls."""
    async with staged(kafka, topics, tmp_path) as stage:
        ship = Rate(per_minute=60, burst=BURST)
        await stage.control.add_seller(
            SellerSpec(client_id="sandbox-client", client_secret=SECRET, rates={"ship": ship}, speed_up=SPEED_UP)
        )
        yield stage


def old(event: dict[str, object]) -> dict[str, object]:
    """The same, of five minutes ago."""
    return event | {"time": (datetime.now(UTC) - timedelta(minutes=5)).isoformat()}


async def started(stage: Stage, **sections: Any) -> WorkerProcess:
    """A worker that is told the rates of this Walmart."""
    account = {
        "client_id": "sandbox-client",
        "client_secret_file": str(stage.folder / "secret"),
        "base_url": stage.walmart.url,
        "ship_calls_per_minute": 60 * SPEED_UP,
        "read_calls_per_minute": 5_000 * SPEED_UP,
    }
    return await stage.worker(has_budgets=True, accounts={"main": account}, **sections)


def samples(page: str) -> dict[tuple[str, ...], float]:
    """Metric and its label values -> value."""
    return {
        (sample.name.removeprefix("order_sync_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


@pytest.mark.timeout(120)
async def test_a_backlog_is_late_for_the_budget_and_says_so_everywhere(rationed: Stage) -> None:
    stage, control = rationed, rationed.control
    worker = await started(stage, timing={"slo_seconds": SLO_S})
    orders = await control.add_orders([NewOrder(lines=(NewLine(sku="MUG"),))] * (ORDERS + 1))
    oldest = orders.pop()
    places = [await stage.send(shipped(order, package(UPS))) for order in orders]
    while (await control.requests()).total("ship") < 2 * BURST:
        await asyncio.sleep(0.05)

    during = samples(await stage.metrics(worker))
    assert during["budget_orders_waiting", "main", "ship"] > ORDERS / 3
    assert during["budgets_used_up", "ship"] == 1
    before = (await control.requests()).total("ship")
    place = await stage.send(old(shipped(oldest, package(UPS))))
    results = await stage.results([*places, place], within_s=60)
    assert {result.status for result in results} == {"succeeded"}

    calls = await control.requests()
    assert calls.total(status=429) == 0
    assert calls.total("ship") == ORDERS + 1
    ships = [one.purchase_order_id for one in await control.latest_requests() if one.operation == "ship"]
    assert ships.index(oldest) - before < BURST, "it overtook all that waited, but not those that had their turn"

    late = [result for result in results[:-1] if result.latency_seconds > SLO_S]
    assert len(late) > ORDERS / 2
    for result in late:
        assert result.latency_seconds - result.waited.budget <= SLO_S, "without the budget it would have been in time"
        assert result.waited.retry == 0
    retrying = [result for result in await stage.all_results() if result.status == "retrying"]
    waiting = [one for one in retrying if one.purchase_order_id != oldest]
    assert waiting, "the last ones wait for more than ten seconds"
    for one in waiting:
        assert one.error is not None
        assert (one.error.code, one.error.owner) == ("throttled", "walmart")
        assert one.waited.budget > SLO_S

    after = samples(await stage.metrics(worker))
    assert after["slo_missed_total", "budget"] >= len(late)
    other = sum(value for (name, *cause), value in after.items() if name == "slo_missed_total" and cause != ["budget"])
    assert other <= 1, "the old one was late when it came"
    assert after["event_waited_seconds_total", "budget"] > sum(result.waited.budget for result in late) - 1
    assert after["event_waited_seconds_total", "slow"] == 0
    assert after["budget_calls_total", "main", "ship"] == ORDERS + 1
    assert after["walmart_throttled_total", "main", "ship"] == 0
    assert after["budget_orders_waiting", "main", "ship"] == 0
    lines = [orjson.loads(line) for line in worker.log.read_bytes().splitlines() if b'"event_finished"' in line]
    told = {line["event_id"]: line["waited_budget_seconds"] for line in lines}
    assert told == {result.event.id: result.waited.budget for result in results}


@pytest.mark.timeout(120)
async def test_two_workers_of_one_group_share_one_budget(rationed: Stage) -> None:
    """As in the compose file: an instance id of its own each. Shares are as partitions, and add up to the whole."""
    stage, control = rationed, rationed.control
    workers = [await started(stage, kafka={"group_instance_id": f"worker-{number}"}) for number in (1, 2)]
    pages = []
    while sorted(page.get(("partitions_assigned",), 0) for page in pages) != [2, 4]:
        await asyncio.sleep(0.1)
        pages = [samples(await stage.metrics(worker)) for worker in workers]
    orders = await control.add_orders([NewOrder(lines=(NewLine(sku="MUG"),))] * 90)
    places = [await stage.send(shipped(order, package(UPS))) for order in orders]
    while (await control.requests()).total("ship") < 2 * BURST:
        await asyncio.sleep(0.05)
    pages = [samples(await stage.metrics(worker)) for worker in workers]
    rates = [page["budget_calls_per_minute", "main", "ship"] for page in pages]
    assert sorted(rates) == pytest.approx([200, 400]), "a third and two thirds, as of the partitions"
    results = await stage.results(places, within_s=60)
    assert {result.status for result in results} == {"succeeded"}
    calls = await control.requests()
    assert (calls.total("ship"), calls.total(status=429)) == (90, 0)
    pages = [samples(await stage.metrics(worker)) for worker in workers]
    assert sum(page["budget_calls_total", "main", "ship"] for page in pages) == 90
