"""The inventory services: absolute stock levels by SKU and ship node."""

from __future__ import annotations

from typing import Any

import orjson

from worker.sandbox.walmart.answers import Answer, ApiError, gateway_error, ok
from worker.sandbox.walmart.bodies import BodyChecks
from worker.sandbox.walmart.calls import Call
from worker.sandbox.walmart.journal import InventoryEffect
from worker.sandbox.walmart.sellers import Seller
from worker.sandbox.walmart.world import DEFAULT_SHIP_NODE, World


def put_inventory(world: World, checks: BodyChecks, call: Call) -> Answer:
    """`PUT /v3/inventory?sku=…[&shipNode=…]`."""
    seller = _seller(call)
    body, refusal = _read_json(call)
    refusal = refusal or checks.inventory(body)
    if refusal is not None:
        return gateway_error(refusal)
    sku, node = call.query.get("sku"), call.query.get("shipNode")
    if not sku:
        return gateway_error(_parameter("sku"))
    if body["sku"] != sku:
        return gateway_error(_content("sku", "sku in the body differs from sku in the query"))
    amount = _read_amount(body["quantity"]["amount"])
    if isinstance(amount, ApiError):
        return gateway_error(amount)
    if (seller.client_id, sku) not in world.skus:
        return gateway_error(_unknown_sku(sku))
    if node is not None and not _exists(seller, node):
        return gateway_error(_content("shipNode", f"Ship node {node} does not exist"))
    _set(world, call, [InventoryEffect(sku=sku, ship_node=node, quantity=amount)])
    return ok({"sku": sku, "quantity": {"unit": "EACH", "amount": amount}})


def get_inventory(world: World, call: Call) -> Answer:
    """`GET /v3/inventory?sku=…[&shipNode=…]`."""
    seller = _seller(call)
    sku, node = call.query.get("sku"), call.query.get("shipNode")
    if not sku:
        return gateway_error(_parameter("sku"))
    if (seller.client_id, sku) not in world.skus:
        return gateway_error(_unknown_sku(sku))
    amount = world.stock.get((seller.client_id, sku, node or DEFAULT_SHIP_NODE), 0)
    return ok({"sku": sku, "quantity": {"unit": "EACH", "amount": amount}})


def put_inventories(world: World, checks: BodyChecks, call: Call) -> Answer:
    """`PUT /v3/inventories/{sku}`: the one place where a 200 hides a partial failure."""
    seller, sku = _seller(call), call.sku or ""
    body, refusal = _read_json(call)
    refusal = refusal or checks.inventories(body)
    if refusal is not None:
        return gateway_error(refusal)
    if (seller.client_id, sku) not in world.skus:
        return gateway_error(_unknown_sku(sku))
    quirks = call.quirks(world.faults)
    levels: list[InventoryEffect] = []
    results: list[dict[str, Any]] = []
    failing = quirks.take("inventory_node_fails")
    for wanted in body["inventories"]["nodes"]:
        node, amount = wanted["shipNode"], _read_amount(wanted["inputQty"]["amount"])
        error: ApiError | None = None
        if isinstance(amount, ApiError):
            error = amount
        elif not _exists(seller, node):
            error = _content("shipNode", f"Ship node {node} does not exist")
        elif failing is not None and failing.ship_node in (None, node):
            error = _content("shipNode", f"Ship node {node} could not be updated")
        else:
            levels.append(InventoryEffect(sku=sku, ship_node=node, quantity=amount))
        errors = [] if error is None else [error.as_json() | {"errorIdentifiers": {}}]
        results.append({"shipNode": node, "status": "Success" if error is None else "Failure", "errors": errors})
    if levels:
        _set(world, call, levels)
    return ok({"sku": sku, "nodes": results})


def get_inventories(world: World, call: Call) -> Answer:
    """`GET /v3/inventories/{sku}`."""
    seller, sku = _seller(call), call.sku or ""
    if (seller.client_id, sku) not in world.skus:
        return gateway_error(_unknown_sku(sku))
    nodes = [
        {
            "shipNode": node,
            "inputQty": {"unit": "EACH", "amount": amount},
            "availToSellQty": {"unit": "EACH", "amount": amount},
        }
        for (owner, its_sku, node), amount in world.stock.items()
        if owner == seller.client_id and its_sku == sku
    ]
    return ok({"sku": sku, "nodes": nodes})


def _set(world: World, call: Call, levels: list[InventoryEffect]) -> None:
    world.set_stock(
        _seller(call).client_id, levels, by="api", operation=call.operation, correlation_id=call.correlation_id
    )


def _seller(call: Call) -> Seller:
    assert call.seller is not None, "the gateway lets nobody through without one"
    return call.seller


def _exists(seller: Seller, node: str) -> bool:
    return not seller.spec.ship_nodes or node in seller.spec.ship_nodes


def _read_json(call: Call) -> tuple[Any, ApiError | None]:
    try:
        return orjson.loads(call.body), None
    except orjson.JSONDecodeError:
        return None, ApiError("MALFORMED_REQUEST_CONTENT.GMP_INVENTORY_API", "data", "Request body is not valid JSON")


def _read_amount(amount: float) -> int | ApiError:
    if amount < 0 or amount != int(amount):
        return _content("amount", "amount must be a whole number from 0")
    return int(amount)


def _content(field: str, description: str) -> ApiError:
    return ApiError("INVALID_REQUEST_CONTENT.GMP_INVENTORY_API", field, description)


def _parameter(name: str) -> ApiError:
    return ApiError(
        "MISSING_REQUEST_PARAM.GMP_INVENTORY_API", name, f"Required parameter is missing: {name}", "Request param."
    )


def _unknown_sku(sku: str) -> ApiError:
    return ApiError(
        "SKU_NOT_FOUND",
        "sku",
        f"Could not find item with sku {sku}",
        "Requested content could not be found.",
        status=404,
    )
