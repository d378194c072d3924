"""Half a minute of chaos: kills under load, then everything is counted. The long runs are `make chaos`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.judge import ZERO
from tests.chaos.options import Options
from tests.chaos.run import run

pytestmark = [pytest.mark.integration, pytest.mark.faults, pytest.mark.timeout(420)]


async def test_half_a_minute_of_chaos_breaks_no_promise(tmp_path: Path) -> None:
    options = Options(
        seed=11,
        minutes=0.4,
        kills=5,
        workers=2,
        partitions=4,
        rate=15,
        pace_seconds=3.5,
        quiet_minutes=2,
        artefacts=tmp_path / "chaos",
    )
    report = await run(options, print)
    print(*report.stories, sep="\n\n")
    assert {kind: report.figures[kind] for kind in ZERO if report.figures[kind]} == {}
    assert report.figures["kills"] >= 2
    assert report.figures["events"] > 100
    assert report.figures["effects"] > 50
