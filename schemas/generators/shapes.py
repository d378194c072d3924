"""JSON Schemas (draft 2020-12) of everything that lies in a Kafka value or header."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode

from schemas.attributes import MAX_ATTRIBUTE
from schemas.deadletter import HEADERS, State
from schemas.events import ORDER_CANCELLED_TYPE, ORDER_SHIPPED_TYPE, OrderCancelled, OrderShipped
from schemas.results import SYNC_RESULT_TYPE, SyncResult

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
DEAD_LETTER_HEADERS: Final = "order-sync.dead-letter-headers.v1"
Json = dict[str, Any]


def schema_of(model: type[BaseModel], mode: JsonSchemaMode) -> Json:
    """The model's schema, without the titles pydantic makes up from field names."""
    schema: Json = _without_titles(model.model_json_schema(mode=mode))
    return schema


def dead_letter_headers() -> Json:
    """Headers of ours on a dead-letter record, as an object of texts."""
    properties: Json = {}
    for header in HEADERS:
        shape: Json = {"type": "string", "description": f"{header.meaning} ({header.kind.name})"}
        if header.attribute == "state":
            shape["enum"] = list(State.__args__)  # type: ignore[attr-defined]
        elif header.kind.name == "whole number":
            shape["pattern"] = "^[0-9]{1,19}$"
        elif header.kind.name == "`true`":
            shape["const"] = "true"
        properties[header.name] = shape
    return {
        "title": "DeadLetterHeaders",
        "description": "order-sync's own headers of a dead-letter record; the original headers stand beside them.",
        "type": "object",
        "properties": properties,
        "required": ["order-sync-state"],
    }


def cloudevent_headers(event_type: str) -> Json:
    """Kafka headers of a CloudEvent in binary mode."""
    name: Json = {"type": "string", "minLength": 1, "maxLength": MAX_ATTRIBUTE}
    return {
        "type": "object",
        "properties": {
            "ce_specversion": {"type": "string", "const": "1.0", "description": "CloudEvents version"},
            "ce_id": {**name, "description": "unique per source, the same when the event is sent again"},
            "ce_source": {**name, "pattern": "^[^|]*$", "description": "who sends; a URI reference"},
            "ce_type": {"type": "string", "const": event_type, "description": "type and version of the data"},
            "ce_time": {
                "type": "string",
                "format": "date-time",
                "description": "when it happened; latency counts from it",
            },
            "content-type": {"type": "string", "description": "application/json"},
        },
        "required": ["ce_specversion", "ce_id", "ce_source", "ce_type"],
    }


def structured(event_type: str, data: Json) -> Json:
    """A whole CloudEvent in structured mode."""
    properties = {
        name.removeprefix("ce_"): shape
        for name, shape in cloudevent_headers(event_type)["properties"].items()
        if name.startswith("ce_")
    }
    properties["datacontenttype"] = {"type": "string", "description": "application/json, or absent"}
    return {
        "type": "object",
        "properties": {**properties, "data": data},
        "required": ["specversion", "id", "source", "type", "data"],
    }


SHAPES: Final[dict[str, Callable[[], Json]]] = {
    ORDER_SHIPPED_TYPE: lambda: schema_of(OrderShipped, "validation"),
    ORDER_CANCELLED_TYPE: lambda: schema_of(OrderCancelled, "validation"),
    SYNC_RESULT_TYPE: lambda: schema_of(SyncResult, "serialization"),
    DEAD_LETTER_HEADERS: dead_letter_headers,
}
"""Name of a shape -> its schema. Events and results: their `data`."""


def file_of(name: str) -> Json:
    """The schema as a file of its own."""
    return {"$schema": DRAFT, "$id": f"urn:order-sync:schema:{name}", **SHAPES[name]()}


def _without_titles(schema: Any, *, named: bool = False) -> Any:
    """`named`: the keys of this object are names of fields or models, so a `title` among them is one too."""
    if isinstance(schema, list):
        return [_without_titles(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _without_titles(value, named=not named and key in ("properties", "$defs"))
        for key, value in schema.items()
        if named or key != "title"
    }
