"""What one attempt at an event can end in. Outcomes are values; `Verdict | Again` is all there is.

Outcome
  ├── Verdict   final: succeeded or failed, becomes a dead letter (if failed), a result and a finished offset
  └── Again     not settled: try once more after a while (the lane keeps the event)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, NamedTuple

from schemas.results import Effect, InventoryState, LineState, Operation, WalmartStatus
from schemas.walmart.order import Order
from worker.errors import Failure
from worker.story import Story
from worker.waits import Waits


class LineOutcome(NamedTuple):
    """What became of some units of one line. `reason`: an error code, or Walmart's reason of a confirmed cancel."""

    line_number: str | None
    sku: str | None
    quantity: int
    tracking_number: str | None
    state: LineState
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class InventoryOutcome:
    """What became of one inventory update."""

    sku: str
    ship_node: str | None
    quantity: int
    state: InventoryState
    reason: str | None = None


class Warned(NamedTuple):
    """A warning: a code of `WARNINGS` and its particulars."""

    code: str
    message: str


WARNINGS: dict[str, str] = {
    "carrier_corrected": "The number clearly belongs to a supported carrier and was sent under that carrier.",
    "tracking_cleaned": "Characters that Walmart forbids were taken out of a tracking number.",
    "same_tracking_open_quantity": "Walmart already shows as many units under this number; open units were left alone. "
    "Send tracking_total if they are in the same box.",
    "tracking_superseded": "The number was corrected away earlier; nothing was sent.",
    "corrected_before_shipping": "The replaced number was never shown; the units were shipped with the new number.",
    "package_without_units": "The shipment has more packages than units; this tracking number could not be placed.",
    "ship_date_adjusted": "shipped_at was slightly off and was sent as the nearest allowed time.",
    "reason_not_supported": "The order does not support this cancel reason; it was passed on all the same.",
    "inventory_skipped": "An inventory update was not sent.",
    "inventory_failed": "An inventory update could not be sent; the cancellation stands.",
    "acknowledge_refused": "Walmart refused the acknowledgement; the work went on.",
    "identity_reused": "Another event with this identity but other bytes is known; named by its coordinates here.",
    "seller_order_id_cut": "commerce_order_id was cut to Walmart's 30 characters.",
}
"""Warning codes and what they mean: the only place they are defined."""


class ConfirmedUnits(NamedTuple):
    """Units of a line that Walmart confirmed for this event: shipped under a number, or cancelled (number is null)."""

    line_number: str
    quantity: int
    tracking_number: str | None


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """A call that observe mode would have sent."""

    method: str
    path: str
    body: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The final word on an event. `failure` is set exactly when the event failed."""

    operation: Operation | None
    effect: Effect
    failure: Failure | None = None
    walmart_status: WalmartStatus | None = None
    lines: tuple[LineOutcome, ...] = ()
    inventory: tuple[InventoryOutcome, ...] = ()
    warnings: tuple[Warned, ...] = ()
    confirmed: tuple[ConfirmedUnits, ...] = ()
    """Goes into the dead letter, so that a replay never sends these units again."""
    planned: tuple[PlannedRequest, ...] = ()
    observed: bool = False

    @property
    def status(self) -> Literal["succeeded", "failed"]:
        """`failed` exactly when there is a failure."""
        return "succeeded" if self.failure is None else "failed"


class Trouble(Enum):
    """Why an event is tried again: the class decides what ends it."""

    NOT_SENT = "not_sent"
    """The call never left (or was turned away by the gateway): safe to send again."""
    THROTTLED = "throttled"
    """Walmart said so (429): the account's budget is used up."""
    BUDGET = "budget"
    """Our own count says so: the account's budget of a call is used up, and nothing was sent."""
    CREDENTIALS = "credentials"
    """The account is turned away as a whole."""
    UNKNOWN = "unknown"
    """A write may or may not have worked: read before anything is sent again."""
    NO_CAUSE = "no_cause"
    """Refused without a named cause; may be an outage. Final after `min_tries`."""
    SHIPMENTS = "shipments"
    """A cancel waits for shipments of its order, which may pass it."""
    OURS = "ours"
    """Something of ours (settings, Kafka) is not ready."""


@dataclass(frozen=True, slots=True)
class Again:
    """Not settled yet: the lane tries again, no sooner than `after_s` (None: the lane's own backoff)."""

    trouble: Trouble
    failure: Failure
    after_s: float | None = None
    operation: Operation | None = None
    walmart_status: WalmartStatus | None = None
    call: str | None = None
    """The call that was turned away (`ship`, `acknowledge`, …): names the gate it waits at."""


Outcome = Verdict | Again


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A write whose outcome is unknown: what the order must show if it worked, and when to believe an old read."""

    expected: tuple[ConfirmedUnits, ...]
    """Per line and number the units *shown in total* once the call has worked (number null: cancelled units)."""
    believe_at: float
    """Epoch seconds: the call's deadline plus the read-lag allowance."""
    leaves_open: bool
    """True: a repeat would not be refused by Walmart, so an old read must be believed only late and twice."""
    correction: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """Walmart's refusal of some units, kept so that they are not sent again."""

    failure: Failure
    final_at: float
    """Epoch seconds: until then a read may be old, and the units may yet turn out to be there."""
    partial: bool = False
    """Only part of what was open was to be cancelled: it may work once the rest has shipped."""
    correction: bool = False
    """Of a correction: it says nothing about shipping the units, and the other way round."""
    quantity: int = 0
    """Units that were refused: fewer may go, for the first plan may have rested on an old read."""


@dataclass(slots=True)
class Progress:
    """What an event has been through so far; lives as long as the event and is owned by its lane."""

    attempts: int = 0
    """Tries of the whole event, this one included."""
    failed_tries: int = 0
    """Consecutive tries that ended in Again; drives the backoff and `min_tries`."""
    waits: int = 0
    """Of those, tries that did not end in a refusal without a cause: they do not count towards `min_tries`.

    (One that ended for want of budget is none of them.)
    """
    confirmed: tuple[ConfirmedUnits, ...] = ()
    """Totals Walmart showed once this event's calls had worked; numbers in canonical form."""
    unsettled: Unsettled | None = None
    doubted: tuple[ConfirmedUnits, ...] = ()
    """Expected of a call that was taken for lost; should the order show it after all, it was this event's doing."""
    applied: bool = False
    """Something was changed at Walmart for this event by an earlier try."""
    refused: dict[tuple[str, str | None], Refusal] = field(default_factory=dict)
    """By line number and canonical tracking number (None: cancelled units)."""
    one_by_one: int = 0
    """Walmart refused a call for several packages or lines: 1: one call per tracking number, 2: per line and number."""
    hold_until: float = 0.0
    """Epoch seconds before which nothing that leaves units open is sent: a read may be old until then."""
    read_twice: bool = False
    """An intent was found: once `hold_until` has passed, the order is read twice before such a call is sent."""
    looked: tuple[float, Order] | None = None
    """The first of two reads, and when (epoch seconds) it began, where the account's budget had none left for the
    second: the next attempt's read is that one. Otherwise a budget that is low would be spent on first reads for ever.
    Not kept over parking."""
    turned_away: object = None
    """A write that was refused while the order could not be read (`worker.sync.refusals.TurnedAway`)."""
    posting: bool = False
    """A write is on its way right now: a rebalance waits for it."""
    calls: int = 0
    """Calls to Walmart made for this event."""
    correlation_id: str | None = None
    """Of the latest call."""
    waited: Waits = field(default_factory=Waits)
    """In this process; what is parked is counted when it comes back. For metrics."""
    waited_budget_s: float = 0.0
    waited_retry_s: float = 0.0
    paused_s: float = 0.0
    """Seconds it waited because its account or store was paused; not counted when it is given up."""
    warned: tuple[Warned, ...] = ()
    story: Story = field(default_factory=Story)

    @property
    def is_doubtful(self) -> bool:
        """True if something may have been sent for it that is not shown yet, or old reads are not to be believed."""
        return self.unsettled is not None or bool(self.doubted) or self.read_twice or self.hold_until > 0

    def restore(self, confirmed: Iterable[tuple[str, int, str | None]]) -> None:
        """Take over what a dead letter says was confirmed: (line number, units, tracking number or None)."""
        self.confirmed = tuple(ConfirmedUnits(line, quantity, number) for line, quantity, number in confirmed)
        self.applied = bool(self.confirmed)
