"""Thousands of accounts in one worker: what each costs, and how their token requests are spread over time."""

from __future__ import annotations

import asyncio
import random
import re
import statistics
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import aiohttp
from aiokafka import AIOKafkaProducer

from tests.bench.accounts_runner import MANY, MANY_ACCOUNTS, names_of, secret_of
from tests.bench.effort import Effort
from tests.bench.figures import Aim, Figure
from tests.bench.fleet import free_port, is_ready
from tests.bench.ground import Ground, RecordCount, tell
from tests.bench.merchants import Merchants
from tests.bench.orders import order_id
from tests.bench.process import Child, child
from tests.bench.traffic import STRUCTURED, event, produce
from worker.sandbox.walmart.control import WalmartControl, running_walmart
from worker.settings import LimitSettings

DELAY_S: Final = 0.05
"""How long Walmart takes to answer."""
USES_PER_LIFE: Final = 4
"""So often an account is used in the life of a token."""
_LIVES: Final = 2.5
"""So many lives of a token the accounts are used on."""
_FROM_LIFE: Final = 1.0
"""Renewals are counted from there on: before, they still show that all got their first token together."""
_ALONE_FROM: Final = 9_000_000
_TOKENS: Final = re.compile(r'^order_sync_walmart_calls_total{[^}]*operation="token"[^}]*} (\S+)$', re.MULTILINE)
_POLL_S: Final = 0.1
_TICK_S: Final = 0.05
_PATIENCE_S: Final = 300.0
_QUIET_S: Final = 3.0


@dataclass
class _Seen:
    """One run."""

    configured_kb: float = 0.0
    used_kb: float = 0.0
    first_s: float = 0.0
    finished: float = 0.0
    most_at_once: int = 0
    tokens_at_start: float = 0.0
    renewals: tuple[float, ...] = ()
    """Token requests in each second."""


async def accounts(ground: Ground, effort: Effort) -> list[Figure]:
    """Memory per account, spread of token requests, and whether the events of all accounts are finished."""
    figures: dict[str, Figure] = {}
    who = f"order-sync, {effort.accounts_count:,} accounts"

    def note(name: str, unit: str, value: float, aim: Aim | None = None) -> None:
        figures.setdefault(name, Figure("accounts", who, name, unit, aim=aim)).values.append(value)

    most = LimitSettings().max_token_requests
    for _ in range(effort.long_runs):
        seen = await _run(ground, effort)
        note("memory per account in the settings", "kB", seen.configured_kb)
        note("memory more per account in use", "kB", seen.used_kb)
        note("first event of every account, until all are finished", "s", seen.first_s)
        note("events finished", "", seen.finished, (">=", 1.0))
        note("tokens per account, at the start", "", seen.tokens_at_start, ("<=", 1.0))
        note("token requests at one moment, at most", "", seen.most_at_once, ("<=", most))
        note("renewals per second, mean", "/s", statistics.mean(seen.renewals))
        note("renewals, busiest second / mean", "", busiest(seen.renewals, 1))
        note("renewals, busiest 5 s / mean", "", busiest(seen.renewals, 5), ("<", 2.0))
        for name in ("memory more per account in use", "renewals, busiest 5 s / mean"):
            tell(ground, figures[name])
    return list(figures.values())


def busiest(counts: Sequence[float], seconds: int) -> float:
    """The most in so many seconds on end, by the mean; a machine that stands still for one second has two in the next.

    `counts`: of each second.
    """
    sums = [sum(counts[first : first + seconds]) for first in range(len(counts) - seconds + 1)]
    return max(sums) / (seconds * statistics.mean(counts))


async def _run(ground: Ground, effort: Effort) -> _Seen:
    count, life_s = effort.accounts_count, effort.accounts_token_seconds
    seconds = _LIVES * life_s
    more = int(count * USES_PER_LIFE * _LIVES)
    seen = _Seen()
    async with _walmart(count, life_s) as walmart:
        names = walmart.names
        await walmart.only(names[0]).add_orders(range(_ALONE_FROM, _ALONE_FROM + count))
        await walmart.add_orders(range(count + more))
        async with _worker(ground, walmart, 1) as worker:
            alone = await worker.memory_for((number, names[0]) for number in range(_ALONE_FROM, _ALONE_FROM + count))
        async with _worker(ground, walmart, count) as worker:
            begun = time.monotonic()
            many = await worker.memory_for((number, walmart.seller_of(number)) for number in range(count))
            seen.first_s = time.monotonic() - begun - _QUIET_S
            seen.tokens_at_start = await worker.tokens() / count
            seen.configured_kb = (many.idle_mb - alone.idle_mb) * 1e3 / (count - 1)
            seen.used_kb = (many.grown_mb - alone.grown_mb) * 1e3 / (count - 1)
            watching = asyncio.create_task(worker.tokens_each_second(seconds))
            await _use(ground.bootstrap, worker.topic, walmart, range(count, count + more), seconds)
            seen.renewals = tuple((await watching)[int(_FROM_LIFE * life_s) :])
            await worker.until(count + more)
        counts = await walmart.control.requests()
        seen.finished = (counts.total("ship", 200) - count) / (count + more)
        seen.most_at_once = counts.most_at_once["token"]
    return seen


async def _use(bootstrap: str, topic: str, walmart: Merchants, numbers: range, seconds: float) -> None:
    """Write these events over so many seconds, the accounts in no order.

    If they took turns, those used once in a token's life would ask for the next one in the order of the first.
    """
    mixed = random.Random(1).sample(numbers, len(numbers))
    begun, written = time.monotonic(), 0
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=5)
    await producer.start()
    try:
        while written < len(mixed):
            await asyncio.sleep(_TICK_S)
            until = min(len(mixed), int(len(mixed) * (time.monotonic() - begun) / seconds))
            sent = [
                await producer.send(
                    topic,
                    event(number, store=walmart.seller_of(number)),
                    key=order_id(number).encode(),
                    headers=STRUCTURED,
                )
                for number in mixed[written:until]
            ]
            await asyncio.gather(*sent)
            written = until
    finally:
        await producer.stop()


@asynccontextmanager
async def _walmart(count: int, token_seconds: float) -> AsyncIterator[Merchants]:
    names = names_of(count)
    arguments = ["--no-validate", "--delay-seconds", str(DELAY_S), "--token-seconds", str(token_seconds)]
    sellers = [f"{name}:{secret_of(name)}" for name in names]
    async with (
        running_walmart(None, sellers=sellers, unlimited=True, arguments=arguments) as process,
        aiohttp.ClientSession() as session,
    ):
        yield Merchants(process, WalmartControl(process.control_url, session), names)


@dataclass(frozen=True, slots=True)
class _Memory:
    """Resident, of one worker."""

    idle_mb: float
    after_mb: float

    @property
    def grown_mb(self) -> float:
        """By what so many events, and their accounts, have left behind."""
        return self.after_mb - self.idle_mb


class _Worker:
    """One worker process on topics of its own, and what it says of itself."""

    def __init__(
        self,
        bootstrap: str,
        process: Child,
        topic: str,
        results: RecordCount,
        session: aiohttp.ClientSession,
        port: int,
    ) -> None:
        self.topic = topic
        self._bootstrap, self._process, self._results = bootstrap, process, results
        self._session, self._port = session, port

    async def memory_for(self, events: Iterable[tuple[int, str]]) -> _Memory:
        """Before and after these events: number and store."""
        idle_mb = self._process.memory_mb
        made = [(order_id(number), event(number, store=store)) for number, store in events]
        await produce(self._bootstrap, self.topic, made)
        await self.until(len(made))
        await asyncio.sleep(_QUIET_S)
        return _Memory(idle_mb, self._process.memory_mb)

    async def until(self, results: int) -> None:
        """Wait for so many results in all."""
        async with asyncio.timeout(_PATIENCE_S):
            while await self._results.now() < results:
                self._process.check()
                await asyncio.sleep(_POLL_S)

    async def until_ready(self) -> None:
        """Wait until it has its partitions."""
        async with asyncio.timeout(_PATIENCE_S):
            while not await is_ready(self._session, self._port):
                self._process.check()
                await asyncio.sleep(_POLL_S)

    async def tokens(self) -> float:
        """Token requests that ended, by its own count."""
        async with self._session.get(f"http://127.0.0.1:{self._port}/metrics") as answer:
            page = await answer.text()
        return sum(float(value) for value in _TOKENS.findall(page))

    async def tokens_each_second(self, seconds: float) -> list[float]:
        """How many in each of the seconds to come."""
        counts: list[float] = []
        begun, before = time.monotonic(), await self.tokens()
        for second in range(1, int(seconds) + 1):
            await asyncio.sleep(begun + second - time.monotonic())
            now = await self.tokens()
            counts.append(now - before)
            before = now
        return counts


@asynccontextmanager
async def _worker(ground: Ground, walmart: Merchants, count: int) -> AsyncIterator[_Worker]:
    topics, port = await ground.fresh_topics(), free_port()
    settings = {MANY: {"count": count}, "http": {"port": port}}
    task = ground.task("calls", walmart=walmart.url, topics=topics, settings=settings)
    async with (
        ground.records(topics.sync_result) as results,
        aiohttp.ClientSession() as session,
        child(MANY_ACCOUNTS.run(task)) as process,
    ):
        worker = _Worker(ground.bootstrap, process, topics.order_shipped, results, session, port)
        await worker.until_ready()
        yield worker
