"""Every envelope and status is read into one CallError that says what is known of the effect."""

from __future__ import annotations

from typing import Any, get_args

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from worker.walmart.answer import CallError, CallKind
from worker.walmart.call_report import Operation
from worker.walmart.envelope import read_envelope
from worker.walmart.error_reading import read_error
from worker.walmart.scrub import Scrubber

NOW = 1_800_000_000.0
PO = "2801556051627"
CODE = "INVALID_REQUEST_CONTENT.GMP_ORDER_API"
SAID = (
    f"INVALID_REQUEST_CONTENT :: Failed when called shipConfirm API for {PO}. Qty OverShipped : Some or All "
    "Line(s)/Qty cannot be Shipped due to invalid Lines Or invalid Qty Or Qty more than allowed"
)
ONE = {"code": CODE, "field": "data", "description": SAID, "info": "Request content is invalid.", "severity": "ERROR",
       "category": "DATA", "causes": [], "errorIdentifiers": {"entry": []}}  # fmt: skip
BARE = {"code": "INVALID_REQUEST.GMP_ORDER_API", "field": "data", "description": "Invalid Request"}
XML = (
    '<?xml version="1.0" encoding="UTF-8"?><ns2:errors xmlns:ns2="http://walmart.com/"><ns2:error>'
    f"<ns2:code>{CODE}</ns2:code><ns2:field>data</ns2:field><ns2:description>{SAID}</ns2:description>"
    "<ns2:severity>ERROR</ns2:severity></ns2:error></ns2:errors>"
)
HTML = b"<HTML><HEAD><TITLE>Access Denied</TITLE></HEAD><BODY>Reference #18.2d2f1402.1700000000</BODY></HTML>"


def read(
    status: int, body: Any = b"", headers: dict[str, str] | None = None, operation: Operation = "ship"
) -> CallError:
    content = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else orjson.dumps(body)
    return read_error(
        status, CIMultiDict(headers or {}), content, operation, now=NOW, scrubber=Scrubber([PO]), correlation_id="c"
    )


@pytest.mark.parametrize(
    "body",
    [
        {"errors": {"error": [ONE]}},
        {"error": [ONE]},
        {"errors": [ONE]},
        {"errors": {"error": ONE}},
        {"error": ONE},
        {"errors": ONE},
        [ONE],
        ONE,
        {"errors": [{"code": CODE, "message": SAID, "category": "DATA", "field": "data"}]},
        {"errors": {"error": [None, "", ONE]}},
        {"error": [], "errors": {"error": [ONE]}},
        XML,
        XML.replace("ns2:", ""),
        orjson.dumps({"errors": {"error": [ONE]}})[:-6],
        b"\xef\xbb\xbf" + orjson.dumps({"error": [ONE]}),
        orjson.dumps({"error": [ONE], "padding": "x" * 100_000}),
    ],
)
def test_one_error_in_every_envelope(body: Any) -> None:
    error = read(400, body)
    assert error.kind is CallKind.REFUSED
    assert [(told.code, told.field, told.description) for told in error.errors][:1] == [(CODE, "data", SAID)]
    assert "Qty OverShipped" in error.message
    assert (error.status, error.correlation_id) == (400, "c")


def test_problem_json() -> None:
    body = {
        "type": "https://walmart.example/probs/line-shipped",
        "title": "Conflict",
        "status": 400,
        "detail": "Line 1 shipped",
    }
    error = read(400, body)
    assert error.kind is CallKind.REFUSED
    assert (error.errors[0].code, error.errors[0].description) == ("line-shipped", "Line 1 shipped")
    assert (
        read(400, {"type": "about:blank", "title": "Bad Request", "status": 400}).kind is CallKind.REFUSED_WITHOUT_CAUSE
    )


def test_several_errors() -> None:
    other = ONE | {"field": "methodCode", "description": "Method code is not supported in line number 1"}
    error = read(400, {"errors": {"error": [ONE, other]}})
    assert [told.field for told in error.errors] == ["data", "methodCode"]
    cut = read(400, orjson.dumps({"errors": {"error": [ONE, other]}})[:-20])
    assert [told.field for told in cut.errors] == ["data", "methodCode"]
    assert len(read(400, {"error": [ONE] * 500}).errors) == 10


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  \n",
        b"Bad Request",
        HTML,
        b"<!DOCTYPE html><html>busy</html>",
        b"\xff\xfe\x00",
        b"{",
        b"{}",
        b"[]",
        b"null",
        b"42",
        b'"Bad Request"',
        b"<a/>",
        {"errors": {"error": [BARE]}},
        {"errors": {"error": [BARE | {"description": "Invalid Request.", "info": "Request invalid."}]}},
        {"errors": {"error": [{"code": CODE, "field": "data", "description": "Request content is invalid."}]}},
        {"error": [{"code": "SYSTEM_ERROR.GMP_GATEWAY_API", "description": "The system has met an unexpected end"}]},
        {"error": [{"code": CODE, "category": "SYSTEM", "description": "A part of ours is away"}]},
        {"errors": []},
        {"errors": {"error": []}},
        {"message": "Bad Request"},
    ],
)  # fmt: skip
def test_a_400_without_a_cause(body: Any) -> None:
    """May be an outage: never final at once."""
    assert read(400, body).kind is CallKind.REFUSED_WITHOUT_CAUSE


@pytest.mark.parametrize(
    "error",
    [
        {"code": "INVALID_REQUEST.GMP_ORDER_API", "description": "Invalid Date format value"},
        {"code": CODE, "field": "cancellationReason", "description": "Request content is invalid."},
        {"code": CODE, "field": "methodCode", "description": "Method code is not supported in line number 1"},
        {"code": "LS-1010"},
        {"code": "MISSING_REQUEST_HEADER.GMP_GATEWAY_API"},
        {"description": f"The Line: 4 of PO: {PO} is in SHIPPED status"},
    ],
)
def test_a_400_with_a_cause(error: dict[str, str]) -> None:
    assert read(400, {"errors": {"error": [error]}}).kind is CallKind.REFUSED


@pytest.mark.parametrize(
    ("status", "body", "kind", "flags"),
    [
        (401, {"error": [{"code": "UNAUTHORIZED.GMP_GATEWAY_API"}]}, CallKind.UNAUTHORIZED, {}),
        (400, {"error": [{"code": "UNAUTHORIZED.GMP_GATEWAY_API"}]}, CallKind.UNAUTHORIZED, {}),
        (403, b"", CallKind.UNAUTHORIZED, {"scope_missing"}),
        (403, HTML, CallKind.UNAUTHORIZED, {}),
        (429, b"", CallKind.THROTTLED, {}),
        (400, {"error": [{"code": "REQUEST_THRESHOLD_VIOLATED.GMP_GATEWAY_API"}]}, CallKind.THROTTLED, {}),
        (404, {"error": [{"code": "CONTENT_NOT_FOUND.GMP_ORDER_API"}]}, CallKind.REFUSED, {"not_found"}),
        (404, b"", CallKind.REFUSED, {"not_found"}),
        (404, {"error": [{"code": "URI_NOT_FOUND"}]}, CallKind.REFUSED, {"malformed"}),
        (404, HTML, CallKind.REFUSED_WITHOUT_CAUSE, {}),
        (405, b"", CallKind.REFUSED, {"malformed"}),
        (406, HTML, CallKind.REFUSED, {"malformed"}),
        (415, b"", CallKind.REFUSED, {"malformed"}),
        (423, {"error": [{"code": "RESOURCE_IS_LOCKED.GMP_RECEIVER_API"}]}, CallKind.REFUSED, {"locked"}),
        (423, b"", CallKind.REFUSED, {"locked"}),
        (400, {"error": [{"code": "RESOURCE_IS_LOCKED.GMP_RECEIVER_API"}]}, CallKind.REFUSED, {"locked"}),
        (409, b"", CallKind.REFUSED_WITHOUT_CAUSE, {}),
        (409, {"error": [ONE]}, CallKind.REFUSED, {}),
        (408, {"error": [ONE]}, CallKind.UNKNOWN, {}),
        (500, {"error": [ONE]}, CallKind.UNKNOWN, {}),
        (502, HTML, CallKind.UNKNOWN, {}),
        (503, b"", CallKind.UNKNOWN, {}),
        (504, {"error": [{"code": "DOWNSTREAM_SYSTEM_TIME_OUT"}]}, CallKind.UNKNOWN, {}),
        (520, {"error": [{"code": "SYSTEM_ERROR.GMP_GATEWAY_API"}]}, CallKind.UNKNOWN, {}),
        (200, b"ok", CallKind.UNKNOWN, {}),
        (204, b"", CallKind.UNKNOWN, {}),
        (302, b"", CallKind.UNKNOWN, {}),
        (999, b"", CallKind.UNKNOWN, {}),
    ],
)
def test_status_table(status: int, body: Any, kind: CallKind, flags: set[str]) -> None:
    error = read(status, body)
    assert error.kind is kind
    names = ("scope_missing", "not_found", "locked", "malformed")
    assert {name for name in names if getattr(error, name)} == set(flags)
    assert error.status == status


def test_texts_are_scrubbed() -> None:
    """In code, field, description and message alike."""
    planted = f"jane@example.com {PO} 9876543210123"
    error = read(400, {"errors": {"error": [{"code": planted, "field": planted, "description": planted}]}})
    told = error.errors[0]
    for text in (told.code, told.field, told.description, error.message):
        assert text is not None
        assert PO in text
        assert "jane" not in text
        assert "9876543210123" not in text
    assert "jane" not in read(500, b"jane@example.com is away").message


def test_headers_are_read() -> None:
    assert read(429, b"", {"retry-after": "12"}).retry_after_s == 12
    assert read(503, b"", {"X-NEXT-REPLENISHMENT-TIME": str(int((NOW + 3) * 1_000))}).retry_after_s == 3


def _dumped(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:
        return b""  # a number beyond 64 bits, half a surrogate pair


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["errors", "error", "code", "field", "description", "message", "type"]), inner
        )
    ),
    max_leaves=20,
)


@given(st.integers(100, 999), st.binary(max_size=80) | ANY_JSON.map(_dumped), st.sampled_from(get_args(Operation)))
def test_anything_is_read(status: int, body: bytes, operation: Operation) -> None:
    """Never raises, and only a 4xx of the service or the gateway ever says that nothing was written."""
    error = read_error(status, {}, body, operation, now=NOW)
    if not 400 <= status < 500:
        assert error.kind is CallKind.UNKNOWN
    else:
        assert error.kind is not CallKind.NOT_SENT
    assert len(error.message) < 300
    assert read_envelope(body).form in ("json", "xml", "html", "text", "empty")


@given(st.integers(0, 400), st.sampled_from([orjson.dumps({"errors": {"error": [ONE, ONE]}}), XML.encode(), HTML]))
def test_a_body_cut_anywhere(length: int, body: bytes) -> None:
    assert read(400, body[:length]).kind in (CallKind.REFUSED, CallKind.REFUSED_WITHOUT_CAUSE)
