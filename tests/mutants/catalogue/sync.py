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
        'Failure("outcome_unknown", text), order, wait)\n        second = await self._read()',
        'Failure("outcome_unknown", text), order, wait)\n        second = order',
        _TESTS,
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
        "if (step.marks or step.frees) and not await self._mark(step):",
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
        "return later(order, known) if prefer_given else later(known, order)",
        "return order",
        _TESTS,
    ),
    Mutant(
        "a_zombie_sends_after_the_deadline",
        "worker/walmart/guarded_body.py",
        "if self._deadline is not None and self._clock.now() > self._deadline:",
        "if False:",
        _CLIENT,
    ),
)
