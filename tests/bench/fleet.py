"""Several worker processes of one consumer group."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Final

import aiohttp

from tests.bench.contract import Contender, Task
from tests.bench.ground import PARTITIONS
from tests.bench.process import Child, child

_POLL_S: Final = 0.1
_PATIENCE_S: Final = 120.0


class Fleet:
    """Running workers, and what they say of themselves."""

    def __init__(self, workers: list[Child], ports: list[int], session: aiohttp.ClientSession) -> None:
        self.workers, self._ports, self._session = workers, ports, session

    @property
    def cpu_s(self) -> float:
        """Processor seconds of all of them so far."""
        return sum(worker.cpu_s for worker in self.workers)

    @property
    def peak_mb(self) -> float:
        """The most memory that one of them ever had."""
        return max(worker.peak_mb for worker in self.workers)

    def check(self) -> None:
        """Raise ChildEndedError if one has ended."""
        for worker in self.workers:
            worker.check()

    async def until_shared_out(self) -> None:
        """Wait until all are ready and each has its share of the partitions."""
        fair = 2 * PARTITIONS // len(self.workers)
        async with asyncio.timeout(_PATIENCE_S):
            while not all([await self._is_ready(port, fair) for port in self._ports]):
                self.check()
                await asyncio.sleep(_POLL_S)

    async def _is_ready(self, port: int, partitions: int) -> bool:
        try:
            if not await is_ready(self._session, port):
                return False
            async with self._session.get(f"http://127.0.0.1:{port}/metrics") as answer:
                lines = (await answer.text()).splitlines()
        except aiohttp.ClientError:
            return False
        return f"order_sync_partitions_assigned {partitions:.1f}" in lines


async def is_ready(session: aiohttp.ClientSession, port: int) -> bool:
    """The worker says so: it has its partitions, and its table has caught up."""
    try:
        async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


def free_port() -> int:
    """One that nobody listens on just now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@asynccontextmanager
async def fleet(contender: Contender, task: Task, count: int) -> AsyncIterator[Fleet]:
    """Run so many of our workers on one task, each with a port of its own, and wait until all have their share."""
    assert 2 * PARTITIONS % count == 0
    ports = [free_port() for _ in range(count)]
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        workers = [
            await stack.enter_async_context(
                child(contender.run(replace(task, settings=task.settings | {"http": {"port": port}})))
            )
            for port in ports
        ]
        running = Fleet(workers, ports, session)
        await running.until_shared_out()
        yield running
