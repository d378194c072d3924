"""Generated files agree with the models, and with the standards they claim to follow."""

from __future__ import annotations

import json
import re
from pathlib import Path
from random import Random
from typing import Any

import jsonschema
import pytest

from schemas import generate
from schemas.cloudevents import ContractError, read_event
from schemas.deadletter import read
from schemas.events import EVENT_MODELS
from schemas.generators import shapes, tables
from schemas.results import SYNC_RESULT_TYPE, SyncResult
from tests.mutations import EXAMPLES, example_events, example_records, mutate
from worker.errors import ERRORS
from worker.settings import TopicSettings

DATA = Path(__file__).parents[2] / "data"
RESULTS = sorted(EXAMPLES.glob("sync-result*.json"))


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def validator(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(
        load(generate.HOME / "json" / f"{name}.schema.json"),
        format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER,
    )


def test_nothing_has_drifted() -> None:
    """`python -m schemas.generate` makes it right."""
    assert generate.drifted() == []


def test_check_tells_what_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    home = tmp_path / "schemas"
    (home / "json").mkdir(parents=True)
    (home / "README.md").write_text("<!-- generated: dead-letter-headers -->\nold\n<!-- end -->\n")
    (home / "json" / "gone.schema.json").write_text("{}")
    monkeypatch.setattr(generate, "HOME", home)
    assert generate.main(["--check"]) == 1
    assert "README.md" in capsys.readouterr().out
    assert generate.main([]) == 0
    assert not (home / "json" / "gone.schema.json").exists()
    assert "`order-sync-state`" in (home / "README.md").read_text()
    assert generate.main(["--check"]) == 0


@pytest.mark.parametrize("name", shapes.SHAPES)
def test_schema_files_are_json_schemas(name: str) -> None:
    schema = load(generate.HOME / "json" / f"{name}.schema.json")
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:order-sync:schema:{name}"


@pytest.mark.parametrize("name", shapes.SHAPES)
def test_every_field_is_described(name: str) -> None:
    schema = shapes.SHAPES[name]()
    for model, shape in {"": schema, **schema.get("$defs", {})}.items():
        for field, kind in shape.get("properties", {}).items():
            assert kind.get("description"), f"{model}.{field} has no docstring"


class TestExamples:
    @pytest.mark.parametrize("event", example_events(), ids=lambda event: event["id"])
    def test_events(self, event: dict[str, Any]) -> None:
        validator(event["type"]).validate(event["data"])
        EVENT_MODELS[event["type"]].model_validate(event["data"])

    def test_ids_are_unique_per_content(self) -> None:
        events = example_events()
        assert len({(event["source"], event["id"]) for event in events}) == len(events)

    @pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
    def test_results(self, path: Path) -> None:
        event = load(path)
        data = event["data"]
        validator(SYNC_RESULT_TYPE).validate({"observed": False, "planned": [], **data})
        result = SyncResult.model_validate(data)
        assert event["id"] == result.result_id
        assert event["type"] == SYNC_RESULT_TYPE
        assert result.final == (result.status != "retrying")
        assert (result.error is None) == (result.status == "succeeded")
        assert (result.dead_letter is None) or result.status == "failed"
        if result.status != "retrying":
            assert result.order_status == ("error" if result.status == "failed" else result.walmart_status)

    @pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
    def test_errors_of_results_are_those_of_the_worker(self, path: Path) -> None:
        error = load(path)["data"]["error"]
        if error is None:
            return
        kind = ERRORS[error["code"]]
        assert (error["category"], error["owner"], error["retryable"]) == (kind.category, kind.owner, kind.retryable)
        assert error["action"] == kind.action.replace("{store}", "us_store_view")

    def test_there_is_one_for_every_way_to_end(self) -> None:
        told = [load(path)["data"] for path in RESULTS]
        assert {result["status"] for result in told} == {"succeeded", "failed", "retrying"}
        assert any(result.get("observed") for result in told)
        assert any(result["event"]["id"] is None for result in told)

    def test_dead_letter(self) -> None:
        record = load(EXAMPLES / "dead-letter.json")
        validator(shapes.DEAD_LETTER_HEADERS).validate(record["headers"])
        headers = [(name, text.encode()) for name, text in record["headers"].items()]
        value = json.dumps(record["value"]).encode()
        letter = read(value, headers)
        assert letter.problems == ()
        assert letter.about.key == record["value"]["purchase_order_id"].encode()
        assert not isinstance(read_event(letter.headers, letter.value), ContractError)
        about = letter.about
        assert record["key"] == f"{about.topic}|{record['headers']['ce_source']}|{record['headers']['ce_id']}"
        assert about.code in ERRORS


def test_what_the_schema_refuses_the_model_refuses_too() -> None:
    """And the other way round, but for what JSON Schema cannot say."""
    rng = Random(11)
    validators = {name: validator(name) for name in EVENT_MODELS}
    records = [record for record in example_records() if len(record.headers) == 1]
    compared = 0
    for _ in range(1_500):
        record = mutate(rng.choice(records), rng)
        read = read_event([("content-type", b"application/cloudevents+json")], record.value)
        if isinstance(read, ContractError):
            if not record.value or read.known.type not in validators or read.code != "event_invalid":
                continue
            if not all(problem.field.startswith("data.") for problem in read.problems):
                continue
            data = json.loads(record.value)["data"]
            valid = validators[read.known.type].is_valid(data)
            assert not valid or _beyond_json_schema(read), read.message
        else:
            assert validators[read[0].type].is_valid(read[0].data), read[0].data
        compared += 1
    assert compared > 500


def _beyond_json_schema(error: ContractError) -> bool:
    """2.0 is an integer to JSON Schema; sums, comparisons and uniqueness by field are beyond it."""
    beyond = ("without fraction", "stands here twice", "at least the quantity", "items in all", "years 2000", "exists")
    return all(any(text in problem.message for text in beyond) for problem in error.problems)


class TestAsyncApi:
    document = load(generate.HOME / "asyncapi.json")

    def test_it_is_asyncapi_3(self) -> None:
        schema = load(DATA / "asyncapi-3.0.0.schema.json")
        jsonschema.Draft7Validator(schema).validate(self.document)

    def test_the_vendored_schema_sees_mistakes(self) -> None:
        schema = load(DATA / "asyncapi-3.0.0.schema.json")
        broken = json.loads(json.dumps(self.document))
        broken["channels"]["orderShipped"]["bindings"]["kafka"]["partitons"] = 3
        assert not jsonschema.Draft7Validator(schema).is_valid(broken)

    def test_every_reference_leads_somewhere(self) -> None:
        references = list(_references(self.document))
        assert references
        for reference in references:
            place: Any = self.document
            for step in reference.removeprefix("#/").split("/"):
                place = place[step]
            assert place

    def test_examples_fit_their_messages(self) -> None:
        for name, message in self.document["components"]["messages"].items():
            assert message["examples"], name
            for example in message["examples"]:
                for part in ("headers", "payload"):
                    schema = {**message[part], "components": self.document["components"]}
                    jsonschema.Draft7Validator(schema).validate(example[part])

    def test_channels_are_the_default_topics(self) -> None:
        topics = {channel["address"] for channel in self.document["channels"].values()}
        assert topics == set(TopicSettings().model_dump().values())


def _references(node: Any) -> list[str]:
    if isinstance(node, list):
        return [found for entry in node for found in _references(entry)]
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for entry in node.values() for found in _references(entry)]
    return []


class TestReadme:
    text = (generate.HOME / "README.md").read_text(encoding="utf-8")

    def test_all_tables_are_there(self) -> None:
        for name in tables.EVENT_TABLES:
            assert f"<!-- generated: {name} -->" in self.text, name

    def test_links_lead_to_files(self) -> None:
        for target in re.findall(r"\]\(([^)#:]+)\)", self.text):
            assert (generate.HOME / target).exists(), target

    def test_json_in_the_readme_is_valid_events(self) -> None:
        blocks = re.findall(r"```json\n(.*?)```", self.text, re.DOTALL)
        assert blocks
        for block in blocks:
            event = json.loads(block)
            EVENT_MODELS[event["type"]].model_validate(event["data"])
