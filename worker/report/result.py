"""From a delivery and its outcome to the sync result. Pure.

A result is made as the plain values of its JSON: models would cost more than all the rest of the report. That what is
made fits `schemas.results.SyncResult`, to the letter, is a test's business (`tests/unit/report/test_result.py`).
"""

from __future__ import annotations

import hashlib
import uuid
from typing import Any, Final

import orjson

from schemas.results import SYNC_RESULT_SOURCE, SYNC_RESULT_TYPE, Effect, Operation, Status, WalmartStatus
from worker.clock import second_text
from worker.delivery import Delivery, Place
from worker.errors import Failure
from worker.outcome import Again, Verdict, Warned

Message = dict[str, Any]
"""A sync result: the JSON values of a `schemas.results.SyncResult`."""

_NAMESPACE: Final = uuid.UUID("7d0f3b52-9f0c-5b0e-8a52-3d0f6f1b6a01").bytes
MAX_LINES: Final = 2_000
"""Lines told in one result; a result must fit its topic whatever the event asked."""
MAX_WARNINGS: Final = 100
MAX_BYTES: Final = 1_000_000
"""Of a result's value: below Kafka's default limit of 1 MiB. One that never fits would hold its partition for ever."""
_CUT: Final = ("planned", "warnings", "inventory", "lines")
"""What is cut where it would not fit."""

_HEADERS: Final[tuple[tuple[str, bytes], ...]] = (
    ("ce_specversion", b"1.0"),
    ("ce_source", SYNC_RESULT_SOURCE.encode()),
    ("ce_type", SYNC_RESULT_TYPE.encode()),
    ("content-type", b"application/json"),
)


def result_id(key: str, replay_number: int, status: str, effect: str, code: str | None) -> str:
    """UUIDv5 of the event's identity, the replay number and the answer.

    A repeat of the same answer carries the same id, another answer another (product contract, section "sync result").
    """
    name = f"{key}\n{replay_number}\n{status}\n{effect}\n{code or ''}"
    # uuid.uuid5 takes three times as long; the format is RFC 9562's, section 5.5.
    digits = hashlib.sha1(_NAMESPACE + name.encode(), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


def of_verdict(
    delivery: Delivery, verdict: Verdict, *, account: str | None, now: float, dead_letter: Place | None, topic: str
) -> Message:
    """The final result. `dead_letter` is where it lies in `topic`, set exactly when one was written."""
    return _result(
        delivery,
        account=account,
        now=now,
        status=verdict.status,
        final=True,
        effect=verdict.effect,
        operation=verdict.operation,
        walmart_status=verdict.walmart_status,
        failure=verdict.failure,
        verdict=verdict,
        dead_letter=None
        if dead_letter is None
        else {
            "topic": topic,
            "partition": dead_letter.partition,
            "offset": dead_letter.offset,
            "key": delivery.key,
        },
    )


def of_retrying(delivery: Delivery, again: Again, *, account: str | None, now: float) -> Message:
    """The one result of an event that is not settled after the SLO time."""
    return _result(
        delivery,
        account=account,
        now=now,
        status="retrying",
        final=False,
        effect="partly_applied" if delivery.progress.applied else "none",
        operation=again.operation,
        walmart_status=again.walmart_status,
        failure=again.failure,
        verdict=None,
        dead_letter=None,
    )


def _result(
    delivery: Delivery,
    *,
    account: str | None,
    now: float,
    status: Status,
    final: bool,
    effect: Effect,
    operation: Operation | None,
    walmart_status: WalmartStatus | None,
    failure: Failure | None,
    verdict: Verdict | None,
    dead_letter: dict[str, Any] | None,
) -> Message:
    envelope, record, progress = delivery.envelope, delivery.record, delivery.progress
    return {
        "result_id": result_id(
            delivery.key, delivery.replay_number, status, effect, None if failure is None else failure.code
        ),
        "event": {
            "source": envelope.source,
            "id": envelope.id,
            "type": envelope.type,
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "time": None if envelope.time is None else _time(envelope.time),
        },
        "store": envelope.store,
        "account": account,
        "purchase_order_id": envelope.order,
        "commerce_order_id": envelope.commerce_order,
        "shipment_id": envelope.shipment,
        "operation": operation,
        "status": status,
        "final": final,
        "effect": effect,
        "order_status": "error" if status == "failed" else walmart_status,
        "walmart_status": walmart_status,
        "lines": _confirmed(delivery) if verdict is None else _lines(verdict),
        "inventory": _inventory(verdict) if verdict is not None and verdict.inventory else [],
        "warnings": _warnings(progress.warned + verdict.warnings if verdict is not None else progress.warned),
        "error": None if failure is None else _error(failure, envelope.store),
        "attempts": progress.attempts,
        "received_at": _time(delivery.received_at),
        "completed_at": _time(now),
        "latency_seconds": round(max(0.0, now - delivery.happened_at), 3),
        "waited": {"budget": round(progress.waited_budget_s, 3), "retry": round(progress.waited_retry_s, 3)},
        "dead_letter": dead_letter,
        "observed": verdict is not None and verdict.observed,
        "planned": _planned(verdict) if verdict is not None and verdict.planned else [],
    }


def encode(message: Message) -> bytes:
    """The record's value. Its lists are cut where names of hundreds of characters would make it too large."""
    value = orjson.dumps(message)
    while len(value) > MAX_BYTES and any(message[name] for name in _CUT):
        message = message | {name: message[name][: len(message[name]) // 2] for name in _CUT}
        value = orjson.dumps(message)
    # orjson's bytes keep the room they were written in, 8 kB at least; thousands of results wait at once.
    return bytes(memoryview(value))


def headers(message: Message) -> list[tuple[str, bytes]]:
    """CloudEvents binary mode (Kafka protocol binding)."""
    return [*_HEADERS, ("ce_id", message["result_id"].encode()), ("ce_time", message["completed_at"].encode())]


def _error(failure: Failure, store: str | None) -> dict[str, Any]:
    kind = failure.kind
    return {
        "code": failure.code,
        "category": kind.category,
        "retryable": kind.retryable,
        "owner": kind.owner,
        "action": kind.action.replace("{store}", store or "<store>"),
        "message": failure.message,
        "http_status": failure.http_status,
        "walmart_errors": [
            {"code": error.code, "field": error.field, "description": error.description}
            for error in failure.walmart_errors
        ],
        "correlation_id": failure.correlation_id,
    }


def _lines(verdict: Verdict) -> list[dict[str, Any]]:
    return [
        {
            "line_number": line.line_number,
            "sku": line.sku,
            "quantity": line.quantity,
            "tracking_number": line.tracking_number,
            "state": line.state,
            "reason": line.reason,
        }
        for line in verdict.lines[:MAX_LINES]
    ]


def _confirmed(delivery: Delivery) -> list[dict[str, Any]]:
    return [
        {
            "line_number": unit.line_number,
            "sku": None,
            "quantity": unit.quantity,
            "tracking_number": unit.tracking_number,
            "state": "confirmed",
            "reason": None,
        }
        for unit in delivery.progress.confirmed
    ]


def _inventory(verdict: Verdict) -> list[dict[str, Any]]:
    return [
        {
            "sku": one.sku,
            "ship_node": one.ship_node,
            "quantity": one.quantity,
            "state": one.state,
            "reason": one.reason,
        }
        for one in verdict.inventory
    ]


def _warnings(warnings: tuple[Warned, ...]) -> list[dict[str, Any]]:
    if not warnings:
        return []
    # dict: an event that was tried several times is warned of the same thing once.
    told = list(dict.fromkeys((warning.code, warning.message) for warning in warnings))[:MAX_WARNINGS]
    return [{"code": code, "message": message} for code, message in told]


def _planned(verdict: Verdict) -> list[dict[str, Any]]:
    return [{"method": call.method, "path": call.path, "body": _without_address(call.body)} for call in verdict.planned]


def _without_address(body: object) -> dict[str, object] | None:
    """A planned body without the return address: results carry no personal data."""
    if not isinstance(body, dict):
        return None

    def clean(value: object) -> object:
        if isinstance(value, dict):
            return {name: clean(part) for name, part in value.items() if name != "returnCenterAddress"}
        if isinstance(value, list):
            return [clean(part) for part in value]
        return value

    cleaned = clean(body)
    assert isinstance(cleaned, dict)
    return cleaned


def _time(epoch_s: float) -> str:
    """RFC 3339 in UTC, rounded to milliseconds, as pydantic writes it."""
    seconds, milliseconds = divmod(round(epoch_s * 1000), 1000)
    return f"{second_text(seconds)}.{milliseconds:03d}000Z" if milliseconds else f"{second_text(seconds)}Z"
