"""The journal, and the state that is rebuilt from it after `kill -9`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from worker.sandbox.walmart.control import WalmartControl, WalmartDidNotStartError, running_walmart, start_walmart
from worker.sandbox.walmart.journal import Journal, JournalUnreadableError
from worker.sandbox.walmart.specs import FaultSpec, LineChange, NewLine, SwitchesSpec
from worker.sandbox.walmart.views import order_view
from worker.sandbox.walmart.world import World


def rebuilt(path: Path) -> World:
    world = World(Journal(path))
    world.rebuild()
    return world


async def test_every_kind_of_effect_is_rebuilt(walmart: Any, tmp_path: Path) -> None:
    await walmart.control.switch(SwitchesSpec(clock_offset_seconds=30))
    po = await walmart.order(quantity=5, lines=2, status="Created")
    await walmart.api.acknowledge(po)
    await walmart.api.ship(po, walmart.shipped("1", walmart.package(2, "1ZA"), walmart.package(2, "1ZB")))
    line = walmart.shipped("1", walmart.package(2, "1ZC", replaces="1ZB"))
    await walmart.api.ship(po, line, mode="PARTIAL_UPDATE")
    await walmart.api.cancel(po, walmart.cancelled("1", 1), walmart.cancelled("2", 2, "SELLER_CANCEL_OUT_OF_STOCK"))
    await walmart.control.change(po, "deliver", [LineChange(line_number="1", tracking_number="1ZA")], by="carrier")
    await walmart.control.change(po, "refund", [LineChange(line_number="1", quantity=1)])
    await walmart.control.change(po, "intent_to_cancel", [LineChange(line_number="2")])
    stock = {"sku": "SKU-1", "quantity": {"unit": "EACH", "amount": 8}}
    await walmart.api.send("PUT", "/v3/inventory?sku=SKU-1", stock)
    world, live = rebuilt(tmp_path / "journal.jsonl"), walmart.server.world
    assert order_view(world.orders[po]) == order_view(live.orders[po])
    assert [line.portions for line in world.orders[po].lines.values()] == [
        line.portions for line in live.orders[po].lines.values()
    ]
    assert world.orders[po].versions == live.orders[po].versions
    assert (world.stock, world.skus, world.clock_offset) == (live.stock, live.skus, live.clock_offset)
    assert {name: seller.spec for name, seller in world.sellers.items()} == {
        name: seller.spec for name, seller in live.sellers.items()
    }


async def test_a_reset_is_rebuilt_too(walmart: Any, tmp_path: Path) -> None:
    await walmart.order()
    await walmart.control.reset()
    po = await walmart.order()
    world = rebuilt(tmp_path / "journal.jsonl")
    assert list(world.orders) == [po]
    assert orjson.loads(world.journal.select(kind="created"))[0]["purchase_order_id"] == po


async def test_a_torn_last_line_is_cut_off(walmart: Any, tmp_path: Path) -> None:
    po = await walmart.order()
    path = tmp_path / "journal.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"n":99,"kind":"ship')
    assert po in rebuilt(path).orders
    assert path.read_bytes() == whole


def test_a_file_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a journal\n")
    with pytest.raises(JournalUnreadableError, match="line 1"):
        Journal(path).open()


async def test_kill_9_loses_no_effect(walmart_client: Any, tmp_path: Path, simulated: Any) -> None:
    """Killed between the effect and its answer, restarted on the same ports, twice."""
    async with (
        running_walmart(tmp_path / "j.jsonl", sellers=["client-a:secret-a"], unlimited=True) as process,
        aiohttp.ClientSession() as session,
    ):
        control, api = WalmartControl(process.control_url, session), walmart_client(process.url, session)
        po = await control.add_order([NewLine(sku="A", quantity=3)])
        url, token = process.url, (await api.fetch_token()).body["access_token"]
        api.token = token
        for number in ("1ZA", "1ZB"):
            fault = FaultSpec(kind="delay", when="after", seconds=30, operation="ship")
            await control.add_fault(fault)
            call = asyncio.create_task(api.ship(po, simulated.shipped("1", simulated.package(1, number))))
            while number not in (await control.order(po)).line("1").tracking:
                await asyncio.sleep(0.01)
            await process.restart()
            with pytest.raises(aiohttp.ClientConnectionError):
                await call
            assert process.url == url
        state = (await control.order(po)).line("1")
        assert (state.tracking, state.charged) == ({"1ZA": 1, "1ZB": 1}, 2)
        assert (await api.get(po)).statuses() == {"Acknowledged": 1, "Shipped": 2}, "the old token still works"
        assert [entry.n for entry in await control.journal()] == [1, 2, 3, 4]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
async def test_signals_stop_it_cleanly(tmp_path: Path, name: str) -> None:
    process = await start_walmart(tmp_path / "j.jsonl")
    os.kill(process.pid, getattr(signal, name))
    async with asyncio.timeout(10):
        while process.running:  # a second signal while it ends would kill it
            await asyncio.sleep(0.01)
    assert await process.stop() == 0
    assert not process.running


async def test_it_stops_when_its_parent_is_gone(tmp_path: Path) -> None:
    """`--watch-stdin`: an orphan would hold its port for ever."""
    arguments = ("-m", "worker.sandbox.walmart", "--no-journal", "--watch-stdin")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdin=pipe, stdout=pipe)
    assert process.stdout is not None
    assert process.stdin is not None
    address = orjson.loads(await process.stdout.readline())
    assert address["url"] == f"http://127.0.0.1:{address['port']}"
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_it_tells_why_it_cannot_start(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "j.jsonl").write_text("nonsense\n")
    with pytest.raises(WalmartDidNotStartError):
        await start_walmart(tmp_path / "j.jsonl")
    assert "line 1 of the journal" in capfd.readouterr().err


async def test_command_line_options(walmart_client: Any, simulated: Any) -> None:
    """No journal, no schema checks, a rate, a market, a token life."""
    arguments = ["--no-validate", "--rate", "ship=60:1", "--token-seconds", "33", "--speed-up", "2"]
    async with (
        running_walmart(None, sellers=["client-a:secret-a", "b:c:ca"], arguments=arguments) as process,
        aiohttp.ClientSession() as session,
    ):
        control, api = WalmartControl(process.control_url, session), walmart_client(process.url, session)
        assert [(seller.client_id, seller.market) for seller in await control.sellers()] == [
            ("client-a", "us"),
            ("b", "ca"),
        ]
        po = await control.add_order([NewLine(sku="A", quantity=3)])
        assert (await api.fetch_token()).body["expires_in"] == 33
        line = simulated.shipped("1", simulated.package(methodCode="Ground"))
        assert [(await api.ship(po, line)).status for _ in range(2)] == [200, 429]
        with pytest.raises(RuntimeError, match="no-journal"):
            await control.journal()
