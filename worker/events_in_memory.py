"""The events in memory, for people: what `/events` tells and `order-sync explain --worker` prints."""

from __future__ import annotations

from typing import Any

from worker.delivery import Delivery
from worker.lanes.lanes import Entry


def is_named(delivery: Delivery, text: str) -> bool:
    """True if the text is the event's id, `source|id`, key, order or coordinates."""
    envelope = delivery.envelope
    return text in (
        envelope.id,
        f"{envelope.source}|{envelope.id}",
        delivery.key,
        envelope.order,
        delivery.record.coordinates,
    )


def told(entry: Entry[Delivery]) -> dict[str, Any]:
    """One event as JSON values. Times are epoch seconds."""
    delivery = entry.item
    record, again = delivery.record, delivery.last_again
    return {
        "key": delivery.key,
        "order": delivery.envelope.order,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "received_at": delivery.received_at,
        "state": "running" if entry.running else "waiting",
        "code": None if again is None else again.failure.code,
        "reason": None if again is None else again.failure.message,
        "ready_at": entry.ready_at or None,
        "gates": list(entry.gates),
        "story": [[at, what] for at, what in delivery.progress.story.steps()],
    }
