"""The command itself, on a real Kafka: a tiny run, and what it writes."""

from __future__ import annotations

import sys
from pathlib import Path

import orjson
import pytest

from tests.bench.__main__ import main

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.platform != "linux", reason="the benchmarks read /proc"),
]


def test_a_tiny_run_says_and_keeps_what_it_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "new" / "figures.json"
    main(["calls", "order", "--quick", "--json", str(file)])
    told = orjson.loads(file.read_bytes())
    assert told["about"]["quick"] is True
    assert told["about"]["processors"] >= 1
    figures = {(one["measurement"], one["contender"], one["figure"]): one for one in told["figures"]}
    # One read and one shipment: nothing the machine does can change that.
    one_event = figures["calls", "one event per order", "calls per event"]
    assert (one_event["median"], one_event["aim"], one_event["met"]) == (2.0, "<= 2.0", True)
    assert figures["order", "order-sync", "effects out of order"]["values"] == [0]
    assert figures["order", "bare loop", "events per second"]["median"] > 0
    said = capsys.readouterr().out
    assert "aims met" in said
    assert str(file) in said


def test_an_unknown_measurement_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["speed"])
    assert "unknown: speed" in capsys.readouterr().err
