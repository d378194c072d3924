"""The compiled schemas against the jsonschema library and Walmart's own examples."""

from __future__ import annotations

from copy import deepcopy
from importlib import resources
from typing import Any

import jsonschema
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.sandbox.walmart.bodies import BodyChecks, load_schema
from worker.sandbox.walmart.orders import Order
from worker.sandbox.walmart.rendering import order_json
from worker.sandbox.walmart.schema import compile_schema
from worker.sandbox.walmart.specs import NewLine, NewOrder

REQUESTS = ("ship_request", "cancel_request", "inventory_put_request", "inventories_put_request")


def example(name: str) -> Any:
    return orjson.loads(resources.files("schemas").joinpath("walmart", "openapi", f"{name}.example.json").read_bytes())


STOCK = {"sku": "A", "quantity": {"unit": "EACH", "amount": 3}}
NODES = {"inventories": {"nodes": [{"shipNode": "1", "inputQty": {"unit": "EACH", "amount": 3}}]}}
VALID = dict(zip(REQUESTS, (example("ship_request"), example("cancel_request"), STOCK, NODES), strict=True))
COMPILED = {name: compile_schema(load_schema(name)) for name in REQUESTS}
ORACLE = {name: jsonschema.Draft202012Validator(load_schema(name)) for name in REQUESTS}


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every path inside a value, the root included."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for step, item in inner for place in places(item, (*path, step)))]


JUNK = st.sampled_from(
    [None, True, 0, 1, 1.0, 1.5, -3, 2**70, "", "EACH", "UPS", "Shipped", "x", [], {}, [1], {"a": 1}]
)


@pytest.mark.parametrize("name", REQUESTS)
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_the_verdict_is_that_of_jsonschema(name: str, data: st.DataObject) -> None:
    """Any value of a valid body replaced by junk, or removed."""
    body: Any = deepcopy(VALID[name])
    for _ in range(data.draw(st.integers(0, 2))):
        path = data.draw(st.sampled_from(places(body)))
        if not path:
            body = deepcopy(data.draw(JUNK))
            continue
        holder = body
        for step in path[:-1]:
            holder = holder[step]
        if data.draw(st.booleans()):
            del holder[path[-1]]
        else:
            holder[path[-1]] = deepcopy(data.draw(JUNK))
    assert (COMPILED[name](body) is None) == ORACLE[name].is_valid(body)


def test_an_unknown_keyword_is_refused_at_compile_time() -> None:
    with pytest.raises(ValueError, match="pattern"):
        compile_schema({"type": "string", "pattern": "x"})


def test_walmarts_example_requests_fit() -> None:
    checks = BodyChecks()
    assert checks.ship(example("ship_request")) is None
    assert checks.cancel(example("cancel_request"), "us") is None


async def test_walmarts_example_ship_request_is_carried_out(walmart: Any) -> None:
    """Unchanged, against an order that fits it."""
    body = example("ship_request")
    date = body["orderShipment"]["orderLines"]["orderLine"][0]["orderLineStatuses"]["orderLineStatus"][0]
    po = await walmart.order(lines=2, order_date_ms=date["trackingInfo"]["shipDateTime"])
    reply = await walmart.api.send("POST", f"/v3/orders/{po}/shipping", body)
    assert [reply.statuses(0), reply.statuses(1)] == [{"Shipped": 1}, {"Shipped": 1}]


async def test_walmarts_example_cancel_request_is_carried_out(walmart: Any) -> None:
    po = await walmart.order(intent_to_cancel=True)
    reply = await walmart.api.send("POST", f"/v3/orders/{po}/cancel", example("cancel_request"))
    assert reply.statuses() == {"Cancelled": 1}


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


async def test_answers_fit_walmarts_response_schemas(walmart: Any) -> None:
    po = await walmart.order(quantity=3, lines=2, status="Created")
    acknowledged = await walmart.api.acknowledge(po)
    address = {"address1": "1 Street", "city": "Town", "state": "AL", "postalCode": "35805", "country": "USA"}
    package = walmart.package() | {"returnCenterAddress": address}
    shipped = await walmart.api.ship(po, walmart.shipped("1", package))
    cancelled = await walmart.api.cancel(po, walmart.cancelled("2", 2))
    for reply, name in ((acknowledged, "acknowledge"), (shipped, "ship"), (cancelled, "cancel")):
        jsonschema.validate(without_nulls(reply.body), load_schema(f"{name}_response"))


def keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value) | {key for item in value.values() for key in keys(item)}
    return {key for item in value for key in keys(item)} if isinstance(value, list) else set()


@pytest.mark.parametrize("name", ["get_order_response", "ship_response", "acknowledge_response", "cancel_response"])
def test_orders_have_every_field_of_walmarts_short_examples(name: str) -> None:
    rare = {"sellerOrderId", "returnCenterAddress", "cancellationReason"}
    source = "get_order_response.example.ORDER" if name == "get_order_response" else f"{name}.example"
    raw = resources.files("schemas").joinpath("walmart", "openapi", f"{source}.json").read_bytes()
    spec = NewOrder(lines=(NewLine(sku="A"),))
    order = Order.of(spec, "1815367951431", "me", 0.0, 0)
    tracking = {"tracking_number": "1Z", "carrier": "UPS", "return_center_address": {}}
    order.apply("shipped", [{"line_number": "1", "sku": "A", "quantity": 1, **tracking}], 0.0, 0)  # type: ignore[typeddict-item]
    address_fields = {"name", "address1", "city", "state", "postalCode", "country", "dayPhone", "emailId"}
    assert keys(orjson.loads(raw)) - keys(order_json(order)) - rare - address_fields == set()
