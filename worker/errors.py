"""Every error this product reports, in one table.

    Failure (a value, not an exception: outcomes are never decided by an exception)
      └── code ──▶ ErrorKind: category, owner, retryable, action

`ERRORS` is the only place a code is defined; `worker/ERRORS.md` is generated from it and a test fails when they drift.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from schemas.results import Category, Owner


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """What a code means and who does what about it."""

    code: str
    category: Category
    owner: Owner
    retryable: bool
    """True: the same event, unchanged, may succeed later (the worker tries; a replay can help)."""
    action: str
    """One line for the person who reads it. `{store}` is filled in."""


@dataclass(frozen=True, slots=True)
class WalmartError:
    """One error as Walmart worded it (already scrubbed)."""

    code: str | None
    field: str | None
    description: str | None


@dataclass(frozen=True, slots=True)
class Failure:
    """One thing that went wrong: a code of `ERRORS` and the particulars of this case."""

    code: str
    message: str
    http_status: int | None = None
    walmart_errors: tuple[WalmartError, ...] = ()
    correlation_id: str | None = None

    @property
    def kind(self) -> ErrorKind:
        """The row of the table."""
        return ERRORS[self.code]


def _table(*kinds: ErrorKind) -> dict[str, ErrorKind]:
    table = {kind.code: kind for kind in kinds}
    assert len(table) == len(kinds), "an error code stands twice"
    return table


_LOOK = "Look at the order in Walmart's Seller Center"

ERRORS: Final[dict[str, ErrorKind]] = _table(
    # -- data: what commerce sent
    ErrorKind("event_undecodable", "data", "commerce", False, "Publish the event as CloudEvents 1.0 JSON in UTF-8; see schemas/README.md."),
    ErrorKind("event_unknown_type", "data", "commerce", False, "Use a type and topic of schemas/README.md, or upgrade order-sync if the type is newer."),
    ErrorKind("event_invalid", "data", "commerce", False, "Correct the named field at its source (order-sync schemas validate FILE shows it) and publish it again."),
    ErrorKind("event_too_large", "data", "commerce", False, "Publish a smaller event; the record could not be fetched, find it by its coordinates."),
    ErrorKind("order_not_found", "data", "commerce", False, "Check the purchase order id and that the store's account is the one that sold it; orders over 180 days are not served."),
    ErrorKind("line_not_found", "data", "commerce", False, "Use a line number or SKU of this order as Walmart shows it, and publish the event again."),
    ErrorKind("tracking_number_missing", "data", "commerce", False, "Publish the same shipment_id again with a tracking number; that closes this dead letter."),
    ErrorKind("tracking_number_invalid", "data", "commerce", False, "Publish the same shipment_id again with the carrier's own tracking number."),
    ErrorKind("ship_date_invalid", "data", "commerce", False, "Correct shipped_at (not in the future, not long before the order) and publish the event again."),
    ErrorKind("cancel_without_items", "data", "commerce", False, "Publish the cancellation with items and their totals (cancelled_total, shipped_total); see schemas/README.md."),
    # -- mapping and configuration: our settings
    ErrorKind("carrier_unmapped", "mapping", "configuration", False, "Map the carrier in the store's settings (stores.{store}.carriers), then replay this dead letter."),
    ErrorKind("tracking_url_missing", "mapping", "configuration", False, "Set stores.{store}.tracking_url_template (or send tracking_url), then replay this dead letter."),
    ErrorKind("reason_unmapped", "mapping", "configuration", False, "Map the reason in the store's settings (stores.{store}.reasons), then replay this dead letter."),
    ErrorKind("store_unknown", "configuration", "configuration", False, "Add stores.{store} to the settings, then replay this dead letter."),
    ErrorKind("order_fulfilled_by_walmart", "data", "commerce", False, "Nothing to do at Walmart: it ships and cancels this order itself (WFS). Stop sending events for it."),
    # -- conflict: Walmart shows something else
    ErrorKind("shipped_otherwise", "conflict", "merchant", False, _LOOK + ": these units were shipped under another tracking number."),
    ErrorKind("quantity_exceeds_open", "conflict", "merchant", False, _LOOK + ": more units were reported than are open there."),
    ErrorKind("shipped_after_cancel", "conflict", "merchant", False, "Goods left although Walmart shows them cancelled: the buyer will not be charged. Get the parcel back or settle it with the buyer."),
    ErrorKind("buyer_asked_to_cancel", "conflict", "merchant", False, "Cancel the line, or ship it with intent_to_cancel_override: true if it has left already."),
    ErrorKind("cancel_after_ship", "conflict", "merchant", False, _LOOK + ": these units have shipped there and can only be returned and refunded."),
    ErrorKind("partial_cancel_refused", "conflict", "merchant", False, "Walmart takes no partial quantity here: cancel the rest of the line in Seller Center, or ship it."),
    ErrorKind("correction_refused", "conflict", "merchant", False, "Walmart changes tracking numbers only within 4 hours of the first shipment: tell the buyer the new number."),
    ErrorKind("correction_unmatched", "conflict", "commerce", False, "No unit is shown under the number to be replaced: check replaces_tracking_number and publish it again."),
    # -- Walmart refuses or is not well
    ErrorKind("walmart_refused", "walmart", "merchant", False, "Read walmart_errors, correct what they name, then replay this dead letter."),
    ErrorKind("walmart_refused_without_cause", "walmart", "walmart", True, "Walmart gave no cause (often an outage): replay this dead letter later; open a case with Walmart if it stays."),
    ErrorKind("walmart_unavailable", "walmart", "walmart", True, "Walmart does not answer; the worker keeps trying. Nothing to do until it gives up."),
    ErrorKind("walmart_answer_unreadable", "walmart", "walmart", True, "Walmart answered something that is no order; the worker keeps trying. Report it if it stays."),
    ErrorKind("outcome_unknown", "walmart", "walmart", True, "A call may or may not have worked; the worker reads the order until it knows. Nothing to do until it gives up."),
    ErrorKind("order_locked", "walmart", "walmart", True, "Walmart has the order locked; the worker keeps trying."),
    ErrorKind("throttled", "throttled", "walmart", True, "Walmart's call budget is used up; the worker waits as told. Look for other tools on the same account."),
    ErrorKind("credentials_rejected", "credentials", "configuration", True, "Renew the account's client id and secret; then everything waiting goes on by itself."),
    ErrorKind("scope_missing", "credentials", "configuration", True, "Give the account's key full access to orders and inventory in Walmart's developer portal."),
    ErrorKind("waiting_for_shipments", "walmart", "commerce", True, "Walmart takes no partial cancel; it goes on when the announced shipments are there. Publish them if they are missing."),
    # -- us
    ErrorKind("not_started", "internal", "worker", True, "It waits for its turn: look at paused accounts and stores, and at earlier events of the same order."),
    ErrorKind("request_rejected", "internal", "worker", False, "order-sync sent a request Walmart cannot read (a bug): report it with the correlation id."),
    ErrorKind("dead_letter_unreadable", "internal", "worker", False, "What Walmart confirmed for this event cannot be read any more: compare it with the order in Seller Center and mend there what differs."),
    ErrorKind("paused", "configuration", "configuration", True, "The account or store is paused in the settings; when it no longer is, everything waiting goes on by itself."),
    ErrorKind("not_ready", "internal", "worker", True, "order-sync could not write to Kafka or is losing this partition; it keeps trying. Look at the broker if it stays."),
    ErrorKind("internal", "internal", "worker", False, "A bug in order-sync: report it with the event id and the log line, then replay after the fix."),
)  # fmt: skip
