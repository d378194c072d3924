"""Changes that others make: a person in Seller Center, a carrier's scan, Walmart itself, the buyer."""

from __future__ import annotations

from itertools import count
from typing import Final

from worker.sandbox.walmart.orders import EffectKind, Line, LineEffect, Order, Status
from worker.sandbox.walmart.specs import Change, ChangeKind, LineChange
from worker.sandbox.walmart.world import World

_KINDS: Final[dict[ChangeKind, tuple[EffectKind, tuple[Status, ...]]]] = {
    "acknowledge": ("acknowledged", ("Created",)),
    "ship": ("shipped", ("Created", "Acknowledged")),
    "cancel": ("cancelled", ("Created", "Acknowledged")),
    "deliver": ("delivered", ("Shipped",)),
    "refund": ("refunded", ("Shipped", "Delivered")),
    "intent_to_cancel": ("intent_to_cancel", ("Created", "Acknowledged")),
}
_made_up = count(1)


def change_order(world: World, order: Order, change: Change) -> None:
    """Let it happen. Raises ValueError if a line does not exist or has too few units for it."""
    kind, sources = _KINDS[change.kind]
    wanted = change.lines or tuple(LineChange(line_number=number) for number in order.lines)
    effects: list[LineEffect] = []
    for line_change in wanted:
        line = order.lines.get(line_change.line_number)
        if line is None:
            raise ValueError(f"order {order.purchase_order_id} has no line {line_change.line_number}")
        number = line_change.tracking_number if change.kind in ("deliver", "refund") else None
        available = line.units(*sources, tracking_number=number)
        quantity = available if line_change.quantity is None else line_change.quantity
        already = sum(effect["quantity"] for effect in effects if effect["line_number"] == line.line_number)
        if quantity > available - already:
            raise ValueError(f"line {line.line_number} has {available} units for that, not {quantity}")
        if quantity:
            effects.append(_effect(world, order, line, line_change, change.kind, quantity))
    if effects:
        world.change(order, kind, effects, by=change.by)


def _effect(world: World, order: Order, line: Line, change: LineChange, kind: ChangeKind, quantity: int) -> LineEffect:
    effect = LineEffect(line_number=line.line_number, sku=line.sku, quantity=quantity)
    if kind == "ship":
        effect["tracking_number"] = change.tracking_number or f"1ZFOREIGN{next(_made_up):09d}"
        effect["carrier"] = change.carrier
        effect["method_code"] = order.method_code
        effect["ship_date_ms"] = world.clock_ms() // 1000 * 1000
    elif kind == "cancel":
        effect["reason"] = change.reason
    elif change.tracking_number is not None:
        effect["tracking_number"] = change.tracking_number
    return effect
