from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import schemas
from worker.oncall.view import HIDDEN, view

HOME = Path(next(iter(schemas.__path__))) / "examples"
STRUCTURED = (("content-type", b"application/cloudevents+json"),)
BINARY = (
    ("ce_specversion", b"1.0"),
    ("ce_id", b"1"),
    ("ce_source", b"/commerce"),
    ("ce_type", b"commerce.order.shipped.v1"),
    ("content-type", b"application/json"),
)


def shipped() -> dict[str, Any]:
    event: dict[str, Any] = json.loads((HOME / "order-shipped.return-address.json").read_text())
    assert event["data"]["return_center_address"]
    return event


def test_the_return_address_is_hidden() -> None:
    event = shipped()
    shown = view(STRUCTURED, json.dumps(event).encode())
    assert shown.data["return_center_address"] == HIDDEN
    assert shown.data["packages"][0]["tracking_number"] == event["data"]["packages"][0]["tracking_number"]
    for part in event["data"]["return_center_address"].values():
        assert f'"{part}"' not in json.dumps(shown.data)


def test_reveal_shows_everything() -> None:
    event = shipped()
    assert view(STRUCTURED, json.dumps(event).encode(), reveal=True).data == event["data"]


def test_fields_the_contract_does_not_know_are_hidden_at_every_depth() -> None:
    event = shipped()
    event["data"]["buyer"] = {"name": "Ada"}
    event["data"]["packages"][0]["recipient"] = "Ada"
    event["data"]["packages"][0]["carrier"]["driver"] = "Ada"
    shown = view(STRUCTURED, json.dumps(event).encode())
    assert "Ada" not in json.dumps(shown.data)
    assert shown.data["buyer"] == HIDDEN


def test_wrong_types_do_not_open_a_door() -> None:
    event = shipped()
    event["data"]["packages"] = "Ada, 1 Main Street"
    event["data"]["store"] = {"contact": "Ada"}
    event["data"]["return_center_address"] = ["Ada"]
    assert "Ada" not in json.dumps(view(STRUCTURED, json.dumps(event).encode()).data)


def test_e_mails_in_free_text_are_scrubbed() -> None:
    event = shipped()
    event["data"]["packages"][0]["service"] = "ask ada@example.com"
    assert "ada@example.com" not in json.dumps(view(STRUCTURED, json.dumps(event).encode()).data)


def test_binary_mode_and_other_headers() -> None:
    shown = view((*BINARY, ("x-buyer", b"Ada"), ("traceparent", b"00-1")), json.dumps(shipped()["data"]).encode())
    assert shown.attributes["id"] == "1"
    assert shown.headers == {
        "content-type": "application/json",
        "x-buyer": "(hidden, 3 bytes)",
        "traceparent": "00-1",
    }
    assert shown.data["return_center_address"] == HIDDEN


def test_an_unknown_type_is_hidden_whole() -> None:
    headers = (*BINARY[:3], ("ce_type", b"commerce.order.returned.v1"))
    assert view(headers, b'{"name": "Ada"}').data == HIDDEN


@pytest.mark.parametrize(("value", "note"), [(None, "no value"), (b"", "no value"), (b"Ada, Main Street", "not JSON")])
def test_what_cannot_be_read_is_told_not_shown(value: bytes | None, note: str) -> None:
    shown = view(BINARY, value)
    assert shown.data is None
    assert note in (shown.note or "")
    assert "Ada" not in (shown.note or "")


@given(st.binary(max_size=60), st.lists(st.tuples(st.text(max_size=9), st.none() | st.binary(max_size=9)), max_size=4))
def test_any_record_can_be_shown(value: bytes, headers: list[tuple[str, bytes | None]]) -> None:
    shown = view(headers, value)
    json.dumps([shown.attributes, shown.headers, shown.data], default=repr)
