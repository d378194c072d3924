"""The Kafka client options every room shares: address, security, timeouts."""

from __future__ import annotations

import asyncio
import ssl
from functools import lru_cache
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.partitioner import murmur2

from worker.settings import KafkaSettings


class NotPublishedError(Exception):
    """Kafka did not acknowledge the record. It may be there all the same: every record may be written again."""


def partition_of(key: bytes, count: int) -> int:
    """Where Kafka's default partitioner puts a key, of so many partitions."""
    return _hash_of(key) % count


@lru_cache(maxsize=8_192)
def _hash_of(key: bytes) -> int:
    # Written in Python, and asked for twice per event: where its record lies, and where its result goes.
    return int(murmur2(key)) & 0x7FFFFFFF


async def close_consumer(consumer: AIOKafkaConsumer, timeout_s: float) -> None:
    """Close a consumer within a bound, whatever it does.

    aiokafka's `stop()` may hang with a broker down, and may leak a CancelledError of its own and then leave its
    connections open: it runs in a task of its own, and the connections are closed under it if need be.
    """
    task = asyncio.ensure_future(consumer.stop())
    await asyncio.wait({task}, timeout=timeout_s)
    if not task.done() or task.cancelled() or task.exception() is not None:
        task.cancel()
        closing = asyncio.ensure_future(consumer._client.close())
        await asyncio.wait({task, closing}, timeout=2)


def client_options(settings: KafkaSettings) -> dict[str, Any]:
    """Keyword arguments of every aiokafka client."""
    options: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap_servers,
        "client_id": settings.client_id,
        "request_timeout_ms": int(settings.request_timeout_seconds * 1000),
        "security_protocol": settings.security_protocol,
    }
    if settings.security_protocol in ("SSL", "SASL_SSL"):
        options["ssl_context"] = _ssl_context(settings)
    if settings.security_protocol.startswith("SASL"):
        options["sasl_mechanism"] = settings.sasl_mechanism
        options["sasl_plain_username"] = settings.sasl_username
        options["sasl_plain_password"] = _password(settings)
    return options


def _ssl_context(settings: KafkaSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.ssl_cafile)
    if settings.ssl_certfile is not None:
        context.load_cert_chain(settings.ssl_certfile, settings.ssl_keyfile)
    return context


def _password(settings: KafkaSettings) -> str:
    if settings.sasl_password is not None:
        return settings.sasl_password.get_secret_value()
    assert settings.sasl_password_file is not None
    return Path(settings.sasl_password_file).read_text().strip()
