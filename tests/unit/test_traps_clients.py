"""The Kafka and HTTP clients as we set them up: explicit wherever a default loses, hangs or splits orders."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any
from unittest.mock import MagicMock

import aiohttp
import pytest
from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from hypothesis import given
from hypothesis import strategies as st

from worker.intake import consumer as consumer_room
from worker.report import publisher as publisher_room
from worker.report.outbox import LINGER_S
from worker.report.publisher import Publisher
from worker.settings import Settings, TimingSettings
from worker.telemetry.metrics import Metrics
from worker.walmart.session import call_timeout, make_session

SETTINGS = Settings.model_validate(
    {
        "kafka": {"group_instance_id": "order-sync-3"},
        "accounts": {"main": {"client_id": "c", "client_secret": "s"}},
        "stores": {"us": {"account": "main"}},
    }
)


class NoBrokerError(Exception):
    """The recorded client has no network."""


class RecordedClient:
    """Notes how it is made and what it subscribes to; connecting fails."""

    made: dict[str, Any]
    topics: list[str]

    def __init__(self, **options: Any) -> None:
        type(self).made = options

    def subscribe(self, topics: list[str], listener: object) -> None:
        type(self).topics = topics

    async def start(self) -> None:
        raise NoBrokerError

    async def stop(self) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return MagicMock()


async def consumer_options(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(consumer_room, "AIOKafkaConsumer", RecordedClient)
    intake = consumer_room.Intake(SETTINGS, Metrics(), MagicMock())
    with pytest.raises(NoBrokerError):
        await intake.start()
    return RecordedClient.made


async def test_times_of_the_group_are_explicit_and_leave_room_to_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default it is the session timeout, 10 s: a full drain would cost the membership."""
    options = await consumer_options(monkeypatch)
    kafka = SETTINGS.kafka
    assert options["rebalance_timeout_ms"] == kafka.rebalance_timeout_seconds * 1000
    assert options["session_timeout_ms"] == kafka.session_timeout_seconds * 1000
    assert 3 * options["heartbeat_interval_ms"] <= options["session_timeout_ms"]
    assert options["max_poll_interval_ms"] >= 60_000


async def test_nothing_is_skipped_nor_committed_by_the_client_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """`latest`, the default, would jump over everything where a committed offset has expired."""
    options = await consumer_options(monkeypatch)
    assert options["auto_offset_reset"] == "earliest"
    assert options["enable_auto_commit"] is False


async def test_bytes_are_taken_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deserializer that raises is met again at every poll, without topic and offset."""
    options = await consumer_options(monkeypatch)
    assert [name for name in options if "deserializer" in name] == []


async def test_one_consumer_reads_both_topics_with_the_range_assignor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two consumers of one group rebalance each other; other assignors split an order's two partitions."""
    options = await consumer_options(monkeypatch)
    assert options["partition_assignment_strategy"] == (RangePartitionAssignor,)
    assert set(RecordedClient.topics) == {SETTINGS.topics.order_shipped, SETTINGS.topics.order_cancelled}
    assert options["group_instance_id"] == "order-sync-3"


@given(partitions=st.integers(1, 48), members=st.integers(1, 12))
def test_range_keeps_partition_numbers_of_both_topics_together(partitions: int, members: int) -> None:
    class Cluster(ClusterMetadata):  # type: ignore[misc]
        def partitions_for_topic(self, topic: str) -> set[int]:
            return set(range(partitions))

    metadata = RangePartitionAssignor.metadata(["shipped", "cancelled"])
    assigned = RangePartitionAssignor.assign(Cluster(), {f"m{number}": metadata for number in range(members)})
    for assignment in assigned.values():
        numbers = {topic: list(given) for topic, given in assignment.assignment}
        assert numbers["shipped"] == numbers["cancelled"]


async def test_written_means_on_all_replicas_once_and_in_large_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """The defaults: acks=1, no idempotence, batches of 16 kB (a wake-up storm under a fast producer)."""
    monkeypatch.setattr(publisher_room, "AIOKafkaProducer", RecordedClient)
    with pytest.raises(NoBrokerError):
        await Publisher(SETTINGS.kafka).start()
    options = RecordedClient.made
    assert (options["acks"], options["enable_idempotence"]) == ("all", True)
    assert options["max_batch_size"] >= 262_144
    assert 0 < LINGER_S <= 0.005
    assert options["max_request_size"] > SETTINGS.kafka.max_record_bytes
    assert "transactional_id" not in options


async def test_every_phase_of_a_call_has_a_limit_to_the_millisecond() -> None:
    """The defaults: 300 s in all, and limits of 5 s and more rounded up to whole seconds."""
    timing = TimingSettings(call_timeout_seconds=7.25, connect_timeout_seconds=5.5)
    timeout = call_timeout(timing)
    assert (timeout.total, timeout.connect) == (7.25, 5.5)
    assert (timeout.ceil_threshold or 0) > 3_600
    session = make_session(timing)
    assert session.timeout == timeout
    await session.close()


async def test_nobody_waits_for_a_connection_and_idle_ones_close_before_the_server_does() -> None:
    """The default: 100 connections, and waiting for one counts as connecting. Who makes calls is bounded instead."""
    session = make_session(TimingSettings())
    connector = session.connector
    assert isinstance(connector, aiohttp.TCPConnector)
    assert connector.limit == 0
    assert connector.limit_per_host == 0
    assert 0 < (connector._keepalive_timeout or 0) < 15
    await session.close()


async def test_closing_the_session_waits_for_its_tls_connections() -> None:
    """Else the loop ends with open transports: the last of a drain is waiting for them."""
    server_side, client_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_side.check_hostname = False
    for context in (server_side, client_side):
        # Anonymous, so that no certificate is needed here.
        context.verify_mode = ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("AECDH:@SECLEVEL=0")
    hung_up = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        await reader.read()
        writer.close()
        hung_up.set()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server_side)
    port = server.sockets[0].getsockname()[1]
    session = make_session(TimingSettings())
    async with session.get(f"https://127.0.0.1:{port}/", ssl=client_side) as response:
        assert await response.read() == b"{}"
    assert session.connector is not None
    (((protocol, _),),) = session.connector._conns.values()
    transport = protocol.transport
    assert transport is not None
    tls_socket = transport.get_extra_info("socket")
    assert tls_socket.fileno() > 0, "kept for the next call"
    await session.close()
    assert tls_socket.fileno() == -1
    async with asyncio.timeout(3):
        await hung_up.wait()
    server.close()
