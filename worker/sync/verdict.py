"""The final word on an event, from its last plan."""

from __future__ import annotations

from schemas.events import OrderCancelled, OrderShipped
from schemas.results import Effect, LineState, Operation
from schemas.walmart.order import Order
from worker.errors import Failure
from worker.outcome import ConfirmedUnits, LineOutcome, Outcome, PlannedRequest, Verdict, Warned
from worker.sync.calls import PATHS, Acknowledge, Plan, chosen
from worker.sync.match import demands_of, read_boxes

ORDERS: str = "/v3/orders"


def operation_of(data: OrderShipped | OrderCancelled) -> Operation:
    """`correct` where every package is a correction."""
    if isinstance(data, OrderCancelled):
        return "cancel"
    return "correct" if all(package.replaces_tracking_number for package in data.packages) else "ship"


def concluded(
    plan: Plan,
    order: Order,
    *,
    applied: bool,
    confirmed: tuple[ConfirmedUnits, ...] = (),
    warnings: tuple[Warned, ...] = (),
) -> Verdict:
    """Of a plan with nothing left to send. `applied`: this event has changed something at Walmart."""
    failure = chosen(plan.problems) if plan.problems else None
    return Verdict(
        operation=plan.operation,
        effect=_effect(plan, applied=applied, failed=failure is not None),
        failure=failure,
        walmart_status=order.status,
        lines=_lines(plan),
        warnings=warnings,
        confirmed=confirmed if failure is not None else (),
    )


def observed(plan: Plan, order: Order, warnings: tuple[Warned, ...]) -> Verdict:
    """As it would have been, with the calls that would have been sent."""
    failure = chosen(plan.problems) if plan.problems else None
    return Verdict(
        operation=plan.operation,
        effect=_effect(plan, applied=any(line.fate == "send" for line in plan.lines), failed=failure is not None),
        failure=failure,
        walmart_status=order.status,
        lines=_lines(plan),
        warnings=warnings,
        planned=planned_requests(plan, order.purchase_order_id),
        observed=True,
    )


def planned_requests(plan: Plan, purchase_order_id: str) -> tuple[PlannedRequest, ...]:
    """The plan's calls as requests."""
    return tuple(
        [
            PlannedRequest(
                "POST",
                f"{ORDERS}/{purchase_order_id}/{PATHS[type(call)]}",
                None if isinstance(call, Acknowledge) else call.body(),
            )
            for call in plan.calls
        ]
    )


def refused(data: OrderShipped | OrderCancelled, failure: Failure) -> Verdict:
    """Without Walmart's order: everything the event asks for is refused for one reason."""
    return Verdict(operation_of(data), "none", failure, lines=_told(data, failure.code))


def told(outcome: Outcome) -> str:
    """An outcome as the last step of a try in the event's story."""
    if not isinstance(outcome, Verdict):
        return f"not settled, {outcome.failure.code}: {outcome.failure.message}"
    shown = f", order {outcome.walmart_status}" if outcome.walmart_status else ""
    ended = f"{'observed: ' if outcome.observed else ''}{outcome.status}, {outcome.effect}{shown}"
    return ended if outcome.failure is None else f"{ended}, {outcome.failure.code}: {outcome.failure.message}"


def _effect(plan: Plan, *, applied: bool, failed: bool) -> Effect:
    if failed:
        there = applied or any(line.fate in ("shown", "send") for line in plan.lines)
        return "partly_applied" if there else "none"
    if applied:
        return "applied"
    if plan.superseded and not any(line.fate == "shown" for line in plan.lines):
        return "none"
    return "already_applied"


_STATES: dict[str, LineState] = {"shown": "confirmed", "send": "confirmed", "refused": "rejected", "waiting": "unknown"}


def _lines(plan: Plan) -> tuple[LineOutcome, ...]:
    summed: dict[tuple[str | None, str | None, str | None, LineState, str | None], int] = {}
    for line in plan.lines:
        key = (line.line_number, line.sku, line.tracking_number, _STATES[line.fate], line.reason)
        summed[key] = summed.get(key, 0) + line.quantity
    return tuple(
        [
            LineOutcome(number, sku, quantity, tracking, state, reason)
            for (number, sku, tracking, state, reason), quantity in summed.items()
        ]
    )


def _told(data: OrderShipped | OrderCancelled, code: str) -> tuple[LineOutcome, ...]:
    if isinstance(data, OrderCancelled):
        return tuple(
            [
                LineOutcome(item.line_number, item.sku, item.cancelled_total, None, "rejected", code)
                for item in data.items or ()
                if item.cancelled_total
            ]
        )
    return tuple(
        [
            LineOutcome(
                demand.line_number, demand.sku, demand.quantity, demand.box.number.told or None, "rejected", code
            )
            for demand in demands_of(data, read_boxes(data))
        ]
    )
