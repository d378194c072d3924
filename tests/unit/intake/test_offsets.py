"""Offsets: only the contiguous prefix of finished records is ever committable."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from worker.intake.offsets import Offsets

PARTITION = ("t", 0)


def tracker(epoch: int = 1) -> Offsets:
    offsets = Offsets()
    offsets.assign({PARTITION}, epoch)
    return offsets


def test_nothing_is_committed_past_an_unfinished_record() -> None:
    """Committing the highest finished offset loses the ones below it on a restart."""
    offsets = tracker()
    for offset in (5, 6, 7):
        assert offsets.started("t", 0, offset, 0, epoch=1)
    assert not offsets.finished("t", 0, 7, epoch=1)
    assert offsets.to_commit() == {}
    offsets.finished("t", 0, 5, epoch=1)
    assert offsets.to_commit() == {PARTITION: 6}
    offsets.finished("t", 0, 6, epoch=1)
    assert offsets.to_commit() == {PARTITION: 8}


def test_gaps_in_the_offsets_do_not_matter() -> None:
    """Compaction and transaction markers leave holes."""
    offsets = tracker()
    for offset in (3, 10, 900):
        offsets.started("t", 0, offset, 0, epoch=1)
        offsets.finished("t", 0, offset, epoch=1)
    assert offsets.to_commit() == {PARTITION: 901}


def test_what_belongs_to_an_older_assignment_is_ignored() -> None:
    offsets = tracker(epoch=1)
    offsets.started("t", 0, 5, 0, epoch=1)
    offsets.assign({PARTITION}, 2)
    assert not offsets.finished("t", 0, 5, epoch=1)
    assert not offsets.started("t", 0, 6, 0, epoch=1)
    assert offsets.to_commit() == {}


def test_a_late_finish_of_an_older_assignment_commits_nothing() -> None:
    """The record came back and is being handled anew: only that handling may finish it."""
    offsets = tracker(epoch=1)
    offsets.started("t", 0, 5, 0, epoch=1)
    offsets.assign({PARTITION}, 2)
    offsets.started("t", 0, 5, 0, epoch=2)
    assert not offsets.finished("t", 0, 5, epoch=1)
    assert offsets.to_commit() == {}
    assert offsets.finished("t", 0, 5, epoch=2)


def test_a_record_read_twice_is_taken_once() -> None:
    offsets = tracker()
    assert offsets.started("t", 0, 5, 0, epoch=1)
    assert not offsets.started("t", 0, 5, 0, epoch=1)
    offsets.finished("t", 0, 5, epoch=1)
    assert not offsets.started("t", 0, 5, 0, epoch=1)


def test_committed_offsets_are_not_due_again() -> None:
    offsets = tracker()
    offsets.started("t", 0, 5, 77, epoch=1)
    assert offsets.oldest_ms("t", 0) == 77
    offsets.finished("t", 0, 5, epoch=1)
    due = offsets.to_commit()
    offsets.committed(due)
    assert offsets.to_commit() == {}
    assert offsets.oldest_ms("t", 0) is None


@given(st.integers(0, 2**32), st.lists(st.integers(1, 5), min_size=1, max_size=60))
def test_any_order_of_finishing_commits_exactly_the_finished_prefix(seed: int, gaps: list[int]) -> None:
    offsets = tracker()
    order = []
    position = 0
    for gap in gaps:
        position += gap
        order.append(position)
        offsets.started("t", 0, position, 0, epoch=1)
    shuffled = order[:]
    random.Random(seed).shuffle(shuffled)
    finished: set[int] = set()
    for offset in shuffled:
        offsets.finished("t", 0, offset, epoch=1)
        finished.add(offset)
        committable = offsets.to_commit().get(PARTITION, 0)
        assert all(one in finished for one in order if one < committable)
        unfinished = [one for one in order if one not in finished]
        assert committable <= min(unfinished, default=committable)
    assert offsets.to_commit() == {PARTITION: order[-1] + 1}
    assert offsets.unfinished("t", 0) == 0
