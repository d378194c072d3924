"""What stands before every service: tokens, required headers, scopes and budgets. Nothing is written behind it."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qs

import orjson

from worker.sandbox.walmart.answers import (
    UNAUTHORIZED,
    Answer,
    ApiError,
    error_of_status,
    gateway_error,
    in_envelope,
    ok,
)
from worker.sandbox.walmart.calls import Call
from worker.sandbox.walmart.sellers import Seller, read_token
from worker.sandbox.walmart.specs import Operation
from worker.sandbox.walmart.world import World

_BODY_OPERATIONS: Final[frozenset[Operation]] = frozenset({"ship", "cancel", "put_inventory", "put_inventories"})
_READS: Final[frozenset[Operation]] = frozenset({"get_order", "get_inventory", "get_inventories"})
_REQUIRED_HEADERS: Final = ("WM_QOS.CORRELATION_ID", "WM_SVC.NAME")


def seller_shown(world: World, operation: Operation, headers: Mapping[str, str]) -> Seller | None:
    """Whose keys or token the call shows, whether they are valid or not."""
    if operation == "token":
        client_id, _ = _basic(headers)
        return world.sellers.get(client_id)
    token = read_token(headers.get("WM_SEC.ACCESS_TOKEN", ""))
    return world.sellers.get(token.client_id) if token else None


def admit(world: World, call: Call) -> tuple[Answer | None, dict[str, str]]:
    """Refuse the call, or let it through (None); and the budget's headers."""
    seller = call.seller
    token = read_token(call.headers.get("WM_SEC.ACCESS_TOKEN", ""))
    if seller is None or token is None or not token.is_valid_for(seller) or call.quirks(world.faults).take("revoked"):
        return gateway_error(UNAUTHORIZED), {}
    refusal = _check_headers(call, seller) or _check_scope(call, seller)
    if refusal is not None:
        return gateway_error(refusal), {}
    bucket = seller.bucket(call.operation)
    if bucket is None:
        return None, {}
    if not bucket.take(time.monotonic()):
        seller.throttled[call.operation] += 1
        return gateway_error(error_of_status(429)), bucket.headers()
    return None, bucket.headers()


def issue_token(world: World, call: Call) -> Answer:
    """`POST /v3/token`. Bad credentials are a 400, as seen in production."""
    client_id, client_secret = _basic(call.headers)
    seller = world.sellers.get(client_id)
    bad_keys = seller is None or seller.spec.client_secret != client_secret
    if seller is None or bad_keys or call.quirks(world.faults).take("revoked"):
        return in_envelope(error_of_status(400), "bare")
    refusal = _missing_header(call.headers)
    if refusal is not None:
        return gateway_error(refusal)
    if not call.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded"):
        return gateway_error(error_of_status(415))
    if parse_qs(call.body.decode("utf-8", "replace")).get("grant_type") != ["client_credentials"]:
        return gateway_error(
            ApiError(
                "INVALID_REQUEST_PARAM.GMP_GATEWAY_API",
                "grant_type",
                "Grant type is not valid",
                "Request param is invalid.",
            )
        )
    token = seller.issue_token()
    seconds: float | int = seller.spec.token_seconds
    seconds = int(seconds) if float(seconds).is_integer() else seconds
    if "json" not in call.headers.get("Accept", ""):
        xml = (
            '<?xml version="1.0" encoding="UTF-8" standalone="yes"?><OAuthTokenDTO>'
            f"<accessToken>{token}</accessToken><tokenType>Bearer</tokenType><expiresIn>{seconds}</expiresIn>"
            "</OAuthTokenDTO>"
        )
        return Answer(200, xml.encode(), "application/xml")
    style = seller.spec.expires_in
    as_text = style == "text" or (style == "sometimes_text" and seller.tokens_issued % 2 == 0)
    return ok({"access_token": token, "token_type": "Bearer", "expires_in": str(seconds) if as_text else seconds})


def token_detail(call: Call) -> Answer:
    """`GET /v3/token/detail`, for a call that was admitted."""
    token = read_token(call.headers["WM_SEC.ACCESS_TOKEN"])
    assert token is not None
    assert call.seller is not None
    scopes = {"orders": "full_access", "inventory": "full_access", "items": "view_only", "reports": "no_access"}
    return Answer(
        200,
        orjson.dumps(
            {
                "expire_at": str(int(token.expires_at * 1000)),
                "issued_at": str(int(token.issued_at * 1000)),
                "is_valid": True,
                "is_channel_match": True,
                "scopes": scopes | dict(call.seller.spec.scopes),
            }
        ),
    )


def _basic(headers: Mapping[str, str]) -> tuple[str, str]:
    scheme, _, encoded = headers.get("Authorization", "").partition(" ")
    if scheme.casefold() != "basic":
        return "", ""
    try:
        text = base64.b64decode(encoded.encode(), validate=True).decode()
    except (binascii.Error, UnicodeError):
        return "", ""
    client_id, _, client_secret = text.partition(":")
    return client_id, client_secret


def _missing_header(headers: Mapping[str, str]) -> ApiError | None:
    for name in _REQUIRED_HEADERS:
        value = headers.get(name)
        if value is None:
            return _header_error("MISSING_REQUEST_HEADER.GMP_GATEWAY_API", name, f"Required header is missing: {name}")
        if not value.strip():
            return _header_error("INVALID_REQUEST_HEADER.GMP_ORDER_API", name, f"Header is blank: {name}")
    return None


def _check_headers(call: Call, seller: Seller) -> ApiError | None:
    missing = _missing_header(call.headers)
    if missing is not None:
        return missing
    market, shown = seller.spec.market, call.headers.get("WM_MARKET")
    if shown != market and not (market == "us" and shown is None):
        return _header_error("INVALID_REQUEST_HEADER.GMP_GATEWAY_API", "WM_MARKET", f"WM_MARKET must be {market}")
    if shown is not None and call.headers.get("WM_GLOBAL_VERSION") != "3.1":
        return _header_error(
            "INVALID_REQUEST_HEADER.GMP_GATEWAY_API", "WM_GLOBAL_VERSION", "WM_GLOBAL_VERSION must be 3.1"
        )
    accept = call.headers.get("Accept", "*/*")
    if "json" not in accept and "*/*" not in accept and "application/*" not in accept:
        return error_of_status(406)
    if call.operation in _BODY_OPERATIONS and not call.headers.get("Content-Type", "").startswith("application/json"):
        return error_of_status(415)
    return None


def _check_scope(call: Call, seller: Seller) -> ApiError | None:
    if call.operation == "token_detail":
        return None
    scope = seller.spec.scopes.get("orders" if call.purchase_order_id is not None else "inventory", "full_access")
    if scope == "full_access" or (scope == "view_only" and call.operation in _READS):
        return None
    return error_of_status(403)


def _header_error(code: str, name: str, description: str) -> ApiError:
    return ApiError(code, name, description, "Request header is invalid.", category="REQUEST")
