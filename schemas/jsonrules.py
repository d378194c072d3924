"""Rules over several fields, in JSON Schema's words: what the models check in code stands in the schema files too.

The one rule that JSON Schema cannot say is that a line or SKU stands only once in a cancellation's items.
"""

from __future__ import annotations

from typing import Any, Final

_TEXT: Final[dict[str, Any]] = {"type": "string"}
_NULL: Final[dict[str, Any]] = {"type": "null"}
_LIST: Final[dict[str, Any]] = {"type": "array"}


def _has(name: str, kind: dict[str, Any]) -> dict[str, Any]:
    return {"required": [name], "properties": {name: kind}}


EITHER_LINE_OR_SKU: Final[dict[str, Any]] = {"oneOf": [_has("line_number", _TEXT), _has("sku", _TEXT)]}
NAMED_CARRIER: Final[dict[str, Any]] = {"anyOf": [_has("code", _TEXT), _has("title", _TEXT)]}
ITEMS_IN_ONE_PLACE: Final[dict[str, Any]] = {
    "oneOf": [
        {
            "description": "items in every package",
            "properties": {"items": _NULL, "packages": {"items": _has("items", _LIST)}},
        },
        {
            "description": "items once, for the shipment",
            "required": ["items"],
            "properties": {
                "items": {"type": "array", "items": {"properties": {"tracking_total": _NULL}}},
                "packages": {"items": {"properties": {"items": _NULL}}},
            },
        },
    ]
}
