"""The CloudEvents attributes that name an event, and what can be told of an event that is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from schemas.base import Name, PurchaseOrderId, parse_time

MAX_ATTRIBUTE: Final = 300
"""Longest `id`, `source` and `type`, in characters: together they name an event and are the key of its dead letter."""

_NAME: Final[TypeAdapter[str]] = TypeAdapter(Name)
_PURCHASE_ORDER_ID: Final[TypeAdapter[str]] = TypeAdapter(PurchaseOrderId)


@dataclass(frozen=True, slots=True)
class Known:
    """Attributes and ids that were there and valid; None where not."""

    id: str | None = None
    source: str | None = None
    type: str | None = None
    time: datetime | None = None
    store: str | None = None
    purchase_order_id: str | None = None
    commerce_order_id: str | None = None
    shipment_id: str | None = None


def attribute_problem(name: str, value: Any) -> str | None:
    """What is wrong with an `id`, `source` or `type`; None if nothing is."""
    if value is None:
        return "missing"
    if not isinstance(value, str):
        return "must be a text"
    if not value.strip():
        return "must not be empty"
    if len(value) > MAX_ATTRIBUTE:
        return f"must have at most {MAX_ATTRIBUTE} characters, has {len(value)}"
    if not value.isprintable():
        return "must not contain control or invisible characters"
    if name == "source" and "|" in value:
        return "must not contain | (write %7C): it parts source and id in an event's identity"
    return None


def known_of(attributes: Mapping[str, Any], data: Any) -> Known:
    """Everything that is there and valid, whatever else is wrong. Never raises."""
    return Known(
        id=_attribute("id", attributes),
        source=_attribute("source", attributes),
        type=_attribute("type", attributes),
        time=_time(attributes.get("time")),
        store=_valid(_NAME, data, "store"),
        purchase_order_id=_valid(_PURCHASE_ORDER_ID, data, "purchase_order_id"),
        commerce_order_id=_valid(_NAME, data, "commerce_order_id"),
        shipment_id=_valid(_NAME, data, "shipment_id"),
    )


def _attribute(name: str, attributes: Mapping[str, Any]) -> str | None:
    value = attributes.get(name)
    return value if attribute_problem(name, value) is None else None


def _time(value: Any) -> datetime | None:
    try:
        return parse_time(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _valid(adapter: TypeAdapter[str], data: Any, name: str) -> str | None:
    if not isinstance(data, dict):
        return None
    try:
        return adapter.validate_python(data.get(name))
    except ValidationError:
        return None
