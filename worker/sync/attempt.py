"""One attempt at one event: read Walmart's order, plan, send, check the answer, judge.

What an attempt never does: send a write whose effect it cannot tell from an earlier one's. Before a write goes out it
is noted in the event's progress as unsettled; the note goes when the order shows the effect, when Walmart turned the
call away, or when an old read may be believed (`_believable` says from when; read twice).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from schemas.events import OrderCancelled
from schemas.walmart.order import Order
from worker.delivery import Delivery, Event
from worker.errors import Failure
from worker.outcome import Again, Outcome, Progress, Trouble, Unsettled, Warned
from worker.sync.belief import has_items, is_all, pending, rests_on_an_old_state, succeeds
from worker.sync.calling import Calling
from worker.sync.calls import Acknowledge, Call, Cancel, Correct, Key, Memory, Plan, Write
from worker.sync.cancel import without_items
from worker.sync.doors import Clear, GuardAnswer, Refuse, Wait, number_on_line
from worker.sync.finish import finish
from worker.sync.judge import OURS_S, about_state, again_for, no_budget, no_cause, refusal
from worker.sync.plan import plan
from worker.sync.refusals import TurnedAway, named, note_refusal, planned_again, summary, take_apart
from worker.sync.room import Room
from worker.sync.rules import Rules
from worker.sync.snapshot import later, merged, shows
from worker.sync.tracking import canonical
from worker.sync.verdict import operation_of, refused
from worker.walmart.answer import CallError, CallKind, OrdersApi

READ_AGAIN_S: Final = 3.0
"""While an outcome is not known the order is read again this often."""

MAX_CALLS: Final = 2_000
"""More calls than any event can need in one attempt; past it something is wrong with us."""


class Attempt:
    """Runs once."""

    def __init__(
        self, room: Room, api: OrdersApi, rules: Rules, event: Event, progress: Progress, delivery: Delivery | None
    ) -> None:
        self.room, self.api, self.rules = room, api, rules
        self.event, self.data, self.progress, self.delivery = event, event.data, progress, delivery
        self.timing = room.settings.timing
        self.min_tries = room.settings.limits.min_tries
        self.operation = operation_of(event.data)
        self.order_id = event.data.purchase_order_id
        self.calling = Calling(api, (rules.account, self.order_id), progress, room.clock, room.budgets, room.saved)
        self.sent: dict[Key, int] = {}
        self.worked: Write | None = None
        """The latest call that the order shows."""
        self.acknowledged = False
        self.guard: GuardAnswer = Clear()
        self.exact = False
        """The newest view of the order is the answer to a call of this try, or a read that shows that call."""

    async def run(self) -> Outcome:
        outcome = await self._run()
        if isinstance(outcome, Again) and outcome.trouble not in (Trouble.NO_CAUSE, Trouble.BUDGET):
            self.progress.waits += 1
        return outcome

    async def _run(self) -> Outcome:
        turned_away = await self._guarded()
        if turned_away is not None:
            return turned_away
        order = self._saved() or await self._read()
        if not isinstance(order, Order):
            return order
        if self.progress.unsettled is not None:
            order = await self._settle(order, self.progress.unsettled)
            if not isinstance(order, Order):
                return order
        self._undoubted(order)
        done: Plan | None = None
        for _ in range(MAX_CALLS):
            step = done or self._plan(order)
            call = self._next(step)
            if call is None and self.calling.from_saved and not succeeds(step):
                # What somebody else has changed is not to be told from memory.
                order = await self._read()
                if not isinstance(order, Order):
                    return order
                continue
            self._warn(*step.warnings)
            if self.rules.observe:
                return await finish(self.room, self.api, self.rules, self.data, step, order, self.progress)
            if (step.marks or step.frees) and not await self._mark(self._believed(step)):
                return self._ours("the marker of a corrected tracking number could not be written", order)
            if call is not None and isinstance(self.guard, Wait):
                return self._shipments(self.guard, order)
            if call is None:
                shown = self.progress.applied or any(line.fate == "shown" for line in step.lines)
                if shown and not self.calling.from_saved:
                    # An old read must not take back for the next event what this one has seen.
                    order = self._remember(order)
                return self._waiting(step, order) or await finish(
                    self.room, self.api, self.rules, self.data, step, order, self.progress
                )
            if call.leaves_units_open and self.progress.read_twice:
                answer = await self._read_again(order)
            elif isinstance(call, Acknowledge):
                answer = await self._acknowledge(order)
            else:
                answer = self._judged_late(call, order) or await self._write(call, order)
            if not isinstance(answer, Order):
                return answer
            order = answer
            done = replace(step, calls=()) if self.worked is call and is_all(call, step, self.data) else None
        raise RuntimeError(f"more than {MAX_CALLS} calls for one event")

    def _saved(self) -> Order | None:
        """The answer to the order's latest write, where it may stand for a read."""
        if self.rules.observe or self.progress.is_doubtful or not has_items(self.data):
            return None
        saved, fence = self.calling.saved(), self.room.fence
        if saved is None or saved.asked_at < fence.believe_from or fence.owned_until <= self.room.clock.now():
            # Since then another owner of the partition may have sent something.
            return None
        self._tell(f"not read: planned from the answer of {self.room.clock.now() - saved.asked_at:.1f} s ago")
        return self.calling.take(saved)

    # -- cancels without items

    async def _guarded(self) -> Outcome | None:
        """A cancel without items: what may be in a box is left alone. None: go on."""
        if has_items(self.data):
            return None
        if self.rules.cancel_without_items == "refuse":
            self.guard = Refuse(f"store {self.rules.store} takes none (cancel_without_items)")
        else:
            self.guard = await self.room.guard.look(self.event, self.delivery)
        if isinstance(self.guard, Clear):
            self._tell("guard: clear, no shipment of the order is on its way")
            return None
        self._tell(f"guard: {'wait' if isinstance(self.guard, Wait) else 'refuse'}: {self.guard.why}")
        progress = self.progress
        if progress.applied or progress.unsettled is not None or progress.doubted:
            # An earlier try has sent it. Whether that worked comes first: then nothing may be left to guard.
            return None
        if isinstance(self.guard, Wait):
            return self._shipments(self.guard, None)
        return refused(self.data, Failure("cancel_without_items", without_items(self.guard.why)))

    def _shipments(self, wait: Wait, order: Order | None) -> Again:
        text = f"a cancellation without items waits for shipments: {wait.why}"
        failure = Failure("waiting_for_shipments", text)
        return Again(Trouble.SHIPMENTS, failure, wait.after_s, self.operation, order.status if order else None)

    # -- planning

    def _plan(self, order: Order) -> Plan:
        progress = self.progress
        return plan(
            self.data,
            order,
            self.rules,
            self.room.clock.now(),
            at=self._happened_at(),
            superseded=lambda key: self.room.corrections.superseded_at(self.order_id, number_on_line(key)),
            memory=Memory(
                progress.confirmed,
                self.sent,
                progress.refused,
                progress.one_by_one,
                self.acknowledged,
                self.guard.why if isinstance(self.guard, Refuse) else None,
                self._awaits_correction,
            ),
        )

    def _awaits_correction(self, old: str) -> bool:
        return any(canonical(told) == old for told in self.room.corrections.unsettled(self.order_id, self.delivery))

    def _happened_at(self) -> float:
        if self.event.time is not None:
            return self.event.time
        if self.delivery is not None:
            return self.delivery.happened_at
        told = self.data.cancelled_at if isinstance(self.data, OrderCancelled) else self.data.shipped_at
        return told.timestamp()

    def _next(self, step: Plan) -> Call | None:
        held = self.calling.asked_at < self.progress.hold_until
        calls = [call for call in step.calls if not (held and call.leaves_units_open)]
        return None if all(isinstance(call, Acknowledge) for call in calls) else calls[0]

    def _believed(self, step: Plan) -> Plan:
        """Without the markers it would take off because of what may be an old read: that waits until it is none."""
        old = self._reads_are_old and rests_on_an_old_state(step, self.data, self.exact)
        return replace(step, frees=()) if old else step

    async def _mark(self, step: Plan) -> bool:
        corrections = self.room.corrections
        for mark in step.marks:
            number = number_on_line((mark.line_number, mark.number))
            if not await corrections.mark(self.order_id, number, mark.event_time, self.delivery):
                return False
            self._tell(f"marked: {mark.number} is corrected away on line {mark.line_number}")
        for key in step.frees:
            if not await corrections.free(self.order_id, number_on_line(key), self.delivery):
                return False
            self._tell(f"mark taken off: {key[1]} counts again on line {key[0]}")
        return True

    def _waiting(self, step: Plan, order: Order) -> Again | None:
        """Nothing can be sent now; what there is to wait for, if anything."""
        now, asked_at = self.room.clock.now(), self.calling.asked_at
        until = max([refusal.final_at for refusal in pending(step, self.progress)], default=0.0)
        held = any(not isinstance(call, Acknowledge) for call in step.calls)
        if held:
            until = max(until, self.progress.hold_until)
        if held or asked_at < until:
            why = (
                "another worker may have sent a call for this event"
                if self.progress.read_twice
                else "Walmart refused what its order still shows as possible"
            )
            text = f"{why}: waiting until that cannot be an old read"
            failure = Failure("outcome_unknown", text)
            return self._again(Trouble.UNKNOWN, failure, order, min(READ_AGAIN_S, max(0.0, until - now)))
        waiting = sum(line.quantity for line in step.lines if line.fate == "waiting")
        if waiting:
            text = f"{waiting} unit(s) to cancel wait for shipments: Walmart takes no partial cancellation"
            return self._again(Trouble.SHIPMENTS, Failure("waiting_for_shipments", text), order)
        if self._reads_are_old and rests_on_an_old_state(step, self.data, self.exact):
            text = "the partition's earlier owner may have changed the order a moment ago: it is read again before that"
            failure = Failure("outcome_unknown", text)
            wait = min(READ_AGAIN_S, max(0.0, self.room.fence.believe_from - now))
            return self._again(Trouble.UNKNOWN, failure, order, wait)
        return None

    # -- reading

    async def _get(self) -> Order | CallError:
        answer, self.exact = await self.calling.get_order(), False
        if isinstance(answer, CallError):
            return answer
        # By when it was asked for: an answer that a stalled process comes to late is as old as the question.
        return self.room.orders.newest(self.rules.account, answer, self.calling.asked_at)

    async def _read(self) -> Order | Outcome:
        if not self.calling.may("get_order"):
            return no_budget("get_order", self.operation)
        answer = await self._get()
        if isinstance(answer, Order):
            return answer
        again = again_for(answer, "get_order", self.operation, write=False)
        if again is not None:
            return again
        touched = self.progress.unsettled is not None or self.progress.applied
        if answer.not_found and not touched:
            text = f"order {self.order_id} is not known in account {self.rules.account}"
            return refused(self.data, Failure("order_not_found", text, 404, answer.errors, answer.correlation_id))
        if answer.not_found or answer.kind is CallKind.REFUSED_WITHOUT_CAUSE or touched:
            if self._tried_enough() and not touched:
                return refused(self.data, refusal(answer))
            return no_cause(answer, "get_order", self.operation)
        return refused(self.data, refusal(answer))

    async def _read_again(self, order: Order) -> Order | Outcome:
        """Somebody else's call may have been on its way: what it did is believed to be missing only when read twice."""
        too_early = self.calling.asked_at < self.progress.hold_until
        second = await self._second(order, self.progress.hold_until)
        if not isinstance(second, Order):
            return second
        self.progress.read_twice = too_early
        return later(second, order)

    async def _second(self, order: Order, believable_from: float) -> Order | Outcome:
        """Read the order once more; where an earlier attempt had no budget for that, this one's `order` was it."""
        progress, asked_at = self.progress, self.calling.asked_at
        first, progress.looked = progress.looked, None
        if first is not None and believable_from <= first[0] < asked_at:
            return later(first[1], order)
        second = await self._read()
        if isinstance(second, Again) and second.trouble is Trouble.BUDGET:
            progress.looked = (asked_at, order)
        return second

    async def _settle(self, order: Order, unsettled: Unsettled) -> Order | Outcome:
        """Find out whether an earlier write, whose outcome is not known, has worked."""
        if shows(order, unsettled.expected):
            self._tell("the order shows it: the call in doubt has worked")
            return self._worked(order, unsettled)
        if unsettled.leaves_open and self.calling.asked_at < unsettled.believe_at:
            now = self.room.clock.now()
            text = "a call may or may not have worked; the order is read until that is known"
            wait = min(READ_AGAIN_S, max(0.0, unsettled.believe_at - now))
            return self._again(Trouble.UNKNOWN, Failure("outcome_unknown", text), order, wait)
        second = await self._second(order, unsettled.believe_at if unsettled.leaves_open else 0.0)
        if not isinstance(second, Order):
            return second
        if shows(second, unsettled.expected):
            self._tell("the order shows it: the call in doubt has worked")
            return self._worked(second, unsettled)
        self._tell("read twice and not shown: the call in doubt is taken for lost")
        self.progress.unsettled = None
        self.progress.doubted = unsettled.expected
        return second

    def _undoubted(self, order: Order) -> None:
        if self.progress.doubted and shows(order, self.progress.doubted):
            self.progress.doubted = ()
            self.progress.applied = True

    def _worked(self, order: Order, unsettled: Unsettled, *, answered: bool = False) -> Order:
        progress = self.progress
        progress.unsettled = None
        progress.applied = True
        if not unsettled.correction:
            progress.confirmed = merged(progress.confirmed, unsettled.expected)
        return self._remember(order, answered=answered)

    def _remember(self, order: Order, *, answered: bool = False) -> Order:
        """Keep this view for the order's next events; returns the newest known one."""
        sure = answered or not self._reads_are_old
        return self.room.orders.remember(self.rules.account, order, self.room.clock.now(), sure=sure)

    @property
    def _reads_are_old(self) -> bool:
        """The latest read may be older than what the partition's earlier owner has done."""
        return self.calling.asked_at < self.room.fence.believe_from

    # -- writing

    async def _acknowledge(self, order: Order) -> Order | Outcome:
        """May be repeated, and its refusal stops nothing: the shipment tells whether it was needed."""
        if not self.calling.may("acknowledge"):
            return no_budget("acknowledge", self.operation, order.status)
        self.acknowledged = True
        answer = await self.calling.acknowledge()
        if isinstance(answer, Order):
            self.exact = True
            newest = self._remember(answer, answered=True)
            if not any(line.created for line in newest.lines):
                self.calling.save(newest, self.calling.asked_at)
            return newest
        again = again_for(answer, "acknowledge", self.operation, order.status, write=False)
        if again is not None:
            return again
        if answer.kind is CallKind.REFUSED_WITHOUT_CAUSE and not self._tried_enough():
            return no_cause(answer, "acknowledge", self.operation, order.status)
        self._warn(Warned("acknowledge_refused", answer.message[:300]))
        return order

    async def _write(self, call: Write, order: Order) -> Order | Outcome:
        progress, name = self.progress, "cancel" if isinstance(call, Cancel) else "ship"
        # Asked before anything is promised: an intent without its call would make the next owner doubt what it reads.
        if not self.calling.may(name):
            return no_budget(name, self.operation, order.status)
        fence, now = self.room.fence, self.room.clock.now()
        deadline = now + self.timing.call_timeout_seconds
        # One that was stalled knows too little, also for calls that Walmart would refuse twice: the order may have
        # been corrected by its new owner since.
        asks = call.leaves_units_open or fence.owned_until <= now
        if asks and not await fence.intend(self.event, call, deadline, self.delivery):
            self._tell("fence refused: nothing was sent")
            return self._ours(
                "the fence before a call could not be set: its partition may be somebody else's", order, OURS_S
            )
        deadline = min(deadline, fence.owned_until)
        unsettled = Unsettled(
            call.expected, self._believable(deadline), call.leaves_units_open, isinstance(call, Correct)
        )
        progress.unsettled, progress.looked = unsettled, None
        begun = self.room.clock.now()
        answer = await self.calling.write(call, deadline)
        if isinstance(answer, CallError):
            if answer.kind is not CallKind.UNKNOWN:
                progress.unsettled = None
                again = again_for(answer, name, self.operation, order.status, write=True)
                return again or await self._refused(call, order, answer)
        elif shows(answer, call.expected):
            return self._confirmed(call, answer, unsettled, begun)
        gone_by = min(deadline, self.room.clock.now())
        progress.unsettled = unsettled = replace(unsettled, believe_at=self._believable(gone_by))
        # At best: without budget the next try reads it.
        second = await self._get() if self.calling.may("get_order") else None
        if isinstance(second, Order) and shows(second, call.expected):
            self._tell("read back: the order shows it")
            return self._confirmed(call, second, unsettled, begun)
        failure = Failure("outcome_unknown", "the answer does not show what was asked for")
        if isinstance(answer, CallError):
            again = again_for(answer, name, self.operation, order.status, write=True)
            failure = again.failure if again is not None else failure
        return replace(self._again(Trouble.UNKNOWN, failure, order), call=name)

    def _believable(self, gone_by: float) -> float:
        """From when on (epoch seconds) a read that does not show a call proves that it is lost.

        `gone_by`: its bytes have left by then. That is the deadline, which is checked as they are written, or the end
        of the call, if that came first: nothing is written afterwards.
        """
        # A Walmart too slow to answer may be as slow to act: it gets as long again as a call may take, and only then
        # does the read lag count. A lost call that leaves units open so waits up to 50 s instead of 40 s by default,
        # well within the SLO; a read believed too early would charge a buyer twice.
        return gone_by + self.timing.call_timeout_seconds + self.timing.read_lag_seconds

    def _confirmed(self, call: Write, order: Order, unsettled: Unsettled, begun: float) -> Order:
        """The order shows the call: it answers it, or is a read that lags less. `begun`: epoch seconds of the call."""
        for key, quantity in zip(call.keys, call.quantities, strict=True):
            self.sent[key] = self.sent.get(key, 0) + quantity
        self.worked, self.exact = call, True
        newest = self._worked(order, unsettled, answered=True)
        self.calling.save(newest, begun)
        return newest

    def _seen(self, call: Write, order: Order) -> None:
        """Refused because it is there already."""
        self._undoubted(order)
        if not isinstance(call, Correct):
            self.progress.confirmed = merged(self.progress.confirmed, call.expected)
        self._remember(order)

    async def _refused(self, call: Write, order: Order, error: CallError) -> Order | Outcome:
        """Refused on its merits: read the order; if it still shows the same, find out whose fault it is."""
        self.progress.turned_away = TurnedAway(summary(call), error, order)
        read = await self._read()
        if not isinstance(read, Order):
            return read
        self.progress.turned_away = None
        # Reads that lag need not lag alike: one that goes back behind the last would have the two plans sent in turns.
        read = later(read, order)
        if shows(read, call.expected):
            self._seen(call, read)
            return read
        return self._judged(call, read, error, order) if planned_again(call, self._plan(read)) else read

    def _judged_late(self, call: Write, read: Order) -> Order | Outcome | None:
        """An earlier try sent this call, was refused, and could not read the order: this one has. None: send it."""
        before = self.progress.turned_away
        if not isinstance(before, TurnedAway) or self.calling.from_saved:
            return None
        self.progress.turned_away = None
        return self._judged(call, read, before.error, before.planned_from) if before.call == summary(call) else None

    def _judged(self, call: Write, read: Order, error: CallError, before: Order) -> Order | Outcome:
        """Refused though the order, read afterwards, shows it as possible. `before`: what the call was planned from."""
        if error.kind is CallKind.REFUSED_WITHOUT_CAUSE and not self._tried_enough():
            name = "cancel" if isinstance(call, Cancel) else "ship"
            return no_cause(error, name, self.operation, read.status)
        doubtful = named(error) and about_state(error, correction=isinstance(call, Correct))
        final_at = self.room.clock.now() + self.timing.read_lag_seconds if doubtful else 0.0
        if len(call.keys) > 1:
            take_apart(self.progress, call, final_at)
        else:
            note_refusal(self.progress, call, before, error, final_at)
        return read

    # -- small things

    def _tried_enough(self) -> bool:
        """Counting the present try."""
        return self.progress.failed_tries + 1 - self.progress.waits >= self.min_tries

    def _again(self, trouble: Trouble, failure: Failure, order: Order, after_s: float | None = None) -> Again:
        return Again(trouble, failure, after_s, self.operation, order.status)

    def _ours(self, text: str, order: Order, after_s: float | None = None) -> Again:
        return self._again(Trouble.OURS, Failure("not_ready", text), order, after_s)

    def _tell(self, what: str) -> None:
        self.progress.story.add(self.room.clock.now(), what)

    def _warn(self, *warnings: Warned) -> None:
        for warning in warnings:
            if warning not in self.progress.warned:
                self.progress.warned = (*self.progress.warned, warning)
