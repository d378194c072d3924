"""Every output of the whole suite is searched for planted secrets and personal data: promise 8, in every test.

System tests search what the workers wrote (`tests/system/stage.py`); this plugin searches what any test printed or
logged, of the workers' own logs too, since those are printed when a stage is taken down.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

PLANTED_SECRET = "sandbox-secret"
"""The simulated Walmart's client secret, which every worker of the suite is given in a file."""
PLANTED_PERSON = ("Planted Person", "77 Planted Street", "planted@person.example", "555-0177")
"""What test events carry in their return address."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Iterator[None]:
    """A test whose output leaks has failed, whatever else it says."""
    report: pytest.TestReport = yield  # type: ignore[misc,assignment]
    judge(report)
    return report  # type: ignore[return-value]


def judge(report: pytest.TestReport) -> None:
    """Turn a passed report into a failed one if anything planted is in what the test printed or logged."""
    printed = "\n".join(text for _, text in report.sections)
    leaks = [text for text in (PLANTED_SECRET, *PLANTED_PERSON) if text in printed]
    if leaks and report.outcome == "passed":
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: its output holds {leaks}"
