"""The engine with gates and evictions: no slot for what leaves, no spinning, no wake-up lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Self

import pytest

from worker.clock import SystemClock
from worker.lanes.engine import Engine, Retry
from worker.lanes.lanes import Entry, Lanes


async def echo(item: str) -> str:
    return item


class Run:
    """An engine, what it attempted and what it concluded."""

    def __init__(
        self,
        *,
        attempt: Callable[[str], Awaitable[str]] = echo,
        conclude: Callable[[str, str], Awaitable[Retry | None]] | None = None,
        evicted: Callable[[str], str] = lambda item: f"{item} left",
        max_running: int = 10,
    ) -> None:
        self.attempted: list[str] = []
        self.concluded: list[str] = []
        self.failed: list[str] = []
        self.lanes: Lanes[str] = Lanes()
        self._attempt, self._conclude = attempt, conclude
        self.engine: Engine[str, str] = Engine(
            self.lanes,
            attempt=self.attempt,
            conclude=self.conclude,
            evicted=evicted,
            failed=lambda item, _: self.failed.append(item),
            clock=SystemClock(),
            max_running=max_running,
        )

    async def attempt(self, item: str) -> str:
        self.attempted.append(item)
        return await self._attempt(item)

    async def conclude(self, item: str, result: str) -> Retry | None:
        self.concluded.append(result)
        return None if self._conclude is None else await self._conclude(item, result)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.engine.run())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait({self._task, *self.engine._tasks.values()}, timeout=0.1)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(4):
            while not condition():
                await asyncio.sleep(0.001)


async def test_what_is_evicted_is_concluded_without_an_attempt_or_a_slot() -> None:
    async def endless(item: str) -> str:
        await asyncio.sleep(60)
        return item

    made = Run(attempt=endless, max_running=1)
    async with made:
        made.engine.add(Entry("holds the slot", "a"))
        held = Entry("held", "b", gates=("g",))
        made.engine.add(held)
        await made.until(lambda: made.engine.in_flight == 1)
        made.lanes.evict(held)
        await made.until(lambda: made.concluded == ["held left"])
        assert (made.attempted, made.engine.in_flight) == (["holds the slot"], 1)


async def test_hundreds_leave_at_once_and_the_others_go_on() -> None:
    made = Run()
    async with made:
        made.lanes.gates.shut("g", "paused")
        for number in range(350):
            made.engine.add(Entry(f"{number}", f"{number}", gates=("g",), group="x"))
        await made.until(lambda: made.lanes._ready.anything_held)
        made.lanes.evict_group("x", keep=0)
        made.engine.add(Entry("other", "other"))
        await made.until(lambda: made.lanes.count == 0)
        assert made.attempted == ["other"]
        assert len(made.concluded) == 351


async def test_a_running_one_that_is_evicted_leaves_in_the_step_that_ends_its_turn() -> None:
    go = asyncio.Event()

    async def again(item: str, result: str) -> Retry | None:
        await go.wait()
        return None if result.endswith("left") else Retry(at=SystemClock().now() + 3600)

    made = Run(conclude=again)
    async with made:
        entry = Entry("x", "a")
        made.engine.add(entry)
        await made.until(lambda: made.concluded == ["x"])
        made.lanes.evict(entry)
        go.set()
        await made.until(lambda: made.concluded == ["x", "x left"])
        go.clear()
        await made.until(lambda: made.lanes.count == 0)
        assert (made.engine.busy, made.engine.in_flight) == (0, 0)


async def test_the_turn_that_follows_at_once_is_not_taken_for_the_one_that_ended() -> None:
    """It is running, and letting go must see it."""
    held = asyncio.Event()

    async def again(item: str, result: str) -> Retry | None:
        if result.endswith("left"):
            await held.wait()
            return None
        made.lanes.evict(entry)
        return Retry(at=SystemClock().now() + 3600)

    made = Run(conclude=again)
    entry = Entry("x", "a")
    async with made:
        made.engine.add(entry)
        await made.until(lambda: made.concluded == ["x", "x left"])
        await asyncio.sleep(0.002)
        assert (made.engine.busy, made.engine.running) == (1, ["x"])
        asyncio.get_running_loop().call_later(0.01, held.set)
        assert await made.engine.release(lambda _: True, must_finish=lambda _: False, budget_s=4) == []
        assert made.lanes.count == 0


async def test_what_cannot_leave_waits_instead_of_trying_over_and_over() -> None:
    async def full(item: str, result: str) -> Retry | None:
        return Retry(at=SystemClock().now() + 3600)

    made = Run(conclude=full)
    async with made:
        entry = Entry("x", "a", evicted=True)
        made.engine.add(entry)
        await made.until(lambda: not entry.evicted and not entry.running)
        await asyncio.sleep(0.01)
        assert made.concluded == ["x left"]


async def test_a_bug_in_saying_what_becomes_of_it_is_told_and_does_not_lose_it() -> None:
    def broken(item: str) -> str:
        raise RuntimeError("a bug")

    made = Run(evicted=broken)
    async with made:
        made.engine.add(Entry("x", "a", evicted=True))
        await made.until(lambda: made.failed == ["x"])
        assert made.lanes.count == 1


@pytest.mark.parametrize("how", ["opened", "worked", "its time came"])
async def test_a_gate_wakes_the_engine_by_itself(how: str) -> None:
    """Nobody calls `wake`, and no turn ends."""
    made = Run()
    gates, now = made.lanes.gates, SystemClock().now()
    async with made:
        at = now + (0.05 if how == "its time came" else 3600)
        gates.close("g", "down", at, now)
        made.engine.add(Entry("x", "a", gates=("g",)))
        await made.until(lambda: made.lanes._ready.anything_held)
        assert made.attempted == []
        if how == "opened":
            gates.open("g")
        elif how == "worked":
            gates.worked("g", now)
        await made.until(lambda: made.attempted == ["x"])


async def test_a_probe_that_is_let_go_of_makes_way_for_the_next_one() -> None:
    """A rebalance cancels the only turn behind a trickling gate."""

    async def endless(item: str) -> str:
        await asyncio.sleep(60 if item == "first" else 0)
        return item

    made = Run(attempt=endless)
    gates = made.lanes.gates
    gates.close("g", "down", 1.0, 0.0)
    async with made:
        made.engine.add(Entry("first", "a", gates=("g",)))
        made.engine.add(Entry("second", "b", gates=("g",)))
        await made.until(lambda: made.attempted == ["first"])
        await made.engine.release(lambda item: item == "first", must_finish=lambda _: False, budget_s=1)
        await made.until(lambda: made.concluded == ["second"])
        assert gates._running == {}


async def test_the_next_probe_does_not_wait_for_a_result_to_be_published() -> None:
    async def stuck(item: str, result: str) -> Retry | None:
        if item == "first":
            await asyncio.sleep(60)
        return None

    made = Run(conclude=stuck)
    made.lanes.gates.close("g", "down", 1.0, 0.0)
    async with made:
        for item in ("first", "second"):
            made.engine.add(Entry(item, item, gates=("g",)))
        await made.until(lambda: "second" in made.concluded)


async def test_gates_named_by_a_retry_hold_the_next_turn() -> None:
    async def again(item: str, result: str) -> Retry | None:
        return Retry(at=0.0, behind=("g",)) if len(made.concluded) == 1 else None

    made = Run(conclude=again)
    made.lanes.gates.shut("g", "paused")
    async with made:
        made.engine.add(Entry("x", "a"))
        await made.until(lambda: made.lanes._ready.anything_held)
        assert made.attempted == ["x"]
        made.lanes.gates.open("g")
        await made.until(lambda: made.attempted == ["x", "x"])


async def test_a_due_retry_behind_a_closed_gate_keeps_nothing_busy() -> None:
    made = Run()
    looks = 0
    take = made.lanes.take

    def counted(now: float) -> Entry[str] | None:
        nonlocal looks
        looks += 1
        return take(now)

    made.lanes.take = counted  # type: ignore[method-assign]
    now = SystemClock().now()
    async with made:
        made.lanes.gates.shut("g", "paused")
        made.lanes.gates.close("h", "down", now + 0.02, now)
        for number in range(20):
            made.engine.add(Entry(f"{number}", f"{number}", gates=("g",), ready_at=now + 0.001 * number))
            made.engine.add(Entry(f"h{number}", f"h{number}", gates=("h", "g"), ready_at=now + 0.001 * number))
        await made.until(lambda: made.lanes.next_at(SystemClock().now()) is None)
        await asyncio.sleep(0.005)
        due = looks
        assert due <= 100, "about one look for each time that comes"
        await asyncio.sleep(0.05)
        assert looks == due, "and none when nothing happens"
