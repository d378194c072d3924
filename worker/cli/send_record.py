"""The record that `order-sync send` writes: checked against the contract exactly as the worker will read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from schemas.attributes import Known, known_of
from schemas.cloudevents import (
    STRUCTURED_CONTENT_TYPE,
    CloudEvent,
    ContractError,
    Mode,
    read_event,
    to_headers_binary,
    to_structured,
    to_value,
)
from schemas.events import ORDER_CANCELLED_TYPE, ORDER_SHIPPED_TYPE
from schemas.jsontext import NotJson, parse
from worker.oncall.sending import Outgoing

if TYPE_CHECKING:
    from worker.settings import TopicSettings


class RefusedError(Exception):
    """It must not be sent, or it is not known where to. `problems` names every mistaken field."""

    def __init__(self, message: str, problems: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems


def from_event(event: CloudEvent, topics: TopicSettings, *, mode: Mode, unchecked: bool) -> Outgoing:
    """The record of an event that was built here."""
    if mode == "binary":
        headers, value = to_headers_binary(event), to_value(event.data)
    else:
        headers, value = to_structured(event)
    return _record(headers, value, topics, unchecked=unchecked, topic=None, key=None)


def from_file(
    raw: bytes, topics: TopicSettings, *, mode: Mode, unchecked: bool, topic: str | None, key: str | None
) -> Outgoing:
    """The record of a file that holds one structured CloudEvent; in structured mode its bytes are sent as they are."""
    headers: list[tuple[str, bytes]] = [("content-type", STRUCTURED_CONTENT_TYPE.encode())]
    checked = _record(headers, raw, topics, unchecked=unchecked, topic=topic, key=key)
    if mode == "structured":
        return checked
    read = read_event(headers, raw)
    if isinstance(read, ContractError):
        raise RefusedError("in binary mode the file must at least be a CloudEvent; use --mode structured")
    event, _ = read
    return _record(to_headers_binary(event), to_value(event.data), topics, unchecked=unchecked, topic=topic, key=key)


def _record(
    headers: list[tuple[str, bytes]],
    value: bytes,
    topics: TopicSettings,
    *,
    unchecked: bool,
    topic: str | None,
    key: str | None,
) -> Outgoing:
    read = read_event(headers, value)
    if isinstance(read, ContractError):
        if not unchecked:
            problems = tuple(str(problem) for problem in read.problems)
            raise RefusedError(f"not sent, it breaks the contract ({read.code})", problems or (read.message,))
        known = _what_is_known(read, value)
    else:
        known = known_of({"type": read[0].type}, read[0].data)
    order = key if key is not None else known.purchase_order_id
    return Outgoing(topic or _topic(known, topics), order.encode() if order else None, value, tuple(headers))


def _what_is_known(error: ContractError, value: bytes) -> Known:
    body = parse(value)
    if error.known.type is not None or isinstance(body, NotJson) or not isinstance(body, dict):
        return error.known
    return known_of(body, body.get("data"))


def _topic(known: Known, topics: TopicSettings) -> str:
    by_type: dict[Any, str] = {
        ORDER_SHIPPED_TYPE: topics.order_shipped,
        ORDER_CANCELLED_TYPE: topics.order_cancelled,
    }
    if known.type not in by_type:
        raise RefusedError("its type says no topic: name one with --topic")
    return by_type[known.type]
