"""What the control client returns: typed, frozen, read from the control endpoints' JSON."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from worker.sandbox.walmart.journal import EntryKind
from worker.sandbox.walmart.specs import FaultSpec, Market, Operation


class Record(BaseModel):
    """Base: frozen."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Parcel(Record):
    """Units of a line that left under one tracking number."""

    tracking_number: str
    carrier: str | None = None
    other_carrier: str | None = None
    tracking_url: str | None = None
    method_code: str
    ship_date_ms: int
    quantity: int
    status: str


class LineState(Record):
    """The true state of one line, in units."""

    line_number: str
    sku: str
    ordered: int
    created: int
    acknowledged: int
    shipped: int
    delivered: int
    refunded: int
    cancelled: int
    charged: int
    intent_to_cancel: bool
    seller_order_id: str | None
    parcels: tuple[Parcel, ...]
    reasons: dict[str, int]

    @property
    def tracking(self) -> dict[str, int]:
        """Units by tracking number."""
        units: dict[str, int] = {}
        for parcel in self.parcels:
            units[parcel.tracking_number] = units.get(parcel.tracking_number, 0) + parcel.quantity
        return units


class OrderState(Record):
    """The true state of one order."""

    purchase_order_id: str
    customer_order_id: str
    seller: str
    order_date_ms: int
    personal_data: tuple[str, ...]
    """Texts that must not leak."""
    lines: tuple[LineState, ...]

    def line(self, line_number: str) -> LineState:
        """One line. Raises KeyError."""
        for line in self.lines:
            if line.line_number == line_number:
                return line
        raise KeyError(line_number)


class EffectLine(Record):
    """Units of one line that an effect moved."""

    line_number: str
    sku: str
    quantity: int
    tracking_number: str | None = None
    replaces_tracking_number: str | None = None
    carrier: str | None = None
    other_carrier: str | None = None
    tracking_url: str | None = None
    method_code: str | None = None
    ship_date_ms: int | None = None
    seller_order_id: str | None = None
    reason: str | None = None


class StockLevel(Record):
    """One stock level."""

    sku: str
    ship_node: str | None
    quantity: int
    seller: str | None = None


class JournalEntry(Record):
    """One effect."""

    n: int
    time: float
    clock_ms: int
    kind: EntryKind
    by: str
    seller: str | None = None
    purchase_order_id: str | None = None
    operation: Operation | None = None
    correlation_id: str | None = None
    lines: tuple[EffectLine, ...] = ()
    charged: int = 0
    inventory: tuple[StockLevel, ...] = ()


class RequestCount(Record):
    """How many calls ended so; status 0: the connection was dropped."""

    seller: str | None
    operation: Operation
    status: int
    count: int


class RequestCounts(Record):
    """All calls since the start or the last reset."""

    counts: tuple[RequestCount, ...]
    internal_errors: int
    """Mistakes of the simulation itself; anything but 0 spoils a test."""
    most_at_once_per_order: int
    most_at_once: dict[Operation, int]
    """Calls that were being answered at the same moment, at most, of all sellers together."""

    def total(self, operation: Operation | None = None, status: int | None = None, seller: str | None = None) -> int:
        """Calls that match."""
        return sum(
            one.count
            for one in self.counts
            if operation in (None, one.operation) and status in (None, one.status) and seller in (None, one.seller)
        )


class RequestRecord(Record):
    """One of the latest calls."""

    time: float
    seller: str | None
    operation: Operation
    purchase_order_id: str | None
    status: int
    correlation_id: str


class FaultState(Record):
    """A fault that is switched on; `id` None: it acted at once (`expire_tokens`)."""

    id: int | None
    remaining: int | None = None
    hits: int = 0
    spec: FaultSpec | None = None


class BudgetState(Record):
    """One bucket."""

    taken: int
    """Calls it has let through."""
    left: float


class SellerState(Record):
    """A seller and its counters."""

    client_id: str
    market: Market
    tokens_issued: int
    throttled: dict[Operation, int]
    budgets: dict[Operation, BudgetState]
    """Those that were used so far."""


class Switches(Record):
    """How the simulation is set."""

    clock_offset_seconds: float
    delay_seconds: float
    echo_ship_date: bool
    customer_reason_needs_intent: bool
