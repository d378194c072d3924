"""From a delivery and its outcome to the sync result. Pure."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Final

from schemas.results import (
    SYNC_RESULT_SOURCE,
    SYNC_RESULT_TYPE,
    DeadLetterPlace,
    Effect,
    EventReference,
    Operation,
    PlannedCall,
    ResultError,
    ResultInventory,
    ResultLine,
    ResultWarning,
    Status,
    SyncResult,
    Waited,
    WalmartErrorText,
    WalmartStatus,
)
from worker.delivery import Delivery, Place
from worker.errors import Failure
from worker.outcome import Again, ConfirmedUnits, LineOutcome, Verdict, Warned

_NAMESPACE: Final = uuid.UUID("7d0f3b52-9f0c-5b0e-8a52-3d0f6f1b6a01")
MAX_LINES: Final = 2_000
"""Lines told in one result; a result must fit its topic whatever the event asked."""
MAX_WARNINGS: Final = 100
MAX_BYTES: Final = 1_000_000
"""Of a result's value: below Kafka's default limit of 1 MiB. One that never fits would hold its partition for ever."""


def result_id(key: str, replay_number: int, status: str, effect: str, code: str | None) -> str:
    """UUIDv5 of the event's identity, the replay number and the answer.

    A repeat of the same answer carries the same id, another answer another (product contract, section "sync result").
    """
    return str(uuid.uuid5(_NAMESPACE, "\n".join((key, str(replay_number), status, effect, code or ""))))


def of_verdict(
    delivery: Delivery, verdict: Verdict, *, account: str | None, now: float, dead_letter: Place | None, topic: str
) -> SyncResult:
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
        else DeadLetterPlace(topic=topic, partition=dead_letter.partition, offset=dead_letter.offset, key=delivery.key),
    )


def of_retrying(delivery: Delivery, again: Again, *, account: str | None, now: float) -> SyncResult:
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
    dead_letter: DeadLetterPlace | None,
) -> SyncResult:
    envelope, record, progress = delivery.envelope, delivery.record, delivery.progress
    # model_construct: every value below comes from typed code; validation would cost more than the rest of the report.
    return SyncResult.model_construct(
        result_id=result_id(delivery.key, delivery.replay_number, status, effect, failure.code if failure else None),
        event=EventReference.model_construct(
            source=envelope.source,
            id=envelope.id,
            type=envelope.type,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            time=None if envelope.time is None else _time(envelope.time),
        ),
        store=envelope.store,
        account=account,
        purchase_order_id=envelope.order,
        commerce_order_id=envelope.commerce_order,
        shipment_id=envelope.shipment,
        operation=operation,
        status=status,
        final=final,
        effect=effect,
        order_status="error" if status == "failed" else walmart_status,
        walmart_status=walmart_status,
        lines=_lines(verdict.lines if verdict else ())
        if verdict
        else [_confirmed(unit) for unit in progress.confirmed],
        inventory=[
            ResultInventory.model_construct(
                sku=one.sku, ship_node=one.ship_node, quantity=one.quantity, state=one.state, reason=one.reason
            )
            for one in (verdict.inventory if verdict else ())
        ],
        warnings=_warnings((*progress.warned, *(verdict.warnings if verdict else ()))),
        error=None if failure is None else _error(failure, envelope.store),
        attempts=progress.attempts,
        received_at=_time(delivery.received_at),
        completed_at=_time(now),
        latency_seconds=round(max(0.0, now - delivery.happened_at), 3),
        waited=Waited.model_construct(
            budget=round(progress.waited_budget_s, 3), retry=round(progress.waited_retry_s, 3)
        ),
        dead_letter=dead_letter,
        observed=verdict.observed if verdict else False,
        planned=[
            PlannedCall.model_construct(method=call.method, path=call.path, body=_without_address(call.body))
            for call in (verdict.planned if verdict else ())
        ],
    )


def encode(result: SyncResult) -> bytes:
    """The record's value. Its lists are cut where names of hundreds of characters would make it too large."""
    value = result.model_dump_json().encode()
    lists = ("planned", "warnings", "inventory", "lines")
    while len(value) > MAX_BYTES and any(getattr(result, name) for name in lists):
        result = result.model_copy(update={name: (told := getattr(result, name))[: len(told) // 2] for name in lists})
        value = result.model_dump_json().encode()
    return value


def headers(result: SyncResult) -> list[tuple[str, bytes]]:
    """CloudEvents binary mode (Kafka protocol binding)."""
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", result.result_id.encode()),
        ("ce_source", SYNC_RESULT_SOURCE.encode()),
        ("ce_type", SYNC_RESULT_TYPE.encode()),
        ("ce_time", result.completed_at.isoformat().replace("+00:00", "Z").encode()),
        ("content-type", b"application/json"),
    ]


def _error(failure: Failure, store: str | None) -> ResultError:
    kind = failure.kind
    return ResultError.model_construct(
        code=failure.code,
        category=kind.category,
        retryable=kind.retryable,
        owner=kind.owner,
        action=kind.action.replace("{store}", store or "<store>"),
        message=failure.message,
        http_status=failure.http_status,
        walmart_errors=[
            WalmartErrorText.model_construct(code=error.code, field=error.field, description=error.description)
            for error in failure.walmart_errors
        ],
        correlation_id=failure.correlation_id,
    )


def _lines(lines: tuple[LineOutcome, ...]) -> list[ResultLine]:
    return [
        ResultLine.model_construct(
            line_number=line.line_number,
            sku=line.sku,
            quantity=line.quantity,
            tracking_number=line.tracking_number,
            state=line.state,
            reason=line.reason,
        )
        for line in lines[:MAX_LINES]
    ]


def _warnings(warnings: tuple[Warned, ...]) -> list[ResultWarning]:
    # dict: an event that was tried several times is warned of the same thing once.
    told = list(dict.fromkeys((warning.code, warning.message) for warning in warnings))[:MAX_WARNINGS]
    return [ResultWarning.model_construct(code=code, message=message) for code, message in told]


def _confirmed(unit: ConfirmedUnits) -> ResultLine:
    return ResultLine.model_construct(
        line_number=unit.line_number,
        sku=None,
        quantity=unit.quantity,
        tracking_number=unit.tracking_number,
        state="confirmed",
        reason=None,
    )


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


def _time(epoch_s: float) -> datetime:
    return datetime.fromtimestamp(round(epoch_s, 3), UTC)
