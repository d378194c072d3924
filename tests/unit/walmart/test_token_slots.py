"""Token requests at one moment: never more than allowed, first come first served, and nobody is forgotten."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.walmart.token_slots import TokenSlots

STEPS = st.lists(
    st.one_of(
        st.sampled_from(["take", "take doubtful", "give", "give doubtful", "cancel", "tick"]),
        st.integers(1, 5),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(most=st.integers(1, 5), steps=STEPS)
def test_whatever_happens_slots_are_bounded_fair_and_never_lost(most: int, steps: list[str | int]) -> None:
    """Takers, givers, takers that give up (also in the very step in which they get one), and other bounds meanwhile."""
    asyncio.run(_driven(most, steps))


async def _driven(most: int, steps: list[str | int]) -> None:
    slots = TokenSlots(most)
    highest = most
    asked: list[asyncio.Task[None]] = []
    given_up: set[asyncio.Task[None]] = set()
    returned = doubtful = 0

    def held() -> int:
        return sum(task.done() and not task.cancelled() for task in asked) - returned

    for step in steps:
        if isinstance(step, int):
            slots.configure(step)
            most = step
            highest = max(highest, step)
        elif step == "take":
            asked.append(asyncio.create_task(slots.take()))
        elif step == "take doubtful":
            before = slots.taken
            if slots.take_doubtful():
                doubtful += 1
                assert before < most
                assert doubtful <= max(1, most // 2)
        elif step == "give" and held() > 0:
            returned += 1
            slots.give()
        elif step == "give doubtful" and doubtful:
            doubtful -= 1
            slots.give(doubtful=True)
        elif step == "cancel":
            waiting = [task for task in asked if not task.done()]
            if waiting:
                waiting[len(waiting) // 2].cancel()
                given_up.add(waiting[len(waiting) // 2])
        elif step == "tick":
            await asyncio.sleep(0)
        assert slots.taken <= highest
    for _ in range(3):
        await asyncio.sleep(0)
    assert slots.taken == held() + doubtful
    assert not (slots.waiting and slots.taken < most), "a free slot, and somebody waits"
    served = [task.done() for task in asked if task not in given_up]
    assert served == sorted(served, reverse=True), "first come, first served"
    for task in asked:
        task.cancel()
    await asyncio.gather(*asked, return_exceptions=True)


async def test_one_who_gives_up_in_the_step_in_which_it_gets_a_slot_hands_it_on() -> None:
    slots = TokenSlots(1)
    await slots.take()
    first, second = asyncio.create_task(slots.take()), asyncio.create_task(slots.take())
    await asyncio.sleep(0)
    slots.give()
    first.cancel()
    await second
    with pytest.raises(asyncio.CancelledError):
        await first
    assert (slots.taken, slots.waiting) == (1, 0)


async def test_a_bound_that_is_raised_lets_those_in_who_wait() -> None:
    slots = TokenSlots(1)
    tasks = [asyncio.create_task(slots.take()) for _ in range(5)]
    await asyncio.sleep(0)
    assert (slots.taken, slots.waiting) == (1, 4)
    slots.configure(3)
    assert (slots.taken, slots.waiting) == (3, 2)
    for _ in range(2):
        slots.give()
    await asyncio.gather(*tasks)
