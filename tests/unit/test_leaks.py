"""The search for leaks finds one."""

from __future__ import annotations

import pytest

from tests.leaks import PLANTED_PERSON, judge


@pytest.mark.parametrize("section", ["Captured stdout call", "Captured log teardown"])
@pytest.mark.parametrize(("printed", "outcome"), [(f"to {PLANTED_PERSON[0]}, here", "failed"), ("nothing", "passed")])
def test_a_test_that_prints_personal_data_fails(section: str, printed: str, outcome: str) -> None:
    report = pytest.TestReport("t", ("f", 1, "t"), {}, "passed", None, "call", sections=[(section, printed)])
    judge(report)
    assert report.outcome == outcome
