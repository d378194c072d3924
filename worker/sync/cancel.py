"""Plan a cancellation: totals of commerce against Walmart's order.

Per line `target = min(cancelled_total, ordered - shipped_total)`, so that what commerce has shipped and Walmart does
not know yet is left alone: shipments and cancellations commute. Totals by SKU are per group of lines: shipments fill
from the first line, cancellations from the last.

Without items everything still open is meant; that nothing of it is in a box is the guard's business, not the plan's.
"""

from __future__ import annotations

import re
from typing import Final

from schemas.events import CancelledItem, OrderCancelled
from schemas.walmart.cancellation import CancelLine
from schemas.walmart.order import Order, OrderLine
from worker.outcome import ConfirmedUnits, Warned
from worker.sync.calls import (
    Acknowledge,
    Call,
    Cancel,
    Key,
    LineFate,
    Memory,
    Plan,
    PlannedLine,
    Problem,
)
from worker.sync.match import Ledger, lines_of
from worker.sync.reasons import CUSTOMER_REQUESTED, FRAUD, cancel_reason, for_market
from worker.sync.rules import Rules
from worker.telemetry.scrub import scrubber

_PHONE: Final = re.compile(r"\+?\(?\d(?:[\s().,/-]{0,2}\d){6,}")


def plan_cancel(data: OrderCancelled, order: Order, rules: Rules, *, memory: Memory) -> Plan:
    """The difference between a cancellation and Walmart's order."""
    planner = _CancelPlanner(data, order, rules, memory)
    if memory.refused:
        # Several of its items may speak of one line: Walmart refused their sum.
        planner.refused_are_out = False
        planner.plan()
        wanted = planner.takes
        planner = _CancelPlanner(data, order, rules, memory)
        planner.wanted = wanted
    return planner.plan()


def without_items(why: str) -> str:
    """The message of a cancellation without items that is refused."""
    return f"the cancellation has no items with their totals: {why}"


def reason_of(data: OrderCancelled, rules: Rules) -> str | None:
    """One of the five codes: as told, else by the store's policy; None where it is to be refused."""
    told = data.reason
    found = cancel_reason(rules.reasons, told.code, told.text) if told is not None else None
    if found is None and rules.unknown_reason != "refuse":
        return rules.unknown_reason
    return found


class _CancelPlanner:
    __slots__ = (
        "data",
        "ledger",
        "lines",
        "memory",
        "order",
        "problems",
        "reason",
        "refused_are_out",
        "rules",
        "takes",
        "wanted",
    )

    def __init__(self, data: OrderCancelled, order: Order, rules: Rules, memory: Memory) -> None:
        self.data, self.order, self.rules, self.memory = data, order, rules, memory
        self.ledger = Ledger(order)
        self.reason = reason_of(data, rules)
        self.lines: list[PlannedLine] = []
        self.problems: list[Problem] = []
        self.takes: dict[str, int] = {}
        self.refused_are_out = True
        self.wanted: dict[str, int] = {}
        """Line -> units that would be sent were nothing refused."""

    def plan(self) -> Plan:
        items = self.data.items if self.data.items is not None else self._everything()
        plan = Plan("cancel", reason=self.reason)
        withheld = self._withheld()
        if self.order.fulfilled_by_walmart:
            self.problems.append(Problem("order_fulfilled_by_walmart", "Walmart fulfils this order itself (WFS)"))
            for item in items:
                if item.cancelled_total:
                    self._tell(item, None, item.cancelled_total, "refused", "order_fulfilled_by_walmart")
        elif withheld is not None and self.order.open:
            self._withhold(items, withheld)
        elif self.data.items is None and self.order.status == "shipped" and not any(self.ledger.cancelled.values()):
            self._all_shipped(items)
        else:
            for item in sorted(items, key=lambda item: item.line_number is None):
                self._meet(item)
            plan.calls = self._calls()
            if plan.calls:
                plan.warnings = self._warnings()
        plan.lines, plan.problems = tuple(self.lines), tuple(self.problems)
        return plan

    # -- without items

    def _everything(self) -> tuple[CancelledItem, ...]:
        """The order's own totals as if everything open were cancelled: what has shipped stays shipped."""
        return tuple(
            [
                CancelledItem.model_construct(
                    line_number=line.line_number,
                    sku=None,
                    cancelled_total=line.cancelled + line.open,
                    shipped_total=line.shipped,
                )
                for line in self.order.lines
            ]
        )

    def _withheld(self) -> str | None:
        if self.data.items is not None:
            return None
        if self.rules.cancel_without_items == "refuse":
            return f"store {self.rules.store} takes none (cancel_without_items)"
        return self.memory.withheld

    def _withhold(self, items: tuple[CancelledItem, ...], why: str) -> None:
        for item, line in zip(items, self.order.lines, strict=True):
            self._tell_shown(item, (line,), line.cancelled)
            if line.open:
                self._tell(item, line, line.open, "refused", "cancel_without_items")
        self.problems.append(Problem("cancel_without_items", without_items(why)))

    def _all_shipped(self, items: tuple[CancelledItem, ...]) -> None:
        """A repeat after some were cancelled is no conflict; where none ever was, commerce and Walmart disagree."""
        for item, line in zip(items, self.order.lines, strict=True):
            if line.shipped:
                self._tell(item, line, line.shipped, "refused", "cancel_after_ship")
        self.problems.append(
            Problem("cancel_after_ship", "nothing is open any more: all units have shipped at Walmart")
        )

    # -- one item

    def _meet(self, item: CancelledItem) -> None:
        lines = lines_of(self.order, item.line_number, item.sku)
        if not lines:
            if item.cancelled_total:
                name = _name(item)
                self._refuse(item, None, item.cancelled_total, "line_not_found", f"{name} is not in this order")
            return
        ordered = sum(line.ordered for line in lines)
        cancelled = sum(self.ledger.cancelled[line.line_number] for line in lines)
        target = min(item.cancelled_total, max(0, ordered - item.shipped_total))
        self._tell_shown(item, lines, min(target, cancelled))
        need = max(0, target - cancelled)
        unshipped = max(0, item.shipped_total - sum(line.shipped for line in lines))
        for line in reversed(lines):
            units = self.ledger.take(line, need)
            if units:
                need -= units
                self.ledger.cancelled[line.line_number] += units
                self._take(item, line, units, unshipped)
        if need:
            self._conflict(item, lines, need)

    def _take(self, item: CancelledItem, line: OrderLine, units: int, unshipped: int) -> None:
        """Units to cancel, unless Walmart has refused them before. `unshipped`: announced, not shown yet."""
        number = line.line_number
        refusal = self.memory.refused.get((number, None)) if self.memory.refused and self.refused_are_out else None
        wanted = self.wanted.get(number, units)
        if refusal is not None and wanted < refusal.quantity and not refusal.partial:
            # Planned from an old read: it says nothing of fewer.
            refusal = None
        if self.reason is None:
            told = self.data.reason
            name = (told.text or told.code or "") if told is not None else ""
            why = (
                f'reason "{_without_people(name[:200])}" has no Walmart code'
                if name
                else "the cancellation gives no reason"
            )
            self._refuse(item, line, units, "reason_unmapped", f"{why} (store {self.rules.store})")
        elif refusal is not None and refusal.partial and wanted < line.open and unshipped:
            self._tell(item, line, units, "waiting", "waiting_for_shipments")
        elif refusal is not None and not (refusal.partial and wanted == line.open):
            failure = refusal.failure
            self._tell(item, line, units, "refused", failure.code)
            self.problems.append(Problem(failure.code, failure.message, number, failure))
        else:
            self.takes[number] = self.takes.get(number, 0) + units
            self._tell(item, line, units, "send", for_market(self.reason, self.rules.market))

    def _tell_shown(self, item: CancelledItem, lines: tuple[OrderLine, ...], units: int) -> None:
        code = for_market(self.reason, self.rules.market) if self.reason is not None else None
        for line in reversed(lines):
            here = min(units, line.cancelled)
            if here:
                units -= here
                self._tell(item, line, here, "shown", code)

    def _conflict(self, item: CancelledItem, lines: tuple[OrderLine, ...], short: int) -> None:
        line = lines[0] if len(lines) == 1 else None
        message = f"{_name(item)}: {short} of {item.cancelled_total} unit(s) to cancel have shipped at Walmart"
        self._refuse(item, line, short, "cancel_after_ship", message)

    def _refuse(self, item: CancelledItem, line: OrderLine | None, quantity: int, code: str, message: str) -> None:
        self._tell(item, line, quantity, "refused", code)
        self.problems.append(Problem(code, message, line.line_number if line else item.line_number))

    def _tell(
        self, item: CancelledItem, line: OrderLine | None, quantity: int, fate: LineFate, reason: str | None
    ) -> None:
        number = line.line_number if line else item.line_number
        sku = line.sku if line else item.sku
        self.lines.append(PlannedLine(number, sku, quantity, None, fate, reason))

    # -- the calls

    def _calls(self) -> tuple[Call, ...]:
        if not self.takes:
            return ()
        assert self.reason is not None
        calls: list[Call] = []
        # Walmart refuses the acknowledgement once something is cancelled: it must come before, if anything stays open.
        if not self.memory.acknowledged and any(
            line.created and line.open > self.takes.get(line.line_number, 0) for line in self.order.lines
        ):
            calls.append(Acknowledge())
        code = for_market(self.reason, self.rules.market)
        wanted = [line for line in self.order.lines if line.line_number in self.takes]
        groups = [wanted] if self.memory.one_by_one == 0 else [[line] for line in wanted]
        for group in groups:
            cancels = tuple([CancelLine(line.line_number, self.takes[line.line_number], code) for line in group])
            keys: tuple[Key, ...] = tuple([(line.line_number, None) for line in group])
            expected = tuple(
                [
                    ConfirmedUnits(line.line_number, line.cancelled + self.takes[line.line_number], None)
                    for line in group
                ]
            )
            leaves = any(line.open > self.takes[line.line_number] for line in group)
            calls.append(Cancel(cancels, keys, expected, leaves))
        return tuple(calls)

    def _warnings(self) -> tuple[Warned, ...]:
        if self.reason == FRAUD:
            return (Warned("reason_not_supported", "fraud is for confirmed cases only; the order cannot show it"),)
        if self.reason != CUSTOMER_REQUESTED:
            return ()
        silent = [number for number in self.takes if not self.order.by_number[number].buyer_asked_to_cancel]
        if not silent:
            return ()
        told = ", ".join(sorted(silent)[:20])
        return (Warned("reason_not_supported", f"no request of the buyer is shown on line {told}"),)


def _without_people(text: str) -> str:
    """People type reasons: no e-mail address, token or phone number of a buyer goes on into results and headers."""
    return _PHONE.sub("***", scrubber.text(text))


def _name(item: CancelledItem) -> str:
    return f"line {item.line_number}" if item.line_number is not None else f"SKU {item.sku}"
