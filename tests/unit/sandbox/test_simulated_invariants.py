"""Whatever is called, in any order: units are neither lost nor made, nobody is charged for more than was ordered."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from worker.sandbox.walmart.bodies import BodyChecks
from worker.sandbox.walmart.calls import Call
from worker.sandbox.walmart.foreign import change_order
from worker.sandbox.walmart.journal import Journal
from worker.sandbox.walmart.services import serve
from worker.sandbox.walmart.specs import Change, LineChange, NewLine, NewOrder, Operation, SellerSpec
from worker.sandbox.walmart.views import order_view
from worker.sandbox.walmart.world import World

CHECKS = BodyChecks()
PO = "1815367951431"

line_numbers = st.sampled_from(["1", "2"])
quantities = st.integers(1, 3)
trackings = st.sampled_from(["1ZA", "1ZB", "1ZC"])


def ship(world: World, lines: list[tuple[str, int, str]], mode: str | None, replaces: str | None) -> dict[str, Any]:
    wanted: dict[str, Any] = {}
    for number, quantity, tracking in lines:
        entry: dict[str, Any] = {
            "status": "Shipped",
            "statusQuantity": {"unitOfMeasurement": "EACH", "amount": str(quantity)},
            "trackingInfo": {
                "shipDateTime": world.clock_ms(),
                "carrierName": {"carrier": "UPS"},
                "methodCode": "Value",
                "trackingNumber": tracking,
            },
        }
        if replaces is not None:
            entry["currentTrackingInfo"] = {"trackingNumber": replaces}
        line = wanted.setdefault(number, {"lineNumber": number, "sellerOrderId": "1", "orderLineStatuses": {}})
        line["orderLineStatuses"].setdefault("orderLineStatus", []).append(entry)
    shipment = {"orderLines": {"orderLine": list(wanted.values())}}
    return {"orderShipment": shipment if mode is None else shipment | {"processMode": mode}}


def cancel(lines: list[tuple[str, int, str]]) -> dict[str, Any]:
    wanted = [
        {
            "lineNumber": number,
            "orderLineStatuses": {
                "orderLineStatus": [
                    {
                        "status": "Cancelled",
                        "cancellationReason": "SELLER_CANCEL_OUT_OF_STOCK",
                        "statusQuantity": {"unitOfMeasurement": "EACH", "amount": str(quantity)},
                    }
                ]
            },
        }
        for number, quantity, _ in lines
    ]
    return {"orderCancellation": {"orderLines": {"orderLine": wanted}}}


steps = st.lists(
    st.tuples(
        st.sampled_from(["ship", "correct", "cancel", "acknowledge", "deliver", "refund"]),
        st.lists(st.tuples(line_numbers, quantities, trackings), min_size=1, max_size=2),
        trackings,
    ),
    max_size=8,
)


def call(world: World, operation: Operation, body: dict[str, Any]) -> int:
    """The status. A refusal leaves the order exactly as it was."""
    before = order_view(world.orders[PO])
    sent = Call(operation, PO, None, CIMultiDict(), {}, orjson.dumps(body), world.sellers["me"])
    answer = serve(world, CHECKS, sent)
    if not answer.ok:
        assert order_view(world.orders[PO]) == before
    return answer.status


@given(ordered=st.tuples(quantities, quantities), steps=steps, status=st.sampled_from(["Created", "Acknowledged"]))
@settings(max_examples=150, deadline=None)
def test_units_are_conserved_and_charged_at_most_once(
    ordered: tuple[int, int], steps: list[tuple[str, list[tuple[str, int, str]], str]], status: Any
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Journal(Path(folder) / "journal.jsonl"))
        world.rebuild()
        world.add_seller(SellerSpec(client_id="me", client_secret="s"))
        lines = tuple(NewLine(sku=f"S{n}", quantity=n, status=status) for n in ordered)
        world.add_orders([NewOrder(lines=lines, purchase_order_id=PO)])
        for name, wanted, old in steps:
            match name:
                case "ship":
                    call(world, "ship", ship(world, wanted, None, None))
                case "correct":
                    call(world, "ship", ship(world, wanted, "PARTIAL_UPDATE", old))
                case "cancel":
                    call(world, "cancel", cancel(wanted))
                case "acknowledge":
                    call(world, "acknowledge", {})
                case _:
                    change = Change(kind=name, lines=(LineChange(line_number=wanted[0][0]),))
                    change_order(world, world.orders[PO], change)
            for line in world.orders[PO].lines.values():
                assert sum(portion.quantity for portion in line.portions) == line.ordered
                left = line.units("Shipped", "Delivered", "Refund")
                assert line.charged == left <= line.ordered
        again = World(Journal(Path(folder) / "journal.jsonl"))
        again.rebuild()
        assert order_view(again.orders[PO]) == order_view(world.orders[PO])
        for each in (world, again):
            each.journal.close()
