"""aiokafka's clients on a simulated cluster: consumer, producer and admin client, with the manners of version 0.14.

What is kept of aiokafka: `commit` tries for ever and with the newest generation; a poll that a rebalance holds up
returns records of the new assignment; listener errors are swallowed; `stop` calls no listener; a first rebalance
revokes the empty set; positions are fetched in the background and pass what is not shown; a send with the broker down
raises only after its timeout.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    ConsumerStoppedError,
    IllegalGenerationError,
    IllegalStateError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    OffsetMetadataTooLargeError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
from aiokafka.structs import ConsumerRecord, OffsetAndMetadata, RecordMetadata
from aiokafka.util import commit_structure_validate

from tests.sim.cluster import Broker, Cluster, Place, Stored
from tests.sim.group import Joined, Member
from tests.sim.virtual_loop import PROCESS, Process
from worker.intake.membership import FencedInstanceIdError

RETRY_BACKOFF_S: Final = 0.1
METADATA_BYTES: Final = 4_096
BATCH_BYTES: Final = 262_144
CUT_OFF_POLL_S: Final = 0.1
_MOVED: Final = (UnknownMemberIdError, IllegalGenerationError, RebalanceInProgressError)


class Cables:
    """The cluster every client made from now on is connected to; one at a time."""

    cluster: Cluster | None = None


def _connected() -> tuple[Cluster, Process]:
    cluster, process = Cables.cluster, PROCESS.get()
    if cluster is None or cluster.over or process is None:
        raise RuntimeError("no simulation is running here")
    return cluster, process


class _Client:
    """What every client has: a process, a cluster, a timeout."""

    def __init__(self, **options: Any) -> None:
        self.cluster, self.process = _connected()
        self.timeout_s: float = options["request_timeout_ms"] / 1000
        self.closed = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._client = self.client = SimpleNamespace(close=self._close_connections)

    async def _close_connections(self) -> None:
        self.closed = True

    def _spawn(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _bootstrap(self) -> None:
        """One broker that answers is enough."""
        await asyncio.sleep(self.cluster.latency())
        if not any(self.cluster.reaches(broker, self.process) for broker in self.cluster.brokers):
            self.cluster.history.count("connections refused by Kafka")
            raise KafkaConnectionError("no broker answers")

    async def _request(self, broker: Broker) -> None:
        """Go there and back. Raises KafkaTimeoutError when the broker does not answer in time."""
        cluster = self.cluster
        await asyncio.sleep(2 * cluster.latency())
        late = cluster.reaches_at(broker, self.process) - cluster.loop.time()
        if late > 0:
            await asyncio.sleep(min(late, self.timeout_s))
            if late > self.timeout_s:
                raise KafkaTimeoutError


@dataclass(slots=True)
class _Position:
    """Where a partition is read next; None until that is known."""

    position: int | None = None
    paused: bool = False

    @property
    def has_valid_position(self) -> bool:
        return self.position is not None


class _Assignment:
    """A set of partitions and where each is read."""

    def __init__(self, places: Iterable[TopicPartition]) -> None:
        self.states = {place: _Position() for place in sorted(places)}
        self.tps = frozenset(self.states)

    def state_value(self, place: TopicPartition) -> _Position:
        return self.states[place]


class FakeConsumer(_Client):
    """`AIOKafkaConsumer`."""

    def __init__(self, *topics: str, group_id: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._options = options
        self._group_id = group_id
        self._topics: tuple[str, ...] = topics
        self._listener: Any = None
        self._assignment: _Assignment | None = None
        self._settled = asyncio.Event()
        """Not set while a rebalance goes on."""
        self._moved = asyncio.Event()
        self._waiter: asyncio.Future[None] | None = None
        self._wanted: frozenset[TopicPartition] | None = None
        self._member: Member | None = None
        self._generation = -1
        self._commits = asyncio.Lock()
        self._commit_at = 0.0
        self._rejoin = True
        self._broken: KafkaError | None = None
        """What ended the task that coordinates; every poll raises it from then on."""
        self._last_end: dict[TopicPartition, int] = {}
        self._coordinator = SimpleNamespace(
            member_id="",
            generation=-1,
            _rejoin_needed_fut=asyncio.get_running_loop().create_future(),
            check_errors=lambda: None,
        )

    @property
    def _member_id(self) -> str:
        return str(self._coordinator.member_id)

    @_member_id.setter
    def _member_id(self, member_id: str) -> None:
        self._coordinator.member_id = member_id

    @property
    def _subscription(self) -> Any:
        return SimpleNamespace(subscription=SimpleNamespace(assignment=self._assignment))

    # -- life

    def subscribe(self, topics: Iterable[str] = (), pattern: str | None = None, listener: Any = None) -> None:
        self._topics, self._listener = tuple(topics), listener

    async def start(self) -> None:
        await self._bootstrap()
        self.cluster.follow(self._notified)
        if self._group_id is not None and self._topics:
            self._spawn(self._coordinate())
        else:
            self._settled.set()

    async def stop(self) -> None:
        if self.closed:
            return
        self.closed = True
        self.cluster.unfollow(self._notified)
        for task in self._tasks:
            task.cancel()
        self._wake()
        if self._member is not None:
            self._member.closed = True
            coordinator = self.cluster.coordinator
            if not self.cluster.reaches(coordinator, self.process):
                # The request to leave hangs until its timeout; then connections are closed.
                await asyncio.sleep(self.timeout_s)
            else:
                await asyncio.sleep(self.cluster.latency())
                self.cluster.group(self._group_id or "").leave(self._member_id)

    async def _close_connections(self) -> None:
        self.closed = True
        self.cluster.unfollow(self._notified)
        if self._member is not None:
            self._member.closed = True

    # -- the group

    async def _coordinate(self) -> None:
        """Join, stay, join again."""
        heartbeat_s = self._options.get("heartbeat_interval_ms", 3_000) / 1000
        group, cluster = self.cluster.group(self._group_id or ""), self.cluster
        while not self.closed:
            if self._rejoin:
                self._rejoin = False
                try:
                    await self._join()
                except FencedInstanceIdError as error:
                    cluster.history.count("fenced by a process of the same name")
                    self._broken = KafkaError(f"Unexpected error during coordination {error!r}")
                    self._settled.set()
                    self._wake()
                    return
            await asyncio.sleep(heartbeat_s * cluster.chance.uniform(0.8, 1.2))
            if not cluster.reaches(cluster.coordinator, self.process):
                continue
            refused = group.heartbeat(self._member_id, self._generation)
            if refused is not None:
                if refused is not RebalanceInProgressError:
                    self._member_id, self._generation = "", -1
                self._rejoin = True

    async def _join(self) -> None:
        self._settled.clear()
        revoked = set(self._assignment.tps) if self._assignment is not None else set()
        await self._tell("on_partitions_revoked", revoked)
        generation, member_id, places = await self._joined()
        self._generation, self._member_id = generation, member_id
        assignment = self._assignment = _Assignment(places)
        self._last_end.clear()
        self._moved.set()
        self._moved = asyncio.Event()
        self._settled.set()
        self._wake()
        self._spawn(self._find_positions(assignment))
        await self._tell("on_partitions_assigned", set(places))

    async def _joined(self) -> Joined:
        cluster, loop = self.cluster, self.cluster.loop
        while True:
            try:
                await self._request(cluster.coordinator)
            except KafkaTimeoutError:
                continue
            kafka = self._options
            member = Member(
                self._member_id,
                self.process,
                self._topics,
                kafka["session_timeout_ms"] / 1000,
                kafka["rebalance_timeout_ms"] / 1000,
                kafka.get("group_instance_id"),
            )
            if self._member is not None:
                self._member.closed = True
            self._member = member
            answer: asyncio.Future[Joined] = loop.create_future()
            cluster.group(self._group_id or "").join(self._member_id, member, answer)
            try:
                return await answer
            except UnknownMemberIdError:
                self._member_id = ""

    async def _tell(self, what: str, places: set[TopicPartition]) -> None:
        if self._listener is None:
            return
        self.cluster.history.add(f"{what} {sorted({place.partition for place in places})}")
        try:
            await getattr(self._listener, what)(places)
        except Exception as error:  # noqa: BLE001  # as aiokafka does; but here it is told
            self.cluster.history.count("listener errors")
            self.cluster.history.add(f"{what} raised {error!r}")
            self.cluster.broken(f"{self.process}: {what} raised {error!r}")

    async def _find_positions(self, assignment: _Assignment) -> None:
        while True:
            try:
                await self._request(self.cluster.coordinator)
                break
            except KafkaTimeoutError:
                await asyncio.sleep(RETRY_BACKOFF_S)
        offsets = self.cluster.group(self._group_id or "").offsets
        for place, state in assignment.states.items():
            if state.position is None:
                committed = offsets.get(place)
                # auto_offset_reset="earliest"
                state.position = committed.offset if committed is not None else 0
        self._wake()

    # -- reading

    def _notified(self, place: Place) -> None:
        assignment = self._assignment
        if self._waiter is not None and assignment is not None and TopicPartition(*place) in assignment.tps:
            wanted = self._wanted
            if wanted is None or TopicPartition(*place) in wanted:
                self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[TopicPartition, list[ConsumerRecord]]:
        loop = self.cluster.loop
        timeout_s = timeout_ms / 1000
        if partitions and self._assignment is not None and not self._assignment.tps.intersection(partitions):
            timeout_s = max(timeout_s, CUT_OFF_POLL_S)
        ends_at = loop.time() + timeout_s
        while True:
            if self.closed:
                raise ConsumerStoppedError
            if not self._settled.is_set():
                await self._settled.wait()
            if self._broken is not None:
                raise self._broken
            drained = self._drain(partitions, max_records or 500)
            left = ends_at - loop.time()
            if drained or left <= 0:
                return drained
            self._waiter = loop.create_future()
            self._wanted = frozenset(partitions) if partitions else None
            timer = loop.call_later(left, self._wake)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None

    def _drain(self, partitions: tuple[TopicPartition, ...], most: int) -> dict[TopicPartition, list[ConsumerRecord]]:
        drained: dict[TopicPartition, list[ConsumerRecord]] = {}
        assignment, cluster, now = self._assignment, self.cluster, self.cluster.loop.time()
        if assignment is None:
            return drained
        for place, state in assignment.states.items():
            if state.position is None or state.paused or (partitions and place not in partitions) or most <= 0:
                continue
            if not cluster.reaches(cluster.leader(*place), self.process):
                continue
            log = cluster.logs[place.topic, place.partition]
            end = log.visible_end(now)
            self._last_end[place] = end
            records = log.read(state.position, end, most)
            if records:
                most -= len(records)
                state.position = records[-1].offset + 1
                drained[place] = [_consumed(place, record) for record in records]
                if most > 0:
                    state.position = max(state.position, end)
            else:
                state.position = max(state.position, end)
        return drained

    async def getone(self, *partitions: TopicPartition) -> ConsumerRecord:
        while True:
            batches = await self.getmany(*partitions, timeout_ms=1_000, max_records=1)
            for records in batches.values():
                return records[0]

    def _state(self, place: TopicPartition) -> _Position:
        assignment = self._assignment
        if assignment is None or place not in assignment.tps:
            raise IllegalStateError(f"Partition {place} is not assigned")
        return assignment.states[place]

    async def position(self, place: TopicPartition) -> int:
        while self._state(place).position is None:
            await asyncio.sleep(RETRY_BACKOFF_S)
        position = self._state(place).position
        assert position is not None
        return position

    def highwater(self, place: TopicPartition) -> int | None:
        self._state(place)
        return self._last_end.get(place)

    def assignment(self) -> set[TopicPartition]:
        return set(self._assignment.tps) if self._assignment is not None else set()

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        self._assignment = _Assignment(partitions)
        self._last_end.clear()
        self._wake()

    def pause(self, *partitions: TopicPartition) -> None:
        for place in partitions:
            self._state(place).paused = True

    def resume(self, *partitions: TopicPartition) -> None:
        for place in partitions:
            self._state(place).paused = False
        self._wake()

    def unsubscribe(self) -> None:
        self._assignment = None

    def seek(self, place: TopicPartition, offset: int) -> None:
        self._state(place).position = offset
        self._wake()

    async def seek_to_beginning(self, *partitions: TopicPartition) -> bool:
        for place in partitions:
            await self._request(self.cluster.leader(*place))
            self._state(place).position = 0
        self._wake()
        return True

    async def seek_to_end(self, *partitions: TopicPartition) -> bool:
        for place in partitions:
            await self._request(self.cluster.leader(*place))
            self._state(place).position = self.cluster.logs[place.topic, place.partition].end
        return True

    async def seek_to_committed(self, *partitions: TopicPartition) -> dict[TopicPartition, int | None]:
        found: dict[TopicPartition, int | None] = {}
        for place in partitions or tuple(self.assignment()):
            found[place] = await self.committed(place)
            if found[place]:
                self._state(place).position = found[place]
        return found

    async def committed(self, place: TopicPartition) -> int | None:
        while True:
            try:
                await self._request(self.cluster.coordinator)
            except KafkaTimeoutError:
                continue
            committed = self.cluster.group(self._group_id or "").offsets.get(place)
            return committed.offset if committed is not None else None

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The truth, whatever fetches show."""
        places = list(partitions)
        for broker in {self.cluster.leader(*place).number: self.cluster.leader(*place) for place in places}.values():
            await self._request(broker)
        return {place: self.cluster.logs[place.topic, place.partition].end for place in places}

    async def beginning_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        places = list(partitions)
        for broker in {self.cluster.leader(*place).number: self.cluster.leader(*place) for place in places}.values():
            await self._request(broker)
        return dict.fromkeys(places, 0)

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return self.cluster.partitions_of(topic) or None

    # -- committing

    async def commit(self, offsets: dict[TopicPartition, Any] | None = None) -> None:
        assignment = self._assignment
        if assignment is None:
            raise IllegalStateError("No partitions assigned")
        formatted = commit_structure_validate(offsets)
        for place in formatted:
            if place not in assignment.tps:
                raise IllegalStateError(f"Partition {place} is not assigned")
        while True:
            try:
                async with self._commits:
                    once = asyncio.ensure_future(self._commit_once(formatted))
                    once.add_done_callback(_noticed)
                    await asyncio.shield(once)
            except _MOVED as error:
                raise CommitFailedError("the group has moved on") from error
            except KafkaTimeoutError:
                self.cluster.history.count("commits tried again")
                await asyncio.sleep(RETRY_BACKOFF_S)
            else:
                return

    async def _commit_once(self, offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
        cluster, loop, trouble = self.cluster, self.cluster.loop, self.cluster.trouble
        for committed in offsets.values():
            if len(committed.metadata.encode()) > METADATA_BYTES:
                cluster.history.count("commit metadata too large")
                raise OffsetMetadataTooLargeError
        delay = cluster.latency()
        if cluster.chance.random() < trouble.late_commit:
            cluster.history.count("late commits")
            delay = cluster.chance.uniform(0.2, 1.5 * self.timeout_s)
        lost = cluster.chance.random() < trouble.lost_commit_answer
        if not cluster.reaches(cluster.coordinator, self.process):
            await asyncio.sleep(self.timeout_s)
            raise KafkaTimeoutError
        # One connection to the coordinator: a later commit never overtakes an earlier one.
        self._commit_at = max(self._commit_at, loop.time() + delay)
        delay = self._commit_at - loop.time()
        answer: asyncio.Future[Exception | None] = loop.create_future()
        loop.in_world(delay, self._arrives, answer, self._member_id, self._generation, offsets, lost)
        ends_at = loop.call_later(self.timeout_s, _resolve, answer, KafkaTimeoutError())
        try:
            error = await answer
        finally:
            ends_at.cancel()
        if error is not None:
            if isinstance(error, _MOVED):
                if not isinstance(error, RebalanceInProgressError):
                    self._member_id, self._generation = "", -1
                self._rejoin = True
                cluster.history.count("commits refused")
            raise error

    def _arrives(
        self,
        answer: asyncio.Future[Exception | None],
        member_id: str,
        generation: int,
        offsets: dict[TopicPartition, OffsetAndMetadata],
        lost: bool,
    ) -> None:
        cluster = self.cluster
        if cluster.over or not cluster.reaches(cluster.coordinator, None):
            return
        error = cluster.group(self._group_id or "").commit(member_id, generation, offsets, self.process)
        if lost:
            cluster.history.count("lost answers of commits")
        else:
            cluster.loop.in_world(cluster.latency(), _resolve, answer, error)


class FakeBatch:
    """`BatchBuilder`: as many records as fit."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes | None, bytes | None, tuple[tuple[str, bytes | None], ...]]] = []
        self._size = 0

    def append(
        self,
        *,
        timestamp: int | None,
        key: bytes | None,
        value: bytes | None,
        headers: Iterable[tuple[str, bytes | None]],
    ) -> object | None:
        del timestamp
        size = len(key or b"") + len(value or b"")
        if self.records and self._size + size > BATCH_BYTES:
            return None
        self._size += size
        self.records.append((key, value, tuple(headers)))
        return self

    def close(self) -> None:
        pass


class FakeProducer(_Client):
    """`AIOKafkaProducer` with acks=all."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._next: dict[Place, float] = {}
        """Loop time of the latest write on its way: batches of one partition keep their order."""
        self._topics: dict[str, set[int]] = {}
        self._sender = SimpleNamespace(sender_task=None)

    async def start(self) -> None:
        await self._bootstrap()

    async def stop(self) -> None:
        if not any(self.cluster.reaches(broker, self.process) for broker in self.cluster.brokers):
            await asyncio.sleep(self.timeout_s)
        self.closed = True

    async def partitions_for(self, topic: str) -> set[int]:
        if topic not in self._topics:
            await self._request(self.cluster.brokers[0])
            self._topics[topic] = self.cluster.partitions_of(topic)
        return self._topics[topic]

    def create_batch(self) -> FakeBatch:
        return FakeBatch()

    async def send_batch(self, batch: FakeBatch, topic: str, *, partition: int) -> asyncio.Future[RecordMetadata]:
        """All records of a batch are written, or none; one answer tells of all."""
        cluster, loop, trouble = self.cluster, self.cluster.loop, self.cluster.trouble
        if self.closed or cluster.over:
            raise RuntimeError("the producer is closed")
        number = partition
        answer: asyncio.Future[RecordMetadata] = loop.create_future()
        delay = 0.002 + cluster.latency()
        fate = cluster.chance.random()
        lost = False
        if fate < trouble.not_written:
            cluster.history.count("records not written")
            loop.call_later(self.timeout_s, _fail, answer, KafkaTimeoutError())
            return answer
        fate -= trouble.not_written
        if fate < trouble.lost_ack:
            cluster.history.count("acknowledgements lost")
            lost = True
        elif fate - trouble.lost_ack < trouble.delayed:
            cluster.history.count("writes delayed")
            delay = cluster.chance.uniform(0.1, 0.9 * self.timeout_s)
        at = max(loop.time() + delay, self._next.get((topic, number), 0.0))
        at = max(at, cluster.reaches_at(cluster.leader(topic, number), self.process) + 0.01)
        if at > loop.time() + self.timeout_s:
            loop.call_later(self.timeout_s, _fail, answer, KafkaTimeoutError())
            return answer
        self._next[topic, number] = at
        loop.in_world(at - loop.time(), self._arrives, answer, (topic, number), batch.records, lost, self._now_ms())
        if lost:
            loop.call_later(self.timeout_s, _fail, answer, KafkaTimeoutError())
        return answer

    def _now_ms(self) -> int:
        """A record's time is its producer's."""
        return self.cluster.now_ms + round(self.process.clock_ahead_s * 1000)

    def _arrives(
        self,
        answer: asyncio.Future[RecordMetadata],
        place: Place,
        records: list[tuple[Any, ...]],
        lost: bool,
        written_ms: int,
    ) -> None:
        cluster, (topic, number) = self.cluster, place
        if cluster.over:
            return
        if not cluster.reaches(cluster.leader(topic, number), None):
            cluster.loop.in_world(self.timeout_s / 2, _fail, answer, KafkaTimeoutError())
            return
        stored: list[Stored] = [
            cluster.append(topic, number, *record, timestamp_ms=written_ms, by=self.process, more=count < len(records))
            for count, record in enumerate(records, start=1)
        ]
        if not lost:
            metadata = RecordMetadata(
                topic, number, TopicPartition(topic, number), stored[0].offset, stored[0].timestamp_ms, 0, 0
            )
            cluster.loop.in_world(cluster.latency(), _resolve, answer, metadata)


class FakeAdmin(_Client):
    """`AIOKafkaAdminClient`, as far as offsets go."""

    async def start(self) -> None:
        await self._bootstrap()

    async def close(self) -> None:
        self.closed = True

    async def describe_topics(self, topics: list[str] | None = None) -> list[dict[str, Any]]:
        await self._request(self.cluster.brokers[1])
        return [
            {
                "topic": topic,
                "error_code": 0,
                "partitions": [
                    {"partition": partition, "leader": self.cluster.leader(topic, partition).number}
                    for partition in sorted(self.cluster.partitions_of(topic))
                ],
            }
            for topic in topics or self.cluster.topics
        ]

    async def list_consumer_group_offsets(
        self, group_id: str, group_coordinator_id: int | None = None, partitions: list[TopicPartition] | None = None
    ) -> dict[TopicPartition, OffsetAndMetadata]:
        await self._request(self.cluster.coordinator)
        found = self.cluster.group(group_id).offsets
        if partitions is None:
            return dict(found)
        return {place: found.get(place, OffsetAndMetadata(-1, "")) for place in partitions}


def _consumed(place: TopicPartition, record: Stored) -> ConsumerRecord:
    return ConsumerRecord(
        topic=place.topic,
        partition=place.partition,
        offset=record.offset,
        timestamp=record.timestamp_ms,
        timestamp_type=0,
        key=record.key,
        value=record.value,
        checksum=None,
        serialized_key_size=-1 if record.key is None else len(record.key),
        serialized_value_size=-1 if record.value is None else len(record.value),
        headers=record.headers,
    )


def _resolve(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # whoever gave up waiting does not ask any more


def _noticed(task: asyncio.Task[Any]) -> None:
    """A commit that nobody waits for any more fails in silence."""
    if not task.cancelled():
        task.exception()
