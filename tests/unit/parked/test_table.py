"""The table of unfinished events: own writes are seen at once, and what the tail reads late never undoes them."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from worker.delivery import Place
from worker.parked.table import State, Table, Unfinished


def row(key: str, offset: int, state: State = "dead", order: str = "PO", partition: int = 0) -> Unfinished:
    return Unfinished(
        key=key,
        state=state,
        place=Place(partition, offset),
        code="carrier_unmapped",
        order=order,
        store="s",
        shipment=None,
        digest=0,
        replay_number=0,
        event_time=0.0,
        written_at=0.0,
    )


def test_own_writes_are_seen_at_once() -> None:
    table = Table()
    table.wrote("k", row("k", 7), Place(0, 7))
    assert table.get("k") == row("k", 7)
    assert table.counts["dead", "carrier_unmapped"] == 1


def test_the_tail_reading_late_does_not_bring_back_what_is_settled() -> None:
    table = Table()
    table.wrote("k", row("k", 7), Place(0, 7))
    table.wrote("k", None, Place(0, 9))
    assert not table.read("k", row("k", 7), Place(0, 7))
    assert table.get("k") is None
    assert table.read("k", None, Place(0, 9))
    assert table.read("k", row("k", 12), Place(0, 12)), "what came after our own write counts again"


def test_rows_are_found_by_order_oldest_first() -> None:
    table = Table()
    for offset, key in ((5, "b"), (2, "a")):
        table.read(key, row(key, offset), Place(0, offset))
    table.read("c", row("c", 1, order="other"), Place(0, 1))
    assert [one.key for one in table.of_order("PO")] == ["a", "b"]


def test_partitions_given_away_are_forgotten() -> None:
    table = Table()
    table.read("a", row("a", 1, partition=0), Place(0, 1))
    table.read("b", row("b", 1, partition=1), Place(1, 1))
    table.forget(frozenset({0}))
    assert [one.key for one in table] == ["b"]
    assert table.counts["dead", "carrier_unmapped"] == 1


@given(st.integers(0, 2**32), st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=40))
def test_own_writes_and_the_tail_end_in_what_the_log_says(seed: int, writes: list[tuple[str, bool]]) -> None:
    """However far the tail lags behind our own writes, the end is the last record of each key."""
    draw = random.Random(seed)
    table = Table()
    log: list[tuple[str, bool]] = []
    read = 0
    last: dict[str, int | None] = {}
    for key, alive in writes:
        place = Place(0, len(log))
        log.append((key, alive))
        last[key] = place.offset if alive else None
        table.wrote(key, row(key, place.offset) if alive else None, place)
        while read < len(log) and draw.random() < 0.5:
            key_read, alive_read = log[read]
            table.read(key_read, row(key_read, read) if alive_read else None, Place(0, read))
            read += 1
        for known, offset in last.items():
            found = table.get(known)
            assert (found.place.offset if found else None) == offset
    assert sum(table.counts.values()) == len(table)
