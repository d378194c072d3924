"""The words of a plan: calls to send, lines it speaks of, problems, and the doors it needs knocked on first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from schemas.results import Operation
from schemas.walmart.cancellation import CancelLine, cancel_body
from schemas.walmart.shipment import ShipStatus, ship_body
from worker.errors import Failure
from worker.outcome import ConfirmedUnits, Refusal, Warned

Key = tuple[str, str | None]
"""Line number and canonical tracking number (None: cancelled units)."""

Superseded = Callable[[Key], float | None]
"""Line and canonical number -> when (epoch seconds) the number was corrected away on that line, or None."""


class Acknowledge(NamedTuple):
    """Take the order on: `POST …/acknowledge`. May be repeated."""

    leaves_units_open: bool = False
    keys: tuple[Key, ...] = ()
    expected: tuple[ConfirmedUnits, ...] = ()


class Ship(NamedTuple):
    """First shipment of units: `POST …/shipping`. Charges the buyer."""

    statuses: tuple[ShipStatus, ...]
    keys: tuple[Key, ...]
    expected: tuple[ConfirmedUnits, ...]
    """Per line and number the units the order must show *in total* afterwards."""
    leaves_units_open: bool
    """Units of a line it touches stay open: Walmart would take a repeat, so it needs the fence."""
    seller_order_id: str | None
    override: bool
    return_address: Mapping[str, str] | None

    @property
    def quantities(self) -> tuple[int, ...]:
        """Units per key."""
        return tuple([part.quantity for part in self.statuses])

    def body(self) -> dict[str, object]:
        """The request."""
        return ship_body(
            self.statuses,
            seller_order_id=self.seller_order_id,
            intent_to_cancel_override=self.override,
            return_center_address=self.return_address,
        )


class Correct(NamedTuple):
    """Another tracking number for shipped units: `POST …/shipping` with PARTIAL_UPDATE. Charges nobody."""

    statuses: tuple[ShipStatus, ...]
    keys: tuple[Key, ...]
    expected: tuple[ConfirmedUnits, ...]
    seller_order_id: str | None
    override: bool
    return_address: Mapping[str, str] | None
    leaves_units_open: bool = True
    """As if: Walmart may take a repeat, which would move units that stay, or undo a later correction."""

    @property
    def quantities(self) -> tuple[int, ...]:
        """Units per key."""
        return tuple([part.quantity for part in self.statuses])

    def body(self) -> dict[str, object]:
        """The request."""
        return ship_body(
            self.statuses,
            seller_order_id=self.seller_order_id,
            intent_to_cancel_override=self.override,
            return_center_address=self.return_address,
            partial_update=True,
        )


class Cancel(NamedTuple):
    """Cancel open units: `POST …/cancel`."""

    lines: tuple[CancelLine, ...]
    keys: tuple[Key, ...]
    expected: tuple[ConfirmedUnits, ...]
    leaves_units_open: bool

    @property
    def quantities(self) -> tuple[int, ...]:
        """Units per key."""
        return tuple([part.quantity for part in self.lines])

    def body(self) -> dict[str, object]:
        """The request."""
        return cancel_body(self.lines)


Write = Ship | Correct | Cancel
Call = Acknowledge | Ship | Correct | Cancel

PATHS: Final[dict[type, str]] = {
    Acknowledge: "acknowledge",
    Ship: "shipping",
    Correct: "shipping",
    Cancel: "cancel",
}
"""Last part of `/v3/orders/{id}/…`."""

LineFate = Literal["shown", "send", "refused", "waiting"]


class PlannedLine(NamedTuple):
    """Units of one line in this event and what is to become of them."""

    line_number: str | None
    sku: str | None
    quantity: int
    tracking_number: str | None
    """As the event spells it."""
    fate: LineFate
    """`shown`: Walmart's order shows it; `send`: a call of this plan; `refused`: cannot be sent; `waiting`: not yet."""
    reason: str | None = None
    """An error code where refused or waiting, Walmart's reason where cancelled."""


class Problem(NamedTuple):
    """Why some units cannot be sent."""

    code: str
    message: str
    line_number: str | None = None
    failure: Failure | None = None
    """Walmart's own refusal, where that is the cause."""


class Mark(NamedTuple):
    """A number (canonical) that this event corrects away on one line."""

    line_number: str
    number: str
    event_time: float


def _settled(_: str) -> bool:
    return False


@dataclass(slots=True)
class Memory:
    """What earlier tries and calls of this event have taught: the part of its progress a plan looks at."""

    confirmed: tuple[ConfirmedUnits, ...] = ()
    """Totals Walmart has confirmed; a read that shows less is old."""
    sent: Mapping[Key, int] | None = None
    """Units sent and confirmed in this try."""
    refused: Mapping[Key, Refusal] | None = None
    """What Walmart has refused and is not to be sent again."""
    one_by_one: int = 0
    """0: one call for everything; 1: one per tracking number; 2: one per line and number."""
    acknowledged: bool = False
    """The acknowledgement has been tried."""
    withheld: str | None = None
    """Cancels without items: why what is still open may not be cancelled (the guard refuses)."""
    awaits_correction: Callable[[str], bool] = _settled
    """True if an earlier correction of the order, which leads to this number (canonical), is not settled: another
    event's number, which only that one knows, may lead there."""


@dataclass(slots=True)
class Plan:
    """What to do about one event. An empty `calls` with no problem: everything is as the event says."""

    operation: Operation
    calls: tuple[Call, ...] = ()
    lines: tuple[PlannedLine, ...] = ()
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Warned, ...] = ()
    marks: tuple[Mark, ...] = ()
    """To be written before anything is sent."""
    frees: tuple[Key, ...] = ()
    """Lines and numbers corrected back to: their marker goes, after `marks` are written."""
    superseded: bool = False
    """Some units were left alone because their number was corrected away."""
    reason: str | None = None
    """Cancel: the code of this event in US spelling, where it has one."""


SEVERITY: Final[tuple[str, ...]] = (
    "internal",
    "order_not_found",
    "order_fulfilled_by_walmart",
    "shipped_after_cancel",
    "shipped_otherwise",
    "quantity_exceeds_open",
    "cancel_after_ship",
    "buyer_asked_to_cancel",
    "partial_cancel_refused",
    "correction_unmatched",
    "correction_refused",
    "request_rejected",
    "walmart_refused",
    "walmart_refused_without_cause",
    "line_not_found",
    "tracking_number_missing",
    "tracking_number_invalid",
    "ship_date_invalid",
    "carrier_unmapped",
    "tracking_url_missing",
    "reason_unmapped",
    "cancel_without_items",
)
"""Which code names an event with several problems: first what already cost money or goods, then what Walmart refuses,
then what commerce can correct, last what the settings can. The message tells all of them."""

_RANK: Final = {code: rank for rank, code in enumerate(SEVERITY)}


def chosen(problems: tuple[Problem, ...]) -> Failure:
    """One failure for all problems (at least one): the most severe code, all messages in one line."""
    first = min(problems, key=lambda problem: _RANK.get(problem.code, len(SEVERITY)))
    message = "; ".join(dict.fromkeys(problem.message for problem in problems))
    told = first.failure or next((problem.failure for problem in problems if problem.failure), None)
    return Failure(
        code=first.code,
        message=message if len(message) <= 1_000 else message[:999] + "…",
        http_status=told.http_status if told else None,
        walmart_errors=told.walmart_errors if told else (),
        correlation_id=told.correlation_id if told else None,
    )
