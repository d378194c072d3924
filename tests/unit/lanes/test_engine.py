"""The engine: bounded attempts, lanes held while concluding, letting go without losing a write."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from worker.clock import SystemClock
from worker.lanes.budget import Budget
from worker.lanes.engine import Engine, Retry
from worker.lanes.lanes import Entry, Lanes


def engine(
    attempt: Callable[[str], Awaitable[str]],
    conclude: Callable[[str, str], Awaitable[Retry | None]],
    *,
    max_running: int = 10,
    failed: list[str] | None = None,
) -> Engine[str, str]:
    return Engine(
        Lanes(),
        attempt=attempt,
        conclude=conclude,
        failed=lambda item, _: (failed if failed is not None else []).append(item),
        clock=SystemClock(),
        max_running=max_running,
    )


class LeapingClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.time = 1_000.0

    def now(self) -> float:
        return self.time


class SetClock:
    """Runs on, and is set by hand."""

    def __init__(self) -> None:
        self.ahead = 1_000_000.0

    def now(self) -> float:
        return asyncio.get_running_loop().time() + self.ahead


async def settled(made: Engine[str, str]) -> None:
    while made.lanes.count:
        await asyncio.sleep(0.001)


async def test_never_more_attempts_than_slots() -> None:
    most = running = 0

    async def attempt(item: str) -> str:
        nonlocal most, running
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.002)
        running -= 1
        return item

    async def conclude(item: str, result: str) -> None:
        assert item == result

    made = engine(attempt, conclude, max_running=3)
    task = asyncio.create_task(made.run())
    for number in range(20):
        made.add(Entry(str(number), str(number)))
    await settled(made)
    assert most == 3
    task.cancel()


async def test_a_slow_conclusion_holds_its_lane_but_no_slot() -> None:
    """A broker that is slow to acknowledge must not use up the slots for calls."""
    publish = asyncio.Event()
    attempted: list[str] = []

    async def attempt(item: str) -> str:
        attempted.append(item)
        return item

    async def conclude(item: str, result: str) -> None:
        if item == "slow":
            await publish.wait()

    made = engine(attempt, conclude, max_running=1)
    task = asyncio.create_task(made.run())
    made.add(Entry("slow", "a"))
    made.add(Entry("behind", "a"))
    made.add(Entry("other", "b"))
    while "other" not in attempted:
        await asyncio.sleep(0.001)
    assert "behind" not in attempted
    publish.set()
    await settled(made)
    assert attempted[-1] == "behind"
    task.cancel()


async def test_what_raises_is_told_and_tried_again() -> None:
    told: list[str] = []
    tries = 0

    async def attempt(item: str) -> str:
        return item

    async def conclude(item: str, result: str) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise RuntimeError("a bug")

    made = engine(attempt, conclude, failed=told)
    task = asyncio.create_task(made.run())
    made.add(Entry("x", "a"))
    await settled(made)
    assert (tries, told) == (2, ["x"])
    task.cancel()


async def test_letting_go_waits_for_writes_and_drops_the_rest() -> None:
    """On a rebalance a POST on its way is waited for; reads and queues are dropped."""
    posting = {"post"}
    events: list[str] = []

    async def attempt(item: str) -> str:
        try:
            await asyncio.sleep(0.05 if item == "post" else 60)
        except asyncio.CancelledError:
            events.append(f"{item} cancelled")
            raise
        posting.discard(item)
        return item

    async def conclude(item: str, result: str) -> None:
        events.append(f"{item} done")

    made = engine(attempt, conclude)
    task = asyncio.create_task(made.run())
    for item in ("post", "read"):
        made.add(Entry(item, item))
    made.add(Entry("queued", "read"))
    await asyncio.sleep(0.01)
    await made.release(lambda _: True, must_finish=lambda item: item in posting, budget_s=5)
    assert set(events) == {"read cancelled", "post done"}
    assert (made.lanes.count, made.in_flight, made.busy) == (0, 0, 0)
    task.cancel()


async def test_letting_go_ends_within_its_budget() -> None:
    async def attempt(item: str) -> str:
        await asyncio.sleep(60)
        return item

    async def conclude(item: str, result: str) -> None: ...

    made = engine(attempt, conclude)
    task = asyncio.create_task(made.run())
    made.add(Entry("stuck", "a"))
    await asyncio.sleep(0.01)
    await made.release(lambda _: True, must_finish=lambda _: True, budget_s=0.05)
    assert made.lanes.count == 0
    task.cancel()


async def test_a_turn_let_go_of_before_its_first_step_leaves_nothing_behind() -> None:
    """A rebalance in the very step that gave the turn: release must end, and the slot must be free again."""
    ran: list[str] = []

    async def attempt(item: str) -> str:
        ran.append(item)
        return item

    async def conclude(item: str, result: str) -> None:
        pass

    made = engine(attempt, conclude, max_running=1)
    made.add(Entry("x", "a"))
    task = asyncio.create_task(made.run())
    # Both tasks are ready now: the engine gives the turn, then release runs, then the turn's task would begin.
    releasing = asyncio.create_task(made.release(lambda _: True, must_finish=lambda _: False, budget_s=1))
    async with asyncio.timeout(4):
        await releasing
    assert (ran, made.busy, made.in_flight, made.lanes.count) == ([], 0, 0, 0)
    made.add(Entry("y", "a"))
    await settled(made)
    assert ran == ["y"]
    task.cancel()


async def test_a_cancellation_that_nobody_asked_for_does_not_lose_the_entry() -> None:
    """A client that leaks a CancelledError of its own: the entry stays in its lane and is tried again."""
    failures: list[str] = []
    tries = 0

    async def attempt(item: str) -> str:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise asyncio.CancelledError
        return item

    async def conclude(item: str, result: str) -> None:
        pass

    clock = LeapingClock()
    made: Engine[str, str] = Engine(
        Lanes(),
        attempt=attempt,
        conclude=conclude,
        failed=lambda item, _: failures.append(item),
        clock=clock,
        max_running=1,
    )
    task = asyncio.create_task(made.run())
    made.add(Entry("x", "a"))
    while not failures:
        await asyncio.sleep(0)
    assert made.lanes.count == 1
    clock.time += 10
    made.wake()
    await settled(made)
    assert tries == 2
    task.cancel()


async def test_a_stop_finishes_what_runs_and_what_is_to_be_kept() -> None:
    done: list[str] = []
    go = asyncio.Event()

    async def attempt(item: str) -> str:
        if item == "running":
            await go.wait()
        return item

    async def conclude(item: str, result: str) -> Retry | None:
        if item == "waiting":
            return Retry(at=SystemClock().now() + 3600)
        done.append(item)
        return None

    made = engine(attempt, conclude, max_running=1)
    task = asyncio.create_task(made.run())
    for item in ("running", "kept", "dropped", "waiting"):
        made.add(Entry(item, item))
    while not made.running:
        await asyncio.sleep(0.001)
    asyncio.get_running_loop().call_later(0.05, go.set)
    await made.finish(lambda item: item in ("kept", "waiting"), budget_s=30)
    assert done == ["running", "kept"], "what waits for an hour is not waited for"
    made.add(Entry("late", "late"))
    await asyncio.sleep(0.01)
    assert "late" not in done, "no more turns"
    await asyncio.wait_for(task, 1)


@pytest.mark.parametrize("jump", [-7_200.0, 7_200.0])
async def test_a_clock_that_is_set_makes_nobody_wait_for_as_long(jump: float) -> None:
    """A retry in a moment, a gate that opens in a moment, a budget's next turn in a moment."""
    clock, lanes = SetClock(), Lanes[str]()
    tried: list[str] = []

    async def attempt(item: str) -> str:
        tried.append(item)
        return item

    async def conclude(item: str, result: str) -> Retry | None:
        return Retry(clock.now() + 0.05) if item == "again" and tried.count("again") == 1 else None

    made: Engine[str, str] = Engine(
        lanes, attempt=attempt, conclude=conclude, failed=lambda item, _: None, clock=clock, max_running=9
    )
    now = clock.now()
    lanes.gates.slow("slow", now + 0.05, "throttled", now)
    budget = Budget(100.0, 6_000, now)
    budget.ended(budget.begun("", now), now, 0, now + 0.05)
    lanes.gates.rations.give("rationed", budget)
    for name, gates in (("again", ()), ("slow", ("slow",)), ("rationed", ("rationed",))):
        made.add(Entry(name, name, gates))
    task = asyncio.create_task(made.run())
    while not tried:
        await asyncio.sleep(0)
    clock.ahead += jump
    async with asyncio.timeout(20):
        await settled(made)
    assert sorted(tried) == ["again", "again", "rationed", "slow"]
    task.cancel()
