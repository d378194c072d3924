"""The coordinator of a consumer group, as Kafka's classic protocol has it: generations, eager rebalances, timeouts."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from aiokafka import TopicPartition
from aiokafka.errors import IllegalGenerationError, RebalanceInProgressError, UnknownMemberIdError
from aiokafka.structs import OffsetAndMetadata

from tests.sim.virtual_loop import Process
from worker.intake.membership import FencedInstanceIdError

if TYPE_CHECKING:
    from tests.sim.cluster import Cluster

CHECK_S: Final = 0.5
FIRST_JOIN_S: Final = 0.3
"""An empty group waits a little for others to join."""

Joined = tuple[int, str, frozenset[TopicPartition]]


@dataclass(slots=True)
class Member:
    """One consumer, as the coordinator knows it."""

    id: str
    process: Process
    topics: tuple[str, ...]
    session_s: float
    rebalance_s: float
    instance_id: str | None
    joining: asyncio.Future[Joined] | None = None
    assigned: frozenset[TopicPartition] = frozenset()
    seen_at: float = 0.0
    closed: bool = False


@dataclass
class Group:
    """One consumer group."""

    cluster: Cluster
    name: str
    members: dict[str, Member] = field(default_factory=dict)
    generation: int = 0
    offsets: dict[TopicPartition, OffsetAndMetadata] = field(default_factory=dict)
    preparing_until: float | None = None
    """Loop time at which whoever has not rejoined is left behind; None: stable."""
    _numbers: int = 0
    _checking: bool = False

    # -- joining

    def join(self, member_id: str, member: Member, answer: asyncio.Future[Joined]) -> None:
        """A JoinGroup request (and the SyncGroup that follows) arrives."""
        now = self.cluster.loop.time()
        if member_id and member_id not in self.members:
            others = (old.instance_id for old in self.members.values() if member.instance_id is not None)
            taken_over = member.instance_id in others
            self._fail(answer, FencedInstanceIdError() if taken_over else UnknownMemberIdError())
            return
        if not member_id:
            self._numbers += 1
            member_id = f"member-{self._numbers}"
            member.id = member_id
            if self._take_over(member, answer):
                return
        self.members[member_id] = member
        member.id, member.joining, member.seen_at = member_id, answer, now
        if self.preparing_until is None:
            first = len(self.members) == 1
            self._prepare(FIRST_JOIN_S if first else None)
        self._look()
        if not self._checking:
            self._checking = True
            self.cluster.loop.in_world(CHECK_S, self._check)

    def _take_over(self, member: Member, answer: asyncio.Future[Joined]) -> bool:
        """A static member that comes back takes its place, without a rebalance where the group is stable."""
        before = next(
            (old for old in self.members.values() if member.instance_id and old.instance_id == member.instance_id), None
        )
        if before is None:
            return False
        del self.members[before.id]
        if before.joining is not None:
            self._fail(before.joining, UnknownMemberIdError())
        member.assigned = before.assigned
        member.seen_at = self.cluster.loop.time()
        if self.preparing_until is None and member.assigned:
            self.members[member.id] = member
            self.cluster.history.count("static members back")
            self._answer(answer, (self.generation, member.id, member.assigned))
            return True
        return False

    def _prepare(self, seconds: float | None = None) -> None:
        if self.preparing_until is None:
            self.cluster.history.count("rebalances")
            longest = max((member.rebalance_s for member in self.members.values()), default=0.0)
            self.preparing_until = self.cluster.loop.time() + (longest if seconds is None else seconds)
            self.cluster.loop.in_world(self.preparing_until - self.cluster.loop.time() + 0.001, self._look)
            self._waits_for_more = seconds is not None

    _waits_for_more: bool = False

    def _look(self) -> None:
        """Whether the rebalance is complete."""
        if self.preparing_until is None:
            return
        due = self.cluster.loop.time() >= self.preparing_until
        all_there = all(member.joining is not None for member in self.members.values())
        if not due and (not all_there or self._waits_for_more):
            return
        for member in [member for member in self.members.values() if member.joining is None]:
            self.cluster.history.count("members left behind by a rebalance")
            self._forget(member)
        self.preparing_until = None
        self.generation += 1
        self._assign()
        for member in self.members.values():
            answer, member.joining = member.joining, None
            member.seen_at = self.cluster.loop.time()
            assert answer is not None
            self._answer(answer, (self.generation, member.id, member.assigned))

    def _assign(self) -> None:
        """The range assignor, topic by topic."""
        shares: dict[str, set[TopicPartition]] = {member_id: set() for member_id in self.members}
        for topic in sorted({topic for member in self.members.values() for topic in member.topics}):
            numbers = sorted(self.cluster.partitions_of(topic))
            takers = sorted(
                (member for member in self.members.values() if topic in member.topics),
                key=lambda member: (member.instance_id or member.id, member.id),
            )
            each, more = divmod(len(numbers), len(takers))
            for place, member in enumerate(takers):
                first = each * place + min(place, more)
                size = each + (1 if place < more else 0)
                shares[member.id].update(TopicPartition(topic, number) for number in numbers[first : first + size])
        for member_id, share in shares.items():
            self.members[member_id].assigned = frozenset(share)
            self.cluster.history.add(
                f"generation {self.generation}: {self.members[member_id].process} has "
                f"{sorted({place.partition for place in share})}",
                "kafka",
            )

    # -- staying

    def heartbeat(self, member_id: str, generation: int) -> Any:
        """An error class of aiokafka; None: all is well."""
        member = self.members.get(member_id)
        if member is None:
            return UnknownMemberIdError
        if self.preparing_until is not None:
            return RebalanceInProgressError
        return None if generation == self.generation else IllegalGenerationError

    def leave(self, member_id: str) -> None:
        """A dynamic member says goodbye."""
        member = self.members.get(member_id)
        if member is not None and member.instance_id is None:
            self._forget(member)
            self._prepare()
            self._look()

    def _check(self) -> None:
        """Who has not been heard of for too long? Live clients send heartbeats; here they are asked directly."""
        cluster, now = self.cluster, self.cluster.loop.time()
        cluster.loop.in_world(CHECK_S, self._check)
        if cluster.coordinator.down_until > now:
            for member in self.members.values():
                member.seen_at = now
            return
        for member in list(self.members.values()):
            if member.process.runs and not member.closed and cluster.reaches(cluster.coordinator, member.process):
                member.seen_at = now
            elif now - member.seen_at > member.session_s:
                cluster.history.count("sessions timed out")
                cluster.history.add(f"the session of {member.process} has timed out", "kafka")
                self._forget(member)
                self._prepare()
        self._look()

    def _forget(self, member: Member) -> None:
        del self.members[member.id]
        if member.joining is not None:
            self._fail(member.joining, UnknownMemberIdError())

    # -- offsets

    def commit(
        self, member_id: str, generation: int, offsets: dict[TopicPartition, OffsetAndMetadata], process: Process
    ) -> Any:
        """An OffsetCommit request; members of a group that is about to rebalance may still commit.

        Returns aiokafka's error, or None.
        """
        if member_id not in self.members:
            return UnknownMemberIdError()
        if generation != self.generation:
            return IllegalGenerationError()
        self.offsets.update(offsets)
        for place, committed in offsets.items():
            for told in self.cluster.committed:
                told((place.topic, place.partition), committed.offset, committed.metadata, process)
        return None

    @staticmethod
    def _answer(future: asyncio.Future[Any], value: Any) -> None:
        if not future.done():
            future.set_result(value)

    @staticmethod
    def _fail(future: asyncio.Future[Any], error: Exception) -> None:
        if not future.done():
            future.set_exception(error)
