"""The story of an event: bounded, on one line per step, and carried on from a dead letter."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.story import FIRST_STEPS, LAST_STEPS, Story, is_gap

T0 = 1_795_000_000.0


def told(count: int) -> Story:
    story = Story()
    for number in range(count):
        story.add(T0 + number, f"step {number}")
    return story


def test_steps_are_counted_from_the_first() -> None:
    story = Story()
    story.add(T0, "received")
    story.add(T0 + 1.2345, "done")
    assert story.lines() == ["+0.000 s received", "+1.234 s done"]
    assert story.begun_at == T0


def test_a_story_that_has_not_begun_has_no_lines() -> None:
    assert (Story().lines(), Story().steps()) == ([], [])


def test_of_a_long_story_the_beginning_and_the_end_are_kept_and_the_gap_is_told() -> None:
    count = FIRST_STEPS + LAST_STEPS + 100
    texts = [what for _, what in told(count).steps()]
    assert texts[:FIRST_STEPS] == [f"step {number}" for number in range(FIRST_STEPS)]
    assert texts[FIRST_STEPS] == "… 100 more steps …"
    assert is_gap(texts[FIRST_STEPS])
    assert texts[-LAST_STEPS:] == [f"step {number}" for number in range(count - LAST_STEPS, count)]


def test_a_step_is_one_line_and_not_endless() -> None:
    story = Story()
    story.add(T0, "first\r\n second\t" + "x" * 1_000)
    ((_, what),) = story.steps()
    assert what.startswith("first second xxx")
    assert len(what) == 200


@given(st.lists(st.integers(0, 60), min_size=1, max_size=6))
def test_a_story_parked_and_taken_up_again_reads_as_if_it_had_never_stopped(parts: list[int]) -> None:
    whole, carried = Story(), Story()
    number = 0
    for part in parts:
        for _ in range(part):
            whole.add(T0 + number, f"step {number}")
            carried.add(T0 + number, f"step {number}")
            number += 1
        again = Story()
        again.restore(carried.steps())
        carried = again
    assert carried.steps() == whole.steps()
    assert carried.begun_at == whole.begun_at


def test_words_like_a_gap_at_the_beginning_are_a_step() -> None:
    story = Story()
    story.restore([(T0, "… 7 more steps …"), (T0 + 1, "x")])
    assert [what for _, what in story.steps()] == ["… 7 more steps …", "x"]
