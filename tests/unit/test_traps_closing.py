"""Clients that end badly: a `stop()` that hangs, or leaks a CancelledError, ends within its bound all the same."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka.errors import KafkaError

from worker.kafka import close_consumer


class Connections:
    def __init__(self) -> None:
        self.closed = False

    async def close(self) -> None:
        self.closed = True


class BadEnd:
    """A consumer whose `stop()` does what it is told, and which then has its connections open still."""

    def __init__(self, ending: str) -> None:
        self._client = Connections()
        self._ending = ending

    async def stop(self) -> None:
        match self._ending:
            case "hangs":
                await asyncio.Event().wait()
            case "leaks":
                # What aiokafka does with a broker down: a cancelled child of its own is awaited, nobody cancelled us.
                child = asyncio.ensure_future(asyncio.sleep(3_600))
                await asyncio.sleep(0)
                child.cancel()
                await child
            case "raises":
                raise KafkaError


@pytest.mark.parametrize("ending", ["hangs", "leaks", "raises"])
async def test_a_consumer_that_ends_badly_ends_and_leaves_no_connection(ending: str) -> None:
    consumer: Any = BadEnd(ending)
    async with asyncio.timeout(3):
        await close_consumer(consumer, 0.01)
    assert consumer._client.closed
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0, "its CancelledError is not ours"


async def test_a_cancellation_that_is_meant_is_not_swallowed() -> None:
    consumer: Any = BadEnd("hangs")
    closing = asyncio.create_task(close_consumer(consumer, 3_600))
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
