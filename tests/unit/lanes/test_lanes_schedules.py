"""Thousands of made-up lives of some lanes, each step checked against the plain model."""

from __future__ import annotations

import pytest
from lanes_model import Schedule


@pytest.mark.parametrize("block", range(10))
def test_whatever_happens_each_turn_is_right_and_none_is_lost(block: int) -> None:
    """One at a time and in order, never behind a gate that does not admit it, never forgotten, never too late."""
    for seed in range(block * 30, block * 30 + 30):
        schedule = Schedule(seed)
        try:
            for _ in range(250):
                schedule.step()
            schedule.drain()
            schedule.finish()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
