"""Answers and the error envelopes Walmart is known to use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from xml.sax.saxutils import escape

import orjson

from worker.sandbox.walmart.specs import Envelope

JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back to the caller."""

    status: int
    body: bytes = b""
    content_type: str | None = JSON
    headers: Mapping[str, str] | None = None

    @property
    def ok(self) -> bool:
        """2xx."""
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class ApiError:
    """One error as Walmart words it, with the HTTP status it comes with."""

    code: str
    field: str
    description: str
    info: str = "Request content is invalid."
    severity: str = "ERROR"
    category: str = "DATA"
    status: int = 400

    def as_json(self) -> dict[str, Any]:
        """The object inside the envelope."""
        return {
            "code": self.code,
            "field": self.field,
            "description": self.description,
            "info": self.info,
            "severity": self.severity,
            "category": self.category,
            "causes": [],
            "errorIdentifiers": {"entry": []},
        }


def ok(body: Any) -> Answer:
    """200 with a JSON body."""
    return Answer(200, orjson.dumps(body))


def orders_error(error: ApiError) -> Answer:
    """The Orders service's envelope: `{"errors": {"error": [...]}}`."""
    return Answer(error.status, orjson.dumps({"errors": {"error": [error.as_json()]}}))


def gateway_error(error: ApiError) -> Answer:
    """The gateway's (and the item services') envelope: `{"error": [...]}`."""
    return Answer(error.status, orjson.dumps({"error": [error.as_json() | {"errorIdentifiers": {}}]}))


def bad_content(field: str, description: str) -> ApiError:
    """`INVALID_REQUEST_CONTENT.GMP_ORDER_API`: the code of nearly every refusal; only the texts tell them apart."""
    return ApiError("INVALID_REQUEST_CONTENT.GMP_ORDER_API", field, description)


UNAUTHORIZED: Final = ApiError(
    code="UNAUTHORIZED.GMP_GATEWAY_API",
    field="UNAUTHORIZED",
    description="Unauthorized",
    info="Unauthorized token or incorrect authorization header. Please verify correct format: "
    '"Authorization: Basic Base64Encode(clientId:clientSecret)" For more information, see the developer portal.',
    status=401,
)

BARE_INVALID_REQUEST: Final = ApiError(
    code="INVALID_REQUEST.GMP_ORDER_API", field="data", description="Invalid Request", info="Request invalid."
)
"""Seen during Walmart's outages: a 400 without a cause."""

_CODES: Final[dict[int, tuple[str, str]]] = {
    400: ("INVALID_REQUEST.GMP_ORDER_API", "Invalid Request"),
    401: ("UNAUTHORIZED.GMP_GATEWAY_API", "Unauthorized"),
    403: ("FORBIDDEN.GMP_GATEWAY_API", "Forbidden"),
    404: ("CONTENT_NOT_FOUND.GMP_ORDER_API", "No content found"),
    405: ("METHOD_NOT_ALLOWED.GMP_GATEWAY_API", "Method not allowed"),
    406: ("INVALID_ACCEPT_TYPE.GMP_GATEWAY_API", "Accept type is not supported"),
    415: ("UNSUPPORTED_MEDIA_TYPE.GMP_GATEWAY_API", "Media type is not supported"),
    423: ("RESOURCE_IS_LOCKED.GMP_RECEIVER_API", "Resource is locked"),
    429: ("REQUEST_THRESHOLD_VIOLATED.GMP_GATEWAY_API", "Request threshold violated"),
    500: ("SYSTEM_ERROR.GMP_ORDER_API", "Unexpected system error"),
    504: ("DOWNSTREAM_SYSTEM_TIME_OUT.GMP_GATEWAY_API", "Downstream system timed out"),
}


def error_of_status(status: int, code: str | None = None, description: str | None = None) -> ApiError:
    """The error that Walmart's table gives for an HTTP status."""
    known_code, known_description = _CODES.get(status, ("SYSTEM_ERROR.GMP_GATEWAY_API", "Unexpected system error"))
    return ApiError(
        code=code or known_code,
        field="data",
        description=description or known_description,
        info="Request invalid." if status < 500 else "System encountered some unexpected error.",
        category="DATA" if status < 500 else "SYSTEM",
        status=status,
    )


def in_envelope(error: ApiError, envelope: Envelope, real: bytes | None = None) -> Answer:
    """The error in a chosen shape. `real`: the body that would have gone out (`unchanged`, `truncated`)."""
    body = error.as_json()
    reference = "18.2d2f1402.1700000000.1a2b3c4d"
    match envelope:
        case "orders":
            return orders_error(error)
        case "gateway":
            return gateway_error(error)
        case "generic":
            short = {
                "code": error.code,
                "message": error.description,
                "category": error.category,
                "severity": error.severity,
                "field": error.field,
            }
            return Answer(error.status, orjson.dumps({"errors": [short]}))
        case "single":
            return Answer(error.status, orjson.dumps({"errors": {"error": body}}))
        case "problem":
            problem = {
                "type": "about:blank",
                "title": error.code,
                "status": error.status,
                "detail": error.description,
            }
            return Answer(error.status, orjson.dumps(problem), "application/problem+json")
        case "html":
            html = (
                "<HTML><HEAD><TITLE>Error</TITLE></HEAD><BODY>An error occurred while processing your request.<p>"
                f"Reference&#32;&#35;{reference}</BODY></HTML>"
            )
            return Answer(error.status, html.encode(), "text/html")
        case "xml":
            xml = (
                '<?xml version="1.0" encoding="UTF-8" standalone="yes"?><ns2:errors xmlns:ns2="http://walmart.com/">'
                f"<ns2:error><ns2:code>{escape(error.code)}</ns2:code><ns2:field>{escape(error.field)}</ns2:field>"
                f"<ns2:description>{escape(error.description)}</ns2:description>"
                f"<ns2:severity>{error.severity}</ns2:severity></ns2:error></ns2:errors>"
            )
            return Answer(error.status, xml.encode(), "application/xml")
        case "empty":
            return Answer(error.status, b"", None)
        case "bare":
            return Answer(error.status, b"Bad Request", "text/plain")
        case "unchanged":
            return Answer(error.status, real if real is not None else b"")
        case "truncated":
            whole = real or orders_error(error).body
            return Answer(error.status, whole[: len(whole) // 2])
