"""Cancels without items: what they wait for."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant

_TESTS: Final = ("tests/unit/test_guard.py",)

GUARD: Final = (
    Mutant(
        "the_barrier_is_not_waited_for",
        "worker/guard.py",
        "if not await self._intake.read_past(record.partition, delivery.barrier):",
        "if False:",
        _TESTS,
    ),
    Mutant(
        "the_barrier_moves_on_with_each_look",
        "worker/guard.py",
        "if delivery.barrier is None:\n            delivery.barrier =",
        "if True:\n            delivery.barrier =",
        _TESTS,
    ),
    Mutant(
        "an_end_that_is_not_known_is_no_end",
        "worker/guard.py",
        'return Wait(_LOOK_AGAIN_S * 4, "Kafka could not be asked how far the shipments go")',
        "return Clear()",
        _TESTS,
    ),
    Mutant(
        "no_settle_time",
        "worker/guard.py",
        "settled_at = delivery.happened_at + self._settings.timing.settle_seconds",
        "settled_at = delivery.happened_at",
        _TESTS,
    ),
    Mutant(
        "shipments_in_memory_do_not_count",
        "worker/guard.py",
        "if self._in_memory(record, order):",
        "if False:",
        _TESTS,
    ),
    Mutant(
        "unfinished_shipments_in_the_room_do_not_count",
        "worker/guard.py",
        "        if row is not None:\n",
        "        if False:\n",
        _TESTS,
    ),
    Mutant(
        "the_order_is_not_looked_at_behind_the_barrier",
        "worker/guard.py",
        "return self._unsettled(record, order) or Clear()",
        "return Clear()",
        _TESTS,
    ),
    Mutant(
        "misplaced_keys_do_not_matter",
        "worker/guard.py",
        "if self._intake.misplaced_since(now - MISPLACED_FOR_S):",
        "if False:",
        _TESTS,
    ),
)
