"""`order-sync explain` as people and machines see it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from schemas import deadletter
from schemas.deadletter import DeadLetterHeaders
from worker.cli.main import app
from worker.oncall import evidence
from worker.oncall.evidence import ReadKafka
from worker.oncall.explaining import Explaining
from worker.oncall.letters import RawRecord
from worker.settings import Settings

TOPIC = "commerce.order-shipped.v1"
SEEN = 1_795_000_000.0
STORY = ((SEEN, "received"), (SEEN + 0.25, "GET order -> 429 in 0.051 s, throttled: [bold]slow[/bold]"))


def letter(number: int = 1, **about: Any) -> RawRecord:
    given: dict[str, Any] = {
        "state": "waiting", "key": b"PO1", "code": "throttled", "reason": "slow", "store": "us", "order": "PO1",
        "topic": TOPIC, "partition": 0, "offset": number, "first_seen": SEEN, "attempts": 3, "next_try": SEEN + 9e8,
        "story": STORY,
    }  # fmt: skip
    value, headers = deadletter.write(DeadLetterHeaders(**{**given, **about}), b"{}", ())
    key = f"{TOPIC}|/commerce|e{number}".encode()
    return RawRecord(0, 100 + number, int(SEEN * 1000) + 1000, key, value, tuple(headers))


Lay = Callable[..., None]


@pytest.fixture
def lay(monkeypatch: pytest.MonkeyPatch) -> Lay:
    """Kafka, played: these records lie there."""

    def laid(*records: RawRecord) -> None:
        async def from_kafka(
            settings: Settings, explaining: Explaining, since: float, progress: object = None
        ) -> ReadKafka:
            for record in records:
                explaining.add_letter(record)
            return ReadKafka(len(records), 0, since)

        monkeypatch.setattr(evidence, "from_kafka", from_kafka)

    return laid


def run(config: str, *arguments: str, **more: Any) -> Result:
    return CliRunner().invoke(app, ["--config", config, "explain", *arguments], **more)


def test_the_story_is_told_with_what_is_next(config: str, lay: Lay) -> None:
    lay(letter())
    done = run(config, "e1")
    assert done.exit_code == 0
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines[0] == f"{TOPIC}|/commerce|e1"
    assert "order PO1" in lines[1]
    assert any(line.endswith("received") for line in lines)
    assert any("+0.250 s GET order -> 429 in 0.051 s, throttled: [bold]slow[/bold]" in line for line in lines)
    assert any(line.startswith("now: waiting: walmart.dead-letter.v1, partition 0, offset 101") for line in lines)
    assert any(line.startswith("next: next try at ") and "account main has budget" in line for line in lines)


def test_json_has_the_same(config: str, lay: Lay) -> None:
    lay(letter(1), letter(2, order="PO2"))
    done = run(config, "e1", "--json")
    assert done.exit_code == 0
    told = json.loads(done.stdout)
    (event,) = told["events"]
    assert told["count"] == 1
    assert (event["state"], event["attempts"], event["purchase_order_id"]) == ("waiting", 3, "PO1")
    assert event["coordinates"] == f"{TOPIC}/0/1"
    assert [(step["by"], step["what"]) for step in event["story"]][:2] == [("worker", what) for _, what in STORY]
    assert event["story"][0]["at"] == "2026-11-18T11:06:40.000Z"
    assert event["next_try"] > "2050"
    assert told["read"]["dead_letter_records"] == 2


def test_all_events_of_an_order_are_told(config: str, lay: Lay) -> None:
    lay(letter(1), letter(2), letter(3, order="PO2"))
    told = json.loads(run(config, "PO1", "--json").stdout)
    assert [event["key"][-2:] for event in told["events"]] == ["e1", "e2"]
    assert json.loads(run(config, "e1", "--order", "PO2", "--json").stdout)["exit_code"] == 1


def test_nothing_known_is_1_and_says_how_far_it_looked(config: str, lay: Lay) -> None:
    lay()
    done = run(config, "e1")
    assert done.exit_code == 1
    assert "nothing is known of e1" in done.stderr
    assert "--since" in done.stderr


def test_the_log_of_a_settled_event_tells_its_story(config: str, lay: Lay, tmp_path: Path) -> None:
    lay()
    line = {
        "time": "2026-11-18T11:06:42Z", "event": "event_finished", "topic": TOPIC, "partition": 0, "offset": 1,
        "source": "/commerce", "event_id": "e1", "order": "PO1", "status": "succeeded", "effect": "applied",
        "story_begun_at": "2026-11-18T11:06:40+00:00", "story": ["+0.000 s received", "+1.500 s succeeded, applied"],
    }  # fmt: skip
    text = "not JSON\n" + json.dumps(line) + "\n"
    file = tmp_path / "worker.log"
    file.write_text(text)
    for done in (
        run(config, "e1", "--logs", str(file), "--json"),
        run(config, "e1", "--logs", "-", "--json", input=text),
    ):
        assert done.exit_code == 0
        (event,) = json.loads(done.stdout)["events"]
        assert event["state"] == "finished"
        assert [step["what"] for step in event["story"]] == ["received", "succeeded, applied"]


def test_a_worker_that_does_not_answer_is_a_note(config: str, lay: Lay) -> None:
    lay(letter())
    done = run(config, "e1", "--worker", "http://127.0.0.1:1", "--json")
    assert done.exit_code == 0
    assert "does not answer" in json.loads(done.stdout)["notes"][0]
    lay()
    done = run(config, "e1", "--worker", "http://127.0.0.1:1", "--json")
    assert done.exit_code == 1
    assert any("does not answer" in detail for detail in json.loads(done.stdout)["details"])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((" ",), "EVENT is empty"),
        (("e1", "--since", "soon"), "--since"),
        (("e1", "--logs", "/nowhere/at/all.log"), "/nowhere/at/all.log"),
    ],
)
def test_mistakes_are_named(config: str, lay: Lay, arguments: tuple[str, ...], named: str) -> None:
    lay()
    done = run(config, *arguments, "--json")
    assert done.exit_code == 2
    assert named in json.loads(done.stdout)["error"]


def test_kafka_that_is_not_there_is_3(config: str) -> None:
    done = run(config, "e1", "--json")
    assert done.exit_code == 3
    assert "127.0.0.1:1" in json.loads(done.stdout)["error"]
