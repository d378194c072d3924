"""What is told of a letter: one flat mapping for machines, and a few words for people. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from schemas.headerkinds import MAX_LINE
from schemas.scrub import one_line
from worker.oncall.letters import Letter
from worker.oncall.replay import Item

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))


def letter_told(letter: Letter) -> dict[str, Any]:
    """Everything we noted of it; nothing of the event itself."""
    about = letter.about
    return {
        "key": letter.key,
        "state": letter.state,
        "code": about.code,
        "category": letter.category,
        "owner": letter.owner,
        "action": letter.action,
        "reason": safe(about.reason),
        "store": about.store,
        "purchase_order_id": about.order,
        "shipment_id": about.shipment,
        "first_seen": time_text(letter.first_seen),
        "attempts": about.attempts,
        "confirmed": None if about.confirmed is None else [units._asdict() for units in about.confirmed],
        "paused_seconds": about.paused_seconds,
        "replay_number": about.replay_number,
        "by": safe(about.by),
        "why": safe(about.why),
        "result_id": about.result_id,
        "source": {"topic": about.topic, "partition": about.partition, "offset": about.offset},
        "place": {"partition": letter.place.partition, "offset": letter.place.offset},
        "bytes": letter.size,
        "replayable": letter.state == "dead" and letter.obstacle is None,
        "obstacle": letter.obstacle,
    }


def item_told(item: Item) -> dict[str, Any]:
    """What became of one replay."""
    result = item.result
    return {
        "key": item.key,
        "purchase_order_id": item.letter.about.order,
        "store": item.letter.about.store,
        "replay_number": item.number,
        "code_before": item.letter.about.code,
        "became": item.became,
        "asked_earlier": item.earlier,
        "status": None if result is None else result.status,
        "effect": None if result is None else result.effect,
        "walmart_status": None if result is None else result.walmart_status,
        "code": item.code,
        "note": item.note,
        "result_id": None if result is None else result.result_id,
    }


def safe(text: str | None) -> str | None:
    """A header's free text, scrubbed: a foreign record's was not scrubbed when it was written."""
    return None if text is None else one_line(text, MAX_LINE)


def time_text(epoch_s: float) -> str:
    """RFC 3339 in UTC, whole seconds."""
    return datetime.fromtimestamp(int(epoch_s), UTC).isoformat().replace("+00:00", "Z")


def age_text(seconds: float) -> str:
    """Such as `3 h`: the largest unit that fits."""
    for size, name in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {name}"
    return f"{max(0, int(seconds))} s"
