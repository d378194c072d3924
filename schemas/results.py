"""The sync result: what became of one event (data of `walmart.order.sync-result.v1`)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

SYNC_RESULT_TYPE: Final = "walmart.order.sync-result.v1"
SYNC_RESULT_SOURCE: Final = "/order-sync"

Operation = Literal["ship", "cancel", "correct"]
Status = Literal["succeeded", "failed", "retrying"]
Effect = Literal["applied", "already_applied", "partly_applied", "none"]
WalmartStatus = Literal["open", "partially_shipped", "shipped", "cancelled"]
OrderStatus = Literal["open", "partially_shipped", "shipped", "cancelled", "error"]
LineState = Literal["confirmed", "rejected", "unknown"]
InventoryState = Literal["updated", "skipped", "failed"]
Category = Literal["data", "mapping", "configuration", "conflict", "credentials", "throttled", "walmart", "internal"]
Owner = Literal["commerce", "configuration", "merchant", "walmart", "worker"]


class ResultModel(BaseModel):
    """Base of the models that are written."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class EventReference(ResultModel):
    """Which event this is the result of: identity and coordinates. Fields that could not be read are null."""

    source: str | None
    """The event's `source`."""
    id: str | None
    """The event's `id`."""
    type: str | None
    """The event's `type`."""
    topic: str
    """Topic it was read from."""
    partition: int
    """Its partition."""
    offset: int
    """Its offset."""
    time: datetime | None
    """The event's `time`."""


class ResultLine(ResultModel):
    """One order line (and one tracking number) this event was about."""

    line_number: str | None
    """Walmart's line number; null where no line was found."""
    sku: str | None
    """The seller's SKU."""
    quantity: int
    """Units of this event on this line and number."""
    tracking_number: str | None
    """As sent to Walmart; null for cancels."""
    state: LineState
    """`confirmed`: Walmart's order shows it; `rejected`: it will not; `unknown`: not known yet."""
    reason: str | None
    """An error code where rejected or unknown; Walmart's reason where a cancel was confirmed."""


class ResultInventory(ResultModel):
    """What became of one inventory update."""

    sku: str
    """The seller's SKU."""
    ship_node: str | None
    """Walmart's ship node; null: the account's default."""
    quantity: int
    """Units on hand as the event told."""
    state: InventoryState
    """`updated`, `skipped` or `failed`; none of them fails the event."""
    reason: str | None
    """Why it was not updated."""


class ResultWarning(ResultModel):
    """Something a person may want to know although the event succeeded."""

    code: str
    """One of the worker's closed list of warnings."""
    message: str
    """The particulars."""


class WalmartErrorText(ResultModel):
    """One error as Walmart worded it, scrubbed of e-mails, tokens and foreign numbers."""

    code: str | None
    """Walmart's code."""
    field: str | None
    """The field Walmart names."""
    description: str | None
    """Walmart's text."""


class ResultError(ResultModel):
    """Why the event failed or waits. `category`, `retryable`, `owner` and `action` follow from `code`."""

    code: str
    """One of the worker's closed list of errors."""
    category: Category
    """What kind of trouble it is."""
    retryable: bool
    """True: the same event, unchanged, may succeed later."""
    owner: Owner
    """Who can end it."""
    action: str
    """What to do, in one line."""
    message: str
    """The particulars."""
    http_status: int | None
    """Of Walmart's last answer, where there was one."""
    walmart_errors: list[WalmartErrorText]
    """What Walmart said."""
    correlation_id: str | None
    """Of the call, for Walmart's support."""


class Waited(ResultModel):
    """Seconds this event waited, by reason."""

    budget: float
    """For Walmart's call budget (throttling)."""
    retry: float
    """Between tries."""


class DeadLetterPlace(ResultModel):
    """Where the dead letter of a failed event lies."""

    topic: str
    """The dead-letter topic."""
    partition: int
    """Its partition."""
    offset: int
    """Its offset."""
    key: str
    """Its key, which `order-sync dlq` commands take."""


class PlannedCall(ResultModel):
    """A call that would have been sent (observe mode)."""

    method: str
    """HTTP method."""
    path: str
    """Path at Walmart."""
    body: dict[str, Any] | None
    """Body; null where there is none."""


class SyncResult(ResultModel):
    """What became of one event. Written for every event, also one that could not be read."""

    result_id: str
    """UUIDv5 of the event's identity, replay number and answer: a repeat of the same answer carries the same id."""
    event: EventReference
    """The event this tells of."""
    store: str | None
    """The event's store."""
    account: str | None
    """The Walmart account, as the worker's settings name it."""
    purchase_order_id: str | None
    """Walmart's purchase order id."""
    commerce_order_id: str | None
    """The order's number in commerce."""
    shipment_id: str | None
    """The shipment's number in commerce; null for cancels."""
    operation: Operation | None
    """What was done or tried; null where the event could not be read."""
    status: Status
    """How it ended, or `retrying`."""
    final: bool
    """False only with status `retrying`."""
    effect: Effect
    """What it changed: `already_applied` means Walmart showed it before anything was sent."""
    order_status: OrderStatus | None
    """`walmart_status`, but `error` when this event ended `failed`."""
    walmart_status: WalmartStatus | None
    """What Walmart's lines show afterwards; null when not known."""
    lines: list[ResultLine]
    """The answer per line and tracking number."""
    inventory: list[ResultInventory]
    """The answer per inventory update."""
    warnings: list[ResultWarning]
    """What a person may want to know."""
    error: ResultError | None
    """Set where failed or retrying."""
    attempts: int
    """Tries of the whole event."""
    received_at: datetime
    """When the worker first read the event."""
    completed_at: datetime
    """When this answer was known."""
    latency_seconds: float
    """From the event's own time to `completed_at`."""
    waited: Waited
    """Of that, time spent waiting."""
    dead_letter: DeadLetterPlace | None
    """Set where failed (not in observe mode)."""
    observed: bool = False
    """True in observe mode: nothing was sent; `planned` holds what would have been."""
    planned: list[PlannedCall] = []
    """The calls that would have been sent."""
