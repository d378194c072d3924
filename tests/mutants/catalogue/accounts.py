"""Many accounts: tokens a few at a time and spread, nothing kept of the idle, waits told by what they were."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant

_TOKEN: Final = ("tests/unit/walmart/test_account_token.py",)
_SLOTS: Final = ("tests/unit/walmart/test_token_slots.py",)
_ACCOUNTS: Final = ("tests/unit/walmart/test_accounts.py",)
_WAITS: Final = ("tests/unit/test_waits.py", "tests/unit/test_handling.py")

ACCOUNTS: Final = (
    Mutant(
        "tokens_are_asked_for_all_at_once",
        "worker/walmart/token_slots.py",
        "        if self._taken < self._most:\n            self._taken += 1\n            return",
        "        if True:\n            self._taken += 1\n            return",
        _SLOTS,
    ),
    Mutant(
        "who_gives_up_in_the_step_of_getting_a_slot_keeps_it",
        "worker/walmart/token_slots.py",
        "                self.give()\n            raise",
        "                pass\n            raise",
        _SLOTS,
    ),
    Mutant(
        "accounts_that_failed_take_all_slots",
        "worker/walmart/token_slots.py",
        "max(1, self._most // 2)",
        "self._most",
        (*_SLOTS, *_TOKEN),
    ),
    Mutant(
        "the_wait_for_a_slot_is_time_of_the_request",
        "worker/walmart/token.py",
        "                await self._slots.take()",
        "                await asyncio.wait_for(self._slots.take(), self._timeout.total)",
        _TOKEN,
    ),
    Mutant(
        "all_tokens_are_renewed_in_the_same_moment_of_their_life",
        "worker/walmart/token.py",
        "self._random.uniform(_RENEW_FROM, _RENEW_TO)",
        "_RENEW_TO",
        _TOKEN,
    ),
    Mutant(
        "the_gate_opens_after_the_failure_was_reported",
        "worker/walmart/token.py",
        "            if awaited:\n                self._watch.token_settled(self._name)",
        "            if awaited:\n"
        "                asyncio.get_running_loop().call_soon(self._watch.token_settled, self._name)",
        _TOKEN,
    ),
    Mutant(
        "an_account_with_a_good_token_is_forgotten",
        "worker/walmart/token.py",
        "return unused and self._flight is None and now >= self._ends_at",
        "return unused and self._flight is None",
        _TOKEN,
    ),
    Mutant(
        "a_client_keeps_the_key_of_other_settings",
        "worker/walmart/accounts.py",
        "if account is None or not is_same_client(before.accounts[name], account):",
        "if account is None:",
        _ACCOUNTS,
    ),
    Mutant(
        "waits_at_gates_are_counted_twice",
        "worker/waits.py",
        "        self.at_gates += seconds",
        "        pass",
        _WAITS,
    ),
)
