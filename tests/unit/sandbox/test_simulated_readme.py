"""The README's examples are valid, and no fault is missing from it."""

from __future__ import annotations

import re
from importlib import resources
from typing import get_args

import pytest

from worker.sandbox.walmart.bodies import REASONS, load_schema
from worker.sandbox.walmart.specs import Envelope, FaultKind, FaultSpec, Operation

README = resources.files("worker.sandbox.walmart").joinpath("README.md").read_text()
EXAMPLES = re.findall(r"-d '(\{.*\})'", README)


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_a_fault(example: str) -> None:
    FaultSpec.model_validate_json(example)


def test_every_fault_has_an_example() -> None:
    assert {FaultSpec.model_validate_json(example).kind for example in EXAMPLES} == set(get_args(FaultKind))


def test_every_operation_and_envelope_is_named() -> None:
    words = set(re.findall(r"\w+", README))
    assert set(get_args(Operation)) | set(get_args(Envelope)) <= words


def test_the_us_reasons_are_those_of_walmarts_schema() -> None:
    lines = load_schema("cancel_request")["properties"]["orderCancellation"]["properties"]["orderLines"]
    status = lines["properties"]["orderLine"]["items"]["properties"]["orderLineStatuses"]["properties"]
    reason = status["orderLineStatus"]["items"]["properties"]["cancellationReason"]
    assert list(REASONS["us"]) == reason["enum"]
