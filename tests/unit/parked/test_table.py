"""The table of unfinished events: own writes are seen at once, and what the tail reads late never undoes them."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st
from parked_world import CANCELLED, NOW, row

from worker.delivery import Place
from worker.parked.table import Table
from worker.parked.unfinished import Unfinished


def wrote(table: Table, key: str, made: Unfinished | None, offset: int) -> None:
    table.wrote(key, made, Place(0, offset), NOW)


def read(table: Table, key: str, made: Unfinished | None, offset: int) -> bool:
    return table.read(key, made, Place(0, offset), NOW)


def test_own_writes_are_seen_at_once() -> None:
    table = Table()
    wrote(table, "k", row("k", 7), 7)
    assert table.get(0, "k") == row("k", 7)
    assert table.counts["dead", "carrier_unmapped"] == 1


def test_the_tail_reading_late_does_not_bring_back_what_is_settled() -> None:
    table = Table()
    wrote(table, "k", row("k", 7), 7)
    wrote(table, "k", None, 9)
    assert not read(table, "k", row("k", 7), 7)
    assert table.get(0, "k") is None
    assert not read(table, "k", None, 9), "known already"
    assert read(table, "k", row("k", 12), 12), "what came after our own write counts again"


def test_an_acknowledgement_that_comes_late_does_not_undo_what_was_read_meanwhile() -> None:
    """The tail has read our write and somebody's tombstone behind it before we learn where our write lies."""
    table = Table()
    read(table, "k", row("k", 7), 7)
    read(table, "k", None, 8)
    wrote(table, "k", row("k", 7), 7)
    assert table.get(0, "k") is None
    assert table.counts == {}


def test_of_two_writes_acknowledged_out_of_order_the_later_one_counts() -> None:
    table = Table()
    wrote(table, "k", None, 9)
    wrote(table, "k", row("k", 7), 7)
    assert table.get(0, "k") is None


def test_reading_the_same_records_once_more_changes_nothing() -> None:
    table = Table()
    read(table, "k", row("k", 1), 1)
    read(table, "k", None, 2)
    assert not read(table, "k", row("k", 1), 1)
    assert table.get(0, "k") is None


def test_rows_are_found_by_order_oldest_first() -> None:
    table = Table()
    for offset, key in ((2, "a"), (5, "b")):
        read(table, key, row(key, offset), offset)
    read(table, "c", row("c", 6, order="other"), 6)
    read(table, "d", row("d", 7, "waiting"), 7)
    assert [one.key for one in table.of_order("PO")] == ["a", "b", "d"]


def test_everything_is_forgotten_before_it_is_read_afresh() -> None:
    table = Table()
    read(table, "a", row("a", 1), 1)
    read(table, "b", row("b", 2, "waiting"), 2)
    table.clear()
    assert list(table) == []
    assert (table.counts, table.waiting.parked, table.of_order("PO")) == ({}, 0, [])
    assert read(table, "a", row("a", 1), 1)


class TestUnfinishedShipments:
    def test_dead_waiting_and_replayed_ones_are_found_by_order(self) -> None:
        for state in ("dead", "waiting", "replay"):
            table = Table()
            read(table, "k", row("k", 1, state), 1)
            found = table.unfinished_shipment("PO", None)
            assert found is not None
            assert found.state == state
            assert table.unfinished_shipment("other", None) is None

    def test_one_that_names_no_order_is_found_by_its_record_key(self) -> None:
        table = Table()
        read(table, "k", row("k", 1, order=None, key=b"PO"), 1)
        assert table.unfinished_shipment("PO", b"PO") is not None
        assert table.unfinished_shipment("PO", None) is not None, "producers use the order id as key"
        assert table.unfinished_shipment("other", b"other") is None
        read(table, "k", None, 2)
        assert table.unfinished_shipment("PO", b"PO") is None

    def test_cancels_and_markers_are_none(self) -> None:
        table = Table()
        for offset, state in enumerate(("dead", "waiting", "replay", "corrected")):
            read(table, state, row(state, offset, state, topic=CANCELLED), offset)
        assert table.unfinished_shipment("PO", b"PO") is None


@given(st.integers(0, 2**32), st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=40))
def test_own_writes_and_the_tail_end_in_what_the_log_says(seed: int, writes: list[tuple[str, bool]]) -> None:
    """However far the tail lags behind our own writes, the end is the last record of each key."""
    draw = random.Random(seed)
    table = Table()
    log: list[tuple[str, bool]] = []
    place = 0
    last: dict[str, int | None] = {}
    for key, alive in writes:
        offset = len(log)
        log.append((key, alive))
        last[key] = offset if alive else None
        wrote(table, key, row(key, offset) if alive else None, offset)
        while place < len(log) and draw.random() < 0.5:
            key_read, alive_read = log[place]
            read(table, key_read, row(key_read, place) if alive_read else None, place)
            place += 1
        for known, newest in last.items():
            found = table.get(0, known)
            assert (found.offset if found else None) == newest
    assert sum(table.counts.values()) == len(table)


@given(st.randoms(use_true_random=False), st.integers(1, 60))
def test_two_writers_late_tombstones_and_re_reads_end_in_what_the_log_says(draw: random.Random, steps: int) -> None:
    """Ours are acknowledged late, theirs (a zombie's) are only read, and now and then everything is read afresh.

    Once all is acknowledged and read, the table holds the newest record of each key, whatever the interleaving.
    """
    table = Table()
    log: list[tuple[str, str | None]] = []
    unacknowledged: list[int] = []
    place = 0
    for _ in range(steps):
        match draw.randrange(6):
            case 0 | 1:  # a write of either: a row or a tombstone
                log.append((draw.choice("abc"), draw.choice(("waiting", "dead", "replay", None, None))))
                if draw.random() < 0.6:
                    unacknowledged.append(len(log) - 1)
            case 2 if unacknowledged:
                offset = unacknowledged.pop(draw.randrange(len(unacknowledged)))
                key, state = log[offset]
                wrote(table, key, row(key, offset, state) if state else None, offset)
            case 3 if draw.random() < 0.2:
                table.clear()
                place = 0
            case _ if place < len(log):
                key, state = log[place]
                read(table, key, row(key, place, state) if state else None, place)
                place += 1
    for offset in unacknowledged:
        key, state = log[offset]
        wrote(table, key, row(key, offset, state) if state else None, offset)
    for offset in range(place, len(log)):
        key, state = log[offset]
        read(table, key, row(key, offset, state) if state else None, offset)
    newest = {key: offset for offset, (key, _) in enumerate(log)}
    expected = {key: (log[offset][1], offset) for key, offset in newest.items() if log[offset][1] is not None}
    assert {one.key: (one.state, one.offset) for one in table} == expected
    assert table.waiting.parked == sum(state == "waiting" for state, _ in expected.values())
    assert {one.key for one in table.of_order("PO")} == set(expected)
    assert sum(table.counts.values()) == len(expected)
