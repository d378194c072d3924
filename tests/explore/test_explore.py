"""A small search in seconds; and that it is not blind: with a rule broken on purpose it finds the harm."""

from collections.abc import Iterator

import pytest

from tests.explore.base import WRONG
from tests.explore.classes import compare, outcomes
from tests.explore.moves import Moves
from tests.explore.quiet import quiet
from tests.explore.search import Search
from tests.explore.stories import SMALL, SMALL_GUARDED, SMALL_PARKED, STORIES, Story

HARM = [
    ("commit-early", SMALL, 0, "neither settled nor kept"),
    ("no-fence", SMALL, 1, "2 unit(s) charged"),
    ("blind-takeover", SMALL, 1, "2 unit(s) charged"),
    ("first-read", SMALL, 1, "2 unit(s) charged"),
    ("stale-commits", SMALL, 1, "2 unit(s) charged"),
    ("early-tombstone", SMALL_PARKED, 0, "neither settled nor kept"),
    ("no-barrier", SMALL_GUARDED, 0, "in a box"),
]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with quiet():
        yield


def test_two_events_and_one_fault_end_well_whatever_comes_between() -> None:
    found = Search(SMALL, faults=1).run()

    assert found.ok, [found.broken, *found.trace]
    assert found.states > 1_000
    assert found.ends > 1


@pytest.mark.parametrize("name", STORIES)
def test_without_faults_every_story_ends_well(name: str) -> None:
    found = Search(STORIES[name], faults=0).run()

    assert found.ok, [found.broken, *found.trace]


@pytest.mark.parametrize(("wrong", "story", "faults", "harm"), HARM)
def test_a_broken_rule_is_found(wrong: str, story: Story, faults: int, harm: str) -> None:
    found = Search(story, faults=faults, wrong=frozenset({wrong})).run()

    assert harm in found.broken
    assert found.trace, "the way there is told"


@pytest.mark.parametrize(("story", "faults"), [(SMALL, 1), (SMALL_GUARDED, 0), (SMALL_PARKED, 0)])
def test_states_that_are_taken_for_the_same_can_never_be_told_apart(story: Story, faults: int) -> None:
    compared = compare(story, faults=faults)

    assert compared.mistaken == 0
    assert compared.keys < compared.exact
    assert compared.ends == {""}


def test_a_search_meets_the_ends_that_are_met_where_nothing_is_taken_for_the_same() -> None:
    wrong = frozenset({"commit-early"})
    compared = compare(SMALL, faults=0, wrong=wrong)

    assert Search(SMALL, faults=0, wrong=wrong).run().broken in compared.ends


class _Unsettled(Moves):
    settles = False


def test_a_zombies_steps_that_nobody_sees_change_nothing_that_may_come_of_it() -> None:
    states, found = outcomes(Moves(SMALL), SMALL, faults=1)
    more_states, as_found = outcomes(_Unsettled(SMALL), SMALL, faults=1)

    assert states < more_states
    assert found == as_found


def test_every_rule_that_can_be_broken_is() -> None:
    assert {wrong for wrong, _, _, _ in HARM} == set(WRONG)


def test_too_many_states_are_no_success() -> None:
    found = Search(SMALL, faults=1, bound=100).run()

    assert not found.broken
    assert not found.ok
