"""The field: Kafka, the simulated Walmart, the workers, the load and who watches them, of one run."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

import aiohttp
import orjson
from aiokafka import AIOKafkaProducer

from tests.chaos.deeds import Deeds
from tests.chaos.evidence import Effect, Evidence, Moved, Place, Published
from tests.chaos.judge import still_waiting, unfinished
from tests.chaos.load import Load
from tests.chaos.observer import Observer
from tests.chaos.options import Options
from tests.chaos.troop import Troop
from tests.chaos.weather import CALL_TIMEOUT_S, SESSION_S, Weather
from worker.sandbox.kafka import EmbeddedKafka, create_topics
from worker.sandbox.walmart.control import WalmartControl, running_walmart
from worker.sandbox.worker_process import SECRET, sandbox_settings
from worker.settings import TopicSettings

GROUP: Final = "order-sync-chaos"
_UNFINISHED_AT_ONCE: Final = 800
"""The load waits while so many events are unfinished."""
_SETTLE_S: Final = 3.0


@dataclass
class Field:
    """Everything of one run."""

    options: Options
    deeds: Deeds
    topics: TopicSettings
    kafka: EmbeddedKafka
    control: WalmartControl
    troop: Troop
    observer: Observer
    load: Load
    weather: Weather
    journal: Path
    _open: int = 0

    def count_open(self) -> int:
        """Events that are published and have no final result yet."""
        self._open = len(unfinished(self.load.published, self.observer.told))
        return self._open

    @property
    def enough(self) -> bool:
        """As of the latest count: no more load for now."""
        return self._open > _UNFINISHED_AT_ONCE

    async def settle(self) -> bool:
        """Wait until every event has its final result and nothing waits any more; False if that took too long."""
        until = time.monotonic() + self.options.quiet_minutes * 60
        while self.count_open() or still_waiting(self.observer.letters):
            if time.monotonic() > until:
                return False
            await asyncio.sleep(0.5)
        return True

    async def disband(self) -> None:
        """All workers stop in order; they commit what they have finished."""
        await asyncio.gather(*(self.troop.stop(member) for member in self.troop.members if member.alive))

    async def evidence(self) -> Evidence:
        """Everything, read once more from the beginning where it matters. The workers are gone by now."""
        await self.observer.to_the_end(60)
        records = await self.observer.inputs(120)
        published: list[Published] = []
        seen: set[bytes] = set()
        for record in records:
            step = self.load.steps.get(record.value) if record.value is not None else None
            repeat = step is not None and record.value in seen
            if step is not None:
                seen.add(record.value)
            headers = tuple((name, raw) for name, raw in record.headers)
            place = Place(record.topic, record.partition, record.offset)
            at = record.timestamp / 1000
            published.append(Published(place, at, record.key, record.value, headers, step, repeat))
        return Evidence(
            published,
            self.observer.told,
            self.observer.letters,
            read_journal(self.journal),
            self.load.ordered,
            await self.observer.uncommitted(GROUP, records),
        )


def read_journal(path: Path) -> list[Effect]:
    """The effects of the workers' calls that moved units."""
    found: list[Effect] = []
    for line in path.read_bytes().splitlines():
        entry = orjson.loads(line)
        if entry["by"] != "api" or entry["kind"] not in ("shipped", "cancelled"):
            continue
        shipped = entry["kind"] == "shipped"
        units = tuple(
            Moved(moved["line_number"], moved["tracking_number"] if shipped else None, moved["quantity"])
            for moved in entry["lines"]
        )
        found.append(Effect(entry["n"], entry["time"], entry["purchase_order_id"], units))
    return found


def worker_settings(
    options: Options, bootstrap: str, walmart_url: str, secret: Path, topics: TopicSettings, instance: str | None
) -> dict[str, Any]:
    """Short times, small windows: so that parking, late results and moved partitions happen within minutes."""
    kafka: dict[str, Any] = {
        "group_id": GROUP,
        "session_timeout_seconds": SESSION_S,
        "rebalance_timeout_seconds": 10,
        # aiokafka holds JoinGroup to it, too: shorter than a rebalance, and a member gives up joining again and again.
        "request_timeout_seconds": 12,
    }
    if instance is not None:
        kafka["group_instance_id"] = instance
    return sandbox_settings(
        bootstrap,
        walmart_url,
        secret,
        topics=topics.model_dump(),
        kafka=kafka,
        timing={
            "call_timeout_seconds": CALL_TIMEOUT_S,
            "read_lag_seconds": options.allowance_seconds,
            "settle_seconds": _SETTLE_S,
            "slo_seconds": 30,
            "park_after_seconds": options.park_after_seconds,
        },
        limits={"max_queued_events_per_account": 150},
    )


@contextlib.asynccontextmanager
async def field(options: Options, folder: Path, deeds: Deeds) -> AsyncIterator[Field]:
    """Set everything up; at the end nothing of it is left running, however the block ends."""
    chance = Random(options.seed)
    topics = TopicSettings()
    secret = folder / "secret"
    secret.write_text(SECRET)
    journal = folder / "walmart.jsonl"
    async with contextlib.AsyncExitStack() as stack:
        kafka = await stack.enter_async_context(EmbeddedKafka(nodes=options.nodes, heap_mb=384))
        bootstrap = kafka.bootstrap_servers
        await create_topics(bootstrap, topics, partitions=options.partitions, replication=options.nodes, timeout_s=60)
        delay = ("--delay-seconds", str(options.delay_seconds))
        walmart = await stack.enter_async_context(running_walmart(journal, unlimited=True, arguments=delay))
        timeout = aiohttp.ClientTimeout(total=60)
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
        control = WalmartControl(walmart.control_url, session)
        # Longer than any fault lasts: an acknowledgement that is given up leaves a second copy.
        producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, request_timeout_ms=50_000
        )
        await producer.start()
        stack.push_async_callback(_within, 10, producer.stop())
        observer = Observer(bootstrap, topics, options.partitions)
        await observer.start()
        stack.push_async_callback(observer.close)

        def settings_of(instance: str | None) -> dict[str, Any]:
            return worker_settings(options, bootstrap, walmart.url, secret, topics, instance)

        troop = Troop(folder, settings_of, deeds)
        stack.push_async_callback(troop.end)
        load = Load(
            Random(chance.random()), options.mix, options.rate, producer, topics, control, enough=lambda: made.enough
        )
        weather = Weather(
            options,
            Random(chance.random()),
            deeds,
            kafka,
            walmart,
            control,
            troop,
            standing=lambda: list(load.partial_refused),
        )
        made = Field(options, deeds, topics, kafka, control, troop, observer, load, weather, journal)
        yield made


async def _within(seconds: float, ending: Awaitable[object]) -> None:
    """End something, but do not hang on it."""
    with contextlib.suppress(Exception):
        async with asyncio.timeout(seconds):
            await ending
