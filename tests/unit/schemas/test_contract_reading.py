"""Records read as CloudEvents: both modes, and every trap on the way."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.attributes import MAX_ATTRIBUTE, Known
from schemas.cloudevents import (
    CloudEvent,
    ContractError,
    read,
    read_envelope,
    read_event,
    to_headers_binary,
    to_structured,
    to_value,
)
from schemas.events import OrderCancelled, OrderShipped
from tests.mutations import Headers, example_events, record_of

STRUCTURED: Headers = [("content-type", b"application/cloudevents+json")]
SHIP = next(event for event in example_events() if event["id"] == "shipment-000000123-1")


def refused(headers: Headers, value: bytes | None) -> ContractError:
    result = read_event(headers, value)
    assert isinstance(result, ContractError), "taken, though it is broken"
    return result


def accepted(headers: Headers, value: bytes | None) -> tuple[CloudEvent, OrderShipped | OrderCancelled]:
    result = read_event(headers, value)
    assert not isinstance(result, ContractError), result.message
    return result


def binary(**changes: bytes | None) -> tuple[Headers, bytes]:
    """The example in binary mode with some headers changed (`ce_id=b"…"`) or, with None, left out."""
    headers, _, value = record_of(SHIP, binary=True)
    changed = {name.replace("content_type", "content-type"): raw for name, raw in changes.items()}
    kept: Headers = [(name, changed.get(name, raw)) for name, raw in headers]
    assert value is not None
    return [(name, raw) for name, raw in kept if raw is not None], value


def structured(**changes: Any) -> bytes:
    return json.dumps({**SHIP, **changes}).encode()


class TestBothModes:
    @pytest.mark.parametrize("event", example_events(), ids=lambda event: event["id"])
    def test_every_example_reads_the_same_in_both_modes(self, event: dict[str, Any]) -> None:
        in_headers, plain = accepted(*_parts(event, binary=True))
        in_value, wrapped = accepted(*_parts(event, binary=False))
        assert plain == wrapped
        assert (in_headers.mode, in_value.mode) == ("binary", "structured")
        assert in_headers.id == in_value.id == event["id"]
        assert in_headers.time == in_value.time == datetime.fromisoformat(event["time"])

    @pytest.mark.parametrize("event", example_events(), ids=lambda event: event["id"])
    def test_what_is_written_reads_back(self, event: dict[str, Any]) -> None:
        envelope, data = accepted(*_parts(event, binary=False))
        again, same = accepted(list(to_headers_binary(envelope)), to_value(envelope.data))
        assert same == data
        assert (again.id, again.source, again.type, again.time) == (
            envelope.id,
            envelope.source,
            envelope.type,
            envelope.time,
        )
        headers, value = to_structured(envelope)
        assert accepted(list(headers), value) == (envelope, data)

    def test_a_model_can_be_written_as_data(self) -> None:
        _, data = accepted(*binary())
        assert accepted(binary()[0], to_value(data))[1] == data

    def test_an_event_without_time_is_written_without(self) -> None:
        event = CloudEvent("1", "/s", "t", None, {}, "binary")
        assert "ce_time" not in dict(to_headers_binary(event))
        assert b'"time"' not in to_structured(event)[1]

    def test_decoded_envelopes_are_read_too(self) -> None:
        assert not isinstance(read_envelope(copy.deepcopy(SHIP)), ContractError)

    @pytest.mark.parametrize(
        "content_type",
        [
            b"application/cloudevents+json; charset=utf-8",
            b"Application/CloudEvents+JSON;charset=UTF-8",
            b'application/cloudevents+json ; charset="utf-8"',
            b"application/cloudevents",
        ],
    )
    def test_structured_content_types(self, content_type: bytes) -> None:
        assert accepted([("Content-Type", content_type)], structured())[0].mode == "structured"

    @pytest.mark.parametrize(
        "content_type", [None, b"application/json", b"text/json", b"application/vnd.shop+json; charset=utf-8"]
    )
    def test_binary_content_types(self, content_type: bytes | None) -> None:
        headers, value = binary(content_type=content_type)
        assert accepted(headers, value)[0].mode == "binary"

    def test_foreign_headers_are_not_looked_at(self) -> None:
        headers, value = binary()
        foreign: Headers = [("traceparent", b"\xff"), ("ce_subject", b"\xff"), ("x", None), ("order-sync-state", b"?")]
        accepted([*foreign, *headers], value)

    def test_structured_mode_wins_over_ce_headers(self) -> None:
        headers, _ = binary(ce_id=b"other")
        envelope, _ = accepted([*STRUCTURED, *headers], structured())
        assert envelope.id == SHIP["id"]

    def test_reading_alone_does_not_look_into_data(self) -> None:
        event = read(STRUCTURED, structured(data={"anything": 1}))
        assert isinstance(event, CloudEvent)
        assert event.data == {"anything": 1}


def _parts(event: dict[str, Any], *, binary: bool) -> tuple[Headers, bytes | None]:
    record = record_of(event, binary=binary)
    return record.headers, record.value


class TestHeaders:
    @pytest.mark.parametrize("name", ["ce_id", "ce_source", "ce_type", "ce_specversion"])
    def test_a_missing_attribute_is_named(self, name: str) -> None:
        headers, value = binary(**{name: None})
        error = refused(headers, value)
        assert (error.code, error.field) == ("event_invalid", name)
        assert "missing" in error.message

    @pytest.mark.parametrize("name", ["ce_id", "ce_source", "ce_type"])
    @pytest.mark.parametrize(
        ("raw", "says"),
        [
            (b"", "must not be empty"),
            (b"  ", "must not be empty"),
            (b"\xff\xfe", "not UTF-8"),
            (b"a\nb", "control"),
            (b"x" * (MAX_ATTRIBUTE + 1), f"at most {MAX_ATTRIBUTE} characters, has {MAX_ATTRIBUTE + 1}"),
        ],
    )
    def test_a_bad_attribute_is_named_with_its_value(self, name: str, raw: bytes, says: str) -> None:
        headers, value = binary(**{name: raw})
        error = refused(headers, value)
        assert error.field == name
        assert says in error.message
        assert error.value_shown is not None
        assert len(error.value_shown) < 100

    def test_a_header_without_value(self) -> None:
        headers, value = binary(ce_id=None)
        assert "has no value" in refused([*headers, ("ce_id", None)], value).message

    def test_a_repeated_header_with_the_same_value_is_harmless(self) -> None:
        headers, value = binary()
        accepted([*headers, *headers], value)

    def test_a_repeated_header_with_another_value_is_not(self) -> None:
        headers, value = binary()
        error = refused([*headers, ("ce_id", b"other")], value)
        assert (error.code, error.field, error.value_shown) == ("event_invalid", "ce_id", '"other"')

    def test_source_must_not_hold_the_separator_of_identities(self) -> None:
        headers, value = binary(ce_source=b"/a|b")
        assert refused(headers, value).field == "ce_source"

    @pytest.mark.parametrize("version", ["0.3", "1.0.2", "2.0", "1"])
    def test_another_specversion(self, version: str) -> None:
        headers, value = binary(ce_specversion=version.encode())
        error = refused(headers, value)
        assert (error.code, error.field, error.value_shown) == ("event_undecodable", "ce_specversion", f'"{version}"')

    @pytest.mark.parametrize(
        ("time", "says"),
        [
            ("yesterday", "RFC 3339"),
            ("1763650000", "RFC 3339"),
            ("2026-11-20", "RFC 3339"),
            ("20261120T150405Z", "RFC 3339"),
            ("2026-11-20T15:04:05", "no zone"),
            ("2026-02-30T15:04:05Z", "exists"),
            ("2026-11-20T25:04:05Z", "exists"),
            ("0001-01-01T00:00:00Z", "years 2000"),
            ("9999-12-31T23:59:59-23:59", "years 2000"),
            ("٢٠٢٦-11-20T15:04:05Z", "RFC 3339"),
        ],
    )
    def test_a_bad_time_is_named_with_its_value(self, time: str, says: str) -> None:
        headers, value = binary(ce_time=time.encode())
        error = refused(headers, value)
        assert (error.code, error.field, error.value_shown) == ("event_invalid", "ce_time", f'"{time}"')
        assert says in error.message
        assert error.known.purchase_order_id == SHIP["data"]["purchase_order_id"]

    @pytest.mark.parametrize(
        ("time", "meant"),
        [
            ("2026-11-20T15:04:05.123456789Z", datetime(2026, 11, 20, 15, 4, 5, 123456, UTC)),
            ("2026-11-20t15:04:05z", datetime(2026, 11, 20, 15, 4, 5, 0, UTC)),
            ("2026-11-20 10:04:05-05:00", datetime(2026, 11, 20, 15, 4, 5, 0, UTC)),
        ],
    )
    def test_times_rfc_3339_allows(self, time: str, meant: datetime) -> None:
        headers, value = binary(ce_time=time.encode())
        assert accepted(headers, value)[0].time == meant

    def test_no_time_is_fine(self) -> None:
        headers, value = binary(ce_time=None)
        assert accepted(headers, value)[0].time is None

    @pytest.mark.parametrize(
        ("content_type", "says"),
        [
            (b"application/cloudevents-batch+json", "batches are not read"),
            (b"application/cloudevents+avro", "must be application/cloudevents+json"),
            (b"application/cloudevents+json; charset=utf-16", "charset must be utf-8"),
        ],
    )
    def test_structured_modes_we_do_not_read(self, content_type: bytes, says: str) -> None:
        error = refused([("content-type", content_type)], structured())
        assert (error.code, error.field) == ("event_undecodable", "content-type")
        assert says in error.message

    @pytest.mark.parametrize("content_type", [b"application/xml", b"avro/binary", b"\xff\xfe", b"text/plain"])
    def test_binary_data_that_is_not_json(self, content_type: bytes) -> None:
        headers, value = binary(content_type=content_type)
        assert refused(headers, value).field == "content-type"


class TestValues:
    @pytest.mark.parametrize("value", [None, b""])
    def test_no_value_is_no_event(self, value: bytes | None) -> None:
        error = refused(binary()[0], value)
        assert (error.code, error.field) == ("event_undecodable", "value")
        assert error.known.id == SHIP["id"]

    @pytest.mark.parametrize(
        ("value", "says"),
        [
            (b"\xef\xbb\xbf" + structured(), "byte order mark"),
            (structured().decode().encode("utf-16"), "UTF-16"),
            (structured().decode().encode("utf-16-le"), "UTF-16"),
            (b"\x00\x00\x00\x00\x07" + structured(), "schema registry"),
            (b"\x1f\x8b\x08\x00", "gzip"),
            (structured().replace(b"Ground", b"Gr\xfcnd"), "not UTF-8"),
            (structured().replace(b"Ground", b"\\ud800"), "surrogate"),
            (structured().replace(b'"quantity": 1', b'"quantity": NaN', 1), "not JSON"),
            (structured().replace(b'"quantity": 1', b'"quantity": 1e999', 1), "not JSON"),
            (structured().replace(b'"quantity": 1', b'"quantity": 1, "quantity": 2', 1), '"quantity" stands twice'),
            (structured()[:-1], "not JSON"),
            (b"[" * 100_000, "not JSON"),
            (b"[" * 800 + b"]" * 800, "nested deeper"),
            (b'{"a":' * 800 + b"1" + b"}" * 800, "nested deeper"),
            (b"[" + structured() + b"]", "batches are not read"),
            (b"3", "one event, an object"),
        ],
        ids=lambda value: None if isinstance(value, bytes) else value,
    )
    def test_a_broken_value_is_told(self, value: bytes, says: str) -> None:
        error = refused(STRUCTURED, value)
        assert (error.code, error.field) == ("event_undecodable", "value")
        assert says in error.message

    def test_an_envelope_without_its_content_type_gets_a_hint(self) -> None:
        error = refused([], structured())
        assert error.code == "event_undecodable"
        assert "content-type: application/cloudevents+json" in error.message
        assert "looks like one" not in refused([], b'{"store": "x"}').message

    def test_an_envelope_as_binary_data_gets_a_hint(self) -> None:
        assert "itself a CloudEvents envelope" in refused(binary()[0], structured()).message

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"data_base64": "e30="}, "data_base64"),
            ({"datacontenttype": "application/xml"}, "datacontenttype"),
            ({"datacontenttype": 7}, "datacontenttype"),
        ],
    )
    def test_data_in_another_form(self, changes: dict[str, Any], field: str) -> None:
        error = refused(STRUCTURED, structured(**changes))
        assert (error.code, error.field) == ("event_undecodable", field)

    @pytest.mark.parametrize("content_type", [None, "application/json", "application/x+json; charset=utf-8"])
    def test_content_types_of_json_data(self, content_type: str | None) -> None:
        accepted(STRUCTURED, structured(datacontenttype=content_type))

    @pytest.mark.parametrize("value", [structured(data=None), json.dumps({**SHIP, "data": None}).encode()])
    def test_no_data(self, value: bytes) -> None:
        error = refused(STRUCTURED, value)
        assert (error.code, error.field) == ("event_invalid", "data")

    @pytest.mark.parametrize("attribute", ["id", "source", "type", "time", "specversion"])
    @pytest.mark.parametrize("value", [7, True, [], {}, 1.0])
    def test_attributes_must_be_texts(self, attribute: str, value: Any) -> None:
        error = refused(STRUCTURED, structured(**{attribute: value}))
        assert error.field == attribute

    @pytest.mark.parametrize(
        ("event_type", "says"),
        [
            ("commerce.order.shipped.v2", "another version"),
            ("Commerce.Order.Shipped.v1", "exact spelling"),
            ("commerce.order.returned.v1", "the types read are"),
        ],
    )
    def test_types_we_do_not_read(self, event_type: str, says: str) -> None:
        error = refused(STRUCTURED, structured(type=event_type))
        assert (error.code, error.field, error.value_shown) == ("event_unknown_type", "type", f'"{event_type}"')
        assert says in error.message
        assert error.known.type == event_type


class TestWhatIsTold:
    def test_every_mistaken_field_is_named_envelope_and_data_alike(self) -> None:
        event = copy.deepcopy(SHIP)
        event["time"] = "soon"
        event["data"]["shipment_id"] = 45
        event["data"]["packages"][0]["items"][1] = {"quantity": "2"}
        event["data"]["packages"][1]["carrier"] = {}
        error = refused(STRUCTURED, json.dumps(event).encode())
        assert {problem.field for problem in error.problems} == {
            "time",
            "data.shipment_id",
            "data.packages.0.items.1.quantity",
            "data.packages.0.items.1.line_number",
            "data.packages.1.carrier",
        }
        for problem in error.problems:
            assert str(problem) in error.message

    def test_what_is_known_of_a_refused_event(self) -> None:
        event = copy.deepcopy(SHIP)
        event["data"]["packages"] = []
        event["data"]["store"] = 7
        error = refused(STRUCTURED, json.dumps(event).encode())
        assert error.known == Known(
            id=SHIP["id"],
            source=SHIP["source"],
            type=SHIP["type"],
            time=datetime(2026, 11, 20, 15, 4, 5, tzinfo=UTC),
            store=None,
            purchase_order_id="1796277083022",
            commerce_order_id="000000123",
            shipment_id="000000045",
        )

    def test_what_is_known_never_holds_invalid_texts(self) -> None:
        event = copy.deepcopy(SHIP)
        event["id"] = "x" * 5_000
        event["data"]["purchase_order_id"] = "../orders"
        event["data"]["shipment_id"] = "a\x00b"
        known = refused(STRUCTURED, json.dumps(event).encode()).known
        assert (known.id, known.purchase_order_id, known.shipment_id) == (None, None, None)

    def test_the_return_address_is_never_shown(self) -> None:
        event = copy.deepcopy(SHIP)
        event["data"]["return_center_address"] = {
            "name": 5551234,
            "address1": "12 Hidden Road" + "x" * 200,
            "city": ["Hiddenville"],
            "email": {"Hidden": 1},
            "day_phone": 5551234,
        }
        message = refused(STRUCTURED, json.dumps(event).encode()).message
        assert "data.return_center_address.address1" in message
        assert "data.return_center_address.name" in message
        assert "Hidden" not in message
        assert "5551234" not in message

    def test_an_address_as_text_is_not_shown_either(self) -> None:
        event = copy.deepcopy(SHIP)
        event["data"]["return_center_address"] = "12 Hidden Road"
        assert "Hidden" not in refused(STRUCTURED, json.dumps(event).encode()).message

    def test_json_inside_a_text_is_not_shown(self) -> None:
        error = refused(binary()[0], json.dumps(json.dumps({"return_center_address": "12 Hidden Road"})).encode())
        assert "encoded twice" in error.message
        assert "Hidden" not in error.message

    def test_values_are_shortened_and_on_one_line(self) -> None:
        event = copy.deepcopy(SHIP)
        event["data"]["store"] = "a\r\nb\u202e" + "x" * 10_000
        error = refused(STRUCTURED, json.dumps(event).encode())
        assert error.value_shown is not None
        assert len(error.value_shown) <= 70
        assert error.message.isprintable()

    def test_a_long_list_of_mistakes_is_cut_and_counted(self) -> None:
        event = copy.deepcopy(SHIP)
        event["data"]["packages"][0]["items"] = [{"sku": 1}] * 300
        error = refused(STRUCTURED, json.dumps(event).encode())
        assert len(error.problems) == 600
        assert error.message.endswith("and 580 more")
        assert len(error.message) < 4_000


@given(
    headers=st.lists(
        st.tuples(
            st.sampled_from(["ce_id", "ce_source", "ce_type", "ce_specversion", "ce_time", "content-type", "x", ""])
            | st.text(max_size=8),
            st.none() | st.binary(max_size=30) | st.sampled_from([b"1.0", b"application/cloudevents+json"]),
        ),
        max_size=10,
    ),
    value=st.none() | st.binary(max_size=80),
)
def test_arbitrary_records_never_raise(headers: Headers, value: bytes | None) -> None:
    assert isinstance(read_event(headers, value), ContractError)
