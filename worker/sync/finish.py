"""The end of an attempt: the verdict, and after a cancellation the inventory updates."""

from __future__ import annotations

from dataclasses import replace

from schemas.events import OrderCancelled, OrderShipped
from schemas.walmart.order import Order
from worker.outcome import InventoryOutcome, PlannedRequest, Progress, Verdict, Warned
from worker.sync.calls import Plan
from worker.sync.inventory import planned
from worker.sync.room import Room
from worker.sync.rules import Rules
from worker.sync.verdict import concluded, observed
from worker.walmart.answer import OrdersApi


async def finish(
    room: Room,
    api: OrdersApi,
    rules: Rules,
    data: OrderShipped | OrderCancelled,
    plan: Plan,
    order: Order,
    progress: Progress,
) -> Verdict:
    """The verdict on a plan with nothing left to send (or, observed, of one that is not sent)."""
    if rules.observe:
        verdict = observed(plan, order, progress.warned)
    else:
        verdict = concluded(
            plan, order, applied=progress.applied, confirmed=progress.confirmed, warnings=progress.warned
        )
    if verdict.failure is not None or not isinstance(data, OrderCancelled) or not data.inventory:
        return verdict
    max_age_s = room.settings.timing.inventory_max_age_seconds
    if rules.observe:
        outcomes, warnings, requests = _observed_levels(room, rules, data, plan.reason, max_age_s)
        return replace(
            verdict,
            inventory=outcomes,
            warnings=verdict.warnings + warnings,
            planned=verdict.planned + requests,
        )
    outcomes, warnings = await room.inventory.update(
        api,
        rules,
        data.inventory,
        order=data.purchase_order_id,
        reason=plan.reason,
        max_age_s=max_age_s,
        progress=progress,
    )
    return replace(verdict, inventory=outcomes, warnings=verdict.warnings + warnings)


def _observed_levels(
    room: Room, rules: Rules, data: OrderCancelled, reason: str | None, max_age_s: float
) -> tuple[tuple[InventoryOutcome, ...], tuple[Warned, ...], tuple[PlannedRequest, ...]]:
    outcomes: list[InventoryOutcome] = []
    warnings: list[Warned] = []
    requests: list[PlannedRequest] = []
    for level in data.inventory or ():
        skip = room.inventory.skipped(rules, level, reason, max_age_s)
        if skip is not None:
            outcomes.append(skip[0])
            warnings.append(skip[1])
        else:
            outcomes.append(InventoryOutcome(level.sku, level.ship_node, level.quantity, "updated"))
            requests.append(planned(level))
    return tuple(outcomes), tuple(warnings), tuple(requests)
