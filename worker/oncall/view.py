"""An event as a person may see it: pretty, and without personal data unless asked for. Pure.

Shown are the contract's own fields only: a producer may send more than the contract knows, and nobody has said that
what it sends is fit to be seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

from pydantic import BaseModel

from schemas.events import EVENT_MODELS, Address
from schemas.jsontext import NotJson, parse
from schemas.scrub import one_line, scrub

HIDDEN: Final = "(hidden; --reveal shows it)"
_SHOWN_HEADERS: Final = ("content-type", "traceparent", "tracestate")
_ATTRIBUTES: Final = ("specversion", "id", "source", "type", "time", "datacontenttype", "subject", "traceparent")


@dataclass(frozen=True, slots=True)
class EventView:
    """What there is to show of an event."""

    attributes: dict[str, Any]
    """CloudEvents attributes, of either mode."""
    headers: dict[str, str]
    """The record's other headers."""
    data: Any
    """Decoded JSON; None where there is none."""
    note: str | None
    """Why there is no data."""


def view(headers: Sequence[tuple[str, bytes | None]], value: bytes | None, *, reveal: bool = False) -> EventView:
    """Read an event for showing. Never raises, whatever the bytes are."""
    attributes: dict[str, Any] = {}
    others: dict[str, str] = {}
    content_type = ""
    for name, raw in headers:
        lowered = name.lower()
        text = (raw or b"").decode("utf-8", "replace")
        content_type = text if lowered == "content-type" else content_type
        if lowered[:3] == "ce_":
            attributes[lowered[3:]] = _attribute(lowered[3:], text, reveal)
        else:
            shown = reveal or lowered in _SHOWN_HEADERS
            others[one_line(name, 100)] = one_line(text, 300) if shown else f"(hidden, {len(raw or b'')} bytes)"
    if not value:
        return EventView(attributes, others, None, "the record has no value")
    body = parse(value)
    if isinstance(body, NotJson):
        note = f"{body.message} ({len(value)} bytes; --raw writes them)"
        return EventView(attributes, others, value.decode("utf-8", "replace") if reveal else None, note)
    data = body
    if content_type.strip().lower().startswith("application/cloudevents") and isinstance(body, dict):
        attributes = {name: _attribute(name, part, reveal) for name, part in body.items() if name != "data"}
        data = body.get("data")
    if reveal:
        return EventView(attributes, others, data, None)
    model = EVENT_MODELS.get(str(attributes.get("type")))
    if model is None:
        return EventView(attributes, others, HIDDEN, "no type of ours, so it is not known what is personal in it")
    return EventView(attributes, others, mask(data, model), None)


def mask(value: Any, model: type[BaseModel]) -> Any:
    """A value of this model with addresses and unknown fields hidden, e-mails and secrets scrubbed."""
    if model is Address and value is not None:
        return HIDDEN
    if isinstance(value, list):
        return [mask(part, model) for part in value]
    if not isinstance(value, dict):
        return None if value is None else HIDDEN
    masked: dict[str, Any] = {}
    for name, part in value.items():
        field = model.model_fields.get(name)
        if field is None:
            masked[one_line(name, 100)] = HIDDEN
            continue
        inner = _model_in(field.annotation)
        masked[name] = _plain(part) if inner is None else mask(part, inner)
    return masked


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return scrub(value)
    return HIDDEN if isinstance(value, dict | list) else value


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model a field's type is about: inside `tuple[…, ...]`, `Annotated` and `| None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part)) is not None), None)


def _attribute(name: str, value: Any, reveal: bool) -> Any:
    if reveal or value is None:
        return value
    return one_line(str(value), 300) if name in _ATTRIBUTES else HIDDEN
