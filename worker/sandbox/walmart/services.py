"""The services behind the gateway: orders and inventory. A call is judged, its effect journalled, then answered."""

from __future__ import annotations

import time
from typing import Any, Final

import orjson

from worker.sandbox.walmart.answers import (
    BARE_INVALID_REQUEST,
    Answer,
    ApiError,
    bad_content,
    gateway_error,
    ok,
    orders_error,
)
from worker.sandbox.walmart.bodies import BodyChecks
from worker.sandbox.walmart.buyers import buyer_of
from worker.sandbox.walmart.calls import Call
from worker.sandbox.walmart.cancelling import judge_acknowledge, judge_cancel
from worker.sandbox.walmart.gateway import token_detail
from worker.sandbox.walmart.lines import Judged
from worker.sandbox.walmart.orders import EffectKind, LineEffect, Order
from worker.sandbox.walmart.rendering import order_json
from worker.sandbox.walmart.shipping import is_correction, judge_shipment
from worker.sandbox.walmart.stock import get_inventories, get_inventory, put_inventories, put_inventory
from worker.sandbox.walmart.world import World

NOT_FOUND: Final = ApiError(
    "CONTENT_NOT_FOUND.GMP_ORDER_API",
    "data",
    "No order found for the given purchase order id",
    "Requested content could not be found.",
    severity="INFO",
    category="APPLICATION",
    status=404,
)


def serve(world: World, checks: BodyChecks, call: Call) -> Answer:
    """Answer a call that the gateway has let through."""
    assert call.seller is not None
    match call.operation:
        case "token_detail":
            return token_detail(call)
        case "put_inventory":
            return put_inventory(world, checks, call)
        case "get_inventory":
            return get_inventory(world, call)
        case "put_inventories":
            return put_inventories(world, checks, call)
        case "get_inventories":
            return get_inventories(world, call)
        case _:
            return _serve_order(world, checks, call)


def _serve_order(world: World, checks: BodyChecks, call: Call) -> Answer:
    quirks = call.quirks(world.faults)
    if quirks.take("bare_invalid_request"):
        return orders_error(BARE_INVALID_REQUEST)
    order = world.orders.get(call.purchase_order_id or "")
    if order is None or call.seller is None or order.seller != call.seller.client_id:
        return orders_error(NOT_FOUND)
    match call.operation:
        case "get_order":
            lag = quirks.take("read_lag")
            as_of = time.time() - lag.seconds if lag else None
            return ok(order_json(order, as_of=as_of, echo_ship_date=world.echo_ship_date))
        case "acknowledge":
            return _carry_out(world, call, order, "acknowledged", judge_acknowledge(order))
        case "ship":
            body, refusal = _read_json(call)
            refusal = refusal or checks.ship(body)
            if refusal is not None:
                return orders_error(refusal)
            customer_order_id = buyer_of(order.purchase_order_id).customer_order_id
            judged = judge_shipment(order, body, world.clock_ms(), customer_order_id, quirks)
            return _carry_out(world, call, order, "corrected" if is_correction(body) else "shipped", judged)
        case _:
            body, refusal = _read_json(call)
            refusal = refusal or checks.cancel(body, call.seller.spec.market)
            if refusal is not None:
                return orders_error(refusal)
            judged = judge_cancel(order, body, quirks, customer_reason_needs_intent=world.customer_reason_needs_intent)
            return _carry_out(world, call, order, "cancelled", judged)


def _carry_out(world: World, call: Call, order: Order, kind: EffectKind, judged: Judged) -> Answer:
    if isinstance(judged, ApiError):
        return orders_error(judged)
    effects: list[LineEffect] = list(judged)
    ignored = call.quirks(world.faults).take("line_ignored") if effects else None
    if ignored is not None:
        number = ignored.line_number or effects[-1]["line_number"]
        effects = [effect for effect in effects if effect["line_number"] != number]
    if effects:
        world.change(order, kind, effects, by="api", operation=call.operation, correlation_id=call.correlation_id)
    return ok(order_json(order, echo_ship_date=world.echo_ship_date))


def _read_json(call: Call) -> tuple[Any, ApiError | None]:
    try:
        return orjson.loads(call.body), None
    except orjson.JSONDecodeError:
        error = bad_content("data", "Request body is not valid JSON")
        return None, ApiError("MALFORMED_REQUEST_CONTENT.GMP_ORDER_API", error.field, error.description)


def internal_error() -> Answer:
    """500, for mistakes in this simulation itself."""
    return gateway_error(
        ApiError(
            "SYSTEM_ERROR.GMP_ORDER_API", "data", "The simulation itself failed", "See its log.", "ERROR", "SYSTEM", 500
        )
    )
