"""The AsyncAPI 3.0 document: channels, operations, messages and examples, with Kafka bindings 0.5.0."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import schemas.generators.shapes as shapes
from schemas.events import ORDER_CANCELLED_TYPE, ORDER_SHIPPED_TYPE
from schemas.results import SYNC_RESULT_TYPE

Json = dict[str, Any]
EXAMPLES: Final = Path(__file__).parent.parent / "examples"
BINDING: Final = "0.5.0"
_KEY: Final[Json] = {"type": "string", "description": "the purchase order id: one order stays in one partition"}
_STRUCTURED: Final = "application/cloudevents+json"


def document() -> Json:
    """The whole document, examples inlined."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "order-sync",
            "version": "1.0.0",
            "description": "Order shipped and order cancelled events in, Walmart Marketplace updated, one sync result"
            " per event out. Events are CloudEvents 1.0 (Kafka binding, binary or structured mode);"
            " results are written in binary mode. See schemas/README.md.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
            "tags": [{"name": "walmart"}, {"name": "commerce"}],
        },
        "id": "urn:order-sync:contract",
        "defaultContentType": "application/json",
        "channels": _channels(),
        "operations": _operations(),
        "components": {"messages": _messages(), "schemas": _schemas()},
    }


def _channels() -> Json:
    deleted = {"cleanup.policy": ["delete"]}
    return {
        "orderShipped": _channel(
            "commerce.order-shipped.v1", "Shipments of orders.", ["orderShipped", "orderShippedStructured"], deleted
        ),
        "orderCancelled": _channel(
            "commerce.order-cancelled.v1",
            "Cancellations of orders.",
            ["orderCancelled", "orderCancelledStructured"],
            deleted,
        ),
        "syncResult": _channel("walmart.sync-result.v1", "What became of every event.", ["syncResult"], deleted),
        "deadLetter": _channel(
            "walmart.dead-letter.v1",
            "Unfinished events, kept byte for byte; a record without a value means settled. Written to the partition"
            " number the event came from.",
            ["deadLetter"],
            {"cleanup.policy": ["compact"]},
        ),
    }


def _channel(address: str, description: str, messages: list[str], configuration: Json) -> Json:
    return {
        "address": address,
        "description": f"{description} The name is a default; deployments may choose another.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {"kafka": {"topic": address, "topicConfiguration": configuration, "bindingVersion": BINDING}},
    }


def _operations() -> Json:
    return {
        "receiveOrderShipped": _operation("receive", "orderShipped", "Make Walmart show the shipment."),
        "receiveOrderCancelled": _operation("receive", "orderCancelled", "Make Walmart show the cancellation."),
        "sendSyncResult": _operation("send", "syncResult", "Tell what became of an event."),
        "sendDeadLetter": _operation("send", "deadLetter", "Keep an event that is not finished."),
        "receiveDeadLetter": _operation("receive", "deadLetter", "Take unfinished events up again."),
    }


def _operation(action: str, channel: str, summary: str) -> Json:
    kafka: Json = {"bindingVersion": BINDING}
    if action == "receive" and channel != "deadLetter":
        kafka["groupId"] = {"type": "string", "description": "kafka.group_id of the settings", "default": "order-sync"}
    kafka["clientId"] = {"type": "string", "description": "kafka.client_id of the settings", "default": "order-sync"}
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": summary,
        "bindings": {"kafka": kafka},
    }


def _messages() -> Json:
    return {
        **_event("orderShipped", ORDER_SHIPPED_TYPE, "order-shipped", "OrderShipped"),
        **_event("orderCancelled", ORDER_CANCELLED_TYPE, "order-cancelled", "OrderCancelled"),
        "syncResult": _message(
            SYNC_RESULT_TYPE,
            "What became of one event",
            shapes.cloudevent_headers(SYNC_RESULT_TYPE),
            {"$ref": "#/components/schemas/SyncResult"},
            [_binary(name, event) for name, event in _examples("sync-result")],
        ),
        "deadLetter": _message(
            shapes.DEAD_LETTER_HEADERS,
            "An unfinished event: its original value and headers, and order-sync's own headers",
            {"$ref": "#/components/schemas/DeadLetterHeaders"},
            {"description": "the original value, whatever it is; absent: settled"},
            [
                {"name": name, "headers": record["headers"], "payload": record["value"]}
                for name, record in _examples("dead-letter")
            ],
            key={"type": "string", "description": "topic|source|id of the event, or topic/partition/offset"},
        ),
    }


def _event(name: str, event_type: str, files: str, schema: str) -> Json:
    payload = {"$ref": f"#/components/schemas/{schema}"}
    examples = _examples(files)
    return {
        name: _message(
            event_type,
            "Binary mode: attributes in headers, the value is the data",
            shapes.cloudevent_headers(event_type),
            payload,
            [_binary(title, event) for title, event in examples],
        ),
        f"{name}Structured": _message(
            f"{event_type}.structured",
            "Structured mode: the value is the whole CloudEvent",
            {
                "type": "object",
                "properties": {"content-type": {"type": "string", "description": _STRUCTURED}},
                "required": ["content-type"],
            },
            shapes.structured(event_type, payload),
            [
                {"name": title, "headers": {"content-type": _STRUCTURED}, "payload": event}
                for title, event in examples[:1]
            ],
            content_type=_STRUCTURED,
        ),
    }


def _message(
    name: str,
    summary: str,
    headers: Json,
    payload: Json,
    examples: list[Json],
    *,
    key: Json = _KEY,
    content_type: str = "application/json",
) -> Json:
    return {
        "name": name,
        "title": name,
        "summary": summary,
        "contentType": content_type,
        "headers": headers,
        "payload": payload,
        "bindings": {"kafka": {"key": key, "bindingVersion": BINDING}},
        "examples": examples,
    }


def _examples(files: str) -> list[tuple[str, Json]]:
    return [
        (path.stem, json.loads(path.read_text(encoding="utf-8"))) for path in sorted(EXAMPLES.glob(f"{files}*.json"))
    ]


def _binary(name: str, event: Json) -> Json:
    headers = {f"ce_{key}": value for key, value in event.items() if key not in ("data", "datacontenttype")}
    return {"name": name, "headers": {**headers, "content-type": "application/json"}, "payload": event["data"]}


def _schemas() -> Json:
    """All models in one place: a `$ref` of AsyncAPI counts from the document's root, not from the payload."""
    models: Json = {"DeadLetterHeaders": shapes.dead_letter_headers()}
    for name, title in (
        (ORDER_SHIPPED_TYPE, "OrderShipped"),
        (ORDER_CANCELLED_TYPE, "OrderCancelled"),
        (SYNC_RESULT_TYPE, "SyncResult"),
    ):
        schema = shapes.SHAPES[name]()
        models.update(schema.pop("$defs", {}))
        models[title] = schema
    rerooted: Json = _rerooted(models)
    return rerooted


def _rerooted(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_rerooted(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: value.replace("#/$defs/", "#/components/schemas/") if key == "$ref" else _rerooted(value)
        for key, value in schema.items()
    }
