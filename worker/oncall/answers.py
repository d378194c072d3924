"""Sync results that answer something: an event that was sent, or a replay that was asked for. Pure."""

from __future__ import annotations

from pydantic import ValidationError

from schemas.results import SyncResult
from worker.report.result import result_id


def read_result(value: bytes | None) -> SyncResult | None:
    """A sync result; None for anything else that lies in the topic. Fields of newer versions are left out."""
    if not value:
        return None
    try:
        return SyncResult.model_validate_json(value, extra="ignore")
    except ValidationError:
        return None


def is_about(result: SyncResult, topic: str, partition: int, offset: int) -> bool:
    """True when this is a result of the event that lies there."""
    event = result.event
    return (event.topic, event.partition, event.offset) == (topic, partition, offset)


def answers_replay(result: SyncResult, key: str, replay_number: int) -> bool:
    """True when the result was made by this very replay.

    The id of a result is a function of identity, replay number and answer, so the result of an earlier delivery or of
    an earlier replay has another one.
    """
    code = None if result.error is None else result.error.code
    return result.result_id == result_id(key, replay_number, result.status, result.effect, code)
