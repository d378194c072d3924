"""Gauges that are looked up when a scraper asks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from worker.delivery import Delivery
from worker.gatekeeper import account_and_group
from worker.intake.consumer import Intake
from worker.lanes.lanes import Lanes
from worker.settings import Settings
from worker.telemetry.metrics import BudgetSeen, EndpointGroup, Metrics
from worker.waits import MEANINGS, WaitReason
from worker.walmart.accounts import Accounts

GROUPS_OF_AN_ACCOUNT = 4
"""Endpoint groups an event may wait at, besides the account itself."""


def refresh(
    metrics: Metrics,
    settings: Settings,
    lanes: Lanes[Delivery],
    intake: Intake,
    accounts: Accounts,
    in_flight: int,
    now: float,
) -> None:
    """Set them all."""
    metrics.events_queued.set(lanes.count)
    metrics.events_queued_bytes.set(lanes.size)
    metrics.lanes.set(len(lanes))
    metrics.queued_by_account(lanes.counts)
    metrics.accounts.set(len(accounts))
    metrics.accounts_in_memory.set(accounts.in_memory)
    metrics.token_requests.set(accounts.token_requests)
    metrics.budgets(_budgets(lanes, now))
    states = {"open": 0, "slow": 0, "closed": 0, "shut": 0}
    for view in lanes.gates.views():
        states[view.state] += 1
    gates = len(settings.accounts) * (1 + GROUPS_OF_AN_ACCOUNT) + len(settings.stores) + 1
    states["open"] = max(0, gates - sum(states.values()))
    metrics.gates.replace({(state,): float(count) for state, count in states.items()})  # type: ignore[misc]
    metrics.events_in_flight.set(in_flight)
    metrics.retrying_events.set(sum(1 for entry in lanes if entry.item.last_again is not None))
    # Replaced as a whole: partitions that were given away must not keep their last value.
    metrics.lag_records.replace({place: float(lag) for place, lag in intake.lag().items()})
    oldest = {place: intake.offsets.oldest_ms(*place) for place in intake.assigned}
    metrics.lag_seconds.replace(
        {place: 0.0 if since is None else max(0.0, now - since / 1000) for place, since in oldest.items()}
    )
    metrics.events_waiting.replace(_waiting(lanes))


def _waiting(lanes: Lanes[Delivery]) -> dict[tuple[WaitReason], float]:
    counts: dict[tuple[WaitReason], float] = {(reason,): 0.0 for reason in MEANINGS}
    for entry in lanes:
        if entry.running:
            continue
        reason = entry.item.progress.waited.reason
        if entry.held_by is not None:
            reason = entry.held_by
        elif entry.before is not None:
            reason = "order"
        counts[reason,] += 1
    return counts


def _budgets(lanes: Lanes[Delivery], now: float) -> Iterator[BudgetSeen]:
    for name, budget in lanes.gates.rations.by_name().items():
        account, group = account_and_group(name)
        waiting = lanes.held_at(name)
        if waiting and lanes.gates.state(name).state != "open":
            # They wait for the gate, whatever the budget has.
            waiting = 0
        rate = budget.rate * budget.share * 60
        yield BudgetSeen(account, cast("EndpointGroup", group), budget.left_at(now), rate, waiting)
