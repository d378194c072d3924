"""The HTTP endpoints over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from worker.settings import HttpSettings
from worker.telemetry.health import Vitals, judge
from worker.telemetry.metrics import Metrics
from worker.telemetry.server import TelemetryServer

LOOPBACK = HttpSettings(host="127.0.0.1", port=0)


@pytest.fixture
def vitals() -> Vitals:
    return Vitals(assigned=True, table_caught_up=True, producer_up=True)


@pytest.fixture
async def get(vitals: Vitals) -> AsyncIterator[aiohttp.ClientSession]:
    metrics = Metrics()
    metrics.at_scrape(lambda: metrics.lanes.set(7))
    server = TelemetryServer(LOOPBACK, metrics, lambda: judge(vitals, now=10))
    port = await server.start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", timeout=aiohttp.ClientTimeout(total=3)) as session:
        yield session
    await server.stop()


async def test_metrics_are_fresh_and_in_prometheus_own_type(get: aiohttp.ClientSession) -> None:
    async with get.get("/metrics") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        assert "order_sync_lanes 7.0" in await answer.text()


async def test_health_tells_its_reasons(get: aiohttp.ClientSession, vitals: Vitals) -> None:
    async with get.get("/readyz") as answer:
        assert (answer.status, await answer.json()) == (200, {"ready": True, "reasons": []})
    vitals.assigned = False
    async with get.get("/readyz") as answer:
        assert answer.status == 503
        assert answer.content_type == "application/json"
        assert await answer.json() == {"ready": False, "reasons": ["no assignment from the consumer group yet"]}
    async with get.get("/livez") as answer:
        assert (answer.status, await answer.json()) == (200, {"live": True, "reasons": []})
    vitals.fatal = "the engine ended"
    async with get.get("/livez") as answer:
        assert (answer.status, await answer.json()) == (503, {"live": False, "reasons": ["the engine ended"]})


async def test_the_index_leads_to_the_rest_and_nothing_else_is_there(get: aiohttp.ClientSession) -> None:
    async with get.get("/") as answer:
        assert {"/metrics", "/livez", "/readyz"} <= set((await answer.text()).split())
    async with get.get("/etc/passwd") as answer:
        assert answer.status == 404
    async with get.post("/metrics") as answer:
        assert answer.status == 405


async def test_a_taken_port_is_an_os_error_and_stop_frees_it(vitals: Vitals) -> None:
    first = TelemetryServer(LOOPBACK, Metrics(), lambda: judge(vitals, now=0))
    port = await first.start()
    second = TelemetryServer(HttpSettings(host="127.0.0.1", port=port), Metrics(), lambda: judge(vitals, now=0))
    with pytest.raises(OSError, match="in use"):
        await second.start()
    await first.stop()
    await first.stop()
    assert await asyncio.wait_for(second.start(), 3) == port
    await second.stop()
