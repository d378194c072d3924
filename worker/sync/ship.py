"""Plan a shipment: what of it Walmart does not show yet, and what of that can be sent."""

from __future__ import annotations

from typing import Final

from schemas.events import OrderShipped
from schemas.walmart.order import Order, OrderLine
from worker.outcome import Refusal, Warned
from worker.sync.calls import Key, LineFate, Mark, Memory, Plan, PlannedLine, Problem, Superseded
from worker.sync.carriage import Blocked, Carriage, ShipTime, carriage_of, ship_time_of
from worker.sync.match import Box, Demand, Ledger, boxes_without_units, demands_of, lines_of, read_boxes
from worker.sync.rules import Rules
from worker.sync.ship_calls import Piece, ship_calls
from worker.sync.tracking import canonical

_TICK_S: Final = 0.002
"""Markers keep milliseconds: a marker this close to the event's time is its own."""


def plan_ship(
    data: OrderShipped,
    order: Order,
    rules: Rules,
    now: float,
    *,
    at: float,
    superseded: Superseded,
    memory: Memory,
) -> Plan:
    """The difference between a shipment and Walmart's order. `at`: the event's own time, `now`: both epoch seconds."""
    planner = _ShipPlanner(data, order, rules, now, at, superseded, memory)
    if memory.refused:
        # Several of its items may speak of one line and number: Walmart refused their sum.
        planner.refused_are_out = False
        planner.plan()
        wanted = planner.sums()
        planner = _ShipPlanner(data, order, rules, now, at, superseded, memory)
        planner.wanted = wanted
    return planner.plan()


class _ShipPlanner:
    __slots__ = (
        "at",
        "boxes",
        "carriages",
        "data",
        "frees",
        "known",
        "ledger",
        "lines",
        "marks",
        "memory",
        "moves",
        "now",
        "order",
        "problems",
        "refused_are_out",
        "repeats",
        "replaced",
        "rules",
        "sends",
        "ship_time",
        "skipped",
        "superseded",
        "wanted",
        "warnings",
    )

    def __init__(
        self,
        data: OrderShipped,
        order: Order,
        rules: Rules,
        now: float,
        at: float,
        superseded: Superseded,
        memory: Memory,
    ) -> None:
        self.data, self.order, self.rules, self.now, self.at = data, order, rules, now, at
        self.superseded, self.memory = superseded, memory
        self.boxes = read_boxes(data)
        self.ledger = Ledger(order, _own_numbers(self.boxes))
        self.known = memory.confirmed and {
            (units.line_number, canonical(units.tracking_number or "")) for units in memory.confirmed
        }
        self.lines: list[PlannedLine] = []
        self.problems: list[Problem] = []
        self.warnings: list[Warned] = []
        self.marks: dict[Key, Mark] = {}
        self.frees: dict[Key, None] = {}
        self.sends: list[Piece] = []
        self.moves: list[Piece] = []
        self.repeats: list[tuple[Demand, tuple[OrderLine, ...]]] = []
        self.replaced: set[Key] = set()
        """What this very event corrects away: its packages that still carry it are superseded from the start."""
        self.carriages: dict[str, Carriage | Blocked] = {}
        self.ship_time: ShipTime | Blocked | None = None
        self.skipped = False
        self.refused_are_out = True
        self.wanted: dict[tuple[Key, bool], int] = {}
        """Units that would be sent were nothing refused; True: as a correction."""

    def sums(self) -> dict[tuple[Key, bool], int]:
        """Units planned, by line and number; True: as a correction."""
        found: dict[tuple[Key, bool], int] = {}
        for pieces in (self.sends, self.moves):
            for piece in pieces:
                key = ((piece.line_number, piece.box.number.canonical), pieces is self.moves)
                found[key] = found.get(key, 0) + piece.quantity
        return found

    def plan(self) -> Plan:
        corrections = len([box for box in self.boxes if box.replaces is not None])
        plan = Plan("correct" if corrections == len(self.boxes) else "ship")
        demands = demands_of(self.data, self.boxes)
        if self.order.fulfilled_by_walmart:
            self.problems.append(Problem("order_fulfilled_by_walmart", "Walmart fulfils this order itself (WFS)"))
            for demand in demands:
                self._tell(demand, None, demand.quantity, "refused", "order_fulfilled_by_walmart")
        else:
            if corrections:
                self.replaced = self._replaced(demands)
            for demand in demands:
                self._meet(demand)
            if self.repeats:
                self._tell_repeats()
            for box in boxes_without_units(self.data, self.boxes):
                told = box.number.told or "a package without a number"
                self._warn("package_without_units", f"{told}: more packages than units in the shipment")
            calls, warnings = ship_calls(
                self.data, self.order, self.sends, self.moves, self.ship_time, self.ledger, self.memory
            )
            plan.calls = calls
            self.warnings.extend(warnings)
        plan.lines, plan.problems, plan.warnings = tuple(self.lines), tuple(self.problems), tuple(self.warnings)
        plan.marks, plan.frees, plan.superseded = tuple(self.marks.values()), tuple(self.frees), self.skipped
        return plan

    # -- one demand

    def _meet(self, demand: Demand) -> None:
        number = demand.box.number
        lines = lines_of(self.order, demand.line_number, demand.sku)
        if not lines:
            self._refuse(demand, None, demand.quantity, "line_not_found", f"{demand.name} is not in this order")
        elif number.problem is not None:
            line = lines[0] if len(lines) == 1 else None
            self._refuse(demand, line, demand.quantity, number.problem, f"{demand.name}: {number.why}")
        elif self.replaced and any((line.line_number, number.canonical) in self.replaced for line in lines):
            self._leave(demand)
        elif demand.box.replaces is not None:
            self._correct(demand, lines, demand.box.replaces)
        elif self._superseded_at(lines, number.canonical) is not None:
            self._leave(demand)
        else:
            self._ship(demand, lines)

    def _replaced(self, demands: list[Demand]) -> set[Key]:
        return {
            (line.line_number, demand.box.replaces)
            for demand in demands
            if demand.box.replaces is not None and demand.box.number.problem is None
            for line in lines_of(self.order, demand.line_number, demand.sku)
        }

    def _superseded_at(self, lines: tuple[OrderLine, ...], number: str) -> float | None:
        """When the number was last corrected away on one of these lines."""
        latest: float | None = None
        for line in lines:
            at = self.superseded((line.line_number, number))
            if at is not None and (latest is None or at > latest):
                latest = at
        return latest

    def _ship(self, demand: Demand, lines: tuple[OrderLine, ...]) -> None:
        asked = demand.quantity if demand.total is None else demand.total
        shown, need = self._shown(demand, lines, asked)
        if need and asked > demand.quantity:
            need -= self._stranded(lines, min(need, asked - demand.quantity))
        if shown:
            self._tell_shown(demand, shown, need)
        if need:
            short = self._send(demand, lines, need)
            if short:
                self._conflict(demand, lines, short)
        elif demand.total is None and not any(self._known(line, demand) for line in lines):
            self.repeats.append((demand, lines))

    def _stranded(self, lines: tuple[OrderLine, ...], most: int) -> int:
        """Units still shown under a number corrected away, because Walmart refused the correction.

        They may be the earlier units of this box, which a total would send again.
        """
        found = 0
        for line in lines:
            for form in dict.fromkeys(canonical(parcel.tracking_number or "") for parcel in line.parcels):
                key = (line.line_number, form)
                # What this event itself corrects is its correction's: a first try has marked it, and must not change
                # what a second one plans.
                if found < most and key not in self.replaced and self.superseded(key) is not None:
                    found += self.ledger.claim(line, form, most - found)
        return found

    def _correct(self, demand: Demand, lines: tuple[OrderLine, ...], old: str) -> None:
        """Shown under the old number: replaced. Under the new one: done. Nothing shipped of the line or SKU: shipped.

        Where something of a SKU has shipped, its untouched lines prove nothing: the units may be those shown under yet
        another number, because an earlier correction was refused. And while an earlier correction to the number to be
        replaced is not settled, nothing is shipped here: the units' first number is one that only that one knows, and
        the shipment that carries it, replayed, would ship them again.
        """
        number = demand.box.number
        marked = self._superseded_at(lines, number.canonical)
        if marked is not None and self.at <= marked:
            self._leave(demand)
            return
        asked = demand.quantity if demand.total is None else demand.total
        shown, need = self._shown(demand, lines, asked)
        self._tell_shown(demand, shown, need)
        need = wanted = min(need, demand.quantity)
        for line in lines:
            units = self.ledger.claim(line, old, need)
            if units:
                need -= units
                self._piece(self.moves, demand, line, units)
        untouched = not any(line.shipped for line in lines)
        if need and untouched and not self.memory.awaits_correction(old):
            before = len(self.sends)
            need = self._send(demand, lines, need)
            shipped = sum(piece.quantity for piece in self.sends[before:])
            if shipped:
                told = demand.box.package.replaces_tracking_number
                message = f"{demand.name}: {told} was never shown, {shipped} unit(s) go under {number.told}"
                self._warn("corrected_before_shipping", message)
        # Also where it is blocked: an earlier event of these units, replayed, must not ship what a later one has.
        if shown or need < wanted:
            self._mark(lines, old)
        if not wanted:
            self._free(lines, old, number.canonical)
        if need and untouched:
            need = self._gone(demand, lines, need)
        if need:
            self._unmatched(demand, lines, need)

    def _mark(self, lines: tuple[OrderLine, ...], old: str) -> None:
        for line in lines:
            key = (line.line_number, old)
            known = self.superseded(key)
            if known is None or known < self.at - _TICK_S:
                self.marks[key] = Mark(line.line_number, old, self.at)

    def _free(self, lines: tuple[OrderLine, ...], old: str, new: str) -> None:
        """Corrected back to, as the order shows; not before, for Walmart may refuse it.

        Where something stays under the number replaced, the marker may still tell of that.
        """
        for line in lines:
            stays = self.ledger.shown.get((line.line_number, old), 0)
            if not stays and self.superseded((line.line_number, new)) is not None:
                self.frees[line.line_number, new] = None

    # -- what is there already

    def _shown(
        self, demand: Demand, lines: tuple[OrderLine, ...], asked: int
    ) -> tuple[list[tuple[OrderLine, int]], int]:
        """Units of the lines that are shown under the demand's number; and how many of those asked for are not."""
        shown: list[tuple[OrderLine, int]] = []
        if not self.ledger.shown:
            return shown, asked
        for line in lines:
            units = self.ledger.claim(line, demand.box.number.canonical, asked)
            if units:
                asked -= units
                shown.append((line, units))
        return shown, asked

    def _tell_shown(self, demand: Demand, shown: list[tuple[OrderLine, int]], need: int) -> None:
        """Of what is shown, this event's own units: those this try has sent, then as many as the event speaks of."""
        if not shown:
            return
        sent = self.memory.sent or {}
        form = demand.box.number.canonical
        own = {line.line_number: min(units, sent.get((line.line_number, form), 0)) for line, units in shown}
        rest = max(0, demand.quantity - need - sum(own.values()))
        for line, units in shown:
            more = min(rest, units - own[line.line_number])
            rest -= more
            if own[line.line_number] + more:
                self._tell(demand, line, own[line.line_number] + more, "shown")

    def _known(self, line: OrderLine, demand: Demand) -> bool:
        return (line.line_number, demand.box.number.canonical) in self.known

    def _tell_repeats(self) -> None:
        for demand, lines in self.repeats:
            left = sum(self.ledger.open[line.line_number] for line in lines)
            if left:
                told = demand.box.number.told
                message = f"{demand.name}: all of {demand.quantity} unit(s) are shown under {told}, {left} still open"
                self._warn("same_tracking_open_quantity", message)

    def _leave(self, demand: Demand) -> None:
        self.skipped = True
        message = f"{demand.name}: {demand.box.number.told} was corrected away, {demand.quantity} unit(s) were not sent"
        self._warn("tracking_superseded", message)

    # -- what is to be sent

    def _send(self, demand: Demand, lines: tuple[OrderLine, ...], need: int) -> int:
        """Deal units to open lines, first line first; returns how many found no place."""
        held = False
        for line in lines:
            if line.buyer_asked_to_cancel and not self.data.intent_to_cancel_override:
                held = True
            elif need and (left := self.ledger.open[line.line_number]):
                units = min(need, left)
                need -= units
                if self._piece(self.sends, demand, line, units):
                    self.ledger.take(line, units)
        if need and held:
            for line in lines:
                if line.buyer_asked_to_cancel and (units := self.ledger.take(line, need)):
                    need -= units
                    message = f"line {line.line_number}: the buyer asked to cancel, {units} unit(s) were not shipped"
                    self._refuse(demand, line, units, "buyer_asked_to_cancel", message)
        return need

    def _piece(self, pieces: list[Piece], demand: Demand, line: OrderLine, units: int) -> bool:
        """One status of a call, unless something forbids it; False: its units stay free for others."""
        if self.memory.refused and self.refused_are_out and (refusal := self._refused(pieces, demand, line, units)):
            failure = refusal.failure
            self._tell(demand, line, units, "refused", failure.code)
            self.problems.append(Problem(failure.code, failure.message, line.line_number, failure))
            return True
        carriage = self._carriage(demand.box)
        if self.ship_time is None:
            self.ship_time = ship_time_of(self.data.shipped_at, self.order, self.now)
        if isinstance(carriage, Blocked) or isinstance(self.ship_time, Blocked):
            blocked = carriage if isinstance(carriage, Blocked) else self.ship_time
            assert isinstance(blocked, Blocked)
            self._refuse(demand, line, units, blocked.code, blocked.message)
            return False
        pieces.append(Piece(line.line_number, units, demand.box, carriage))
        self._tell(demand, line, units, "send")
        return True

    def _refused(self, pieces: list[Piece], demand: Demand, line: OrderLine, units: int) -> Refusal | None:
        """What Walmart has said to these units under this number before, where that still counts."""
        key, correction = (line.line_number, demand.box.number.canonical), pieces is self.moves
        refusal = self.memory.refused.get(key) if self.memory.refused else None
        if refusal is None or refusal.correction != correction:
            return None
        # One of more units may have been planned from an old read: it says nothing of fewer.
        return refusal if self.wanted.get((key, correction), units) >= refusal.quantity else None

    def _carriage(self, box: Box) -> Carriage | Blocked:
        form = box.number.canonical
        found = self.carriages.get(form)
        if found is None:
            found = carriage_of(box, self.rules)
            if isinstance(found, Blocked):
                for sister in self.boxes:
                    if sister.number.canonical == form and sister is not box:
                        other = carriage_of(sister, self.rules)
                        found = other if isinstance(other, Carriage) else found
            self.carriages[form] = found
        return found

    # -- what cannot be

    def _conflict(self, demand: Demand, lines: tuple[OrderLine, ...], short: int) -> None:
        """Units without an open one to meet them: what became of those that were there."""
        number = demand.box.number.told
        short = self._gone(demand, lines, short)
        for line in lines:
            units = min(short, self.ledger.shown_otherwise[line.line_number])
            if units:
                short -= units
                self.ledger.shown_otherwise[line.line_number] -= units
                message = (
                    f"line {line.line_number}: {units} unit(s) of {number} are shown under another tracking number"
                )
                self._refuse(demand, line, units, "shipped_otherwise", message)
        if short:
            alone = lines[0] if len(lines) == 1 else None
            message = f"{demand.name}: {short} unit(s) of {number} are more than were open"
            self._refuse(demand, alone, short, "quantity_exceeds_open", message)

    def _unmatched(self, demand: Demand, lines: tuple[OrderLine, ...], short: int) -> None:
        told = demand.box.package.replaces_tracking_number
        message = f"{demand.name}: {short} unit(s) are not shown under {told}, which is to be replaced"
        if self.memory.awaits_correction(demand.box.replaces or ""):
            message += (
                "; an earlier correction leads to that number and is not settled: replay that first, then this,"
                " or resolve it once it is sure that nothing will ship under the number it replaces"
            )
        self._refuse(demand, lines[0] if len(lines) == 1 else None, short, "correction_unmatched", message)

    def _gone(self, demand: Demand, lines: tuple[OrderLine, ...], short: int) -> int:
        for line in lines:
            units = min(short, self.ledger.cancelled[line.line_number])
            if units:
                short -= units
                self.ledger.cancelled[line.line_number] -= units
                message = (
                    f"line {line.line_number}: {units} unit(s) of {demand.box.number.told} are cancelled at Walmart"
                )
                self._refuse(demand, line, units, "shipped_after_cancel", message)
        return short

    def _refuse(self, demand: Demand, line: OrderLine | None, quantity: int, code: str, message: str) -> None:
        self._tell(demand, line, quantity, "refused", code)
        self.problems.append(Problem(code, message, line.line_number if line else demand.line_number))

    def _tell(
        self, demand: Demand, line: OrderLine | None, quantity: int, fate: LineFate, reason: str | None = None
    ) -> None:
        self.lines.append(
            PlannedLine(
                line.line_number if line else demand.line_number,
                line.sku if line else demand.sku,
                quantity,
                demand.box.number.told or None,
                fate,
                reason,
            )
        )

    def _warn(self, code: str, message: str) -> None:
        self.warnings.append(Warned(code, message))


def _own_numbers(boxes: list[Box]) -> set[str]:
    own = {box.number.canonical for box in boxes}
    own.update([box.replaces for box in boxes if box.replaces is not None])
    return own
