"""`order-sync run`: signals and exit codes, with a worker that does what the test says."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import Awaitable, Callable

import pytest
from aiokafka.errors import KafkaConnectionError

from worker.app import StoppedError
from worker.cli import run as command
from worker.cli.exit_codes import ExitCode
from worker.configuration import load
from worker.kafka import NotPublishedError
from worker.oncall import kafka as shell
from worker.oncall.kafka import KafkaUnreachableError
from worker.settings import KafkaSettings, Settings


class FakeWorker:
    def __init__(self, behave: Callable[[FakeWorker], Awaitable[None]]) -> None:
        self._behave = behave
        self.stopping = asyncio.Event()
        self.reloads: asyncio.Queue[None] = asyncio.Queue()

    async def run(self) -> None:
        await self._behave(self)

    def stop(self) -> None:
        self.stopping.set()

    def reload(self) -> None:
        self.reloads.put_nowait(None)


@pytest.fixture
def settings(config: str) -> Settings:
    from pathlib import Path

    loaded = load(Path(config), {})
    assert isinstance(loaded, Settings)
    return loaded


@pytest.fixture
def kafka_there(monkeypatch: pytest.MonkeyPatch) -> None:
    async def probe(_: KafkaSettings) -> None:
        return

    monkeypatch.setattr(shell, "probe", probe)


@pytest.mark.usefixtures("kafka_there")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_cleanly(settings: Settings, number: signal.Signals) -> None:
    async def behave(worker: FakeWorker) -> None:
        os.kill(os.getpid(), number)
        await worker.stopping.wait()

    assert await command.serve(settings, 1, make=lambda _: FakeWorker(behave)) is ExitCode.OK


@pytest.mark.usefixtures("kafka_there")
async def test_sighup_has_the_settings_read_anew_and_ends_nothing(settings: Settings) -> None:
    async def behave(worker: FakeWorker) -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGHUP)
            await worker.reloads.get()
        assert not worker.stopping.is_set()

    assert await command.serve(settings, 1, make=lambda _: FakeWorker(behave)) is ExitCode.OK


async def test_sighup_before_there_is_a_worker_is_survived(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a handler it would end the process. The worker's first look finds what had changed."""

    async def probe(_: KafkaSettings) -> None:
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.sleep(0.01)

    async def behave(worker: FakeWorker) -> None:
        assert worker.reloads.empty()

    monkeypatch.setattr(shell, "probe", probe)
    assert await command.serve(settings, 1, make=lambda _: FakeWorker(behave)) is ExitCode.OK


@pytest.mark.usefixtures("kafka_there")
async def test_a_second_signal_ends_at_once(settings: Settings) -> None:
    forced: asyncio.Queue[int] = asyncio.Queue()

    async def behave(worker: FakeWorker) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await worker.stopping.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        assert await forced.get() == ExitCode.INTERRUPTED

    await command.serve(settings, 1, make=lambda _: FakeWorker(behave), force=forced.put_nowait)


@pytest.mark.usefixtures("kafka_there")
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StoppedError("the intake task ended"), ExitCode.RESTART),
        (KafkaConnectionError("gone"), ExitCode.UNREACHABLE),
        (NotPublishedError("gone"), ExitCode.UNREACHABLE),
        (TimeoutError(), ExitCode.UNREACHABLE),
        (OSError(errno.EADDRINUSE, "port in use"), ExitCode.MISTAKE),
        (OSError(errno.ECONNREFUSED, "refused"), ExitCode.UNREACHABLE),
        (asyncio.CancelledError(), ExitCode.RESTART),
    ],
)
async def test_what_ends_the_worker_decides_the_code(settings: Settings, error: BaseException, code: ExitCode) -> None:
    async def behave(_: FakeWorker) -> None:
        raise error

    assert await command.serve(settings, 1, make=lambda _: FakeWorker(behave)) is code


async def test_kafka_is_waited_for_at_start(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = 0

    async def probe(_: KafkaSettings) -> None:
        nonlocal tries
        tries += 1
        if tries < 2:
            raise KafkaUnreachableError("not yet")

    async def behave(_: FakeWorker) -> None:
        assert tries == 2

    monkeypatch.setattr(shell, "probe", probe)
    assert await command.serve(settings, 30, make=lambda _: FakeWorker(behave)) is ExitCode.OK


def no_worker(_: Settings) -> FakeWorker:
    raise AssertionError("the worker must not start")


async def test_the_wait_for_kafka_is_bounded(settings: Settings) -> None:
    assert await command.serve(settings, 0, make=no_worker) is ExitCode.UNREACHABLE


async def test_a_signal_ends_the_wait_for_kafka(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async def probe(_: KafkaSettings) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()

    monkeypatch.setattr(shell, "probe", probe)
    assert await command.serve(settings, 60, make=no_worker) is ExitCode.OK
