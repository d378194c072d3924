"""`order-sync run`: the worker process, its signals and its exit code."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from worker.cli.common import load_settings
from worker.cli.exit_codes import ExitCode
from worker.cli.options import Config
from worker.cli.teaching import teaches

if TYPE_CHECKING:
    from worker.reload import SettingsSource
    from worker.settings import KafkaSettings, Settings

_RETRY_FIRST_S = 0.5
_RETRY_LONGEST_S = 5.0


class Runs(Protocol):
    """A worker, as this command needs it."""

    async def run(self) -> None:
        """Work until `stop`. Raises when it cannot go on."""
        ...

    def stop(self) -> None:
        """Ask for a clean stop."""
        ...

    def reload(self) -> None:
        """Have the settings read anew."""
        ...


@teaches(
    "order-sync run --config order-sync.toml",
    "ORDER_SYNC_CONFIG=order-sync.toml ORDER_SYNC_LOG__LEVEL=debug order-sync run",
)
def run(
    config: Config = None,
    wait_for_kafka: Annotated[
        float,
        typer.Option(min=0, metavar="SECONDS", help="How long Kafka may take to answer at start; 0: one try."),
    ] = 60.0,
) -> None:
    """Run the worker until SIGTERM or Ctrl-C.

    It then finishes what is running, commits and ends with 0. A second signal ends it at once (130); what was
    running is done again by the next worker, harmlessly. Changed settings are taken while it runs: by itself when the
    settings file, or a secret's file, has changed, and at once on SIGHUP. Logs are JSON lines on standard output;
    metrics and health are served over HTTP (settings: http.port).
    """
    from worker.configuration import known_secrets
    from worker.reload import SettingsSource
    from worker.telemetry.logs import configure

    settings = load_settings(config)
    configure(settings.log.level, secrets=known_secrets(settings))
    source = SettingsSource(config, dict(os.environ))
    raise typer.Exit(int(asyncio.run(serve(settings, wait_for_kafka, make=lambda of: _worker(of, source)))))


async def serve(
    settings: Settings,
    wait_for_kafka_s: float,
    *,
    make: Callable[[Settings], Runs],
    force: Callable[[int], None] = os._exit,
) -> ExitCode:
    """Wait for Kafka, run the worker, turn its end into an exit code. `force` ends the process at once."""
    import structlog

    from worker.oncall.kafka import KafkaUnreachableError

    log = structlog.get_logger()
    stop = asyncio.Event()
    worker: Runs | None = None

    def asked(name: str) -> None:
        if stop.is_set():
            log.warning("ended_at_once", signal=name)
            force(ExitCode.INTERRUPTED)
        log.info("stop_asked", signal=name)
        stop.set()
        if worker is not None:
            worker.stop()

    def reload() -> None:
        log.info("reload_asked", signal=signal.SIGHUP.name)
        # Before there is a worker there is nothing to do: its first look finds what has changed since the start.
        if worker is not None:
            worker.reload()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked, number.name)
    loop.add_signal_handler(signal.SIGHUP, reload)
    try:
        try:
            if not await _unless(stop, until_kafka_answers(settings.kafka, wait_for_kafka_s)):
                return ExitCode.OK
        except KafkaUnreachableError as error:
            log.error("kafka_unreachable", detail=str(error))  # noqa: TRY400  # the text says it all
            return ExitCode.UNREACHABLE
        worker = make(settings)
        return await _work(worker, stop)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)


async def until_kafka_answers(kafka: KafkaSettings, wait_s: float) -> None:
    """Connect, with waits between tries that grow to 5 s. Raises KafkaUnreachableError after `wait_s` seconds."""
    import stamina

    from worker.oncall.kafka import KafkaUnreachableError, probe

    async for attempt in stamina.retry_context(
        on=KafkaUnreachableError,
        attempts=None if wait_s > 0 else 1,
        timeout=wait_s if wait_s > 0 else None,
        wait_initial=_RETRY_FIRST_S,
        wait_max=_RETRY_LONGEST_S,
    ):
        with attempt:
            await probe(kafka)


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Await the work; False if the stop came first (the work is then cancelled)."""
    task = asyncio.create_task(work)
    asked = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, asked}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
            return True
        task.cancel()
        await asyncio.wait({task}, timeout=5)
        return False
    finally:
        asked.cancel()


async def _work(worker: Runs, stop: asyncio.Event) -> ExitCode:
    import structlog
    from aiokafka.errors import KafkaError

    from worker.app import StoppedError
    from worker.kafka import NotPublishedError

    log = structlog.get_logger()
    try:
        await worker.run()
    except StoppedError as error:
        log.error("worker_must_restart", detail=str(error)[:500])  # noqa: TRY400
        return ExitCode.RESTART
    except (KafkaError, NotPublishedError, TimeoutError) as error:
        log.error("kafka_unreachable", error=type(error).__name__, detail=str(error)[:500])  # noqa: TRY400
        return ExitCode.UNREACHABLE
    except OSError as error:
        log.error("start_failed", error=type(error).__name__, detail=str(error)[:500])  # noqa: TRY400
        in_the_way = (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES)
        return ExitCode.MISTAKE if error.errno in in_the_way else ExitCode.UNREACHABLE
    except asyncio.CancelledError:
        current = asyncio.current_task()
        if current is not None and current.cancelling():
            raise
        # The Kafka client can leak one of its own when it is closed with a broker down.
        return ExitCode.OK if stop.is_set() else ExitCode.RESTART
    return ExitCode.OK


def _worker(settings: Settings, source: SettingsSource) -> Runs:
    from worker.app import Worker

    return Worker(settings, source=source)
