"""The plan: event + Walmart's order -> the calls that make them agree. Pure: no clock, no I/O."""

from __future__ import annotations

from schemas.events import OrderCancelled, OrderShipped
from schemas.walmart.order import Order
from worker.sync.calls import Key, Memory, Plan, Superseded
from worker.sync.cancel import plan_cancel
from worker.sync.rules import Rules
from worker.sync.ship import plan_ship
from worker.sync.snapshot import overlay

_NO_MEMORY = Memory()


_NO_CORRECTIONS: dict[Key, float] = {}
never_corrected: Superseded = _NO_CORRECTIONS.get
"""No number was ever corrected away."""


def plan(
    data: OrderShipped | OrderCancelled,
    order: Order,
    rules: Rules,
    now: float,
    *,
    at: float | None = None,
    superseded: Superseded = never_corrected,
    memory: Memory = _NO_MEMORY,
) -> Plan:
    """What is left to do about an event.

    `now`: epoch seconds. `at`: the event's own time, epoch seconds (absent: `now`), only used to tell which of two
    corrections came later. `superseded`: line and canonical number -> when it was corrected away there. `memory`: what
    earlier tries and calls of this event have taught. Whether a cancel without items may go at all is not asked here
    (`worker.sync.doors.Guard`).
    """
    if memory.confirmed:
        order = overlay(order, memory.confirmed, superseded)
    if isinstance(data, OrderCancelled):
        return plan_cancel(data, order, rules, memory=memory)
    return plan_ship(data, order, rules, now, at=now if at is None else at, superseded=superseded, memory=memory)
