"""One running worker and its files: a new store, a rotated secret, mistakes, a kill switch, what needs a restart."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.system.stage import UPS, Stage, package, shipped
from worker.sandbox.walmart.specs import FaultSpec, NewLine, SellerSpec
from worker.sandbox.worker_process import SECRET, WorkerProcess, sandbox_settings

pytestmark = pytest.mark.integration

ROTATED = f"{SECRET}-rotated"
"""Found by the search for leaks as the first one is."""
TIMING = {"probe_seconds": 300, "reload_check_seconds": 0.2}
"""Whoever is turned away is not probed again within this test, but for a reason."""


class Reloaded:
    """A worker, its settings file, and what it told about it."""

    def __init__(self, stage: Stage, worker: WorkerProcess) -> None:
        self.stage, self.worker = stage, worker
        self._heard = 0

    def write(self, **sections: Any) -> None:
        """Write the settings file anew; `sections` besides those of every test."""
        topics = self.stage.topics
        kafka = {"group_id": f"group-{topics.sync_result}", **sections.pop("kafka", {})}
        timing = {**TIMING, **sections.pop("timing", {})}
        secret = self.stage.folder / "secret"
        self.worker.write(
            sandbox_settings(
                self.stage.kafka,
                self.stage.walmart.url,
                secret,
                topics=topics.model_dump(),
                kafka=kafka,
                timing=timing,
                **sections,
            )
        )

    async def heard(self, event: str, *, within_s: float = 20) -> dict[str, Any]:
        """The next log line of this name, waited for."""
        async with asyncio.timeout(within_s):
            while True:
                for number, line in enumerate(self.worker.log.read_bytes().splitlines()):
                    told = orjson.loads(line) if number >= self._heard and line.startswith(b"{") else {}
                    if told.get("event") == event:
                        self._heard = number + 1
                        return told  # type: ignore[no-any-return]
                await asyncio.sleep(0.05)

    def hang_up(self) -> None:
        self.worker.send_signal(signal.SIGHUP)


@pytest.fixture
async def reloaded(stage: Stage) -> Reloaded:
    return Reloaded(stage, await stage.worker(timing=TIMING))


async def order(stage: Stage) -> str:
    return await stage.control.add_order([NewLine(sku="MUG")])


async def test_a_running_worker_takes_a_new_store_a_rotated_secret_and_no_mistakes(
    stage: Stage, reloaded: Reloaded
) -> None:
    # A store that is not there yet, then is.
    before = await stage.result(await stage.send(shipped(await order(stage), package(UPS), store="new")))
    assert before.error is not None
    assert before.error.code == "store_unknown"
    stores = {"new": {"account": "main", "carriers": {"brown": "UPS"}}}
    reloaded.write(stores=stores)
    told = await reloaded.heard("settings_reloaded")
    assert (told["added"], told["changed"], told["rotated"]) == (["stores.new"], [], [])
    event = shipped(await order(stage), package(UPS, carrier="brown"), store="new")
    assert (await stage.result(await stage.send(event))).status == "succeeded"

    # The secret is another one at Walmart: the token goes on; when that ends, the old secret is worth nothing.
    await stage.control.add_seller(SellerSpec(client_id="sandbox-client", client_secret=ROTATED, unlimited=True))
    assert (await stage.result(await stage.send(shipped(await order(stage), package(UPS))))).status == "succeeded"
    await stage.control.add_fault(FaultSpec(kind="expire_tokens"))
    waits = await stage.send(shipped(await order(stage), package(UPS)))
    assert (await reloaded.heard("gate_closed"))["reason"] == "credentials_rejected"
    (stage.folder / "secret").write_text(ROTATED)
    assert (await reloaded.heard("settings_reloaded"))["rotated"] == ["accounts.main.client_secret_file"]
    assert (await stage.result(waits)).status == "succeeded", "probed at once, not in five minutes"

    # Mistakes: all named, everything as it was.
    reloaded.write(stores={**stores, "bad": {"account": "mian"}}, timing={"slo_seconds": 0})
    told = await reloaded.heard("settings_not_reloaded")
    assert told["count"] == 2
    assert "stores.bad.account" in told["mistakes"][0]
    assert str(reloaded.worker.config) in told["mistakes"][0]
    assert "timing.slo_seconds = 0" in told["mistakes"][1]
    event = shipped(await order(stage), package(UPS, carrier="brown"), store="new")
    assert (await stage.result(await stage.send(event))).status == "succeeded"
    assert "order_sync_settings_refused 1.0" in await stage.metrics(reloaded.worker)

    # What needs a restart is named; the rest is taken.
    reloaded.write(stores=stores, kafka={"group_id": "another"}, timing={"slo_seconds": 60})
    assert (await reloaded.heard("restart_needed"))["keys"] == ["kafka.group_id"]
    assert (await reloaded.heard("settings_reloaded"))["changed"] == ["timing.slo_seconds"]
    metrics = await stage.metrics(reloaded.worker)
    assert "order_sync_settings_refused 0.0" in metrics
    assert "order_sync_settings_restart_needed 1.0" in metrics
    assert await reloaded.worker.stop() == 0


async def test_a_kill_switch_parks_and_its_end_brings_back_by_signal(stage: Stage, reloaded: Reloaded) -> None:
    """With SIGHUP alone: files are not looked at. The link is exchanged as Kubernetes does it."""
    reloaded.write(timing={"reload_check_seconds": 0})
    await reloaded.heard("settings_reloaded")
    reloaded.write(timing={"reload_check_seconds": 0}, stores={"sandbox": {"account": "main", "paused": True}})
    linked(reloaded.worker.config)
    reloaded.hang_up()
    assert (await reloaded.heard("settings_reloaded"))["changed"] == ["stores.sandbox.paused"]
    held = await stage.send(shipped(await order(stage), package(UPS)))
    async with asyncio.timeout(20):
        while len(await stage.dead_letters()) < 1:
            await asyncio.sleep(0.1)
    assert await stage.all_results() == []
    reloaded.write(timing={"reload_check_seconds": 0})
    reloaded.hang_up()
    assert (await reloaded.heard("settings_reloaded"))["changed"] == ["stores.sandbox.paused"]
    assert (await stage.result(held)).status == "succeeded"
    assert await stage.dead_letters() == {}
    assert await reloaded.worker.stop() == 0


def linked(file: Path) -> None:
    """Move a file elsewhere and put a link in its place."""
    data = file.parent / "..data"
    data.mkdir()
    file.rename(data / file.name)
    file.symlink_to(data / file.name)
