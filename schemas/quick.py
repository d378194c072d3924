"""Valid events read the short way: by pydantic's own core alone, with the rules over several fields looked at once.

The models in `schemas.events` tell a sender everything that is wrong, each rule at its field: that takes a Python step
at every level, before and after the fields. Nearly all events are valid, and need nothing told. So a reader that says
yes or nothing comes first; what it does not pass goes to the model, whose word alone counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import SchemaValidator

from schemas.events import (
    MAX_ITEMS_IN_ALL,
    ORDER_CANCELLED_TYPE,
    ORDER_SHIPPED_TYPE,
    CancelledItem,
    OrderCancelled,
    OrderShipped,
    ShippedItem,
)

M = TypeVar("M", bound=BaseModel)


class Quick(Generic[M]):
    """Reads what is surely a valid event of one kind."""

    def __init__(self, model: type[M], fits: Callable[[M], bool]) -> None:
        """`fits`: the rules over several fields; it may refuse too much, never too little."""
        # Prebuilt ones are the models' own validators, with all their steps.
        schema = _without_wraps(model.__pydantic_core_schema__)
        self._read = SchemaValidator(schema, _use_prebuilt=False).validate_python
        self._fits = fits

    def read(self, data: object) -> M | None:
        """The event; None: ask the model."""
        try:
            event: M = self._read(data)
        except ValidationError:
            return None
        return event if self._fits(event) else None


def _without_wraps(schema: Any) -> Any:
    """The core schema without `wrap` validators: ours are the rules over several fields, and only they are such."""
    if isinstance(schema, Mapping):
        if schema.get("type") == "function-wrap":
            return _without_wraps(schema["schema"])
        return {key: _without_wraps(value) for key, value in schema.items()}
    return [_without_wraps(value) for value in schema] if isinstance(schema, list) else schema


def _shipped_fits(event: OrderShipped) -> bool:
    items, all_of_them = event.items, 0
    for package in event.packages:
        carrier, own = package.carrier, package.items
        if (own is None) is (items is None) or (carrier.code is None and carrier.title is None):
            return False
        if own is not None:
            all_of_them += len(own)
            for item in own:
                if not _item_fits(item):
                    return False
    for item in items or ():
        if item.tracking_total is not None or not _item_fits(item):
            return False
    return all_of_them <= MAX_ITEMS_IN_ALL


def _item_fits(item: ShippedItem) -> bool:
    total = item.tracking_total
    return (item.line_number is None) is not (item.sku is None) and (total is None or total >= item.quantity)


def _cancelled_fits(event: OrderCancelled) -> bool:
    items = event.items or ()
    addresses = {(item.line_number, item.sku) for item in items}
    return len(addresses) == len(items) and all(map(_is_addressed_once, items))


def _is_addressed_once(item: CancelledItem) -> bool:
    return (item.line_number is None) is not (item.sku is None)


QUICK: Final[dict[str, Quick[OrderShipped] | Quick[OrderCancelled]]] = {
    ORDER_SHIPPED_TYPE: Quick(OrderShipped, _shipped_fits),
    ORDER_CANCELLED_TYPE: Quick(OrderCancelled, _cancelled_fits),
}
"""By the type of the event."""
