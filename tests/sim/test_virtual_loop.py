"""Time that is counted, processes that are stopped, woken up and killed."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from tests.sim.virtual_loop import IdleError, Process, VirtualLoop


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    virtual = VirtualLoop()
    yield virtual
    virtual.close()


def after(loop: VirtualLoop, seconds: float) -> None:
    loop.run_until_complete(asyncio.wait_for(_sleep(seconds), None))


async def _sleep(seconds: float) -> None:
    await asyncio.sleep(seconds)


class Diary:
    """What a process did, and when."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop, self.lines = loop, list[tuple[float, str]]()

    def note(self, what: str) -> None:
        self.lines.append((round(self.loop.time() - 1_000, 3), what))

    async def ticking(self) -> None:
        try:
            while True:
                self.note("tick")
                await asyncio.sleep(1)
        finally:
            self.note("the end")


def begin(loop: VirtualLoop, coroutine: Coroutine[Any, Any, Any]) -> Process:
    process = Process("p")
    loop.begin(process, coroutine)
    return process


def test_an_hour_costs_nothing(loop: VirtualLoop) -> None:
    loop.run_until_complete(asyncio.sleep(3_600))
    assert loop.time() == pytest.approx(4_600)


def test_nothing_left_to_happen_is_told(loop: VirtualLoop) -> None:
    with pytest.raises(IdleError):
        loop.run_until_complete(loop.create_future())


def test_timers_fire_in_their_order(loop: VirtualLoop) -> None:
    fired: list[str] = []
    loop.call_later(2, fired.append, "second")
    loop.call_later(1, fired.append, "first")
    loop.call_later(1.5, fired.append, "cancelled").cancel()
    loop.run_until_complete(asyncio.sleep(3))
    assert fired == ["first", "second"]


def test_a_stalled_process_is_late_all_at_once(loop: VirtualLoop) -> None:
    diary = Diary(loop)
    process = begin(loop, diary.ticking())
    loop.in_world(1.5, loop.stall, process)
    loop.in_world(7.25, loop.wake, process)
    loop.run_until_complete(asyncio.sleep(8))
    assert [at for at, _ in diary.lines] == [0, 1, 7.25]
    process.state = "dead"


def test_what_others_do_reaches_a_stalled_process_when_it_wakes_up(loop: VirtualLoop) -> None:
    answer: asyncio.Future[str] = loop.create_future()
    diary = Diary(loop)

    async def waiting() -> None:
        diary.note(await answer)

    process = begin(loop, waiting())
    loop.in_world(1, loop.stall, process)
    loop.in_world(2, answer.set_result, "answer")
    loop.in_world(5, loop.wake, process)
    loop.run_until_complete(asyncio.sleep(6))
    assert diary.lines == [(5, "answer")]


def test_a_dead_process_says_no_goodbye(loop: VirtualLoop) -> None:
    diary = Diary(loop)
    process = begin(loop, diary.ticking())
    loop.in_world(1.5, loop.kill, process)
    loop.run_until_complete(asyncio.sleep(10))
    assert [what for _, what in diary.lines] == ["tick", "tick"]
    loop.bury(process)
    assert process.tasks == []


def test_child_tasks_belong_to_the_process(loop: VirtualLoop) -> None:
    diary = Diary(loop)

    async def parent() -> None:
        children = [asyncio.create_task(diary.ticking()), asyncio.create_task(diary.ticking())]
        await asyncio.wait(children)

    process = begin(loop, parent())
    loop.in_world(0.5, loop.kill, process)
    loop.run_until_complete(asyncio.sleep(5))
    assert len(diary.lines) == 2
    assert len(process.tasks) == 3
    loop.bury(process)


def test_a_spinning_process_is_told(loop: VirtualLoop) -> None:
    async def spinning() -> None:
        while True:
            await asyncio.sleep(0)

    process = begin(loop, spinning())
    with pytest.raises(IdleError, match="spins"):
        loop.run_until_complete(asyncio.sleep(1))
    loop.kill(process)
    loop.bury(process)
