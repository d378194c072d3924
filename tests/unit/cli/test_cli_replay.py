"""`dlq replay` up to the moment of writing, and what it says afterwards; Kafka is played by the test."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner

import worker.oncall.replaying as replaying_room
import worker.oncall.snapshot as snapshot_room
from schemas import deadletter
from schemas.deadletter import DeadLetterHeaders
from worker.cli import dlq_replay
from worker.cli.exit_codes import ExitCode
from worker.cli.main import app
from worker.oncall.kafka import KafkaUnreachableError
from worker.oncall.letters import Letter, RawRecord, read_letter
from worker.oncall.replay import Became, Plan
from worker.oncall.snapshot import Snapshot

REPLAY = ["dlq", "replay", "--code", "carrier_unmapped", "--why", "mapped"]


def letter(number: int, **given: Any) -> Letter:
    about = {
        "state": "dead", "code": "carrier_unmapped", "store": "us", "order": f"PO{number}", "topic": "t",
        "partition": 0, "offset": number, "first_seen": 1_795_000_000.0,
    }  # fmt: skip
    value, headers = deadletter.write(DeadLetterHeaders(**{**about, **given}), b"{}", ())
    read = read_letter(RawRecord(0, number, 0, f"t|s|{number}".encode(), value, tuple(headers)))
    assert read is not None
    return read


Play = Callable[[list[Letter], dict[int, Became] | Exception], list[Plan]]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    """Play Kafka: what lies there, and what becomes of each letter (by offset). Returns what was run."""

    def setting(letters: list[Letter], outcome: dict[int, Became] | Exception) -> list[Plan]:
        ran: list[Plan] = []

        async def snapshot(*_: Any, **__: Any) -> Snapshot:
            return Snapshot(letters, {})

        class Replaying:
            def __init__(self, settings: Any, plan: Plan, marks: Any, asking: Any, *, progress: Any) -> None:
                self._plan = plan

            async def run(self) -> None:
                ran.append(self._plan)
                for item in self._plan.items:
                    if isinstance(outcome, dict) and item.became is None:
                        item.became = outcome[item.letter.about.offset or 0]
                if isinstance(outcome, Exception):
                    raise outcome

        monkeypatch.setattr(snapshot_room, "snapshot", snapshot)
        monkeypatch.setattr(replaying_room, "Replaying", Replaying)
        return ran

    return setting


def run(arguments: list[str], config: str, **more: Any) -> Any:
    return CliRunner().invoke(app, [*arguments, "--config", config], **more)


@pytest.mark.parametrize(("answer", "times"), [("n\n", 0), ("\n", 0), ("y\n", 1)])
def test_it_asks_first(answer: str, times: int, play: Play, config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dlq_replay, "_can_ask", lambda: True)
    ran = play([letter(1), letter(2)], {1: "succeeded", 2: "succeeded"})
    result = run(REPLAY, config, input=answer)
    assert result.exit_code == ExitCode.OK
    assert "Replay 2 dead letter(s)?" in result.stderr
    assert "PO1" in result.stderr
    assert len(ran) == times


def test_without_a_terminal_it_does_nothing_unasked(play: Play, config: str) -> None:
    ran = play([letter(1)], {1: "succeeded"})
    assert run(REPLAY, config).exit_code == ExitCode.MISTAKE
    assert ran == []


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        ({1: "succeeded", 2: "succeeded"}, ExitCode.OK),
        ({1: "asked", 2: "asked"}, ExitCode.OK),
        ({1: "succeeded", 2: "no_answer"}, ExitCode.NO_ANSWER),
        ({1: "failed", 2: "no_answer"}, ExitCode.FAILED),
        ({1: "succeeded", 2: "observed"}, ExitCode.FAILED),
        ({1: "succeeded", 2: "changed"}, ExitCode.FAILED),
        ({1: "succeeded", 2: "not_written"}, ExitCode.FAILED),
    ],
)
def test_only_success_of_all_is_success(outcome: dict[int, Became], code: ExitCode, play: Play, config: str) -> None:
    play([letter(1), letter(2)], outcome)
    result = run([*REPLAY, "--yes", "--json"], config)
    assert result.exit_code == code
    assert {one["became"] for one in json.loads(result.stdout)["letters"]} == set(outcome.values())


def test_broken_ones_are_told_and_count_as_not_done(play: Play, config: str) -> None:
    play([letter(1), letter(2, topic=None)], {1: "succeeded"})
    result = run([*REPLAY, "--yes"], config)
    assert result.exit_code == ExitCode.FAILED
    assert "cannot be replayed: t|s|2" in result.stderr
    assert "1 not_replayable" in result.stdout


def test_only_what_was_asked_for_is_run(play: Play, config: str) -> None:
    ran = play([letter(1), letter(2, code="internal"), letter(3, state="waiting")], {1: "succeeded"})
    assert run([*REPLAY, "--yes"], config).exit_code == ExitCode.OK
    assert [item.key for item in ran[0].items] == ["t|s|1"]


def test_kafka_lost_on_the_way(play: Play, config: str) -> None:
    play([letter(1)], KafkaUnreachableError("Kafka at b:9092 is gone"))
    result = run([*REPLAY, "--yes", "--json"], config)
    assert result.exit_code == ExitCode.UNREACHABLE
    assert json.loads(result.stdout)["error"] == "Kafka at b:9092 is gone"


def test_nothing_there_is_nothing_wrong(play: Play, config: str) -> None:
    assert play([], {}) == []
    result = run([*REPLAY, "--yes"], config)
    assert (result.exit_code, result.stdout.strip()) == (ExitCode.OK, "No dead letters like that.")


def test_a_terminal_gets_no_control_characters_and_no_markup(play: Play, config: str) -> None:
    play([letter(1, order="\x1b[2J[red]PO", why="mail a@b.example")], {1: "succeeded"})
    shown = run(["dlq", "ls"], config).stdout
    assert "\x1b" not in shown
    assert "[red]PO" in shown
    told = json.loads(run(["dlq", "ls", "--json"], config).stdout)
    assert "a@b.example" not in json.dumps(told)
