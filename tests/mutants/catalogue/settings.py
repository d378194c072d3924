"""Settings that change while the worker runs: what is forgotten, and what is taken that must not be."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant

_RECONFIGURED: Final = ("tests/unit/test_reconfigured.py",)
_RELOAD: Final = ("tests/unit/test_reload.py",)

SETTINGS: Final = (
    Mutant(
        "settings_that_need_a_restart_are_taken",
        "worker/settings_change.py",
        "in_force = after.model_copy(update=kept) if kept else after",
        "in_force = after",
        ("tests/unit/test_settings_change.py",),
    ),
    Mutant(
        "a_rotation_under_mistaken_settings_is_forgotten",
        "worker/reload.py",
        "self._refuse(loaded.mistakes)\n            return",
        "self._refuse(loaded.mistakes)\n            self._in_force = seen\n            return",
        _RELOAD,
    ),
    Mutant(
        "rooms_that_fell_over_keep_half_of_the_new_settings",
        "worker/reload.py",
        "            self._configure(self._settings, rotated=())\n",
        "            pass\n",
        _RELOAD,
    ),
    Mutant(
        "a_file_is_read_while_it_is_written",
        "worker/reload.py",
        "            await self._settled(seen)\n",
        "            pass\n",
        _RELOAD,
    ),
    Mutant(
        "a_file_is_not_looked_at_again_after_it_was_read",
        "worker/reload.py",
        "            if all_seen and await self._look() == seen:\n",
        "            if all_seen:\n",
        _RELOAD,
    ),
    Mutant(
        "a_file_written_twice_in_one_tick_is_known",
        "worker/watched_files.py",
        "if known is not None and known.signs == signs and not known.is_fresh:",
        "if known is not None and known.signs[:5] == signs[:5]:",
        ("tests/unit/test_watched_files.py",),
    ),
    Mutant(
        "queued_events_keep_the_gates_of_their_old_account",
        "worker/arrivals.py",
        "        self._lanes.reassign(self._placed)\n",
        "        pass\n",
        _RECONFIGURED,
    ),
    Mutant(
        "lanes_are_not_looked_at_when_their_gates_change",
        "worker/lanes/lanes.py",
        "            if moved:\n                self._ready.hold(lane)",
        "            if False:\n                self._ready.hold(lane)",
        ("tests/unit/lanes/test_lanes_schedules.py", *_RECONFIGURED),
    ),
    Mutant(
        "a_pause_leaves_what_is_queued",
        "worker/arrivals.py",
        "for entry in [entry for entry in self._lanes if self._paused(entry.gates)]:",
        "for entry in []:",
        _RECONFIGURED,
    ),
    Mutant(
        "nobody_hears_of_a_larger_bound",
        "worker/lanes/gates.py",
        "            if self._most.get(name, math.inf) > bound:\n                self._turn(name)\n",
        "            pass\n",
        ("tests/unit/lanes/test_bound_gates.py",),
    ),
    Mutant(
        "parked_events_keep_the_old_times",
        "worker/parked/room.py",
        "        if late_s or give_up_s:\n",
        "        if False:\n",
        _RECONFIGURED,
    ),
    Mutant(
        "shorter_times_forget_intents_of_calls_under_way",
        "worker/intake/intents.py",
        "self.keep_s = max(self.keep_s, keep_s)",
        "self.keep_s = keep_s",
        _RECONFIGURED,
    ),
    Mutant(
        "a_result_names_the_account_its_store_has_by_then",
        "worker/handling.py",
        "return delivery.tried_with or self._account_now(delivery)",
        "return self._account_now(delivery)",
        _RECONFIGURED,
    ),
)
