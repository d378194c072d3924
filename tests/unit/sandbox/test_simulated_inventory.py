"""The inventory services."""

from __future__ import annotations

from typing import Any

import pytest

from worker.sandbox.walmart.specs import FaultSpec, NewLine, SellerSpec

ODD_SKU = "A/B C+D&É"


def body(sku: str, amount: object) -> dict[str, Any]:
    return {"sku": sku, "quantity": {"unit": "EACH", "amount": amount}}


async def test_stock_is_set_and_read_by_node(walmart: Any) -> None:
    await walmart.order()
    reply = await walmart.api.send("PUT", "/v3/inventory?sku=SKU-1", body("SKU-1", 7))
    assert (reply.status, reply.body) == (200, body("SKU-1", 7))
    await walmart.api.send("PUT", "/v3/inventory?sku=SKU-1&shipNode=N2", body("SKU-1", 3))
    assert (await walmart.api.send("GET", "/v3/inventory?sku=SKU-1")).body == body("SKU-1", 7)
    assert (await walmart.api.send("GET", "/v3/inventory?sku=SKU-1&shipNode=N2")).body == body("SKU-1", 3)
    entries = await walmart.control.journal(kind="inventory")
    assert [(level.ship_node, level.quantity) for entry in entries for level in entry.inventory] == [
        (None, 7),
        ("N2", 3),
    ]


async def test_a_sku_is_percent_encoded_in_the_query(walmart: Any) -> None:
    await walmart.control.add_order([NewLine(sku=ODD_SKU)])
    encoded = "A%2FB%20C%2BD%26%C3%89"
    assert (await walmart.api.send("PUT", f"/v3/inventory?sku={encoded}", body(ODD_SKU, 1))).status == 200
    nodes = {"inventories": {"nodes": [{"shipNode": "N1", "inputQty": {"unit": "EACH", "amount": 5}}]}}
    assert (await walmart.api.send("PUT", f"/v3/inventories/{encoded}", nodes)).body["sku"] == ODD_SKU


@pytest.mark.parametrize("amount", [-1, 1.5, "7", None, True])
async def test_a_bad_amount_is_refused(walmart: Any, amount: object) -> None:
    await walmart.order()
    reply = await walmart.api.send("PUT", "/v3/inventory?sku=SKU-1", body("SKU-1", amount))
    assert (reply.status, reply.body["error"][0]["field"]) == (400, "amount")


async def test_unknown_and_differing_skus(walmart: Any) -> None:
    await walmart.order()
    unknown = await walmart.api.send("PUT", "/v3/inventory?sku=NOPE", body("NOPE", 1))
    assert (unknown.status, unknown.body["error"][0]["description"]) == (404, "Could not find item with sku NOPE")
    assert (await walmart.api.send("PUT", "/v3/inventory?sku=SKU-1", body("SKU-2", 1))).status == 400
    assert (await walmart.api.send("PUT", "/v3/inventory", body("SKU-1", 1))).status == 400


async def test_inventories_tells_each_nodes_result_in_a_200(walmart: Any) -> None:
    spec = SellerSpec(client_id="x", client_secret="y", unlimited=True, ship_nodes=("N1", "N2"))
    await walmart.control.add_seller(spec)
    await walmart.order(seller="x")
    await walmart.control.add_fault(FaultSpec(kind="inventory_node_fails", ship_node="N2", times=1))
    wanted = [{"shipNode": node, "inputQty": {"unit": "EACH", "amount": 5}} for node in ("N1", "N2", "N3")]
    path, api = "/v3/inventories/SKU-1", walmart.client("x", "y")
    reply = await api.send("PUT", path, {"inventories": {"nodes": wanted}})
    assert reply.status == 200
    results = {node["shipNode"]: node for node in reply.body["nodes"]}
    assert [results[node]["status"] for node in ("N1", "N2", "N3")] == ["Success", "Failure", "Failure"]
    assert results["N3"]["errors"][0]["field"] == "shipNode"
    shown = (await api.send("GET", path)).body["nodes"]
    assert {node["shipNode"]: node["inputQty"]["amount"] for node in shown} == {"N1": 5}


async def test_an_out_of_stock_cancel_sets_the_stock_to_nothing(walmart: Any) -> None:
    po = await walmart.order()
    await walmart.api.send("PUT", "/v3/inventory?sku=SKU-1", body("SKU-1", 7))
    await walmart.api.cancel(po, walmart.cancelled(reason="SELLER_CANCEL_OUT_OF_STOCK"))
    assert (await walmart.api.send("GET", "/v3/inventory?sku=SKU-1")).body == body("SKU-1", 0)
    assert [(level.sku, level.quantity) for level in await walmart.control.inventory()] == [("SKU-1", 0)]
