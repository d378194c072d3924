"""One Kafka for the whole test run, behind one fixture: a container where Docker answers, else the wheels.

`ORDER_SYNC_TEST_KAFKA` decides: `auto` (default), `docker` or `wheels`. With Docker, `ORDER_SYNC_TEST_KAFKA_IMAGE`
names the image (any that is configured like `apache/kafka`), and `ORDER_SYNC_TEST_KAFKA_NETWORK=host` avoids port
mapping.
Nothing here waits without a limit. The end of pytest's report tells which Kafka it was.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

from worker.sandbox.kafka import EmbeddedKafka, create_topics
from worker.sandbox.kafka_config import HOST, addresses, server_properties
from worker.sandbox.kafka_jars import KAFKA_VERSION
from worker.sandbox.kafka_topics import wait_for_brokers
from worker.settings import TopicSettings

IMAGE: Final = os.environ.get("ORDER_SYNC_TEST_KAFKA_IMAGE", f"apache/kafka:{KAFKA_VERSION}")
PULL_SECONDS: Final = 60
START_SECONDS: Final = 60

_told = pytest.StashKey[list[str]]()


class NoContainerError(Exception):
    """Docker cannot give us a Kafka; the message says why."""


@pytest.fixture(scope="session")
def kafka(pytestconfig: pytest.Config) -> Iterator[str]:
    """Bootstrap servers of a Kafka that all tests share: use topics and groups of your own (see `topics`)."""
    lines = pytestconfig.stash.setdefault(_told, [])
    wanted = os.environ.get("ORDER_SYNC_TEST_KAFKA", "auto")
    begun = time.monotonic()
    if wanted in ("auto", "docker"):
        try:
            with _container() as bootstrap:
                lines.append(f"kafka: container of {IMAGE}, up after {time.monotonic() - begun:.1f} s")
                yield bootstrap
                return
        except NoContainerError as reason:
            if wanted == "docker":
                pytest.fail(f"no Kafka from Docker: {reason}")
            lines.append(f"kafka: no container ({reason})")
    begun = time.monotonic()
    embedded = EmbeddedKafka(progress=lines.append)
    asyncio.run(embedded.start())
    lines.append(f"kafka: {KAFKA_VERSION} from wheels, up after {time.monotonic() - begun:.1f} s")
    try:
        yield embedded.bootstrap_servers
    finally:
        asyncio.run(embedded.stop())


@pytest.fixture
async def topics(kafka: str) -> TopicSettings:
    """The four topics under names of this test alone, three partitions each."""
    names = new_names()
    await create_topics(kafka, names)
    return names


def new_names() -> TopicSettings:
    """Four topic names that no other test has."""
    tag = uuid.uuid4().hex[:8]
    return TopicSettings(
        order_shipped=f"shipped-{tag}",
        order_cancelled=f"cancelled-{tag}",
        sync_result=f"result-{tag}",
        dead_letter=f"dead-letter-{tag}",
    )


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for line in config.stash.get(_told, []):
        terminalreporter.write_line(line)


@contextmanager
def _container() -> Iterator[str]:
    client = _docker()
    _make_present(client)
    from testcontainers.core.config import testcontainers_config
    from testcontainers.core.container import DockerContainer

    # The reaper is one more image to fetch; the container is removed below.
    testcontainers_config.ryuk_disabled = True
    (address,) = addresses(1)
    properties = server_properties(address, [address], "/tmp/kafka-logs", {})
    container = DockerContainer(IMAGE)
    if os.environ.get("ORDER_SYNC_TEST_KAFKA_NETWORK") == "host":
        container = container.with_kwargs(network_mode="host")
    else:
        # The port is the same inside and outside, so that the advertised address is right on both sides.
        properties["listeners"] = properties["listeners"].replace(HOST, "0.0.0.0")
        container = container.with_bind_ports(address.client_port, address.client_port)
    for key, value in properties.items():
        container = container.with_env(_variable(key), value)
    try:
        container.start()
        asyncio.run(_until_up(container, address.client))
        yield address.client
    finally:
        container.stop()


def _variable(key: str) -> str:
    """The environment variable by which images of Apache Kafka take a broker setting."""
    return "KAFKA_" + key.replace("_", "__").replace(".", "_").upper()


async def _until_up(container: Any, address: str) -> None:
    def check_alive() -> None:
        state = container.get_wrapped_container()
        state.reload()
        if state.status == "exited":
            raise NoContainerError(f"{IMAGE} ended: {state.logs(tail=20).decode(errors='replace')}")

    try:
        async with asyncio.timeout(START_SECONDS):
            await wait_for_brokers(address, {1}, check_alive, poll_s=0.2)
    except TimeoutError:
        raise NoContainerError(f"{IMAGE} did not come up within {START_SECONDS} s") from None


def _docker() -> Any:
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env(timeout=5)
        client.ping()
    except (DockerException, OSError) as error:
        raise NoContainerError(f"no Docker engine: {type(error).__name__}") from error
    return client


def _make_present(client: Any) -> None:
    if not client.images.list(name=IMAGE):
        failed: list[str] = []
        # The engine's answer to a pull can be awaited for ever; a thread can be left behind.
        puller = threading.Thread(target=_pull, args=(failed,), daemon=True)
        puller.start()
        puller.join(PULL_SECONDS)
        if puller.is_alive():
            raise NoContainerError(f"{IMAGE} was not pulled within {PULL_SECONDS} s")
        if failed:
            raise NoContainerError(failed[0])


def _pull(failed: list[str]) -> None:
    import docker
    from docker.errors import DockerException

    try:
        docker.from_env(timeout=PULL_SECONDS).images.pull(IMAGE)
    except (DockerException, OSError) as error:
        failed.append(f"{IMAGE} cannot be pulled: {type(error).__name__}")
