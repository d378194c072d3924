"""Sample traffic: each file of `samples/` is one order, the events for it, and what they must end as."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import resources
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, model_validator

from schemas.events import ORDER_SHIPPED_TYPE
from schemas.results import SyncResult
from worker.sandbox.walmart.specs import FaultSpec, NewOrder

STORE = "sandbox"
SOURCE = "/order-sync/sandbox"
GARBAGE = b"\xff\xfe\x00{ this is no event"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Expectation(_Part):
    """What the final result must say. Absent fields are not looked at."""

    status: Literal["succeeded", "failed"]
    effect: str
    code: str | None = None
    walmart_status: str | None = None
    dead_letter: bool = False
    inventory: tuple[str, ...] = ()

    def differences(self, result: SyncResult) -> list[str]:
        """How the result differs, one line each; empty if it does not."""
        found = {
            "status": result.status,
            "effect": result.effect,
            "code": result.error.code if result.error else None,
            "walmart_status": result.walmart_status,
            "dead_letter": result.dead_letter is not None,
            "inventory": tuple(one.state for one in result.inventory),
        }
        wanted = self.model_dump()
        return [f"{name} is {found[name]}, not {wanted[name]}" for name in found if found[name] != wanted[name]]


class Step(_Part):
    """One event."""

    asks: str
    """What is asked, in words."""
    event: dict[str, Any] | None = None
    """`type` and `data`; order, store, ids and times are filled in."""
    special: Literal["repeat", "garbage"] | None = None
    """The event before it once more, or bytes that are no event."""
    expect: Expectation

    @model_validator(mode="after")
    def _one(self) -> Step:
        if (self.event is None) == (self.special is None):
            raise ValueError("give event or special")
        return self


class LineState(_Part):
    """What the simulated Walmart must show for one line at the end."""

    line_number: str
    open: int = 0
    cancelled: int = 0
    shipped: dict[str, int] = {}
    """Units by tracking number."""


class Sample(_Part):
    """One order and its events, one after another."""

    title: str
    order: NewOrder
    faults: tuple[FaultSpec, ...] = ()
    """Switched on for this order alone."""
    steps: tuple[Step, ...]
    walmart: tuple[LineState, ...]
    """At the end."""


def load_samples() -> dict[str, Sample]:
    """All samples by file name, in order."""
    folder = resources.files("worker.sandbox") / "samples"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".json")), key=lambda file: file.name)
    return {file.name.removesuffix(".json"): Sample.model_validate_json(file.read_bytes()) for file in files}


def make_event(step: Step, *, number: int, order: str, event_id: str) -> dict[str, Any]:
    """The whole CloudEvent of a step, structured."""
    assert step.event is not None
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    data: dict[str, Any] = {
        "store": STORE,
        "purchase_order_id": order,
        "commerce_order_id": f"{number:09d}",
        **orjson.loads(orjson.dumps(step.event["data"]).replace(b'"@now"', orjson.dumps(now))),
    }
    if step.event["type"] == ORDER_SHIPPED_TYPE:
        data.setdefault("shipment_id", event_id)
        data.setdefault("shipped_at", now)
    else:
        data.setdefault("cancelled_at", now)
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": SOURCE,
        "type": step.event["type"],
        "time": now,
        "datacontenttype": "application/json",
        "data": data,
    }
