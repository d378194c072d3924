"""Creating the product's topics and waiting for brokers, through Kafka's own protocol.

`python -m worker.sandbox.kafka_topics --bootstrap-servers HOST:PORT` creates them on any cluster; production clusters
are better served by the files under `deploy/topics/`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from worker.settings import KafkaSettings, TopicSettings
from worker.topics import TopicSpec, topic_specs


async def create_topics(
    bootstrap_servers: str,
    topics: TopicSettings | None = None,
    *,
    kafka: KafkaSettings | None = None,
    partitions: int = 3,
    replication: int = 1,
    timeout_s: float = 30,
) -> tuple[TopicSpec, ...]:
    """Create those of the four topics that do not exist yet, and wait until every partition has a leader.

    A topic that exists is left as it is (`order-sync check` tells what is wrong with it).

    Returns:
        What was wanted, inputs first.

    Raises:
        KafkaError: the cluster refused a topic.
        TimeoutError: not done within `timeout_s` seconds.
    """
    specs = topic_specs(
        topics or TopicSettings(), kafka or KafkaSettings(), partitions=partitions, replication=replication
    )
    async with asyncio.timeout(timeout_s), _admin(bootstrap_servers) as admin:
        existing = set(await admin.list_topics())
        new = [
            NewTopic(spec.name, spec.partitions, spec.replication, topic_configs=dict(spec.config))
            for spec in specs
            if spec.name not in existing
        ]
        if new:
            answer = await admin.create_topics(new)
            for name, code, *text in answer.topic_errors:
                error = for_code(code)
                # Another replica of an init job may have been quicker.
                if code and error is not TopicAlreadyExistsError:
                    raise error(f"{name}: {text[0] if text else ''}")
        await _until_led(admin, specs)
    return specs


async def wait_for_brokers(
    address: str, nodes: set[int], check_alive: Callable[[], None] = lambda: None, poll_s: float = 0.05
) -> None:
    """Wait until the broker at `address` answers and knows `nodes` as members of its cluster. Never gives up itself.

    `check_alive` is called between tries and may raise to end the wait.
    """
    host, port = address.rsplit(":", 1)
    while True:
        check_alive()
        try:
            _, writer = await asyncio.open_connection(host, int(port))
        except OSError:
            await asyncio.sleep(poll_s)
            continue
        writer.close()
        try:
            async with asyncio.timeout(5), _admin(address) as admin:
                if nodes <= await _members(admin):
                    return
        except (KafkaError, OSError, TimeoutError):
            pass  # still starting
        await asyncio.sleep(poll_s)


async def _members(admin: AIOKafkaAdminClient) -> set[int]:
    cluster = await admin.describe_cluster()
    return {broker["node_id"] for broker in cluster["brokers"]}


async def _until_led(admin: AIOKafkaAdminClient, specs: tuple[TopicSpec, ...]) -> None:
    names = [spec.name for spec in specs]
    while True:
        described = await admin.describe_topics(names)
        if all(
            topic["error_code"] == 0 and topic["partitions"] and all(one["leader"] >= 0 for one in topic["partitions"])
            for topic in described
        ):
            return
        await asyncio.sleep(0.05)


@asynccontextmanager
async def _admin(bootstrap_servers: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers, request_timeout_ms=10_000)
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


async def _when_up(asked: argparse.Namespace) -> tuple[TopicSpec, ...]:
    async with asyncio.timeout(asked.wait_seconds):
        await wait_for_brokers(asked.bootstrap_servers.split(",")[0], set())
    return await create_topics(asked.bootstrap_servers, partitions=asked.partitions, replication=asked.replication)


def main() -> None:
    """Create the topics and name them."""
    parser = argparse.ArgumentParser(prog="python -m worker.sandbox.kafka_topics", description="Create the topics.")
    parser.add_argument("--bootstrap-servers", default="localhost:9092")
    parser.add_argument("--partitions", type=int, default=3)
    parser.add_argument("--replication", type=int, default=1)
    parser.add_argument("--wait-seconds", type=float, default=30, help="how long Kafka may take to answer")
    asked = parser.parse_args()
    try:
        made = asyncio.run(_when_up(asked))
    except TimeoutError:
        raise SystemExit(f"{asked.bootstrap_servers} did not answer within {asked.wait_seconds:g} s") from None
    except KafkaError as error:
        raise SystemExit(f"the topics could not be created: {error}") from None
    for spec in made:
        sys.stdout.write(f"{spec.name}: {spec.partitions} partitions, {spec.config['cleanup.policy']}\n")


if __name__ == "__main__":
    main()
