"""A clean stop: what is queued before something finished is still handled, in its order's order, and nothing else."""

from __future__ import annotations

from worker.delivery import Delivery, Envelope, Place, Record
from worker.lanes.lanes import Entry, Lanes
from worker.stopping import note_furthest, to_finish


def queued(offset: int, *, lane: str, topic: str = "t", place: Place | None = None) -> Delivery:
    record = Record(topic, 0, offset, 0, None, b"{}", ())
    return Delivery(record, None, Envelope(), None, f"{topic}/{offset}", lane, 0.0, room_place=place)


def lanes_of(*deliveries: Delivery) -> Lanes[Delivery]:
    lanes: Lanes[Delivery] = Lanes()
    for delivery in deliveries:
        lanes.add(Entry(delivery, delivery.lane))
    return lanes


def test_only_what_stands_before_a_finished_one_is_kept() -> None:
    """Offset 5 is finished: 3 would hold it back, 8 would not."""
    before, after = queued(3, lane="a"), queued(8, lane="b")
    assert to_finish(lanes_of(before, after), {("t", 0): 5}) == {before}
    assert to_finish(lanes_of(before, after), {}) == set()


def test_what_stands_before_it_in_its_lane_comes_first_and_calls_for_more() -> None:
    """An order keeps its order over both topics: the cancel before the shipment is kept, and what *it* would leave."""
    cancel, shipment = queued(9, lane="a", topic="cancels"), queued(3, lane="a")
    other, late = queued(7, lane="b", topic="cancels"), queued(10, lane="c", topic="cancels")
    kept = to_finish(lanes_of(cancel, shipment, other, late), {("t", 0): 5})
    assert kept == {shipment, cancel, other}


def test_what_runs_is_finished_anyway_and_replays_hold_no_offset() -> None:
    furthest: dict[tuple[str, int], int] = {}
    note_furthest(furthest, queued(6, lane="x"))
    note_furthest(furthest, queued(99, lane="y", place=Place(0, 1)))
    assert furthest == {("t", 0): 6}
    replay, before = queued(1, lane="a", place=Place(0, 1)), queued(2, lane="b")
    assert to_finish(lanes_of(replay, before), furthest) == {before}
