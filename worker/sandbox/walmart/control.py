"""The client of the control endpoints, for tests and for the sandbox command. `process.py` starts the server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import aiohttp
import orjson

from worker.sandbox.walmart.journal import EntryKind
from worker.sandbox.walmart.process import WalmartDidNotStartError, WalmartProcess, running_walmart, start_walmart
from worker.sandbox.walmart.records import (
    FaultState,
    JournalEntry,
    OrderState,
    RequestCounts,
    RequestRecord,
    SellerState,
    StockLevel,
    Switches,
)
from worker.sandbox.walmart.specs import (
    Change,
    ChangeKind,
    FaultSpec,
    LineChange,
    NewLine,
    NewOrder,
    SellerSpec,
    Spec,
    SwitchesSpec,
)

__all__ = [
    "ControlError",
    "WalmartControl",
    "WalmartDidNotStartError",
    "WalmartProcess",
    "running_walmart",
    "start_walmart",
]

_JSON: Final = {"Content-Type": "application/json"}


class ControlError(RuntimeError):
    """A control call that made no sense; the text says why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class WalmartControl:
    """Typed control of one simulated Walmart. Every method raises ControlError, and aiohttp.ClientError if it is down.

    `base_url`: `WalmartProcess.control_url` (or `url`, which an outage by `refuse_connections` closes).
    """

    def __init__(self, base_url: str, session: aiohttp.ClientSession) -> None:
        self.base_url = base_url.rstrip("/")
        self._session = session

    async def add_order(
        self,
        lines: Sequence[NewLine],
        *,
        seller: str | None = None,
        purchase_order_id: str | None = None,
        **details: Any,
    ) -> str:
        """Create one order; its purchase order id. `details`: further fields of `NewOrder`."""
        order = NewOrder(lines=tuple(lines), seller=seller, purchase_order_id=purchase_order_id, **details)
        return (await self.add_orders([order]))[0]

    async def add_orders(self, orders: Sequence[NewOrder]) -> list[str]:
        """Create orders; their purchase order ids, in the same order."""
        body = [order.model_dump(mode="json", exclude_none=True) for order in orders]
        answer = await self._send("POST", "/orders", body)
        return list(answer["purchase_order_ids"])

    async def order(self, purchase_order_id: str) -> OrderState:
        """The true state of an order."""
        return OrderState.model_validate(await self._send("GET", f"/orders/{purchase_order_id}"))

    async def change(
        self,
        purchase_order_id: str,
        kind: ChangeKind,
        lines: Sequence[LineChange] | None = None,
        *,
        by: str = "seller_center",
    ) -> OrderState:
        """Somebody else ships, cancels, delivers, refunds, acknowledges or asks to cancel. No lines: all of them."""
        change = Change(kind=kind, lines=None if lines is None else tuple(lines), by=by)
        return OrderState.model_validate(await self._send("POST", f"/orders/{purchase_order_id}/changes", change))

    async def journal(
        self, purchase_order_id: str | None = None, kind: EntryKind | None = None, seller: str | None = None
    ) -> list[JournalEntry]:
        """The effects since the last reset, oldest first."""
        filters = {"po": purchase_order_id, "kind": kind, "seller": seller}
        answer = await self._send("GET", "/journal", params={k: v for k, v in filters.items() if v is not None})
        return [JournalEntry.model_validate(entry) for entry in answer["entries"]]

    async def requests(self) -> RequestCounts:
        """Counts of API calls per seller, operation and status."""
        return RequestCounts.model_validate(await self._send("GET", "/requests"))

    async def latest_requests(self, purchase_order_id: str | None = None) -> list[RequestRecord]:
        """The latest API calls (5,000 are kept), oldest first."""
        params = {} if purchase_order_id is None else {"po": purchase_order_id}
        answer = await self._send("GET", "/requests/latest", params=params)
        return [RequestRecord.model_validate(request) for request in answer["requests"]]

    async def add_fault(self, fault: FaultSpec) -> FaultState:
        """Switch a fault on."""
        return FaultState.model_validate(await self._send("POST", "/faults", fault))

    async def faults(self) -> list[FaultState]:
        """The faults that are switched on, with what is left of them."""
        return [FaultState.model_validate(fault) for fault in (await self._send("GET", "/faults"))["faults"]]

    async def clear_faults(self, fault_id: int | None = None) -> int:
        """Switch one fault off, or all; how many it were."""
        answer = await self._send("DELETE", "/faults" if fault_id is None else f"/faults/{fault_id}")
        return int(answer["removed"])

    async def inventory(self) -> list[StockLevel]:
        """All stock levels."""
        answer = await self._send("GET", "/inventory")
        return [StockLevel.model_validate(level) for level in answer["inventory"]]

    async def add_seller(self, seller: SellerSpec) -> SellerState:
        """Add a seller, or give one new settings (its orders stay, its budgets are full again)."""
        return SellerState.model_validate(await self._send("POST", "/sellers", seller))

    async def sellers(self) -> list[SellerState]:
        """All sellers with their counters."""
        answer = await self._send("GET", "/sellers")
        return [SellerState.model_validate(seller) for seller in answer["sellers"]]

    async def switch(self, switches: SwitchesSpec) -> Switches:
        """Turn the clock or a behaviour; what is absent stays."""
        return Switches.model_validate(await self._send("POST", "/switches", switches))

    async def reset(self) -> None:
        """Forget orders, stock, faults, counts and switches; sellers stay."""
        await self._send("POST", "/reset")

    async def _send(
        self,
        method: str,
        path: str,
        body: Spec | list[dict[str, Any]] | None = None,
        params: dict[str, str] | None = None,
    ) -> Any:
        data = body.model_dump(mode="json", exclude_none=True) if isinstance(body, Spec) else body
        url = f"{self.base_url}/_sim{path}"
        raw = None if data is None else orjson.dumps(data)
        async with self._session.request(method, url, data=raw, params=params, headers=_JSON) as response:
            content = await response.read()
        if response.status != 200:
            raise ControlError(response.status, content.decode("utf-8", "replace"))
        return orjson.loads(content)
