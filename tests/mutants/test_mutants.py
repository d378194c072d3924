"""Every mutant still means something: its text stands in the source, and the file compiles with the bug in it."""

from __future__ import annotations

import pytest

from tests.mutants.copies import ROOT
from tests.mutants.every import MUTANTS
from tests.mutants.mutant import Mutant, StaleError


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_it_applies_and_compiles(mutant: Mutant) -> None:
    """Where this fails the source has changed: say the same bug in its new words."""
    text = mutant.apply((ROOT / mutant.path).read_text())
    compile(text, mutant.path, "exec")
    for path in mutant.tests:
        assert (ROOT / path).exists(), path


def test_names_are_told_apart_and_there_are_enough() -> None:
    names = [mutant.name for mutant in MUTANTS]
    assert len(names) == len(set(names)) >= 30


def test_a_text_that_is_not_there_once_is_told() -> None:
    mutant = Mutant("m", "p", "one", "two", ())
    assert mutant.apply("one") == "two"
    for text in ("", "one and one"):
        with pytest.raises(StaleError, match="m: stands"):
            mutant.apply(text)
