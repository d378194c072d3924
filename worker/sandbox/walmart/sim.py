"""The control endpoints, `/_sim/…`: create orders, switch faults, look at effects. No authentication: loopback only."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import orjson
from pydantic import TypeAdapter, ValidationError

from worker.sandbox.walmart.answers import Answer, ok
from worker.sandbox.walmart.faults import Fault
from worker.sandbox.walmart.foreign import change_order
from worker.sandbox.walmart.specs import Change, FaultSpec, NewOrder, SellerSpec, SwitchesSpec
from worker.sandbox.walmart.traffic import Traffic
from worker.sandbox.walmart.views import order_view
from worker.sandbox.walmart.world import World

_ORDERS: Final = TypeAdapter(list[NewOrder])


class Sim:
    """The control door of one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.traffic = Traffic()

    def answer(self, method: str, steps: list[str], query: dict[str, str], body: bytes) -> Answer:
        """One control call; `steps` is the path behind `/_sim`. 400 with the reason when it makes no sense."""
        try:
            return self._route(method, steps, query, body)
        except (ValidationError, ValueError) as error:
            return Answer(400, orjson.dumps({"error": str(error)}))

    def _route(self, method: str, steps: list[str], query: dict[str, str], body: bytes) -> Answer:
        match method, steps:
            case "GET", ["health"]:
                return ok({"ok": True})
            case "POST", ["orders"]:
                return ok({"purchase_order_ids": self.world.add_orders(_ORDERS.validate_json(body))})
            case "GET", ["orders", order_id]:
                return self._with_order(order_id, lambda order: ok(order_view(order)))
            case "POST", ["orders", order_id, "changes"]:
                return self._change(order_id, Change.model_validate_json(body))
            case "GET", ["faults"]:
                return ok({"faults": [_fault_view(fault) for fault in self.world.faults.all()]})
            case "POST", ["faults"]:
                return self._add_fault(FaultSpec.model_validate_json(body))
            case "DELETE", ["faults", *which]:
                removed = self.world.faults.remove(int(which[0]) if which else None)
                return ok({"removed": removed})
            case "GET", ["journal"]:
                return self._journal(query)
            case "GET", ["requests"]:
                return ok(self.traffic.as_json())
            case "GET", ["requests", "latest"]:
                return self._latest(query)
            case "GET", ["inventory"]:
                levels = [
                    {"seller": seller, "sku": sku, "ship_node": node, "quantity": quantity}
                    for (seller, sku, node), quantity in self.world.stock.items()
                ]
                return ok({"inventory": levels})
            case "GET", ["sellers"]:
                return ok({"sellers": [self._seller_view(client_id) for client_id in self.world.sellers]})
            case "POST", ["sellers"]:
                seller = self.world.add_seller(SellerSpec.model_validate_json(body))
                return ok(self._seller_view(seller.client_id))
            case "GET", ["switches"]:
                return ok(self._switches())
            case "POST", ["switches"]:
                self.world.switch(SwitchesSpec.model_validate_json(body))
                return ok(self._switches())
            case "POST", ["reset"]:
                self.world.reset()
                self.traffic = Traffic()
                return ok({})
            case _:
                return Answer(404, orjson.dumps({"error": f"no control endpoint {method} /_sim/{'/'.join(steps)}"}))

    def _with_order(self, order_id: str, use: Callable[[Any], Answer]) -> Answer:
        order = self.world.orders.get(order_id)
        if order is None:
            return Answer(404, orjson.dumps({"error": f"there is no order {order_id}"}))
        return use(order)

    def _change(self, order_id: str, change: Change) -> Answer:
        def carry_out(order: Any) -> Answer:
            change_order(self.world, order, change)
            return ok(order_view(order))

        return self._with_order(order_id, carry_out)

    def _add_fault(self, spec: FaultSpec) -> Answer:
        if spec.seller is not None and spec.seller not in self.world.sellers:
            raise ValueError(f"there is no seller {spec.seller}")
        if spec.kind == "expire_tokens":
            for seller in self.world.sellers.values():
                if spec.seller in (None, seller.client_id):
                    seller.generation += 1
            return ok({"id": None})
        return ok(_fault_view(self.world.faults.add(spec)))

    def _journal(self, query: dict[str, str]) -> Answer:
        if not self.world.journal.keep:
            return Answer(409, orjson.dumps({"error": "started with --no-journal"}))
        unknown = set(query) - {"po", "kind", "seller"}
        if unknown:
            raise ValueError(f"unknown filter: {', '.join(sorted(unknown))}")
        entries = self.world.journal.select(
            purchase_order_id=query.get("po"), kind=query.get("kind"), seller=query.get("seller")
        )
        return Answer(200, b'{"entries":' + entries + b"}")

    def _latest(self, query: dict[str, str]) -> Answer:
        order = query.get("po")
        requests = [request for request in self.traffic.latest if order in (None, request.purchase_order_id)]
        return ok({"requests": requests})

    def _seller_view(self, client_id: str) -> dict[str, Any]:
        seller = self.world.sellers[client_id]
        return {
            "client_id": client_id,
            "market": seller.spec.market,
            "tokens_issued": seller.tokens_issued,
            "throttled": dict(seller.throttled),
            "budgets": seller.budgets(time.monotonic()),
        }

    def _switches(self) -> dict[str, Any]:
        world = self.world
        return {
            "clock_offset_seconds": world.clock_offset,
            "delay_seconds": world.delay_seconds,
            "echo_ship_date": world.echo_ship_date,
            "customer_reason_needs_intent": world.customer_reason_needs_intent,
        }


def _fault_view(fault: Fault) -> dict[str, Any]:
    return {
        "id": fault.id,
        "remaining": fault.remaining,
        "hits": fault.hits,
        "spec": fault.spec.model_dump(mode="json", exclude_defaults=True),
    }
