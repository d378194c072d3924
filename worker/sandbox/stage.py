"""Everything the sandbox runs on: a real Kafka, the simulated Walmart, a real worker. Started and stopped in order."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from worker.sandbox.kafka import EmbeddedKafka, create_topics
from worker.sandbox.walmart.control import WalmartControl, WalmartProcess, running_walmart
from worker.sandbox.worker_process import SECRET, WorkerProcess, sandbox_settings

PARTITIONS = 4


@dataclass(frozen=True, slots=True)
class Stage:
    """What is running."""

    bootstrap_servers: str
    walmart: WalmartProcess
    control: WalmartControl
    worker: WorkerProcess
    folder: Path


@asynccontextmanager
async def set_up(progress: Callable[[str], None]) -> AsyncIterator[Stage]:
    """Start all parts; stop them at the end. `progress` is told what takes long, one line each."""
    with tempfile.TemporaryDirectory(prefix="order-sync-sandbox-") as name:
        folder = Path(name)
        secret = folder / "walmart-secret"
        secret.write_text(SECRET)
        secret.chmod(0o600)
        progress("starting Kafka")
        kafka = EmbeddedKafka(progress=progress)
        async with (
            kafka,
            running_walmart(folder / "walmart-journal.jsonl") as walmart,
            aiohttp.ClientSession() as session,
        ):
            await create_topics(kafka.bootstrap_servers, partitions=PARTITIONS)
            progress("starting the worker")
            worker = WorkerProcess(
                folder, sandbox_settings(kafka.bootstrap_servers, walmart.url, secret, has_budgets=True)
            )
            await worker.start()
            try:
                control = WalmartControl(walmart.control_url, session)
                yield Stage(kafka.bootstrap_servers, walmart, control, worker, folder)
            finally:
                progress("stopping")
                await asyncio.shield(worker.stop(timeout_s=10))
