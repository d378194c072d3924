from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import worker.oncall.sending as sending_room
from worker.cli import main as entry
from worker.cli.exit_codes import ExitCode
from worker.cli.main import app
from worker.delivery import Place
from worker.oncall.sending import Outgoing, Sent, TooLargeError
from worker.settings import Settings

run = CliRunner().invoke
SHIP = ["send", "shipped", "--order", "1796277083022", "--store", "us"]


# -- settings


def test_every_mistake_in_the_settings_is_told(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text('[kafka]\ngroup_id = ""\nbootstrap = "x"\n[accounts.main]\nclient_id = "a"\n')
    result = run(app, ["dlq", "ls", "--config", str(file)])
    assert result.exit_code == ExitCode.MISTAKE
    for part in ("kafka.group_id", "kafka.bootstrap", "stores", "accounts.main"):
        assert part in result.stderr
    assert result.stdout == ""
    told = json.loads(run(app, ["dlq", "ls", "--json", "--config", str(file)]).stdout)
    assert told["exit_code"] == ExitCode.MISTAKE
    assert len(told["details"]) >= 4


@pytest.mark.parametrize("how", ["before", "after", "environment"])
def test_three_ways_to_name_the_settings(how: str, config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["dlq", "ls"]
    if how == "before":
        arguments = ["--config", config, *arguments]
    elif how == "after":
        arguments = [*arguments, "--config", config]
    else:
        monkeypatch.setenv("ORDER_SYNC_CONFIG", config)
    assert run(app, arguments).exit_code == ExitCode.UNREACHABLE  # valid settings, nobody at that address


# -- Kafka is not there


@pytest.mark.parametrize(
    "arguments",
    [
        ["dlq", "ls"],
        ["dlq", "show", "key"],
        ["dlq", "replay", "--all", "--why", "x", "--yes"],
        [*SHIP, "--line", "1=1", "--carrier", "ups", "--tracking", "1Z"],
    ],
)
def test_unreachable_kafka_is_named(arguments: list[str], config: str) -> None:
    result = run(app, [*arguments, "--config", config])
    assert result.exit_code == ExitCode.UNREACHABLE
    assert "127.0.0.1:1" in result.stderr
    told = run(app, [*arguments, "--json", "--config", config])
    assert told.exit_code == ExitCode.UNREACHABLE
    assert "127.0.0.1:1" in json.loads(told.stdout)["error"]


def test_check_tells_what_it_cannot_reach(config: str) -> None:
    result = run(app, ["check", "--json", "--config", config])
    assert result.exit_code == ExitCode.UNREACHABLE
    findings = json.loads(result.stdout)["findings"]
    assert {one["subject"] for one in findings if one["level"] == "mistake"} == {"kafka", "account main"}
    assert "s3cret-of-this-test" not in result.output
    table = run(app, ["check", "--config", config])
    assert table.exit_code == ExitCode.UNREACHABLE
    assert "2 mistake(s)" in table.stdout


def test_check_of_mistaken_settings(tmp_path: Path) -> None:
    result = run(app, ["check", "--config", str(tmp_path / "missing.toml")])
    assert result.exit_code == ExitCode.MISTAKE
    assert "missing.toml" in result.stdout


# -- dlq: what is asked for


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["dlq", "ls", "--code", "carrier_unmaped"], "did you mean carrier_unmapped"),
        (["dlq", "ls", "--category", "mappings"], "did you mean mapping"),
        (["dlq", "ls", "--state", "gone"], "known are dead"),
        (["dlq", "ls", "--since", "yesterday"], "neither a span"),
        (["dlq", "replay", "--why", "x", "--yes"], "--all"),
        (["dlq", "replay", "--all", "--why", " ", "--yes"], "--why"),
        (["dlq", "replay", "--all", "--why", "x"], "--yes"),
        (["dlq", "replay", "--all", "--yes"], "--why"),
        (["dlq", "nothing"], "nothing"),
    ],
)
def test_mistaken_options_end_with_2(arguments: list[str], part: str, config: str) -> None:
    result = run(app, [*arguments, *(["--config", config] if arguments[1] != "nothing" else [])])
    assert result.exit_code == ExitCode.MISTAKE
    assert part in result.stderr


# -- send


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Outgoing]:
    """What would have been written to Kafka."""
    records: list[Outgoing] = []

    async def send(settings: Settings, record: Outgoing, *, wait_s: float = 0.0, sent: Any = None) -> Sent:
        records.append(record)
        sent(Place(2, 7))
        return Sent(Place(2, 7))

    monkeypatch.setattr(sending_room, "send", send)
    return records


def test_send_shipped(sent: list[Outgoing], config: str) -> None:
    result = run(
        app, [*SHIP, "--line", "1=2", "--sku", "A=B=1", "--carrier", "ups", "--tracking", "1Z1", "--id", "e1",
              "--json", "--config", config],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {
        "topic": "commerce.order-shipped.v1", "partition": 2, "offset": 7, "key": "1796277083022", "result": None,
    }  # fmt: skip
    (record,) = sent
    headers = dict(record.headers)
    assert record.key == b"1796277083022"
    assert (headers["ce_id"], headers["ce_type"]) == (b"e1", b"commerce.order.shipped.v1")
    (package,) = json.loads(record.value)["packages"]
    assert package == {
        "carrier": {"code": "ups"},
        "tracking_number": "1Z1",
        "items": [{"line_number": "1", "quantity": 2}, {"sku": "A=B", "quantity": 1}],
    }


def test_send_several_packages_in_structured_mode(sent: list[Outgoing], config: str) -> None:
    result = run(
        app,
        [*SHIP, "--package", "carrier=ups,tracking=1Z1,line=1:1", "--package", "title=Speedy,tracking=S2,sku=A:B:2",
         "--mode", "structured", "--config", config],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "commerce.order-shipped.v1/2/7" in result.stdout
    (record,) = sent
    assert dict(record.headers) == {"content-type": b"application/cloudevents+json"}
    first, second = json.loads(record.value)["data"]["packages"]
    assert first["items"] == [{"line_number": "1", "quantity": 1}]
    assert second == {
        "carrier": {"title": "Speedy"}, "tracking_number": "S2", "items": [{"sku": "A:B", "quantity": 2}],
    }  # fmt: skip


def test_items_of_the_whole_shipment(sent: list[Outgoing], config: str) -> None:
    arguments = ["--package", "carrier=ups,tracking=1Z1", "--package", "carrier=ups,tracking=1Z2", "--line", "1=2"]
    assert run(app, [*SHIP, *arguments, "--config", config]).exit_code == 0
    data = json.loads(sent[0].value)
    assert data["items"] == [{"line_number": "1", "quantity": 2}]
    assert all("items" not in package for package in data["packages"])


def test_send_cancelled(sent: list[Outgoing], config: str) -> None:
    result = run(
        app,
        ["send", "cancelled", "--order", "PO1", "--store", "us", "--line", "1=2/1", "--reason", "out of stock",
         "--inventory", "A=12@N1", "--cancelled-at", "2026-11-20T15:59:58Z", "--config", config],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    (record,) = sent
    assert record.topic == "commerce.order-cancelled.v1"
    data = json.loads(record.value)
    assert data["items"] == [{"line_number": "1", "cancelled_total": 2, "shipped_total": 1}]
    assert data["inventory"] == [{"sku": "A", "quantity": 12, "ship_node": "N1", "as_of": "2026-11-20T15:59:58Z"}]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([*SHIP, "--line", "1", "--carrier", "ups"], "--line 1: write NAME=QUANTITY"),
        ([*SHIP, "--line", "1=two", "--carrier", "ups"], "no whole number"),
        ([*SHIP, "--line", "1=0", "--carrier", "ups"], "data.packages.0.items.0.quantity"),
        ([*SHIP, "--line", "1=1"], "data.packages.0.carrier"),
        ([*SHIP, "--package", "weight=3"], "no key weight"),
        ([*SHIP, "--package", "carrier=ups,line=1:1", "--tracking", "1Z"], "leave --carrier"),
        (["send", "cancelled", "--order", "PO1", "--store", "us", "--line", "1=2"], "CANCELLED/SHIPPED"),
        (["send", "cancelled", "--order", "P O", "--store", "us"], "data.purchase_order_id"),
        (["send", "no-such-file.json"], "No such file"),
    ],
)
def test_what_breaks_the_contract_is_not_sent(
    arguments: list[str], part: str, sent: list[Outgoing], config: str
) -> None:
    result = run(app, [*arguments, "--config", config])
    assert result.exit_code == ExitCode.MISTAKE
    assert part in result.stderr
    assert sent == []


def test_a_file_is_sent_as_it_is(sent: list[Outgoing], config: str, tmp_path: Path) -> None:
    text = CliRunner().invoke(app, ["schemas", "show", "examples/order-shipped.complete"]).stdout
    result = run(app, ["send", "-", "--config", config], input=text)
    assert result.exit_code == 0, result.output
    assert sent[0].value == text.encode()
    assert sent[0].key == json.loads(text)["data"]["purchase_order_id"].encode()
    file = tmp_path / "event.json"
    file.write_text(text)
    assert run(app, ["send", "--mode", "binary", str(file), "--config", config]).exit_code == 0
    assert json.loads(sent[1].value) == json.loads(text)["data"]
    assert dict(sent[1].headers)["ce_id"] == json.loads(text)["id"].encode()


def test_unchecked_sends_anything_but_must_know_where_to(sent: list[Outgoing], config: str) -> None:
    lost = run(app, ["send", "-", "--unchecked", "--config", config], input="not JSON")
    assert lost.exit_code == ExitCode.MISTAKE
    assert "--topic" in lost.stderr
    assert run(app, ["send", "-", "--topic", "t", "--config", config], input="{}").exit_code == ExitCode.MISTAKE
    there = ["send", "-", "--unchecked", "--topic", "t", "--key", "k", "--config", config]
    assert run(app, there, input="not JSON").exit_code == 0
    assert (sent[0].topic, sent[0].key, sent[0].value) == ("t", b"k", b"not JSON")
    broken = ["--line", "1=0", "--carrier", "ups", "--unchecked", "--config", config]
    assert run(app, [*SHIP, *broken]).exit_code == 0
    assert (sent[1].topic, sent[1].key) == ("commerce.order-shipped.v1", b"1796277083022")


def test_waiting_in_vain_has_a_code_of_its_own(sent: list[Outgoing], config: str) -> None:
    result = run(app, [*SHIP, "--line", "1=1", "--carrier", "ups", "--wait", "1", "--config", config])
    assert result.exit_code == ExitCode.NO_ANSWER
    assert "no result within 1 s" in result.stderr


def test_too_large_is_a_mistake(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def send(*_: Any, **__: Any) -> Sent:
        raise TooLargeError("larger than topic t takes")

    monkeypatch.setattr(sending_room, "send", send)
    result = run(app, [*SHIP, "--line", "1=1", "--carrier", "ups", "--config", config])
    assert result.exit_code == ExitCode.MISTAKE
    assert "larger than" in result.stderr


# -- schemas


def test_schemas_are_listed_and_shown() -> None:
    names = [one["name"] for one in json.loads(run(app, ["schemas", "ls", "--json"]).stdout)["documents"]]
    assert "commerce.order.shipped.v1" in names
    for name in names:
        shown = run(app, ["schemas", "show", name])
        assert shown.exit_code == 0
        json.loads(shown.stdout)
    assert "asyncapi" in run(app, ["schemas", "ls"]).stdout
    wrong = run(app, ["schemas", "show", "commerce.order.shiped.v1"])
    assert wrong.exit_code == ExitCode.MISTAKE
    assert "did you mean commerce.order.shipped.v1" in wrong.stderr


def test_schemas_validate() -> None:
    good = run(app, ["schemas", "show", "examples/order-shipped.one-package"]).stdout
    assert run(app, ["schemas", "validate", "-"], input=good).exit_code == 0
    event = json.loads(good)
    event["data"]["store"] = 7
    bad = run(app, ["schemas", "validate", "-"], input=json.dumps(event))
    assert bad.exit_code == ExitCode.FAILED
    assert "data.store" in bad.stdout
    told = json.loads(run(app, ["schemas", "validate", "-", "--json"], input=json.dumps(event)).stdout)
    assert told["ok"] is False
    assert told["events"][0]["problems"][0]["field"] == "data.store"
    assert run(app, ["schemas", "validate", "no-such-file"]).exit_code == ExitCode.MISTAKE
    assert run(app, ["schemas", "validate", "-"], input="").exit_code == ExitCode.FAILED


# -- the ends of the program


def test_a_bug_has_a_code_of_its_own(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(entry, "app", broken)
    with pytest.raises(SystemExit) as ended:
        entry.main()
    assert ended.value.code == ExitCode.BUG
    assert "please report" in capsys.readouterr().err


def test_ctrl_c_ends_with_130(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def send(*_: Any, **__: Any) -> Sent:
        raise KeyboardInterrupt

    monkeypatch.setattr(sending_room, "send", send)
    result = run(app, [*SHIP, "--line", "1=1", "--carrier", "ups", "--config", config])
    assert result.exit_code == ExitCode.INTERRUPTED


def test_the_sandbox_passes_its_options_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from worker.sandbox import command

    seen: list[tuple[bool, bool]] = []

    def run_sandbox(*, once: bool, as_json: bool) -> int:
        seen.append((once, as_json))
        return 1

    monkeypatch.setattr(command, "run_sandbox", run_sandbox)
    assert run(app, ["sandbox", "--once", "--json"]).exit_code == 1
    assert seen == [(True, True)]
