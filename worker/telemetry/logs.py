"""Logs: one JSON object per line on standard output, ours and the libraries', scrubbed.

How the app uses it: `configure(level, secrets=…)` once at start, before anything logs; everywhere else
`log = structlog.get_logger()` at the top of the file and `log.warning("commit_failed", error=…)`: a name for what
happened, particulars as keys. One canonical line per event outcome comes from `log_verdict` / `log_again`.
A secret read later (a rotated file) is told with `worker.telemetry.scrub.scrubber.register(secret)`.

Keys named like personal data or secrets (`email`, `address`, `token`, `body`, …) are dropped.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from collections.abc import Iterable, MutableMapping
from typing import Any, BinaryIO, Final, Literal

import orjson
import structlog
from pydantic import ValidationError

from worker.clock import time_text
from worker.delivery import Delivery
from worker.outcome import Again, Verdict
from worker.telemetry.scrub import scrubber

Level = Literal["debug", "info", "warning", "error"]
_LEVELS: Final[dict[str, int]] = {"debug": 10, "info": 20, "warning": 30, "error": 40}

_LIBRARY_LEVELS: Final[dict[str, int]] = {
    "aiohttp.access": logging.ERROR,  # a line per scrape and probe says nothing
    "aiokafka.consumer.group_coordinator": logging.WARNING,
    "asyncio": logging.WARNING,
}
"""Where a library's own levels do not fit; everything else of theirs is logged from `warning`."""

_LONGEST_MESSAGE = 500
_DEEPEST_TRACE = 25
_MOST_EXCEPTIONS = 6

log = structlog.get_logger()


def configure(level: Level = "info", *, secrets: Iterable[str] = (), stream: BinaryIO | None = None) -> None:
    """Set up logging of the process: structlog and the standard library's, both as JSON lines.

    Args:
        level: Least severe level of our own lines; libraries are heard from `warning` (from `info` at `debug`).
        secrets: Texts that must never appear.
        stream: Where to write; standard output where absent.
    """
    for secret in secrets:
        scrubber.register(secret)
    _lines.to(stream if stream is not None else sys.stdout.buffer)
    structlog.configure(
        cache_logger_on_first_use=True,
        # Cached loggers never change: what is not wanted is left out by the first processor.
        wrapper_class=structlog.make_filtering_bound_logger("debug"),
        processors=[_heard, structlog.processors.add_log_level, *_ENDING],
        logger_factory=lambda *_: _lines,
    )
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    root.addHandler(_Handler())
    set_level(level)
    for name, least in _LIBRARY_LEVELS.items():
        logging.getLogger(name).setLevel(least)
    logging.captureWarnings(capture=True)


def set_level(level: Level) -> None:
    """Change the least severe level that is written."""
    _heard.least = _LEVELS[level]
    logging.getLogger().setLevel(logging.INFO if level == "debug" else logging.WARNING)


def log_verdict(
    delivery: Delivery, verdict: Verdict, *, account: str | None, latency_seconds: float, calls: int = 0
) -> None:
    """The canonical line of a finished event: everything on-call searches by, in one place."""
    failure, progress = verdict.failure, delivery.progress
    level: Level = "info"
    if failure is not None:
        level = "error" if failure.kind.category == "internal" else "warning"
    if not _heard.hears(level):
        return
    line = _beginning(level, "event_finished", delivery, account)
    line["operation"] = verdict.operation
    line["status"] = verdict.status
    line["effect"] = verdict.effect
    line["walmart_status"] = verdict.walmart_status
    line["attempts"] = progress.attempts
    line["calls"] = calls
    line["latency_seconds"] = round(latency_seconds, 3)
    line["waited_budget_seconds"] = round(progress.waited_budget_s, 3) if progress.waited_budget_s else 0.0
    line["waited_retry_seconds"] = round(progress.waited_retry_s, 3) if progress.waited_retry_s else 0.0
    if correlation_id := (failure.correlation_id if failure else None) or progress.correlation_id:
        line["correlation_id"] = correlation_id
    if steps := progress.story.lines():
        line["story_begun_at"] = f"{time_text(progress.story.begun_at)}+00:00"
        line["story"] = steps
    if verdict.warnings:
        line["warnings"] = [warning.code for warning in verdict.warnings]
    if verdict.observed:
        line["observed"] = True
    if failure is not None:
        line["code"] = failure.code
        line["category"] = failure.kind.category
        line["owner"] = failure.kind.owner
        line["message"] = failure.message
        line["http_status"] = failure.http_status
    _canonical.write(line)


def log_again(delivery: Delivery, again: Again, *, account: str | None, after_seconds: float | None) -> None:
    """The line of a try that ended in another try."""
    if not _heard.hears("info"):
        return
    line = _beginning("info", "event_retried", delivery, account)
    line["operation"] = again.operation
    line["trouble"] = again.trouble.value
    line["code"] = again.failure.code
    line["message"] = again.failure.message
    line["http_status"] = again.failure.http_status
    line["attempts"] = delivery.progress.attempts
    line["after_seconds"] = None if after_seconds is None else round(after_seconds, 3)
    line["correlation_id"] = again.failure.correlation_id or delivery.progress.correlation_id
    _canonical.write(line)


def _beginning(level: Level, event: str, delivery: Delivery, account: str | None) -> dict[str, Any]:
    """Time, level, what happened, and to which event."""
    envelope, record = delivery.envelope, delivery.record
    line = {
        "time": f"{time_text(time.time())}Z",
        "level": level,
        "event": event,
        "event_id": envelope.id,
        "source": envelope.source,
        "type": envelope.type,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "store": envelope.store,
        "account": account,
        "order": envelope.order,
        "commerce_order": envelope.commerce_order,
        "shipment": envelope.shipment,
    }
    if delivery.replay_number:
        line["replay_number"] = delivery.replay_number
    return line


class _Heard:
    """Which levels are wanted; a processor that leaves the others out."""

    least = _LEVELS["info"]

    def hears(self, level: Level) -> bool:
        """True if lines of this level are wanted."""
        return _LEVELS[level] >= self.least

    def __call__(self, logger: object, method: str, event_dict: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """As a structlog processor."""
        # What is worse than an error is always wanted.
        if _LEVELS.get(method, _LEVELS["error"]) < self.least:
            raise structlog.DropEvent
        return event_dict


_heard = _Heard()


_OUR_WORDS: Final = frozenset(
    {"time", "level", "event", "operation", "status", "effect", "walmart_status", "story_begun_at"}
    | {"code", "category", "owner", "trouble"}
)
"""Keys whose values come out of this program's own text."""


class _Canonical:
    """Writes the one line per outcome without the processors, which cost as much as everything else about an event.

    Its keys are those above, none of them private; of its values, the texts that are not words of our own are looked
    at together. Only if something there may be a secret or an address do they go through the net.
    """

    def write(self, line: dict[str, Any]) -> None:
        """Write it, without the values that are None."""
        if None in line.values():
            line = {key: value for key, value in line.items() if value is not None}
        if not structlog.is_configured():
            # Nobody has configured anything (a test): as structlog would have it.
            del line["time"]
            getattr(log, line.pop("level"))(line.pop("event"), **line)
            return
        texts = [value for key, value in line.items() if value.__class__ is str and key not in _OUR_WORDS]
        if not scrubber.is_clean("\n".join((*texts, *line.get("story", ())))):
            line = {**scrubber(_lines, line["level"], line)}
        _lines.msg(_render(_lines, line["level"], line))


_canonical = _Canonical()


class _Lines:
    """Writes a line for whoever calls any level's method: what structlog calls a logger."""

    def to(self, stream: BinaryIO) -> None:
        """Write there from now on, also what was bound before."""
        self._write = stream.write
        self._flush = stream.flush

    def msg(self, line: bytes) -> None:
        """One line, in one write, so that lines of several threads do not mix."""
        try:
            self._write(line + b"\n")
            self._flush()
        except (OSError, ValueError):  # the reader has gone: no reason to fail an event
            return

    debug = info = warning = warn = error = critical = fatal = exception = log = failure = msg


_lines = _Lines()


class _Handler(logging.Handler):
    """The standard library's records through the same processors."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            event: MutableMapping[str, Any] = {
                "event": record.getMessage(),
                "logger": record.name,
                "level": record.levelname.lower(),
            }
            if record.exc_info and record.exc_info[0] is not None:
                event["exc_info"] = record.exc_info
            for processor in _ENDING:
                event = processor(_lines, record.levelname, event)
            _lines.msg(event)  # type: ignore[arg-type]  # the last processor renders
        except Exception:  # noqa: BLE001  # a library's malformed line (or its odd arguments) must not raise into us
            _lines.msg(orjson.dumps({"level": "error", "event": "log_line_lost", "logger": record.name}))


def _describe_exception(logger: object, method: str, event_dict: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """`exc_info` -> `exception`: type, message and places. No source lines, no locals, no values that were read."""
    given = event_dict.pop("exc_info", None)
    if not given:
        return event_dict
    error = given if isinstance(given, BaseException) else (given[1] if isinstance(given, tuple) else sys.exc_info()[1])
    if error is None:
        return event_dict
    chain: list[dict[str, Any]] = []
    waiting: list[BaseException] = [error]
    seen: set[int] = set()
    while waiting and len(chain) < _MOST_EXCEPTIONS:
        current = waiting.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        frames = traceback.extract_tb(current.__traceback__)[-_DEEPEST_TRACE:]
        chain.append(
            {
                "type": type(current).__qualname__,
                "message": _message(current),
                "at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
            }
        )
        if isinstance(current, BaseExceptionGroup):
            waiting.extend(current.exceptions)
        earlier = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
        if earlier is not None:
            waiting.append(earlier)
    event_dict["exception"] = chain
    return event_dict


def _message(error: BaseException) -> str:
    if isinstance(error, ValidationError):  # pydantic's own text quotes the input, which may be a buyer's address
        problems = error.errors(include_input=False, include_url=False, include_context=False)
        return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in problems)[:_LONGEST_MESSAGE]
    return str(error)[:_LONGEST_MESSAGE]


def _render(logger: object, method: str, event_dict: MutableMapping[str, Any]) -> bytes:
    line = event_dict
    if next(iter(line), "") != "time":
        line = {key: event_dict.pop(key) for key in ("time", "level", "event") if key in event_dict} | dict(event_dict)
    try:
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # lone surrogates, integers over 64 bits
        return json.dumps(line, default=str).encode()


_ENDING: Final[list[Any]] = [
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    _describe_exception,
    scrubber,
    _render,
]
