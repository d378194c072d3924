"""Turns and gates."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant

_BUDGET: Final = ("tests/unit/lanes/test_budget.py", "tests/unit/lanes/test_rationed_gates.py")
_ASTRAY: Final = ("tests/unit/lanes/test_budget_astray.py",)
_TESTS: Final = ("tests/unit/lanes",)

LANES: Final = (
    Mutant(
        "an_old_success_opens_a_slow_gate",
        "worker/lanes/gates.py",
        'gate.state != "shut" and (gate.state != "slow" or self._due(gate, now)):',
        'gate.state != "shut":',
        _TESTS,
    ),
    Mutant(
        "after_the_probe_all_are_let_through",
        "worker/lanes/gates.py",
        "(not self._due(gate, now) or name in self._running)",
        "not self._due(gate, now)",
        _TESTS,
    ),
    Mutant(
        "a_success_opens_what_was_shut_by_hand",
        "worker/lanes/gates.py",
        'if gate is not None and gate.state != "shut" and (',
        "if gate is not None and (",
        _TESTS,
    ),
    Mutant(
        "failed_probes_are_not_counted",
        "worker/lanes/gates.py",
        "gate.probes += gate.probing",
        "pass",
        _TESTS,
    ),
    Mutant(
        "an_ended_turn_keeps_its_gate",
        "worker/lanes/lanes.py",
        "        took, entry.took = entry.took, ()\n        self.gates.left(took, entry.lane)",
        "        took, entry.took = entry.took, ()",
        _TESTS,
    ),
    Mutant(
        "a_turn_without_a_call_keeps_it",
        "worker/lanes/rations.py",
        "if name in self._budgets and self._budgets[name].release(subject):",
        "if False:",
        _BUDGET,
    ),
    Mutant(
        "calls_under_way_count_as_left",
        "worker/lanes/budget.py",
        "beside = self._begun - finished_before - 1",
        "beside = 0",
        _BUDGET,
    ),
    Mutant(
        "the_newest_event_has_the_next_call",
        "worker/lanes/held.py",
        "heapq.heappush(self.heap, (age, place, lane))",
        "heapq.heappush(self.heap, (-age, place, lane))",
        _BUDGET,
    ),
    Mutant(
        "after_a_429_the_bucket_is_believed_full",
        "worker/lanes/budget.py",
        "        self._level = min(self._level, 0.0)\n",
        "",
        _BUDGET,
    ),
    Mutant(
        "a_bucket_is_drained_without_a_pace",
        "worker/lanes/budget.py",
        "if self._level - len(self._reserved) < 1 - _NEARLY or self._credit < 1 - _NEARLY:",
        "if self._level - len(self._reserved) < 1 - _NEARLY:",
        _BUDGET,
    ),
    Mutant(
        "who_is_held_by_something_else_is_looked_at_for_its_budget",
        "worker/lanes/rations.py",
        "if budget is None or budget.admits(now):",
        "if budget is None:",
        _BUDGET,
    ),
    Mutant(
        "a_bucket_found_nearly_empty_is_taken_for_a_small_one",
        "worker/lanes/budget.py",
        "most = (self._size if self._is_sure else max(self._size, self._documented)) * _TARGET_OF_SIZE",
        "most = self._size * _TARGET_OF_SIZE",
        _ASTRAY,
    ),
    Mutant(
        "the_level_of_a_refusal_is_believed_for_ever",
        "worker/lanes/budget.py",
        "elif self._untold >= _UNTOLD and now - self._heard_at > _STALE_S:",
        "elif False:",
        _ASTRAY,
    ),
    Mutant(
        "one_answer_without_a_level_is_enough_to_forget_it",
        "worker/lanes/budget.py",
        "elif self._untold >= _UNTOLD and now - self._heard_at > _STALE_S:",
        "elif now - self._heard_at > _STALE_S:",
        _ASTRAY,
    ),
    Mutant(
        "a_budget_stands_still_while_its_clock_is_behind",
        "worker/lanes/budget.py",
        "if now < self._at - _SET_BACK_S:",
        "if False:",
        _ASTRAY,
    ),
    Mutant(
        "who_waits_for_an_answer_is_forgotten",
        "worker/lanes/rations.py",
        "        elif name in self._awaited:\n            self.await_turn(name, now)\n",
        "",
        _BUDGET,
    ),
    Mutant(
        "evicted_events_are_attempted",
        "worker/lanes/engine.py",
        "if entry.evicted_turn and self._evicted is not None:",
        "if False and self._evicted is not None:",
        _TESTS,
    ),
    Mutant(
        "who_comes_behind_an_evicted_event_stays",
        "worker/lanes/lanes.py",
        "evicted, entry.evicted = entry.evicted or leaves, False",
        "evicted, entry.evicted = entry.evicted, False",
        _TESTS,
    ),
    Mutant(
        "what_comes_back_for_its_turn_leaves_at_once",
        "worker/lanes/lanes.py",
        "leaves = not entry.may_stay and lane.stands_behind_evicted(entry)",
        "leaves = lane.stands_behind_evicted(entry)",
        _TESTS,
    ),
    Mutant(
        "an_evicted_event_leaves_alone",
        "worker/lanes/lane.py",
        "if one is entry or not (one.passes and stays):",
        "if one is entry:",
        _TESTS,
    ),
    Mutant(
        "everybody_passes_who_lets_pass",
        "worker/lanes/lane.py",
        "self._passing = deque(entry for entry in self if entry.passes and entry is not first)",
        "self._passing = deque(entry for entry in self if entry is not first)",
        _TESTS,
    ),
    Mutant(
        "the_next_of_a_lane_does_not_wait_for_a_conclusion",
        "worker/lanes/engine.py",
        "                self.lanes.attempted(entry)\n",
        "                self.lanes.attempted(entry)\n                self.lanes.settle(entry)\n",
        _TESTS,
    ),
    Mutant(
        "a_retry_comes_before_its_time",
        "worker/lanes/lanes.py",
        "if entry.ready_at <= now:\n                gate",
        "if True:\n                gate",
        _TESTS,
    ),
    Mutant(
        "letting_go_forgets_what_comes_back_meanwhile",
        "worker/lanes/engine.py",
        "            # Retries put back meanwhile belong to what is let go of.\n"
        "            dropped += [entry.item for entry in self.lanes.drop(lambda entry: wanted(entry.item))]\n",
        "",
        ("tests/unit/test_letting_go.py",),
    ),
)
