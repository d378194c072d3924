"""Ten thousand broken records: none raises, and each refusal names what is wrong."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from schemas.cloudevents import CloudEvent, ContractError, read_event
from schemas.events import EVENT_MODELS, ORDER_CANCELLED_TYPE, ORDER_SHIPPED_TYPE, OrderCancelled, OrderShipped
from schemas.problems import Problem
from schemas.quick import QUICK
from tests.mutations import ExampleRecord, example_events, example_records, mutate

SEED = 20261120
COUNT = 10_000


def test_ten_thousand_mutations() -> None:
    rng = Random(SEED)
    records = example_records()
    outcomes: Counter[str] = Counter()
    for number in range(COUNT):
        record = mutate(rng.choice(records), rng)
        outcomes[_outcome(record, number)] += 1
    # The generator would be worthless if it broke everything the same way, or nothing.
    assert outcomes["event_invalid"] > COUNT / 5
    assert outcomes["event_undecodable"] > COUNT / 10
    assert outcomes["valid"] > COUNT / 20
    assert outcomes["event_unknown_type"] > 0


def _outcome(record: ExampleRecord, number: int) -> str:
    result = read_event(record.headers, record.value)
    where = f"mutation {number} of seed {SEED}: {result}"
    if not isinstance(result, ContractError):
        event, data = result
        assert isinstance(event, CloudEvent), where
        assert isinstance(data, OrderShipped | OrderCancelled), where
        assert event.id.strip(), where
        assert event.source.strip(), where
        return "valid"
    if result.field is None:
        assert "no CloudEvent" in result.message, where
    for problem in result.problems:
        _is_helpful(problem, where)
    assert result.message.isprintable(), where
    assert len(result.message) < 8_000, where
    assert "someone@mail.example" not in result.message, where
    assert "returns@merchant.example" not in result.message, where
    return result.code


def _is_helpful(problem: Problem, where: str) -> None:
    assert problem.field, where
    assert problem.message, where
    nothing_there = problem.message.startswith(("missing", "the header has no value"))
    personal = ".return_center_address" in problem.field  # shown never
    of_the_value = problem.field in ("value", "content-type", "data_base64")
    shown_in_full = problem.value_shown is not None and len(problem.value_shown) <= 130
    assert nothing_there or personal or of_the_value or shown_in_full or "encoded twice" in problem.message, where


def test_what_is_read_the_short_way_is_what_the_model_reads() -> None:
    """Never more than the model, and nearly all of what the model does."""
    rng = Random(SEED)
    records = [record for record in example_records() if record.headers[0][0] == "content-type"]
    passed: Counter[str] = Counter()
    for number in range(COUNT):
        record = rng.choice(records) if number % 3 == 0 else mutate(rng.choice(records), rng)
        try:
            envelope = orjson.loads(record.value or b"")
            kind, data = envelope["type"], envelope["data"]
            model, quick = EVENT_MODELS[kind], QUICK[kind]
        except (ValueError, LookupError, TypeError):
            continue
        try:
            expected = model.model_validate(data)
        except ValidationError:
            expected = None
        read = quick.read(data)
        assert read is None or (read == expected and type(read) is model), f"mutation {number}: {data}"
        passed["valid"] += expected is not None
        passed["read"] += read is not None
    assert passed["read"] > 0.97 * passed["valid"] > COUNT / 3


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (ORDER_SHIPPED_TYPE, {"items": [{"line_number": "1", "quantity": 1}]}),
        (ORDER_SHIPPED_TYPE, {"packages": [{"carrier": {}, "items": [{"line_number": "1", "quantity": 1}]}]}),
        (ORDER_SHIPPED_TYPE, {"packages": [{"carrier": {"code": "ups"}}]}),
        (ORDER_SHIPPED_TYPE, {"packages": [{"carrier": {"code": "ups"}, "items": [{"quantity": 1}]}]}),
        (
            ORDER_SHIPPED_TYPE,
            {"packages": [{"carrier": {"code": "ups"}, "items": [{"sku": "a", "line_number": "1", "quantity": 1}]}]},
        ),
        (
            ORDER_SHIPPED_TYPE,
            {"packages": [{"carrier": {"code": "ups"}, "items": [{"sku": "a", "quantity": 2, "tracking_total": 1}]}]},
        ),
        (
            ORDER_SHIPPED_TYPE,
            {
                "packages": [{"carrier": {"code": "ups"}}],
                "items": [{"line_number": "1", "quantity": 1, "tracking_total": 1}],
            },
        ),
        (
            ORDER_SHIPPED_TYPE,
            {"packages": [{"carrier": {"code": "ups"}, "items": [{"sku": "a", "quantity": 1}] * 401}] * 5},
        ),
        (ORDER_CANCELLED_TYPE, {"items": [{"sku": "a", "cancelled_total": 1, "shipped_total": 0}] * 2}),
        (ORDER_CANCELLED_TYPE, {"items": [{"cancelled_total": 1, "shipped_total": 0}]}),
        (
            ORDER_CANCELLED_TYPE,
            {"items": [{"sku": "a", "line_number": "1", "cancelled_total": 1, "shipped_total": 0}]},
        ),
    ],
)
def test_each_rule_over_several_fields_is_kept_on_the_short_way(kind: str, change: dict[str, Any]) -> None:
    data = next(event["data"] for event in example_events() if event["type"] == kind)
    assert QUICK[kind].read(data) is not None
    with pytest.raises(ValidationError):
        EVENT_MODELS[kind].model_validate(data | change)
    assert QUICK[kind].read(data | change) is None


def test_mutations_are_deterministic() -> None:
    """A failing seed must fail again."""
    records = example_records()
    first = [mutate(records[0], Random(number)) for number in range(200)]
    assert first == [mutate(records[0], Random(number)) for number in range(200)]
    assert records == example_records(), "mutate must leave the record it is given alone"
