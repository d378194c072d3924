"""The committer: one commit for many, bounded, and what was not acknowledged in time is never sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, KafkaConnectionError, OffsetMetadataTooLargeError

from worker.clock import SystemClock
from worker.intake import committer
from worker.intake.committer import Committer
from worker.intake.intents import Intents, mark_of, read_intents
from worker.intake.offsets import Offsets
from worker.telemetry.metrics import Metrics

PLACE, OTHER = ("shipped", 0), ("cancelled", 0)


class Broker:
    """Takes commits; `answer` may wait or raise."""

    def __init__(self) -> None:
        self.commits: list[dict[tuple[str, int], tuple[int, dict[str, float]]]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None
        self.limit = 4_096

    async def commit(self, offsets: dict[TopicPartition, tuple[int, str]]) -> None:
        await self.gate.wait()
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        if any(len(text) > self.limit for _, text in offsets.values()):
            raise OffsetMetadataTooLargeError
        self.commits.append({tuple(one): (offset, read_intents(text)[0]) for one, (offset, text) in offsets.items()})

    def marks(self, place: tuple[str, int] = PLACE) -> list[set[str]]:
        return [set(commit[place][1]) for commit in self.commits if place in commit]


class World:
    def __init__(self, keep_s: float = 40) -> None:
        self.clock = SystemClock()
        self.broker = Broker()
        self.offsets = Offsets()
        self.intents = Intents(keep_s=keep_s)
        self.committer = Committer(
            lambda: self.broker, self.offsets, Metrics(), timeout_s=2, intents=self.intents, clock=self.clock
        )
        self.offsets.assign({PLACE, OTHER}, 1)
        self.intents.assign([PLACE, OTHER])
        for place in (PLACE, OTHER):
            self.offsets.found(*place, 7)
            self.intents.read_back(place, "", self.clock.now())

    def intend(self, name: str, within_s: float = 5.0, place: tuple[str, int] = PLACE) -> asyncio.Task[bool]:
        return asyncio.create_task(
            self.committer.intend(place, name, mark_of(name), self.clock.now() + within_s), name=name
        )


async def until(happened: Callable[[], Any]) -> None:
    async with asyncio.timeout(5):
        while not happened():
            await asyncio.sleep(0.01)


async def test_an_intent_is_committed_with_an_offset_that_skips_nothing() -> None:
    world = World()
    world.offsets.started(*PLACE, 9, 0, epoch=1)
    assert await world.intend("a")
    assert [commit[PLACE][0] for commit in world.broker.commits] == [9], "9 is not finished"
    assert world.broker.marks() == [{mark_of("a")}]
    assert await world.intend("b", place=OTHER)
    assert world.broker.commits[-1][OTHER][0] == 7, "nothing was read: what was found committed"


async def test_many_share_one_commit() -> None:
    world = World()
    world.broker.gate.clear()
    first = world.intend("first")
    await asyncio.sleep(0)
    many = [world.intend(str(n), place=(PLACE, OTHER)[n % 2]) for n in range(100)]
    await asyncio.sleep(0)
    world.broker.gate.set()
    assert await first
    assert all(await asyncio.gather(*many))
    assert len(world.broker.commits) == 2


async def test_more_than_fit_wait_for_their_turn_and_no_commit_is_too_long() -> None:
    world = World()
    waiting = {world.intend(str(n)) for n in range(300)}
    allowed = 0
    while waiting:
        done, waiting = await asyncio.wait(waiting, timeout=5, return_when=asyncio.FIRST_COMPLETED)
        assert done
        for task in done:
            assert task.result()
            allowed += 1
            world.committer.ended(task.get_name())
    assert allowed == 300
    assert max(len(marks) for marks in world.broker.marks()) <= 145


async def test_a_turn_that_does_not_come_in_time_is_no() -> None:
    world = World()
    world.intents.max_bytes = 60
    assert await world.intend("a")
    assert not await world.intend("b", within_s=0.2)
    assert world.intents.running() == 1


@pytest.mark.parametrize("error", [CommitFailedError("moved"), KafkaConnectionError("gone")])
async def test_a_refused_or_failed_commit_is_no_and_the_intent_is_withdrawn(error: Exception) -> None:
    world = World()
    world.broker.error = error
    assert not await world.intend("a")
    assert world.intents.running() == 0
    world.broker.error = None
    assert await world.intend("b")
    assert world.broker.marks() == [{mark_of("b")}]


async def test_no_answer_by_the_deadline_is_no_and_what_may_have_arrived_is_cleaned() -> None:
    world = World()
    world.broker.gate.clear()
    running = asyncio.create_task(world.committer.run())
    begun = world.clock.now()
    assert not await world.intend("a", within_s=0.2)
    assert world.clock.now() - begun < 1.5, "not the request timeout"
    assert world.intents.unwritten(world.clock.now()) == [PLACE]
    world.broker.gate.set()
    await until(lambda: world.broker.commits)
    assert world.broker.marks()[-1] == set()
    running.cancel()


async def test_a_deadline_that_has_passed_commits_nothing() -> None:
    world = World()
    assert not await world.intend("a", within_s=0)
    assert world.broker.commits == []


async def test_somebody_elses_short_deadline_costs_the_others_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that leads a commit gives up: those that share it are committed by the next."""
    world = World()
    world.broker.gate.clear()
    leader = world.intend("leader", within_s=0.1)
    await asyncio.sleep(0)
    other = world.intend("other")
    assert not await leader
    monkeypatch.setattr(committer, "CALM_S", 0.0)
    world.broker.gate.set()
    assert await other
    assert world.broker.marks()[-1] == {mark_of("other")}


async def test_a_cancelled_turn_withdraws_its_intent() -> None:
    world = World()
    world.broker.gate.clear()
    task = world.intend("a")
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    assert world.intents.running() == 0


async def test_running_intents_go_with_every_commit_of_their_partition() -> None:
    world = World()
    world.offsets.started(*PLACE, 9, 0, epoch=1)
    assert await world.intend("a")
    world.offsets.started(*PLACE, 10, 0, epoch=1)
    world.offsets.finished(*PLACE, 9, epoch=1)
    await world.committer.commit()
    assert world.broker.commits[-1] == {PLACE: (10, world.broker.commits[0][PLACE][1])}


async def test_the_last_intent_that_ends_is_cleaned_away_without_another_event() -> None:
    world = World(keep_s=0.2)
    running = asyncio.create_task(world.committer.run())
    assert await world.intend("a")
    world.committer.ended("a")
    await until(lambda: len(world.broker.commits) == 2)
    assert world.broker.marks() == [{mark_of("a")}, set()]
    assert not await world.committer.commit() or len(world.broker.commits) == 2, "once"
    running.cancel()


async def test_an_intent_outlives_its_event_until_reads_are_believed_again() -> None:
    """Its order may be met again at once: by a repeat of the event, or by the event itself after a crash."""
    world = World(keep_s=0.2)
    world.offsets.started(*PLACE, 9, 0, epoch=1)
    assert await world.intend("a")
    world.offsets.finished(*PLACE, 9, epoch=1)
    world.committer.ended("a", 9)
    await world.committer.commit()
    assert world.broker.commits[-1][PLACE][0] == 10
    assert world.broker.marks()[-1] == {mark_of("a")}
    await asyncio.sleep(0.3)
    await world.committer.commit()
    assert world.broker.marks()[-1] == set()


async def test_nothing_is_committed_before_the_earlier_owners_intents_are_read() -> None:
    world = World()
    world.intents.assign([PLACE])
    world.offsets.started(*PLACE, 9, 0, epoch=1)
    world.offsets.finished(*PLACE, 9, epoch=1)
    assert await world.committer.commit()
    assert not await world.intend("a")
    assert world.broker.commits == []


async def test_a_broker_with_a_lower_limit_is_learnt_and_offsets_go_on() -> None:
    world = World()
    world.broker.limit = 600
    answers = await asyncio.gather(*(world.intend(str(n), within_s=1) for n in range(100)))
    assert not all(answers)
    assert 256 <= world.intents.max_bytes <= 2_048
    world.offsets.started(*PLACE, 9, 0, epoch=1)
    world.offsets.finished(*PLACE, 9, epoch=1)
    async with asyncio.timeout(5):
        while not any(commit.get(PLACE, (0, {}))[0] == 10 for commit in world.broker.commits):
            await world.committer.commit()


async def test_two_deliveries_of_one_event_are_each_acknowledged() -> None:
    """They have one mark, and maybe one deadline: the text is the same."""
    world = World()
    deadline = world.clock.now() + 5
    assert await world.committer.intend(PLACE, "first", mark_of("k"), deadline)
    assert await world.committer.intend(PLACE, "second", mark_of("k"), deadline)


async def test_the_answer_to_a_commit_of_an_older_assignment_says_nothing_about_this_one() -> None:
    world = World()
    world.broker.gate.clear()
    world.offsets.started(*PLACE, 9, 0, epoch=1)
    world.offsets.finished(*PLACE, 9, epoch=1)
    late = asyncio.create_task(world.committer.commit())
    await asyncio.sleep(0)
    world.offsets.assign({PLACE}, 2)
    world.intents.assign([PLACE])
    world.intents.read_back(PLACE, "", world.clock.now())
    world.offsets.started(*PLACE, 9, 0, epoch=2)
    world.offsets.finished(*PLACE, 9, epoch=2)
    world.broker.gate.set()
    await late
    assert world.offsets.to_commit() == {PLACE: 10}


async def test_nothing_risky_is_sent_right_after_a_commit_without_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that was away may still work on it, and wipe out the intents that a newer commit has carried."""
    monkeypatch.setattr(committer, "CALM_S", 0.3)
    world = World()
    running = asyncio.create_task(world.committer.run())
    world.broker.gate.clear()
    assert not await world.intend("a", within_s=0.1)
    world.broker.gate.set()
    assert not await world.intend("b")
    taken = len(world.broker.commits)
    await asyncio.sleep(0.4)
    assert await world.intend("c")
    await until(lambda: len(world.broker.commits) > taken)
    running.cancel()
