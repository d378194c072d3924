"""What handling, its tables and the composition root decide: order of writes, waiting, giving up, letting go."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant

_HANDLING: Final = ("tests/unit/test_handling.py",)
_RETRIES: Final = ("tests/unit/test_retries.py", "tests/unit/test_handling.py")
_APP: Final = (
    "tests/unit/test_app.py",
    "tests/unit/test_upkeep.py",
    "tests/unit/test_letting_go.py",
    "tests/unit/test_arrivals.py",
)
_GATEKEEPER: Final = ("tests/unit/test_gatekeeper.py",)

DECIDING: Final = (
    Mutant(
        "the_offset_before_the_result",
        "worker/handling.py",
        "        await self._durably(delivery, lambda: self._report.conclude(",
        "        self._end(delivery)\n        await self._durably(delivery, lambda: self._report.conclude(",
        _HANDLING,
    ),
    Mutant(
        "parking_is_not_waited_for",
        "worker/handling.py",
        "lambda: self._room.put_waiting(",
        "lambda: (lambda *it: asyncio.sleep(0, asyncio.create_task(self._room.put_waiting(*it))))(",
        _HANDLING,
    ),
    Mutant(
        "what_kafka_did_not_take_is_forgotten",
        "worker/handling.py",
        "await asyncio.sleep(self._retries.publishing_delay(tries))",
        "return",
        _HANDLING,
    ),
    Mutant(
        "a_later_event_runs_past_a_parked_one",
        "worker/handling.py",
        "if before is not None:",
        "if False:",
        _HANDLING,
    ),
    Mutant(
        "an_identity_that_waits_is_not_asked_for",
        "worker/handling.py",
        "elif room.settled_elsewhere(delivery):",
        "elif False:",
        _HANDLING,
    ),
    Mutant(
        "a_taken_up_event_runs_in_any_case",
        "worker/handling.py",
        "if not room.may_run(delivery):",
        "if False:",
        _HANDLING,
    ),
    Mutant(
        "found_intents_are_ignored",
        "worker/handling.py",
        "found = self._fence.found_intent(delivery.lane)",
        "found = None",
        _HANDLING,
    ),
    Mutant(
        "a_found_intent_is_read_once",
        "worker/handling.py",
        "progress.read_twice = True",
        "pass",
        _HANDLING,
    ),
    Mutant(
        "an_intent_is_dropped_after_the_attempt",
        "worker/handling.py",
        "        if self._internal_errors:\n            self._internal_errors = 0",
        "        self._fence.ended(delivery)\n        if self._internal_errors:\n            self._internal_errors = 0",
        _HANDLING,
    ),
    Mutant(
        "an_intent_is_never_dropped",
        "worker/handling.py",
        "        self._fence.ended(delivery)\n",
        "",
        _HANDLING,
    ),
    Mutant(
        "retrying_is_told_each_time_it_is_parked",
        "worker/handling.py",
        "if late and not delivery.told_retrying:",
        "if late:",
        _HANDLING,
    ),
    Mutant(
        "shipments_do_not_pass_a_waiting_cancel",
        "worker/handling.py",
        "return Retry(at=next_try.at, lets_pass=again.trouble is Trouble.SHIPMENTS, behind=behind)",
        "return Retry(at=next_try.at, lets_pass=False, behind=behind)",
        _HANDLING,
    ),
    Mutant(
        "cancels_are_not_woken_by_their_shipment",
        "worker/handling.py",
        "self._room.wake_order(delivery.envelope.order)",
        "pass",
        _HANDLING,
    ),
    Mutant(
        "parking_in_a_full_room",
        "worker/handling.py",
        "if delivery.room_place is None and self._room.is_full:",
        "if False:",
        _HANDLING,
    ),
    Mutant(
        "paused_events_are_given_up",
        "worker/handling.py",
        'if reason != "paused" and self._retries',
        "if self._retries",
        _HANDLING,
    ),
    Mutant(
        "paused_time_is_counted",
        "worker/retries.py",
        "over = now - since - delivery.progress.paused_s >=",
        "over = now - since >=",
        _RETRIES,
    ),
    Mutant(
        "probes_are_no_tries",
        "worker/retries.py",
        "delivery.progress.attempts + probes >= self._limits.min_tries",
        "delivery.progress.attempts >= self._limits.min_tries",
        _RETRIES,
    ),
    Mutant(
        "given_up_without_its_tries",
        "worker/retries.py",
        "return over and delivery.progress.attempts + probes >= self._limits.min_tries",
        "return over",
        _RETRIES,
    ),
    Mutant(
        "nothing_waits_too_long_in_memory",
        "worker/retries.py",
        "waited + delay > self._timing.longest_in_memory_seconds",
        "waited + delay > 3600 * 24",
        _RETRIES,
    ),
    Mutant(
        "a_401_closes_nothing",
        "worker/gatekeeper.py",
        'self._close(own if missing else account, "scope_missing" if missing else "credentials_rejected", now)',
        "pass",
        _GATEKEEPER,
    ),
    Mutant(
        "one_poison_order_closes_its_accounts_gate",
        "worker/gatekeeper.py",
        "failed.add(report.subject or report.correlation_id)",
        "failed.add(report.correlation_id)",
        _GATEKEEPER,
    ),
    Mutant(
        "a_429_slows_the_whole_account",
        "worker/gatekeeper.py",
        "gates.slow(own, now + after",
        "gates.slow(account, now + after",
        _GATEKEEPER,
    ),
    Mutant(
        "letting_go_cancels_running_posts",
        "worker/app.py",
        "must_finish=lambda delivery: delivery.progress.posting",
        "must_finish=lambda delivery: False",
        _APP,
    ),
    Mutant(
        "letting_go_does_not_hold_the_pump",
        "worker/app.py",
        "        self._room.hold()\n        await self._engine.release(",
        "        await self._engine.release(",
        _APP,
    ),
    Mutant(
        "an_event_out_of_the_room_finishes_an_offset",
        "worker/app.py",
        "        if delivery.room_place is None:\n            self._intake.finished(",
        "        if True:\n            self._intake.finished(",
        _APP,
    ),
    Mutant(
        "memory_has_always_room",
        "worker/app.py",
        "and self._window.has_room(",
        "and (lambda *_, **__: True)(",
        _APP,
    ),
    Mutant(
        "the_window_is_never_relieved",
        "worker/upkeep.py",
        "lanes.evict_group(group, keep)",
        "pass",
        _APP,
    ),
    Mutant(
        "what_is_stuck_stays_in_memory",
        "worker/upkeep.py",
        "lanes.evict_stuck(now, now - self._settings.timing.longest_in_memory_seconds)",
        "pass",
        _APP,
    ),
    Mutant(
        "the_limit_of_parked_events_is_ignored_at_relief",
        "worker/upkeep.py",
        "        if full:\n            return",
        "        if False:\n            return",
        _APP,
    ),
    Mutant(
        "what_is_taken_up_leaves_with_others_of_its_order",
        "worker/arrivals.py",
        "may_stay=delivery.room_place is not None",
        "may_stay=False",
        _APP,
    ),
    Mutant(
        "more_are_taken_up_than_there_is_room_for",
        "worker/arrivals.py",
        "return max(0, min(free, max(share - here, max(1, share // _RESERVED) - taken_up)))",
        "return 100_000",
        _APP,
    ),
    Mutant(
        "parked_events_come_up_at_a_closed_gate",
        "worker/arrivals.py",
        "        if gates.admits(names, now) is not None:\n            return 0\n",
        "",
        _APP,
    ),
)
