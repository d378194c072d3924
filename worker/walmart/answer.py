"""What a call to Walmart can end in: an answer, or one `CallError` that says what is known about its effect."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from schemas.walmart.order import Order
from worker.errors import WalmartError


class CallKind(Enum):
    """What is known about a call that did not work: this decides whether it may be sent again."""

    NOT_SENT = "not_sent"
    """It never reached the Orders service: could not connect, or the send guard said no."""
    UNAUTHORIZED = "unauthorized"
    """Turned away by the gateway before the service (401 twice, 403, or no token to be had): nothing was written."""
    THROTTLED = "throttled"
    """429, made by the gateway before the service: nothing was written."""
    REFUSED = "refused"
    """Refused with a named cause (400 data error, 404, 405, 406, 415): nothing was written by *this* call."""
    REFUSED_WITHOUT_CAUSE = "refused_without_cause"
    """A 4xx without a usable cause (bare INVALID_REQUEST, HTML, empty): may be an outage."""
    UNKNOWN = "unknown"
    """Timeout or broken connection after sending, 5xx, unreadable 200: it may have worked."""


@dataclass(frozen=True, slots=True)
class CallError:
    """One failed call. Texts are scrubbed of e-mails, tokens and foreign numbers."""

    kind: CallKind
    message: str
    status: int | None = None
    errors: tuple[WalmartError, ...] = ()
    retry_after_s: float | None = None
    """What Walmart's headers say, capped; None where they say nothing."""
    correlation_id: str | None = None
    scope_missing: bool = False
    """UNAUTHORIZED only: 403, the token is good but a scope is missing."""
    not_found: bool = False
    """REFUSED only: 404."""
    locked: bool = False
    """423: the resource is locked for a moment."""
    malformed: bool = False
    """REFUSED only: 405, 406, 415: our request is wrong (a bug)."""
    too_late: bool = False
    """NOT_SENT only: the deadline for sending had passed. Says something about this process, nothing about Walmart."""


@dataclass(frozen=True, slots=True)
class Done:
    """A call without an order in its answer (inventory) that worked."""

    correlation_id: str | None = None


class OrdersApi(Protocol):
    """What the rest of the worker needs of one Walmart account. Nothing here raises for what Walmart does."""

    async def get_order(self, purchase_order_id: str) -> Order | CallError:
        """`GET /v3/orders/{id}`."""
        ...

    async def acknowledge(self, purchase_order_id: str) -> Order | CallError:
        """`POST /v3/orders/{id}/acknowledge`."""
        ...

    async def ship(self, purchase_order_id: str, body: dict[str, object], *, deadline: float) -> Order | CallError:
        """`POST /v3/orders/{id}/shipping`. `deadline`: epoch seconds after which it must not be written any more."""
        ...

    async def cancel(self, purchase_order_id: str, body: dict[str, object], *, deadline: float) -> Order | CallError:
        """`POST /v3/orders/{id}/cancel`."""
        ...

    async def put_inventory(self, sku: str, quantity: int, ship_node: str | None) -> Done | CallError:
        """`PUT /v3/inventory?sku=…[&shipNode=…]`: an absolute number."""
        ...
