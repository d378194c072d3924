"""A Kafka record read as a CloudEvent (CloudEvents 1.0, Kafka protocol binding), and events written as records.

Both modes are read: *binary* (attributes in `ce_*` headers, the value is the data) and *structured* (content-type
`application/cloudevents+json`, the value is the whole envelope). Nothing here raises on any record: what is no event
of ours comes back as a ContractError, a value.

Source of the rules: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple

import orjson
from pydantic import BaseModel, ValidationError

from schemas.attributes import Known, attribute_problem, known_of
from schemas.base import parse_time
from schemas.events import EVENT_MODELS, OrderCancelled, OrderShipped
from schemas.jsontext import NotJson, parse
from schemas.problems import Problem, problems_of, shown, told
from schemas.quick import QUICK

Headers = Sequence[tuple[str, bytes | None]]
Mode = Literal["binary", "structured"]
ContractCode = Literal["event_undecodable", "event_unknown_type", "event_invalid"]

STRUCTURED_CONTENT_TYPE: Final = "application/cloudevents+json"
_ATTRIBUTES: Final = ("specversion", "id", "source", "type", "time", "datacontenttype")
_NOT_AN_EVENT: Final = (
    "no CloudEvent: there are neither ce_ headers (binary mode)"
    f" nor a content-type header of {STRUCTURED_CONTENT_TYPE} (structured mode)"
)


class CloudEvent(NamedTuple):
    """An event as it was sent; `data` is decoded JSON and not yet checked."""

    id: str
    source: str
    type: str
    time: datetime | None
    data: Any
    mode: Mode


@dataclass(frozen=True, slots=True)
class ContractError:
    """Why a record is no event of ours. `message` names every mistaken field with its value, and no personal data."""

    code: ContractCode
    message: str
    problems: tuple[Problem, ...] = ()
    known: Known = Known()  # noqa: RUF009  # frozen
    """What could be read all the same."""

    @property
    def field(self) -> str | None:
        """The first mistaken field."""
        return self.problems[0].field if self.problems else None

    @property
    def value_shown(self) -> str | None:
        """Its value, shortened."""
        return self.problems[0].value_shown if self.problems else None


def read(headers: Headers, value: bytes | None) -> CloudEvent | ContractError:
    """Read the envelope. `data` is not looked into, except to tell what is known of a refused event."""
    return _read(headers, value, whole=False)


def _read(headers: Headers, value: bytes | None, *, whole: bool) -> CloudEvent | ContractError:
    attributes, problems, content_type = _read_headers(headers)
    media_type, charset = _content(content_type)
    structured = media_type.startswith("application/cloudevents")
    if structured:
        attributes, problems = {}, []
    if charset not in ("", "utf-8", "utf8", "us-ascii", "ascii"):
        return _undecodable("content-type", content_type, "charset must be utf-8", known_of(attributes, None))
    if structured and media_type not in (STRUCTURED_CONTENT_TYPE, "application/cloudevents"):
        batch = "; batches are not read, one event per record" if "batch" in media_type else ""
        return _undecodable(
            "content-type", content_type, f"must be {STRUCTURED_CONTENT_TYPE}{batch}", known_of(attributes, None)
        )
    if not value:
        return _undecodable(
            "value", None, "the record has no value, so there is no event in it", known_of(attributes, None)
        )
    if not structured and attributes and not _is_json(media_type):
        return _undecodable("content-type", content_type, "must be application/json", known_of(attributes, None))
    body = parse(value)
    if isinstance(body, NotJson):
        return _undecodable("value", None, body.message, known_of(attributes, None))
    if structured:
        return _structured(body, whole=whole)
    if not attributes and not problems:
        hint = f"; the value looks like one: add the header content-type: {STRUCTURED_CONTENT_TYPE}"
        return ContractError(
            "event_undecodable", _NOT_AN_EVENT + (hint if _is_envelope(body) else ""), known=known_of({}, body)
        )
    return _event(attributes, body, "binary", problems, whole=whole)


def read_event(
    headers: Headers, value: bytes | None
) -> tuple[CloudEvent, OrderShipped | OrderCancelled] | ContractError:
    """Read the envelope and the data: a valid event, or everything that is wrong with it."""
    return _with_data(_read(headers, value, whole=True))


def read_envelope(body: Any) -> tuple[CloudEvent, OrderShipped | OrderCancelled] | ContractError:
    """`read_event` for a structured envelope that is decoded already (one of an array in a file)."""
    return _with_data(_structured(body, whole=True))


def _with_data(
    event: CloudEvent | ContractError,
) -> tuple[CloudEvent, OrderShipped | OrderCancelled] | ContractError:
    if isinstance(event, ContractError):
        return event
    quick = QUICK.get(event.type)
    if quick is None:
        problem = Problem(
            "type" if event.mode == "structured" else "ce_type", _about_type(event.type), shown(event.type)
        )
        return ContractError("event_unknown_type", str(problem), (problem,), _known(event))
    data = quick.read(event.data)
    if data is not None:
        return event, data
    try:
        return event, EVENT_MODELS[event.type].model_validate(event.data)
    except ValidationError as error:
        problems = problems_of(error, "data")
    message = told(problems)
    if _is_envelope(event.data):
        message = (
            "data is itself a CloudEvents envelope: send it without ce_ headers, or send only its data; " + message
        )
    return ContractError("event_invalid", message, problems, _known(event))


def _read_headers(headers: Headers) -> tuple[dict[str, Any], list[Problem], str | None]:
    """The ce_ attributes, what is wrong with their headers, and the content type. Other headers are not looked at."""
    attributes: dict[str, Any] = {}
    problems: list[Problem] = []
    content_type: str | None = None
    for name, raw in headers:
        lowered = name.lower()
        if lowered == "content-type":
            if raw is not None and content_type is None:
                content_type = raw.decode("utf-8", "replace")
            continue
        if lowered[:3] != "ce_" or lowered[3:] not in _ATTRIBUTES:
            continue
        attribute = lowered[3:]
        if raw is None:
            problems.append(Problem(lowered, "the header has no value"))
            continue
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            problems.append(Problem(lowered, "the header is not UTF-8", shown(raw.decode("utf-8", "replace"))))
            continue
        if attributes.setdefault(attribute, text) != text:
            problems.append(Problem(lowered, "the header stands twice with different values", shown(text)))
    return attributes, problems, content_type


def _structured(body: Any, *, whole: bool) -> CloudEvent | ContractError:
    if not isinstance(body, dict):
        text = "must be one event, an object" + ("; batches are not read" if isinstance(body, list) else "")
        return _undecodable("value", None, text, Known(), shown(body))
    data = body.get("data")
    if "data_base64" in body:
        return _undecodable("data_base64", None, "must be absent: give the data as JSON in data", known_of(body, data))
    content_type = body.get("datacontenttype")
    if content_type not in (None, "application/json") and not (
        isinstance(content_type, str) and _is_json(content_type.partition(";")[0].strip().lower())
    ):
        return _undecodable("datacontenttype", content_type, "must be application/json", known_of(body, data))
    return _event(body, data, "structured", [], whole=whole)


def _event(
    attributes: Mapping[str, Any], data: Any, mode: Mode, problems: list[Problem], *, whole: bool
) -> CloudEvent | ContractError:
    """Check the attributes; `problems` holds what was wrong with their headers. `whole`: tell of the data's too."""
    prefix = "ce_" if mode == "binary" else ""
    broken = {problem.field for problem in problems}
    version = attributes.get("specversion")
    if version != "1.0" and prefix + "specversion" not in broken:
        message = "missing" if version is None else 'must be "1.0"'
        problems.append(Problem(prefix + "specversion", message, None if version is None else shown(version)))
    if version is not None and version != "1.0":
        return ContractError("event_undecodable", told(problems), tuple(problems), known_of(attributes, data))
    for name in ("id", "source", "type"):
        value = attributes.get(name)
        problem = attribute_problem(name, value)
        if problem is not None and prefix + name not in broken:
            problems.append(Problem(prefix + name, problem, None if value is None else shown(value)))
    time = _time(attributes.get("time"))
    if isinstance(time, str):
        problems.append(Problem(prefix + "time", time, shown(attributes["time"])))
    elif not problems and data is not None:
        return CloudEvent(attributes["id"], attributes["source"], attributes["type"], time, data, mode)
    known = known_of(attributes, data)
    if data is None:
        problems.append(Problem("data", "missing"))
    elif whole and known.type in EVENT_MODELS:
        try:
            EVENT_MODELS[known.type].model_validate(data)
        except ValidationError as error:
            problems.extend(problems_of(error, "data"))
    return ContractError("event_invalid", told(problems), tuple(problems), known)


def _time(value: Any) -> datetime | str | None:
    """The time, what is wrong with it, or None where there is none."""
    if value is None:
        return None
    if not isinstance(value, str):
        return "must be a text, an RFC 3339 time with zone"
    try:
        return parse_time(value)
    except ValueError as error:
        return str(error)


def _known(event: CloudEvent) -> Known:
    return replace(known_of({}, event.data), id=event.id, source=event.source, type=event.type, time=event.time)


def _about_type(name: str) -> str:
    for known in EVENT_MODELS:
        if name.casefold() == known:
            return f"must be {known} (exact spelling)"
        if name.rpartition(".v")[0] == known.rpartition(".v")[0]:
            return f"another version than this order-sync reads ({known})"
    return "unknown; the types read are " + " and ".join(EVENT_MODELS)


def _is_json(media_type: str) -> bool:
    return media_type in ("", "application/json", "text/json") or media_type.endswith("+json")


@lru_cache(maxsize=64)
def _content(content_type: str | None) -> tuple[str, str]:
    """Media type and charset, in lower case; empty where there is none. A topic has one or two of them."""
    media_type, _, parameters = (content_type or "").partition(";")
    charset = ""
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            charset = value.strip().strip('"').lower()
            break
    return media_type.strip().lower(), charset


def _is_envelope(body: Any) -> bool:
    return isinstance(body, dict) and "specversion" in body and "type" in body


def _undecodable(field: str, value: Any, message: str, known: Known, value_shown: str | None = None) -> ContractError:
    problem = Problem(field, message, value_shown if value is None else shown(value))
    return ContractError("event_undecodable", str(problem), (problem,), known)


def rfc3339(time: datetime) -> str:
    """The time in UTC with milliseconds, as in `2026-11-20T15:04:07.031Z`."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_headers_binary(event: CloudEvent) -> list[tuple[str, bytes]]:
    """Headers of the event's record in binary mode; the record's value is `to_value(event.data)`."""
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", event.id.encode()),
        ("ce_source", event.source.encode()),
        ("ce_type", event.type.encode()),
    ]
    if event.time is not None:
        headers.append(("ce_time", rfc3339(event.time).encode()))
    return [*headers, ("content-type", b"application/json")]


def to_value(data: Any) -> bytes:
    """Data (a model, or plain JSON values) as compact JSON."""
    return orjson.dumps(data, default=_plain)


def to_structured(event: CloudEvent) -> tuple[list[tuple[str, bytes]], bytes]:
    """Headers and value of the event's record in structured mode."""
    envelope = {
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "time": None if event.time is None else rfc3339(event.time),
        "datacontenttype": "application/json",
        "data": event.data,
    }
    if event.time is None:
        del envelope["time"]
    return [("content-type", STRUCTURED_CONTENT_TYPE.encode())], to_value(envelope)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError
