"""What is searched: three records of one order, and what Walmart must show in the end."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from schemas.events import ORDER_CANCELLED_TYPE, ORDER_SHIPPED_TYPE
from schemas.walmart.order import Order, OrderLine
from tests.explore.timing import BASE, CANCELLED, SHIPPED, STORE, TOPICS, at
from worker.delivery import Delivery, Record
from worker.intake.decode import Decoder
from worker.settings import TopicSettings
from worker.sync.belief import has_items

PO: Final = "1796277083022"
FIRST, SECOND = "1Z999AA10123456784", "1Z999AA10123456785"
_DECODER: Final = Decoder(TopicSettings())


@dataclass(frozen=True)
class Story:
    """One scenario. Quantities are units of the order's one line."""

    name: str
    about: str
    records: tuple[Record, ...]
    ordered: int
    charged: dict[str, int]
    """Number -> units that the events say; also what Walmart shows in the end."""
    cancelled: int
    """Units that the events leave to be cancelled; also what Walmart shows in the end."""
    faults: int = 2
    """How many are searched, unless told otherwise."""
    parks: int = 0
    """How often a worker may park or evict an event of its own accord."""
    lags: bool = True
    late: frozenset[int] = field(default_factory=frozenset)
    """Records that are published at any time before the settle time of the cancel is over."""

    def order(self) -> Order:
        """As Walmart has it in the beginning."""
        line = OrderLine("1", "A", self.ordered, acknowledged=self.ordered)
        return Order(PO, (line,), int(at(-100) * 1000), "Standard", "SellerFulfilled")

    def decoded(self, record: int) -> Delivery:
        """By the product's own decoder."""
        delivery = _DECODER.decode(self.records[record], now=BASE, epoch=1)
        assert delivery.refusal is None, delivery.refusal
        return delivery

    @property
    def guards(self) -> bool:
        """A cancel has no items: it asks how far shipments have been read, and how old it is."""
        cancels = (self.decoded(record).event for record in self.topic_records(1))
        return any(cancel is not None and not has_items(cancel.data) for cancel in cancels)

    def topic_records(self, topic: int) -> tuple[int, ...]:
        """Indexes of the records of one input topic, by offset."""
        return tuple(index for index, record in enumerate(self.records) if record.topic == TOPICS[topic])

    def where(self, record: int) -> tuple[int, int]:
        """Topic (0: shipped) and offset."""
        found = self.records[record]
        return TOPICS.index(found.topic), found.offset


def _iso(tick: int) -> str:
    return datetime.fromtimestamp(at(tick), UTC).isoformat()


def _ship(name: str, units: int, number: str, total: int | None = None) -> tuple[str, str, dict[str, Any]]:
    item = {"line_number": "1", "quantity": units, "tracking_total": total}
    package = {"carrier": {"code": "ups"}, "tracking_number": number, "items": [item]}
    data = {"shipment_id": name, "shipped_at": _iso(0), "packages": [package]}
    return ORDER_SHIPPED_TYPE, name, data


def _cancel(name: str, cancelled: int | None, shipped: int = 0) -> tuple[str, str, dict[str, Any]]:
    totals = [{"line_number": "1", "cancelled_total": cancelled, "shipped_total": shipped}]
    data = {
        "cancelled_at": _iso(0),
        "reason": {"text": "The item is out of stock"},
        "items": None if cancelled is None else totals,
    }
    return ORDER_CANCELLED_TYPE, name, data


def _records(*events: tuple[str, str, dict[str, Any]]) -> tuple[Record, ...]:
    ends = dict.fromkeys(TOPICS, 0)
    records = []
    for kind, name, data in events:
        topic = SHIPPED if kind == ORDER_SHIPPED_TYPE else CANCELLED
        envelope = {"specversion": "1.0", "id": name, "source": "/commerce", "type": kind, "time": _iso(0)}
        headers = tuple((f"ce_{key}", value.encode()) for key, value in envelope.items())
        body = {"store": STORE, "purchase_order_id": PO, "commerce_order_id": "000000123", **data}
        value = orjson.dumps(body)
        headers += (("content-type", b"application/json"),)
        records.append(Record(topic, 0, ends[topic], int(BASE * 1000), PO.encode(), value, headers))
        ends[topic] += 1
    return tuple(records)


_REPEATED: Final = _records(_ship("s1", 1, FIRST), _ship("s1", 1, FIRST), _cancel("c1", 2, 1))
_BOXES: Final = _records(_ship("s1", 1, FIRST, 1), _ship("s2", 1, FIRST, 2), _cancel("c1", 1, 2))
_GUARDED: Final = _records(_ship("s1", 1, FIRST), _ship("s2", 1, SECOND), _cancel("c1", None))
_TWO_CANCELS: Final = _records(_ship("s1", 1, FIRST), _cancel("c1", 1, 1), _cancel("c2", 2, 1))

SMALL: Final = Story(
    "small", "1 of 2 shipped, and a cancel of the rest with totals",
    _records(_ship("s1", 1, FIRST), _cancel("c1", 1, 1)), 2, {FIRST: 1}, 1,
)  # fmt: skip
"""For tests: two events, searched in seconds."""
SMALL_PARKED: Final = replace(
    SMALL,
    name="pair-parked",
    about="one shipment of 1 of 2 and a cancel of the rest with totals, and an event may be parked at any of its turns",
    parks=1,
    lags=False,
)
SMALL_GUARDED: Final = Story(
    "small-guarded", "1 of 2 shipped, still on its way to Kafka, and a cancel without items",
    _records(_ship("s1", 1, FIRST), _cancel("c1", None)), 2, {FIRST: 1}, 1, late=frozenset({0}),
)  # fmt: skip

STORIES: Final[dict[str, Story]] = {
    story.name: story
    for story in (
        Story(
            "repeat",
            "1 of 3 shipped without totals, the same event once more, and a cancel of the rest with totals",
            _REPEATED, 3, {FIRST: 1}, 2,
        ),
        Story(
            "box",
            "two shipments of 1 in the same box with totals, and a cancel of the rest with totals",
            _BOXES, 3, {FIRST: 2}, 1,
        ),
        Story(
            "guard",
            "two shipments, the second still on its way to Kafka, and a cancel without items",
            _GUARDED, 3, {FIRST: 1, SECOND: 1}, 1, late=frozenset({1}),
        ),
        Story(
            "totals",
            "1 of 3 shipped, and two cancels with totals, one after the other",
            _TWO_CANCELS, 3, {FIRST: 1}, 2,
        ),
        SMALL_PARKED,
        Story(
            "repeat-parked",
            "as `repeat`, and an event may be parked at any of its turns",
            _REPEATED, 3, {FIRST: 1}, 2, faults=1, parks=1, lags=False,
        ),
        Story(
            "box-parked",
            "as `box`, and an event may be parked at any of its turns",
            _BOXES, 3, {FIRST: 2}, 1, faults=1, parks=1, lags=False,
        ),
        Story(
            "guard-parked",
            "as `guard`, and an event may be parked at any of its turns",
            _GUARDED, 3, {FIRST: 1, SECOND: 1}, 1, faults=1, parks=1, lags=False, late=frozenset({1}),
        ),
    )
}  # fmt: skip
"""By name."""
