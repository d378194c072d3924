"""One API call: which endpoint it is, what it is about, and who sent it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from worker.sandbox.walmart.answers import Answer, ApiError, error_of_status, gateway_error
from worker.sandbox.walmart.faults import Faults, Quirks
from worker.sandbox.walmart.sellers import Seller
from worker.sandbox.walmart.specs import Operation


@dataclass(frozen=True, slots=True)
class Call:
    """One call, read but not judged."""

    operation: Operation
    purchase_order_id: str | None
    sku: str | None
    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes
    seller: Seller | None
    """Whose keys or token it shows, valid or not; None: nobody's."""

    @property
    def correlation_id(self) -> str:
        """The caller's own id of the call."""
        return self.headers.get("WM_QOS.CORRELATION_ID", "")

    def quirks(self, faults: Faults) -> Quirks:
        """The faults that may act on it."""
        seller = self.seller.client_id if self.seller else None
        return Quirks(faults, seller, self.purchase_order_id, self.operation)


@dataclass(frozen=True, slots=True)
class Route:
    """Where a method and a path lead."""

    operation: Operation
    purchase_order_id: str | None = None
    sku: str | None = None


_FIXED: Final[dict[str, dict[str, Operation]]] = {
    "/v3/token": {"POST": "token"},
    "/v3/token/detail": {"GET": "token_detail"},
    "/v3/inventory": {"GET": "get_inventory", "PUT": "put_inventory"},
}
_ORDER_ACTIONS: Final[dict[str, dict[str, Operation]]] = {
    "": {"GET": "get_order"},
    "acknowledge": {"POST": "acknowledge"},
    "shipping": {"POST": "ship"},
    "cancel": {"POST": "cancel"},
}
_INVENTORIES: Final[dict[str, Operation]] = {"GET": "get_inventories", "PUT": "put_inventories"}


def route(method: str, raw_path: str) -> Route | Answer:
    """Read the path as sent (percent-encoded); 404 and 405 in the gateway's envelope."""
    path = raw_path.partition("?")[0]
    steps = path.split("/")
    methods = _FIXED.get(path)
    order_id = sku = None
    if methods is None and path.startswith("/v3/orders/") and len(steps) in (4, 5) and steps[3]:
        methods = _ORDER_ACTIONS.get(steps[4] if len(steps) == 5 else "")
        order_id = unquote(steps[3])
    elif methods is None and path.startswith("/v3/inventories/") and len(steps) == 4 and steps[3]:
        methods = _INVENTORIES
        sku = unquote(steps[3])
    if methods is None:
        return gateway_error(
            ApiError("URI_NOT_FOUND.GMP_GATEWAY_API", "uri", "No resource at this address", "Not found.", status=404)
        )
    if method not in methods:
        return gateway_error(error_of_status(405))
    return Route(methods[method], order_id, sku)
