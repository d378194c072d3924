"""Do both topics' partitions of a number lie with one worker? Pure.

The range assignor gives them to one member as long as the counts are equal. Unequal counts, or a foreign member with
another assignor, part them; then one order's shipments and cancels are with two workers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Pairing:
    """What of an assignment is read. A cancel must not run blind: without its shipped partner it is left in Kafka.

    Shipments are read on their own: they ask nothing of cancels. The waiting room's partition goes with the shipped
    one, so that two workers never run one parked event.
    """

    readable: frozenset[Place]
    unpaired: frozenset[int]
    """Numbers of which only one topic's partition is ours."""

    @property
    def numbers(self) -> frozenset[int]:
        """Partition numbers this worker answers for."""
        return frozenset(number for _, number in self.readable)


def pair(assigned: Iterable[Place], *, shipped: str, cancelled: str) -> Pairing:
    """Sort an assignment."""
    places = frozenset(assigned)
    ours = {topic: {number for one, number in places if one == topic} for topic in (shipped, cancelled)}
    return Pairing(
        readable=frozenset(place for place in places if place[0] != cancelled or place[1] in ours[shipped]),
        unpaired=frozenset(ours[shipped] ^ ours[cancelled]),
    )
