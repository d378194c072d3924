"""Which unfinished events are meant, in which order, and how many of each. Pure."""

from __future__ import annotations

import heapq
import re
from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from schemas.base import parse_time
from worker.oncall.letters import UNFINISHED, Letter

_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
NO_CODE: Final = "(none)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A filter. Within one field any value will do, between fields all must fit; an empty field says nothing."""

    keys: frozenset[str] = frozenset()
    codes: frozenset[str] = frozenset()
    categories: frozenset[str] = frozenset()
    stores: frozenset[str] = frozenset()
    orders: frozenset[str] = frozenset()
    states: frozenset[str] = frozenset()
    """Empty: everything unfinished."""
    since: float | None = None
    """Epoch seconds: first seen then or later."""

    @property
    def narrows(self) -> bool:
        """True if anything but the state is asked for."""
        asked = (self.keys, self.codes, self.categories, self.stores, self.orders)
        return any(asked) or self.since is not None

    def matches(self, letter: Letter) -> bool:
        """True for what is meant."""
        about = letter.about
        return (
            letter.state in (self.states or UNFINISHED)
            and (not self.keys or letter.key in self.keys)
            and (not self.codes or about.code in self.codes)
            and (not self.categories or letter.category in self.categories)
            and (not self.stores or about.store in self.stores)
            and (not self.orders or about.order in self.orders)
            and (self.since is None or letter.first_seen >= self.since)
        )


def parse_since(text: str, now: float) -> float:
    """`90m`, `2h`, `1d` ago, or an RFC 3339 time with zone, as epoch seconds.

    Raises ValueError with a reason for people.
    """
    span = _SPAN.fullmatch(text.strip())
    if span is not None:
        return now - float(span[1]) * _SECONDS[span[2]]
    try:
        return parse_time(text.strip()).timestamp()
    except ValueError as error:
        raise ValueError(f'"{text}" is neither a span such as 90m, 2h or 1d nor a time: {error}') from None


def in_order(letters: Iterable[Letter]) -> list[Letter]:
    """Oldest first, but never against the source offsets of one order within a topic.

    That is the order in which they were meant to happen: Kafka's within a topic, first seen across topics.
    """
    queues: dict[tuple[object, ...], deque[Letter]] = defaultdict(deque)
    for letter in sorted(letters, key=lambda one: (one.about.offset or 0, one.place.offset)):
        about = letter.about
        # An event whose order is not known follows nobody.
        queues[about.order or ("alone", letter.place), about.topic, about.partition].append(letter)
    heads = [(queue[0].first_seen, number, queue) for number, queue in enumerate(queues.values())]
    heapq.heapify(heads)
    ordered: list[Letter] = []
    while heads:
        _, number, queue = heapq.heappop(heads)
        ordered.append(queue.popleft())
        if queue:
            heapq.heappush(heads, (queue[0].first_seen, number, queue))
    return ordered


def counts_by_code(letters: Iterable[Letter]) -> list[tuple[str, int]]:
    """How many of each error code, most first."""
    counts = Counter(letter.about.code or NO_CODE for letter in letters)
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
