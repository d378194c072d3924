"""An answer that is no success, read into one `CallError`: what is known of its effect, and what Walmart said.

The order of decisions is Walmart's own layering. The gateway (401, 403, 429) turns calls away before the Orders
service: nothing was written. A 4xx of the service is a refusal of the whole call. A 5xx, an odd status and a success
that cannot be read leave the effect open.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from worker.errors import WalmartError
from worker.walmart.answer import CallError, CallKind
from worker.walmart.call_report import Operation
from worker.walmart.envelope import Envelope, RawError, read_envelope
from worker.walmart.hints import retry_after_s
from worker.walmart.scrub import Scrubber

_STATUS_OF_CODE: Final = {"UNAUTHORIZED": 401, "REQUEST_THRESHOLD_VIOLATED": 429, "RESOURCE_IS_LOCKED": 423}
"""A gateway's code counts also where it comes with a plain 400."""

_MALFORMED: Final = frozenset({405, 406, 415})

_VAGUE_CODES: Final = frozenset(
    {
        "", "INVALID_REQUEST", "INVALID_REQUEST_CONTENT", "SYSTEM_ERROR", "INVALID_SYSTEM_STATE", "BAD_REQUEST",
        "DOWNSTREAM_SYSTEM_TIME_OUT",
    }
)  # fmt: skip
"""Codes that say nothing by themselves: of these only field and description tell the cause."""

_SYSTEM_CODES: Final = frozenset({"SYSTEM_ERROR", "INVALID_SYSTEM_STATE", "DOWNSTREAM_SYSTEM_TIME_OUT"})

_VAGUE_TEXTS: Final = frozenset(
    {
        "", "invalidrequest", "badrequest", "requestinvalid", "requestisinvalid", "requestcontentisinvalid",
        "invalidrequestcontent", "error", "unknownerror", "unexpectederror", "systemerror", "internalerror",
        "internalservererror", "unexpectedsystemerror", "somethingwentwrong", "unabletoprocessthisrequest",
        "unabletoprocessrequest", "pleasetryagain", "pleasetryagainlater", "tryagainlater", "null", "none",
    }
)  # fmt: skip

_VAGUE_FIELDS: Final = frozenset({"", "data", "request", "body", "payload", "null", "none"})


def read_error(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    operation: Operation,
    *,
    now: float,
    scrubber: Scrubber | None = None,
    correlation_id: str | None = None,
) -> CallError:
    """Any answer that cannot be used, 2xx included. Never raises. `now`: epoch seconds, for the headers' times."""
    scrubber = scrubber or Scrubber()
    envelope = read_envelope(body)
    told = status
    if status == 400:
        told = next((_STATUS_OF_CODE[head] for e in envelope.errors if (head := _head(e)) in _STATUS_OF_CODE), status)
    kind = _kind(told, envelope)
    return CallError(
        kind=kind,
        message=_message(status, operation, envelope, scrubber),
        status=status,
        errors=tuple(_passed_on(error, scrubber) for error in envelope.errors[:10]),
        retry_after_s=retry_after_s(headers, now),
        correlation_id=correlation_id,
        scope_missing=told == 403 and envelope.form != "html",
        not_found=kind is CallKind.REFUSED and told == 404 and not _wrong_path(envelope),
        locked=told == 423,
        malformed=kind is CallKind.REFUSED and (told in _MALFORMED or (told == 404 and _wrong_path(envelope))),
    )


def _kind(status: int, envelope: Envelope) -> CallKind:
    if status in (401, 403):
        return CallKind.UNAUTHORIZED
    if status == 429:
        return CallKind.THROTTLED
    if status == 408 or not 400 <= status < 500:
        return CallKind.UNKNOWN
    if status in _MALFORMED or status == 423:
        return CallKind.REFUSED
    if status == 404:
        # The edge answers in HTML while a route is down: that says nothing about the order.
        return CallKind.REFUSED_WITHOUT_CAUSE if envelope.form == "html" else CallKind.REFUSED
    return CallKind.REFUSED if any(map(_names_a_cause, envelope.errors)) else CallKind.REFUSED_WITHOUT_CAUSE


def _names_a_cause(error: RawError) -> bool:
    head = _head(error)
    if head in _SYSTEM_CODES or (head in _VAGUE_CODES and (error.category or "").upper() == "SYSTEM"):
        return False
    description = "".join(c for c in (error.description or "").casefold() if c.isalnum())
    if description not in _VAGUE_TEXTS and description != "".join(c for c in head.casefold() if c.isalnum()):
        return True
    return (error.field or "").strip().casefold() not in _VAGUE_FIELDS or head not in _VAGUE_CODES


def _wrong_path(envelope: Envelope) -> bool:
    return any(_head(error) == "URI_NOT_FOUND" for error in envelope.errors)


def _head(error: RawError) -> str:
    """`INVALID_REQUEST` of `INVALID_REQUEST.GMP_ORDER_API`: the suffix names the component."""
    return (error.code or "").partition(".")[0].strip().upper().replace(" ", "_")


def _passed_on(error: RawError, scrubber: Scrubber) -> WalmartError:
    return WalmartError(
        code=scrubber.text(error.code, length=100) if error.code else None,
        field=scrubber.text(error.field, length=100) if error.field else None,
        description=scrubber.text(error.description) if error.description else None,
    )


def _message(status: int, operation: Operation, envelope: Envelope, scrubber: Scrubber) -> str:
    said = next((error.description or error.code for error in envelope.errors if error.description or error.code), None)
    if said is None:
        said = envelope.text
    if said is None:
        said = {"html": "an HTML page", "empty": "an empty answer"}.get(envelope.form, f"unreadable {envelope.form}")
    if 200 <= status < 300 and not envelope.errors:
        said = f"the answer is not what was asked for ({said[:60]})"
    return f"{operation}: HTTP {status}: {scrubber.text(said, length=200)}"
