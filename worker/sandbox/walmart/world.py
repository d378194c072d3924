"""All that this Walmart knows: sellers, orders, stock. It changes by journal entries and by nothing else."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final, cast

from worker.sandbox.walmart.faults import Faults
from worker.sandbox.walmart.journal import Entry, EntryKind, InventoryEffect, Journal
from worker.sandbox.walmart.orders import EffectKind, LineEffect, Order
from worker.sandbox.walmart.sellers import Seller
from worker.sandbox.walmart.specs import NewOrder, SellerSpec, SwitchesSpec

_FIRST_PURCHASE_ORDER: Final = 1_815_367_000_000

DEFAULT_SHIP_NODE: Final = "1000005050"
"""The node meant where a call names none, and that of orders created without one."""


class World:
    """The state of the simulation."""

    def __init__(self, journal: Journal, *, delay_seconds: float = 0.0) -> None:
        self.journal = journal
        self.faults = Faults()
        self.sellers: dict[str, Seller] = {}
        self.orders: dict[str, Order] = {}
        self.skus: set[tuple[str, str]] = set()
        self.stock: dict[tuple[str, str, str], int] = {}
        """(Client id, SKU, ship node) -> units."""
        self.clock_offset = 0.0
        self.echo_ship_date = True
        self.customer_reason_needs_intent = False
        self.delay_seconds = self._first_delay_seconds = delay_seconds
        self._entries = 0

    def rebuild(self) -> int:
        """Open the journal and carry out what it says; how many entries it had."""
        entries = self.journal.open()
        for entry in entries:
            self._entries = entry["n"]
            self._apply(entry)
        return len(entries)

    def clock_ms(self) -> int:
        """Now, on the clock of the rules."""
        return int((time.time() + self.clock_offset) * 1000)

    def default_seller(self) -> str:
        """The first seller's client id."""
        return next(iter(self.sellers))

    def add_seller(self, spec: SellerSpec) -> Seller:
        """Add a seller, or give one new settings."""
        self._record(self._entry("seller", "sim", seller=spec.client_id, spec=spec.model_dump(mode="json")))
        return self.sellers[spec.client_id]

    def add_orders(self, specs: Sequence[NewOrder]) -> list[str]:
        """Create orders; their purchase order ids. Raises ValueError, and creates none, if one cannot be."""
        ids: list[str] = []
        entries: list[Entry] = []
        next_id = _FIRST_PURCHASE_ORDER + len(self.orders)
        for spec in specs:
            order_id = spec.purchase_order_id
            if order_id is None:
                next_id += 1
                while str(next_id) in self.orders:
                    next_id += 1
                order_id = str(next_id)
            seller = spec.seller or self.default_seller()
            if order_id in self.orders or order_id in ids:
                raise ValueError(f"there is an order {order_id} already")
            if seller not in self.sellers:
                raise ValueError(f"there is no seller {seller}")
            numbers = [line.line_number or str(place) for place, line in enumerate(spec.lines, start=1)]
            if len(set(numbers)) != len(numbers):
                raise ValueError("line numbers must differ")
            ids.append(order_id)
            spec_json = spec.model_dump(mode="json", exclude_none=True)
            entries.append(self._entry("created", "sim", seller=seller, purchase_order_id=order_id, spec=spec_json))
        self._record(*entries)
        return ids

    def change(
        self,
        order: Order,
        kind: EffectKind,
        lines: Sequence[LineEffect],
        *,
        by: str,
        operation: str | None = None,
        correlation_id: str | None = None,
    ) -> None:
        """Let an effect happen: journal first, then the state."""
        extra: dict[str, Any] = {} if operation is None else {"operation": operation, "correlation_id": correlation_id}
        charged = sum(line["quantity"] for line in lines) if kind == "shipped" else 0
        self._record(
            self._entry(
                kind,
                by,
                seller=order.seller,
                purchase_order_id=order.purchase_order_id,
                lines=lines,
                charged=charged,
                **extra,
            )
        )

    def set_stock(
        self, seller: str, levels: list[InventoryEffect], *, by: str, operation: str, correlation_id: str | None = None
    ) -> None:
        """Set stock levels (absolute numbers)."""
        self._record(
            self._entry(
                "inventory", by, seller=seller, operation=operation, correlation_id=correlation_id, inventory=levels
            )
        )

    def switch(self, switches: SwitchesSpec) -> None:
        """Turn the clock (journalled) and the other switches (not)."""
        if switches.clock_offset_seconds is not None:
            self._record(self._entry("clock", "sim", spec={"clock_offset_seconds": switches.clock_offset_seconds}))
        for name in ("delay_seconds", "echo_ship_date", "customer_reason_needs_intent"):
            value = getattr(switches, name)
            if value is not None:
                setattr(self, name, value)

    def reset(self) -> None:
        """Forget orders, stock, faults and switches; sellers stay, with full budgets."""
        self.faults.remove()
        self.echo_ship_date = True
        self.customer_reason_needs_intent = False
        self.delay_seconds = self._first_delay_seconds
        self._record(self._entry("reset", "sim"))

    def _entry(self, kind: EntryKind, by: str, **details: Any) -> Entry:
        self._entries += 1
        entry = {"n": self._entries, "time": time.time(), "clock_ms": self.clock_ms(), "kind": kind, "by": by}
        return cast("Entry", entry | details)

    def _record(self, *entries: Entry) -> None:
        self.journal.append(entries)
        for entry in entries:
            self._apply(entry)

    def _apply(self, entry: Entry) -> None:
        kind, seller = entry["kind"], entry.get("seller", "")
        match kind:
            case "created":
                spec = NewOrder.model_validate(entry["spec"])
                order = Order.of(spec, entry["purchase_order_id"], seller, entry["time"], entry["clock_ms"])
                self.orders[order.purchase_order_id] = order
                self.skus.update((seller, line.sku) for line in order.lines.values())
            case "seller":
                self.sellers[seller] = Seller(SellerSpec.model_validate(entry["spec"]))
            case "clock":
                self.clock_offset = entry["spec"]["clock_offset_seconds"]
            case "reset":
                self._forget()
            case "inventory":
                for level in entry["inventory"]:
                    self.skus.add((seller, level["sku"]))
                    self.stock[seller, level["sku"], level["ship_node"] or DEFAULT_SHIP_NODE] = level["quantity"]
            case _:
                order = self.orders[entry["purchase_order_id"]]
                order.apply(kind, entry["lines"], entry["time"], entry["clock_ms"])
                for line in entry["lines"]:
                    if kind == "cancelled" and line.get("reason") == "SELLER_CANCEL_OUT_OF_STOCK":
                        self.stock[seller, line["sku"], order.ship_node_id] = 0

    def _forget(self) -> None:
        self.orders.clear()
        self.skus.clear()
        self.stock.clear()
        self.clock_offset = 0.0
        for client_id, seller in self.sellers.items():
            self.sellers[client_id] = Seller(seller.spec)
