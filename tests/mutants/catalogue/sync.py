"""One attempt: what is believed, what is sent."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant

_TESTS: Final = (
    "tests/unit/sync/test_attempt.py",
    "tests/unit/sync/test_guarded_cancels.py",
    "tests/unit/sync/test_corrections_of_swapped_numbers.py",
    "tests/unit/sync/test_sync_properties.py",
    "tests/unit/sync/test_sync_against_simulated_walmart.py",
)
_SAVED: Final = ("tests/unit/sync/test_saved_answers.py", "tests/unit/sync/test_saved_properties.py")
_BUDGET: Final = ("tests/unit/sync/test_attempt_budget.py",)
_CLIENT: Final = ("tests/unit/walmart",)

SYNC: Final = (
    Mutant(
        "sent_again_without_reading",
        "worker/sync/attempt.py",
        "        answer = await self.calling.write(call, deadline)\n",
        "        answer = await self.calling.write(call, deadline)\n"
        "        if isinstance(answer, CallError) and answer.kind is CallKind.UNKNOWN:\n"
        "            answer = await self.calling.write(call, deadline)\n",
        _TESTS,
    ),
    Mutant(
        "an_unknown_outcome_is_taken_for_not_sent",
        "worker/sync/attempt.py",
        "if answer.kind is not CallKind.UNKNOWN:",
        "if True:",
        _TESTS,
    ),
    Mutant(
        "the_first_read_is_believed",
        "worker/sync/attempt.py",
        "if unsettled.leaves_open and self.calling.asked_at < unsettled.believe_at:",
        "if False:",
        _TESTS,
    ),
    Mutant(
        "an_old_state_is_read_once",
        "worker/sync/attempt.py",
        "second = await self._second(order, unsettled.believe_at if unsettled.leaves_open else 0.0)",
        "second = order",
        _TESTS,
    ),
    Mutant(
        "a_first_read_counts_however_early",
        "worker/sync/attempt.py",
        "believable_from <= first[0] < asked_at",
        "first[0] < asked_at",
        _BUDGET,
    ),
    Mutant(
        "the_time_to_hold_is_dropped",
        "worker/sync/attempt.py",
        "held = self.calling.asked_at < self.progress.hold_until",
        "held = False",
        _TESTS,
    ),
    Mutant(
        "another_workers_call_is_read_for_once",
        "worker/sync/attempt.py",
        "if call.leaves_units_open and self.progress.read_twice:",
        "if False:",
        _TESTS,
    ),
    Mutant(
        "the_fence_is_skipped",
        "worker/sync/attempt.py",
        "asks = call.leaves_units_open or fence.owned_until <= now",
        "asks = False",
        _TESTS,
    ),
    Mutant(
        "a_stalled_worker_believes_it_is_the_owner",
        "worker/sync/attempt.py",
        "asks = call.leaves_units_open or fence.owned_until <= now",
        "asks = call.leaves_units_open",
        _TESTS,
    ),
    Mutant(
        "a_call_may_leave_after_the_partitions_may_be_somebody_elses",
        "worker/sync/attempt.py",
        "deadline = min(deadline, fence.owned_until)",
        "pass",
        _TESTS,
    ),
    Mutant(
        "a_correction_leaves_no_marker",
        "worker/sync/attempt.py",
        "if (step.marks or step.frees) and not await self._mark(self._believed(step)):",
        "if False:",
        _TESTS,
    ),
    Mutant(
        "a_waiting_guard_is_passed",
        "worker/sync/attempt.py",
        "if isinstance(self.guard, Wait):\n            return self._shipments(self.guard, None)",
        "if False:\n            return self._shipments(self.guard, None)",
        _TESTS,
    ),
    Mutant(
        "confirmed_units_are_not_noted",
        "worker/sync/attempt.py",
        "progress.confirmed = merged(progress.confirmed, unsettled.expected)",
        "pass",
        _TESTS,
    ),
    Mutant(
        "an_old_read_takes_back_what_was_seen",
        "worker/sync/snapshot.py",
        "return later(order, known) if prefer_given or not sure else later(known, order)",
        "return order",
        _TESTS,
    ),
    Mutant(
        "a_saved_answer_outlives_a_refusal",
        "worker/sync/calling.py",
        "        self._saved.drop(self._account, self._order_id)\n        self._progress.posting = True\n",
        "        self._progress.posting = True\n",
        _SAVED,
    ),
    Mutant(
        "a_saved_answer_stands_for_the_read_of_a_doubt",
        "worker/sync/attempt.py",
        "if self.rules.observe or self.progress.is_doubtful or not has_items(self.data):",
        "if self.rules.observe or not has_items(self.data):",
        _SAVED,
    ),
    Mutant(
        "a_failure_is_told_from_a_saved_answer",
        "worker/sync/attempt.py",
        "if call is None and self.calling.from_saved and not succeeds(step):",
        "if False:",
        _SAVED,
    ),
    Mutant(
        "a_saved_answer_is_believed_while_an_earlier_owners_calls_may_come",
        "worker/sync/attempt.py",
        "if saved is None or saved.asked_at < fence.believe_from or fence.owned_until <= self.room.clock.now():",
        "if saved is None or fence.owned_until <= self.room.clock.now():",
        _SAVED,
    ),
    Mutant(
        "saved_answers_outlive_a_handover",
        "worker/app.py",
        "        self._sync.let_go()\n",
        "        pass\n",
        ("tests/unit/test_letting_go.py",),
    ),
    Mutant(
        "the_budget_is_asked_after_the_call_is_noted",
        "worker/sync/attempt.py",
        "        if not self.calling.may(name):\n"
        "            return no_budget(name, self.operation, order.status)\n"
        "        fence, now = self.room.fence, self.room.clock.now()\n"
        "        deadline = now + self.timing.call_timeout_seconds\n",
        "        fence, now = self.room.fence, self.room.clock.now()\n"
        "        deadline = now + self.timing.call_timeout_seconds\n"
        "        await fence.intend(self.event, call, deadline, self.delivery)\n"
        "        progress.unsettled = Unsettled(call.expected, deadline, call.leaves_units_open)\n"
        "        if not self.calling.may(name):\n"
        "            return no_budget(name, self.operation, order.status)\n",
        _BUDGET,
    ),
    Mutant(
        "a_correction_ships_behind_an_unsettled_one",
        "worker/sync/ship.py",
        "        if need and untouched and not self.memory.awaits_correction(old):\n",
        "        if need and untouched:\n",
        (*_TESTS, "tests/unit/sync/test_ship_plan.py"),
    ),
    Mutant(
        "an_old_read_is_remembered_as_sure",
        "worker/sync/attempt.py",
        "        sure = answered or not self._reads_are_old\n",
        "        sure = True\n",
        _TESTS,
    ),
    Mutant(
        "a_marker_goes_with_an_old_read",
        "worker/sync/attempt.py",
        "not await self._mark(self._believed(step)):",
        "not await self._mark(step):",
        _TESTS,
    ),
    Mutant(
        "an_answer_of_before_a_handover_wins_over_reads",
        "worker/sync/apply.py",
        "        self._room.orders.doubt()\n",
        "",
        ("tests/unit/sync/test_earlier_owners.py",),
    ),
    Mutant(
        "what_was_applied_makes_an_old_read_new",
        "worker/sync/belief.py",
        "return corrects(data) and not exact",
        "return False",
        (*_TESTS, "tests/unit/sync/test_earlier_owners.py"),
    ),
    Mutant(
        "an_old_read_counts_by_when_it_was_answered",
        "worker/sync/attempt.py",
        "self.room.orders.newest(self.rules.account, answer, self.calling.asked_at)",
        "self.room.orders.newest(self.rules.account, answer, self.room.clock.now())",
        _TESTS,
    ),
    Mutant(
        "a_read_after_a_refusal_may_go_back",
        "worker/sync/attempt.py",
        "        read = later(read, order)\n",
        "",
        _TESTS,
    ),
    Mutant(
        "a_read_without_its_second_is_forgotten",
        "worker/sync/attempt.py",
        "            progress.looked = (asked_at, order)\n",
        "            pass\n",
        _BUDGET,
    ),
    Mutant(
        "a_refusal_without_its_read_is_forgotten",
        "worker/sync/attempt.py",
        "        self.progress.turned_away = TurnedAway(summary(call), error, order)\n",
        "",
        _BUDGET,
    ),
    Mutant(
        "a_doubt_is_put_aside_where_its_read_has_no_budget",
        "worker/sync/attempt.py",
        '        if not self.calling.may("get_order"):\n            return no_budget("get_order", self.operation)\n',
        '        if not self.calling.may("get_order"):\n'
        "            self.progress.unsettled = None\n"
        '            return no_budget("get_order", self.operation)\n',
        _BUDGET,
    ),
    Mutant(
        "a_zombie_sends_after_the_deadline",
        "worker/walmart/guarded_body.py",
        "if self._deadline is not None and self._clock.now() > self._deadline:",
        "if False:",
        _CLIENT,
    ),
)
