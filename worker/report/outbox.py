"""Records on their way to Kafka: one batch per partition is under way, the next one gathers meanwhile.

`AIOKafkaProducer.send` costs a coroutine, a copy of the topic's partitions and a partitioner for every record, and its
waits a timer each: four times what the record itself costs. A batch handed over whole costs that once.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, ProducerClosed
from aiokafka.structs import RecordMetadata

from worker.delivery import Place
from worker.kafka import partition_of

Headers = Sequence[tuple[str, bytes | None]]

LINGER_S: Final = 0.005
"""Records that come so shortly after one another travel together."""
_LEARN_AGAIN_S: Final = 30.0
"""A topic that was given more partitions is noticed so long after the client has noticed."""


class _Waiting(NamedTuple):
    """A record that is not under way yet."""

    since: float
    """Loop time."""
    key: bytes | None
    value: bytes | None
    headers: Headers
    written: asyncio.Future[Place]


class _Partition:
    """The records of one partition: those that gather, and those under way."""

    __slots__ = ("deadline", "flying", "name", "queue")

    def __init__(self, name: tuple[str, int]) -> None:
        self.name = name
        self.queue: deque[_Waiting] = deque()
        self.flying: list[_Waiting] = []
        self.deadline: asyncio.TimerHandle | None = None


class Outbox:
    """Everything that is written through one producer. Records of one partition keep the order of the calls."""

    def __init__(self, producer: AIOKafkaProducer, *, patience_s: float) -> None:
        """`patience_s`: a record that is not acknowledged so long after `put` fails, and all others with it."""
        self.producer = producer
        self._patience_s = patience_s
        self._loop = asyncio.get_running_loop()
        self._partitions: dict[tuple[str, int], _Partition] = {}
        self._counts: dict[str, int] = {}
        self._learnt_at = self._loop.time()
        self._turn = 0
        self._ready: list[_Partition] = []
        """Those with records that may leave: nothing of theirs is under way."""
        self._due = asyncio.Event()
        self._pump = asyncio.create_task(self._send_what_is_ready())
        self._pump.add_done_callback(self._pump_ended)
        self.error: Exception | None = None
        """Why nothing is written any more."""

    # -- where a record goes

    def partition_for(self, topic: str, key: bytes | None) -> int | None:
        """The partition of a key, as Kafka's default partitioner has it; records without one take turns.

        None: the number of partitions is not known, `learn` first.
        """
        count = self._counts.get(topic)
        if count is None:
            return None
        if key is None:
            self._turn += 1
            return self._turn % count
        return partition_of(key, count)

    async def learn(self, topic: str) -> None:
        """Ask for the topic's number of partitions. Raises KafkaError."""
        self._counts[topic] = len(await self.producer.partitions_for(topic))

    # -- writing

    def put(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: Headers
    ) -> asyncio.Future[Place]:
        """Have a record written. The future is its place, once all in-sync replicas have it, or KafkaError.

        A future that is cancelled takes nothing back: the record may be written.
        """
        written: asyncio.Future[Place] = self._loop.create_future()
        if self.error is not None:
            written.set_exception(copy.copy(self.error))
            return written
        one = self._partitions.get((topic, partition))
        if one is None:
            one = self._partitions[topic, partition] = _Partition((topic, partition))
        now = self._loop.time()
        if not one.queue and not one.flying:
            self._is_ready(one)
            one.deadline = self._loop.call_at(now + self._patience_s, self._too_late)
        one.queue.append(_Waiting(now, key, value, headers, written))
        return written

    def end(self, error: Exception) -> None:
        """Hand nothing over any more: what gathers fails, what is under way may still be acknowledged."""
        if self.error is not None:
            return
        self.error = error
        self._pump.cancel()
        for one in self._partitions.values():
            _fail(one.queue, error)
            one.queue.clear()

    def forget(self) -> None:
        """The producer is closed: what was not acknowledged fails."""
        self.end(ProducerClosed())
        for one in self._partitions.values():
            _fail(one.flying, self.error or ProducerClosed())
            one.flying = []
            if one.deadline is not None:
                one.deadline.cancel()
        self._partitions.clear()

    async def flush(self, timeout_s: float) -> None:
        """Wait until everything is acknowledged or has failed, but no longer than this."""
        waiting = [
            record.written
            for one in self._partitions.values()
            for record in (*one.flying, *one.queue)
            if not record.written.done()
        ]
        if waiting:
            await asyncio.wait(waiting, timeout=timeout_s)

    # -- inside

    def _is_ready(self, one: _Partition) -> None:
        self._ready.append(one)
        self._due.set()

    async def _send_what_is_ready(self) -> None:
        while True:
            await self._due.wait()
            await asyncio.sleep(LINGER_S)
            self._due.clear()
            ready, self._ready = self._ready, []
            for one in ready:
                await self._send(one)
            if self._loop.time() - self._learnt_at > _LEARN_AGAIN_S:
                await self._learn_again()

    async def _learn_again(self) -> None:
        """The client renews what it knows of its topics by itself; asking it costs no request."""
        self._learnt_at = self._loop.time()
        for topic in list(self._counts):
            with contextlib.suppress(KafkaError):
                await self.learn(topic)

    async def _send(self, one: _Partition) -> None:
        batch, queue = self.producer.create_batch(), one.queue
        while queue:
            record = queue[0]
            if batch.append(timestamp=None, key=record.key, value=record.value, headers=record.headers) is None:
                break
            one.flying.append(queue.popleft())
        batch.close()
        topic, partition = one.name
        sent = await self.producer.send_batch(batch, topic, partition=partition)
        sent.add_done_callback(lambda done: self._landed(one, done))

    def _landed(self, one: _Partition, sent: asyncio.Future[RecordMetadata]) -> None:
        flying, one.flying = one.flying, []
        if one.deadline is not None:
            one.deadline.cancel()
            one.deadline = None
        error = ProducerClosed() if sent.cancelled() else sent.exception()
        if error is None:
            partition, first = one.name[1], sent.result().offset
            for number, record in enumerate(flying):
                if not record.written.done():
                    record.written.set_result(Place(partition, first + number))
        else:
            _fail(flying, error)
            if not isinstance(error, MessageSizeTooLargeError):
                # Whatever else it is: nothing may overtake the records that have to be written again.
                self.end(error if isinstance(error, Exception) else ProducerClosed())
        if one.queue:
            one.deadline = self._loop.call_at(one.queue[0].since + self._patience_s, self._too_late)
            self._is_ready(one)

    def _too_late(self) -> None:
        self.end(TimeoutError())
        for one in self._partitions.values():
            _fail(one.flying, TimeoutError())

    def _pump_ended(self, pump: asyncio.Task[None]) -> None:
        if not pump.cancelled() and (error := pump.exception()) is not None:
            self.end(error if isinstance(error, (KafkaError, OSError, TimeoutError)) else KafkaError(repr(error)))
            for one in self._partitions.values():
                _fail(one.flying, self.error or error)


def _fail(records: Iterable[_Waiting], error: BaseException) -> None:
    for record in records:
        if not record.written.done():
            # A copy each: a traceback grows with everyone who raises it.
            record.written.set_exception(copy.copy(error))
            # Looked at, so that one nobody waits for any more (at the end of the process) is not complained about.
            record.written.exception()
