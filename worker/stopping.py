"""Which queued events a clean stop still handles: those without which finished ones could not be committed. Pure.

Offsets are committed as a prefix, so an event that was finished ahead of a queued one would be read, and its order
asked for, once more after the restart.
"""

from __future__ import annotations

from itertools import groupby

from worker.delivery import Delivery
from worker.lanes.lanes import Lanes

Furthest = dict[tuple[str, int], int]
"""Per (topic, partition) the highest offset that is, or will be, finished."""


def note_furthest(furthest: Furthest, delivery: Delivery) -> None:
    """Note that a delivery will be finished. Replays have no offset to commit."""
    place = (delivery.record.topic, delivery.record.partition)
    if delivery.room_place is None:
        furthest[place] = max(furthest.get(place, -1), delivery.record.offset)


def to_finish(lanes: Lanes[Delivery], furthest: Furthest) -> set[Delivery]:
    """The queued deliveries that stand before a finished one of their partition, and those before them in their lane.

    An order keeps its order, so each one kept may call for more. Changes `furthest`.
    """
    kept: set[Delivery] = set()
    grew = True
    while grew:
        grew = False
        for _, entries in groupby(lanes, key=lambda entry: entry.lane):
            needed = False
            for entry in reversed([entry.item for entry in entries if not entry.running]):
                place = (entry.record.topic, entry.record.partition)
                needed = needed or (entry.room_place is None and entry.record.offset < furthest.get(place, -1))
                if needed and entry not in kept:
                    kept.add(entry)
                    note_furthest(furthest, entry)
                    grew = True
    return kept
