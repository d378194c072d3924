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
    id: str | None
    type: str | None
    topic: str
    partition: int
    offset: int
    time: datetime | None


class ResultLine(ResultModel):
    """One order line (and one tracking number) this event was about."""

    line_number: str | None
    sku: str | None
    quantity: int
    tracking_number: str | None
    state: LineState
    reason: str | None
    """An error code where rejected or unknown; Walmart's reason where a cancel was confirmed."""


class ResultInventory(ResultModel):
    """What became of one inventory update."""

    sku: str
    ship_node: str | None
    quantity: int
    state: InventoryState
    reason: str | None


class ResultWarning(ResultModel):
    """Something a person may want to know although the event succeeded."""

    code: str
    message: str


class WalmartErrorText(ResultModel):
    """One error as Walmart worded it, scrubbed of e-mails, tokens and foreign numbers."""

    code: str | None
    field: str | None
    description: str | None


class ResultError(ResultModel):
    """Why the event failed or waits. `category`, `retryable`, `owner` and `action` follow from `code`."""

    code: str
    category: Category
    retryable: bool
    owner: Owner
    action: str
    message: str
    http_status: int | None
    walmart_errors: list[WalmartErrorText]
    correlation_id: str | None


class Waited(ResultModel):
    """Seconds this event waited, by reason."""

    budget: float
    """For Walmart's call budget (throttling)."""
    retry: float
    """Between tries."""


class DeadLetterPlace(ResultModel):
    """Where the dead letter of a failed event lies."""

    topic: str
    partition: int
    offset: int
    key: str


class PlannedCall(ResultModel):
    """A call that would have been sent (observe mode)."""

    method: str
    path: str
    body: dict[str, Any] | None


class SyncResult(ResultModel):
    """What became of one event. Written for every event, also one that could not be read."""

    result_id: str
    """UUIDv5 of the event's identity, the replay number and the answer: a repeat of the same answer carries the same id."""
    event: EventReference
    store: str | None
    account: str | None
    purchase_order_id: str | None
    commerce_order_id: str | None
    shipment_id: str | None
    operation: Operation | None
    status: Status
    final: bool
    """False only with status `retrying`."""
    effect: Effect
    order_status: OrderStatus | None
    walmart_status: WalmartStatus | None
    lines: list[ResultLine]
    inventory: list[ResultInventory]
    warnings: list[ResultWarning]
    error: ResultError | None
    attempts: int
    received_at: datetime
    completed_at: datetime
    latency_seconds: float
    """From the event's own time to `completed_at`."""
    waited: Waited
    dead_letter: DeadLetterPlace | None
    observed: bool = False
    """True in observe mode: nothing was sent; `planned` holds what would have been."""
    planned: list[PlannedCall] = []
