"""What commerce publishes: orders with histories, squeezed into the time in which things go wrong, and garbage."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from schemas.events import ORDER_CANCELLED_TYPE, OrderCancelled, OrderShipped
from tests.sim.cluster import START, Headers
from tests.unit.sync.simulated_commerce import Commerce, Totals
from worker.sandbox.walmart.specs import NewOrder

SHIPPED: Final = "commerce.order-shipped.v1"
CANCELLED: Final = "commerce.order-cancelled.v1"


@dataclass(frozen=True)
class Message:
    """One record that commerce publishes."""

    at: float
    """Seconds after the start."""
    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    identity: str
    """`topic|source|id`; empty where none can be read."""
    order: str
    what: str
    """For people."""
    misplaced: bool = False
    is_guarded: bool = False
    reused: bool = False
    """Another event with an identity that was used before."""


@dataclass
class OrderStory:
    """One order and what commerce does with it."""

    id: str
    store: str
    spec: NewOrder
    commerce: Commerce
    totals: Totals
    guarded_cancel: bool = False
    misplaced: bool = False
    judged_by_end: bool = True
    """Its end at Walmart must be what commerce says, if no event failed."""
    shipped_before: Counter[str] = field(default_factory=Counter)


def new_order(chance: random.Random, order_id: str, store: str) -> OrderStory:
    totals: Totals = chance.choice(("always", "always", "never", "never"))
    commerce = Commerce(chance, START, totals=totals, corrections=chance.random() < 0.4)
    spec = commerce.spec.model_copy(update={"purchase_order_id": order_id})
    return OrderStory(order_id, store, spec, commerce, totals)


def messages_of(chance: random.Random, order: OrderStory, quiet_at: float) -> list[Message]:
    """Its history in Kafka's order; times are squeezed into the time in which things go wrong."""
    first = chance.uniform(0.0, quiet_at * 0.7)
    gap = chance.choice((0.0, 0.3, 2.0, 8.0))
    at = first
    misplaced = order.misplaced = chance.random() < 0.03
    messages: list[Message] = []
    for said in order.commerce.said:
        at += 0.02 + gap * chance.uniform(0.2, 1.5)
        moment = datetime.fromtimestamp(START + at - 0.05, UTC)
        data = said.event.data
        update: dict[str, Any] = {"purchase_order_id": order.id, "store": order.store}
        if isinstance(data, OrderShipped):
            update["shipped_at"] = moment
        messages.append(
            _event(order, data.model_copy(update=update), said.event.type, said.event.id, moment, at, misplaced)
        )
    left = {place: order.commerce.left(place) for place in sorted(order.commerce.ordered)}
    if any(left.values()) and chance.random() < 0.25:
        at += 0.02 + gap * chance.uniform(0.2, 1.5)
        moment = datetime.fromtimestamp(START + at - 0.05, UTC)
        order.guarded_cancel = True
        order.shipped_before = Counter(order.commerce.shipped)
        for place, units in left.items():
            order.commerce.cancelled[place] += units
        cancel = OrderCancelled.model_validate(
            {
                "store": order.store,
                "purchase_order_id": order.id,
                "commerce_order_id": "000000123",
                "cancelled_at": moment.isoformat(),
                "reason": {"text": "Price or other listing errors"},
            }
        )
        messages.append(_event(order, cancel, ORDER_CANCELLED_TYPE, "cancel-rest", moment, at, misplaced, guarded=True))
    return messages


def _event(
    order: OrderStory,
    data: OrderShipped | OrderCancelled,
    kind: str,
    event_id: str,
    moment: datetime,
    at: float,
    misplaced: bool,
    *,
    guarded: bool = False,
) -> Message:
    topic = CANCELLED if isinstance(data, OrderCancelled) else SHIPPED
    event_id = f"{order.id}-{event_id}"
    headers = (
        ("ce_specversion", b"1.0"),
        ("ce_id", event_id.encode()),
        ("ce_source", b"/commerce"),
        ("ce_type", kind.encode()),
        ("ce_time", moment.isoformat().encode()),
        ("content-type", b"application/json"),
    )
    value = orjson.dumps(data.model_dump(mode="json", exclude_none=True))
    return Message(
        at, topic, order.id.encode(), value, headers, f"{topic}|/commerce|{event_id}", order.id,
        f"{event_id} {_told(data)}", misplaced, guarded,
    )  # fmt: skip


def _told(data: OrderShipped | OrderCancelled) -> str:
    if isinstance(data, OrderCancelled):
        items = "all that is open" if data.items is None else " ".join(
            f"{item.line_number or item.sku}:{item.cancelled_total}/{item.shipped_total}" for item in data.items
        )  # fmt: skip
        return f"cancels {items}"
    packages = []
    for package in data.packages:
        items = " ".join(
            f"{item.line_number or item.sku}:{item.quantity}({item.tracking_total})" for item in package.items or ()
        )
        was = f" was {package.replaces_tracking_number}" if package.replaces_tracking_number else ""
        packages.append(f"[{package.tracking_number}{was} {items}]")
    flat = " ".join(f"{item.line_number or item.sku}:{item.quantity}" for item in data.items or ())
    return f"ships {' '.join(packages)} {flat}".rstrip()


def garbage(chance: random.Random, quiet_at: float) -> list[Message]:
    """What is no event."""
    messages = []
    for number in range(chance.randint(0, 4)):
        topic = chance.choice((SHIPPED, CANCELLED))
        key: bytes | None = chance.choice((b"garbage", None, b"\xff\xfe", b"1815367000000"))
        value = chance.choice((b"{", None, b"", b"\x00\x01", b'{"a": 1}', b"[]" * 50))
        headers: Headers = chance.choice(((), (("order-sync-state", b"dead"), ("x", None))))
        named = chance.random() < 0.3
        identity = ""
        if named:
            headers = (*headers, ("ce_specversion", b"1.0"), ("ce_id", b"g%d" % number), ("ce_source", b"/g"),
                       ("ce_type", b"nobody.knows.v1"))  # fmt: skip
            identity = f"{topic}|/g|g{number}"
        at = chance.uniform(0, quiet_at * 0.8)
        messages.append(Message(at, topic, key, value, headers, identity, "", f"garbage {number}"))
    return messages


def repeated(chance: random.Random, messages: list[Message], quiet_at: float) -> list[Message]:
    """Repeats, and the odd identity used twice for different content."""
    more: list[Message] = []
    for message in messages:
        if chance.random() < 0.12:
            later = message.at + chance.choice((0.0, 0.5, 10.0, quiet_at * 0.5))
            if message.is_guarded:
                # A repeat of "cancel what is open" is the same again: nothing was shipped after it.
                later += 0.01
            more.append(Message(**{**_fields(message), "at": later, "what": message.what + " (repeat)"}))
        elif message.order and message.topic == SHIPPED and chance.random() < 0.01:
            later = message.at + chance.uniform(0.0, 5.0)
            value = b'{"reused": true}'
            more.append(
                Message(**{**_fields(message), "at": later, "value": value, "what": "identity reused", "reused": True})
            )
    return sorted([*messages, *more], key=lambda message: message.at)


def _fields(message: Message) -> dict[str, Any]:
    return {name: getattr(message, name) for name in Message.__dataclass_fields__}
