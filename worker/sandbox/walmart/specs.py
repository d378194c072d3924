"""What the control endpoints (`/_sim/…`) take: strict models, shared by the server and its client."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Operation = Literal[
    "token",
    "token_detail",
    "get_order",
    "acknowledge",
    "ship",
    "cancel",
    "put_inventory",
    "get_inventory",
    "put_inventories",
    "get_inventories",
]
"""One endpoint of the API; budgets and faults are told apart by it. A correction is a `ship` call."""

Market = Literal["us", "ca", "mx", "cl"]

MethodCode = Literal["Standard", "Express", "OneDay", "Freight", "WhiteGlove", "Value"]

Envelope = Literal[
    "orders", "gateway", "generic", "single", "problem", "html", "xml", "empty", "truncated", "bare", "unchanged"
]
"""The shape of an error body; `unchanged` keeps the real answer's body (only its status is replaced)."""

FaultKind = Literal[
    "delay",
    "status",
    "drop",
    "outage",
    "refuse_connections",
    "revoked",
    "expire_tokens",
    "read_lag",
    "bare_invalid_request",
    "partial_cancel_refused",
    "two_packages_refused",
    "line_ignored",
    "inventory_node_fails",
]

ChangeKind = Literal["ship", "cancel", "acknowledge", "deliver", "refund", "intent_to_cancel"]

Units = Annotated[int, Field(ge=1, le=1_000_000)]
Seconds = Annotated[float, Field(ge=0, le=86_400)]
Identifier = Annotated[str, Field(min_length=1, max_length=200)]


class Spec(BaseModel):
    """Base: frozen, a misspelt field is a mistake of the test that sent it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class NewLine(Spec):
    """One line of an order to create."""

    line_number: Identifier | None = None
    """Absent: its place in the order, from 1."""
    sku: Identifier
    quantity: Units = 1
    status: Literal["Created", "Acknowledged"] = "Acknowledged"
    intent_to_cancel: bool = False
    """The buyer asked to cancel this line."""


class NewOrder(Spec):
    """One order to create."""

    lines: Annotated[tuple[NewLine, ...], Field(min_length=1)]
    seller: str | None = None
    """Client id; absent: the first seller."""
    purchase_order_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] | None = None
    """Absent: a fresh 13-digit one."""
    order_date_ms: int | None = None
    """Epoch ms; absent: an hour ago."""
    method_code: MethodCode = "Value"
    ship_node_type: Literal["SellerFulfilled", "WFSFulfilled", "3PLFulfilled"] = "SellerFulfilled"
    ship_node_id: str = "1000005050"


class LineChange(Spec):
    """Units of one line that somebody else changes."""

    line_number: Identifier
    quantity: Units | None = None
    """Absent: all that the change can apply to."""
    tracking_number: str | None = None
    """Ship: the number (absent: one is made up). Deliver, refund: only this package."""
    carrier: str = "UPS"
    reason: str = "SELLER_CANCEL_OUT_OF_STOCK"


class Change(Spec):
    """A change that does not come from the worker: Seller Center, a carrier scan, Walmart itself, the buyer."""

    kind: ChangeKind
    lines: tuple[LineChange, ...] | None = None
    """Absent: every line, all that the change can apply to."""
    by: Identifier = "seller_center"
    """Who did it; stands in the journal."""


class FaultSpec(Spec):
    """A fault to switch on. Which fields matter depends on `kind`; `README.md` has one example of each."""

    kind: FaultKind
    when: Literal["before", "after"] = "before"
    """`delay`, `status`, `drop`: before the service sees the call, or after its effect (2xx answers only)."""
    seller: str | None = None
    purchase_order_id: str | None = None
    operation: Operation | None = None
    times: Annotated[int, Field(ge=1)] | None = None
    """It acts this often; absent: until it is cleared."""
    seconds: Seconds = 0
    """`delay`, `read_lag`."""
    status: Annotated[int, Field(ge=200, le=599)] = 503
    """`status`, `outage`."""
    envelope: Envelope = "gateway"
    """`status`, `outage`: the body's shape."""
    code: str | None = None
    """`status`: the error's code; absent: the documented one of that HTTP status."""
    description: str | None = None
    """`status`: the error's description."""
    headers: dict[str, str] = {}
    """`status`: further headers, such as `Retry-After`."""
    line_number: str | None = None
    """`line_ignored`: the line; absent: the last of the call."""
    ship_node: str | None = None
    """`inventory_node_fails`: the node; absent: every node."""


class Rate(Spec):
    """A token bucket."""

    per_minute: Annotated[float, Field(gt=0, le=1e9)]
    burst: Annotated[int, Field(ge=1)] | None = None
    """Size of the bucket; absent: one minute's worth (Walmart does not publish it)."""


class SellerSpec(Spec):
    """One seller: keys, market, token life, budgets. Posted again, it replaces the earlier one (its orders stay)."""

    client_id: Identifier
    client_secret: Identifier
    market: Market = "us"
    token_seconds: Annotated[float, Field(gt=0, le=86_400)] = 900
    expires_in: Literal["sometimes_text", "number", "text"] = "sometimes_text"
    """Whether `expires_in` is a number or text: Walmart's own examples have both."""
    scopes: dict[Literal["orders", "inventory"], Literal["full_access", "view_only", "no_access"]] = {}
    """Absent: full access."""
    rates: dict[Operation, Rate] = {}
    """In place of the published rates."""
    speed_up: Annotated[float, Field(gt=0, le=1e6)] = 1
    """All budgets refill this much faster (and a minute's worth is as much larger)."""
    unlimited: bool = False
    """No budgets at all."""
    ship_nodes: tuple[str, ...] = ()
    """The nodes that exist; empty: every node does."""


class SwitchesSpec(Spec):
    """How this Walmart behaves where the real one's behaviour is not known, and its clock. Absent: unchanged."""

    clock_offset_seconds: float | None = None
    """Added to the clock that the rules use (ship date, 4-hour window). Tokens and budgets keep real time."""
    delay_seconds: Seconds | None = None
    """Every answer takes this much longer."""
    echo_ship_date: bool | None = None
    """False: orders show the time of the call as `shipDateTime`, not what was sent."""
    customer_reason_needs_intent: bool | None = None
    """True: CUSTOMER_REQUESTED_SELLER_TO_CANCEL is refused on lines whose buyer did not ask."""
