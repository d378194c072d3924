"""Logs: one JSON object per line, the right particulars, and nothing in them that must not be."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from schemas.events import Address
from worker.delivery import Delivery, Envelope, Record
from worker.errors import Failure
from worker.outcome import Again, Progress, Trouble, Verdict, Warned
from worker.telemetry import logs
from worker.telemetry.scrub import Scrubber, private


class Stream(io.BytesIO):
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


@pytest.fixture
def stream() -> Iterator[Stream]:
    root = logging.getLogger()
    before = list(root.handlers), root.level
    stream = Stream()
    logs.configure("info", secrets=["hunter2hunter2"], stream=stream)
    yield stream
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    root.handlers[:] = before[0]
    root.setLevel(before[1])


def delivery(progress: Progress | None = None) -> Delivery:
    return Delivery(
        record=Record("commerce.order-shipped.v1", 3, 1187, 0, b"PO1", b"{}", ()),
        event=None,
        envelope=Envelope("/commerce/us", "e1", "commerce.order.shipped.v1", 1.0, "us", "PO1", "000000123", "45"),
        refusal=Failure("event_invalid", "x"),
        key="commerce.order-shipped.v1|/commerce/us|e1",
        lane="PO1",
        received_at=1.0,
        progress=progress or Progress(attempts=2, correlation_id="c-1", waited_budget_s=1.23456),
    )


def test_a_line_is_one_json_object_with_time_level_and_event(stream: Stream) -> None:
    structlog.get_logger().info("worker_started", port=9464)
    (line,) = stream.lines()
    assert list(line)[:3] == ["time", "level", "event"]
    assert line["level"] == "info"
    assert line["event"] == "worker_started"
    assert line["port"] == 9464
    assert line["time"].endswith("Z")


def test_a_line_below_the_level_is_not_written(stream: Stream) -> None:
    structlog.get_logger().debug("noise")
    assert stream.lines() == []


def test_the_canonical_line_of_a_success_has_what_people_search_by(stream: Stream) -> None:
    verdict = Verdict("ship", "applied", walmart_status="shipped", warnings=(Warned("tracking_cleaned", "x"),))
    logs.log_verdict(delivery(), verdict, account="main", latency_seconds=2.03141, calls=3)
    (line,) = stream.lines()
    assert line | {"time": ""} == {
        "time": "",
        "level": "info",
        "event": "event_finished",
        "event_id": "e1",
        "source": "/commerce/us",
        "type": "commerce.order.shipped.v1",
        "topic": "commerce.order-shipped.v1",
        "partition": 3,
        "offset": 1187,
        "store": "us",
        "account": "main",
        "order": "PO1",
        "commerce_order": "000000123",
        "shipment": "45",
        "operation": "ship",
        "status": "succeeded",
        "effect": "applied",
        "walmart_status": "shipped",
        "attempts": 2,
        "calls": 3,
        "latency_seconds": 2.031,
        "waited_budget_seconds": 1.235,
        "waited_retry_seconds": 0.0,
        "correlation_id": "c-1",
        "warnings": ["tracking_cleaned"],
    }


def test_the_canonical_line_tells_the_events_story(stream: Stream) -> None:
    progress = Progress()
    progress.story.add(1_795_000_000.25, "received")
    progress.story.add(1_795_000_001.5, "GET order -> ok in 0.051 s: open, told to jane@example.com")
    logs.log_verdict(delivery(progress), Verdict("ship", "applied"), account="main", latency_seconds=1)
    (line,) = stream.lines()
    assert line["story_begun_at"] == "2026-11-18T11:06:40.250000+00:00"
    assert line["story"] == ["+0.000 s received", "+1.250 s GET order -> ok in 0.051 s: open, told to ***"]


@pytest.mark.parametrize(("code", "level"), [("carrier_unmapped", "warning"), ("internal", "error")])
def test_a_failure_names_code_owner_and_the_calls_own_correlation_id(stream: Stream, code: str, level: str) -> None:
    failure = Failure(code, "what happened", http_status=400, correlation_id="c-2")
    logs.log_verdict(delivery(), Verdict("ship", "none", failure=failure), account="main", latency_seconds=1)
    (line,) = stream.lines()
    assert line["level"] == level
    assert (line["code"], line["owner"]) == (code, failure.kind.owner)
    assert (line["http_status"], line["message"], line["correlation_id"]) == (400, "what happened", "c-2")


def secretive(text: str) -> tuple[Delivery, Verdict]:
    """An outcome that has this text wherever a text can be."""
    one = delivery(Progress(correlation_id=text))
    one.envelope = Envelope(text, text, text, 1.0, text, text, text, text)
    one.record = one.record._replace(topic=text)
    one.progress.story.add(1.0, text)
    return one, Verdict("ship", "none", failure=Failure("carrier_unmapped", text, correlation_id=text))


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("has hunter2hunter2 in it", "hunter2hunter2"),
        ("jane.doe@shop.example.org", "jane.doe"),
        ("Café of jane.doe@shop.example.org", "jane.doe"),
        ("Bearer abcdefghijkl", "abcdefghijkl"),
        ('{"access_token": "s3cr3t-value"}', "s3cr3t-value"),
        ("to\N{KELVIN SIGN}en=s3cr3t-value", "s3cr3t-value"),
        ("\ud800 jane.doe@shop.example.org", "jane.doe"),
    ],
)
def test_the_canonical_line_is_scrubbed_wherever_a_text_stands(stream: Stream, text: str, hidden: str) -> None:
    one, verdict = secretive(text)
    logs.log_verdict(one, verdict, account=text, latency_seconds=1)
    again = Again(Trouble.UNKNOWN, Failure("outcome_unknown", text, correlation_id=text))
    logs.log_again(one, again, account=text, after_seconds=None)
    assert len(stream.lines()) == 2
    assert hidden not in stream.getvalue().decode()


def test_no_key_of_the_canonical_lines_is_private(stream: Stream) -> None:
    """They are written without asking for each one."""
    one, verdict = secretive("x")
    logs.log_verdict(one, verdict, account="main", latency_seconds=1)
    logs.log_again(one, Again(Trouble.UNKNOWN, Failure("outcome_unknown", "x")), account="main", after_seconds=1)
    for line in stream.lines():
        assert not [key for key in line if private(key)]


def test_a_canonical_line_below_the_level_is_not_written(stream: Stream) -> None:
    logs.configure("warning", stream=stream)
    logs.log_verdict(delivery(), Verdict("ship", "applied"), account="main", latency_seconds=1)
    logs.log_again(delivery(), Again(Trouble.UNKNOWN, Failure("outcome_unknown", "x")), account="m", after_seconds=1)
    assert stream.lines() == []
    one, verdict = secretive("x")
    logs.log_verdict(one, verdict, account="main", latency_seconds=1)
    assert len(stream.lines()) == 1


def test_another_try_says_why_and_when(stream: Stream) -> None:
    again = Again(Trouble.UNKNOWN, Failure("outcome_unknown", "timeout"), operation="ship")
    logs.log_again(delivery(), again, account="main", after_seconds=4.0)
    (line,) = stream.lines()
    assert (line["event"], line["trouble"], line["code"], line["after_seconds"]) == (
        "event_retried",
        "unknown",
        "outcome_unknown",
        4.0,
    )


def test_private_keys_are_dropped_and_texts_are_scrubbed(stream: Stream) -> None:
    structlog.get_logger().warning(
        "odd",
        email="a@b.example",
        client_secret="x",
        return_center_address={"city": "Utrecht"},
        detail="write to jane.doe+x@shop.example.org with hunter2hunter2",
        nested=[{"phone": "1", "note": "Authorization: Bearer abcdefghijkl", "lines": 2}],
        raw=b"\x00\x01",
    )
    (line,) = stream.lines()
    assert line["detail"] == "write to *** with ***"
    assert line["nested"] == [{"note": "Authorization: Bearer ***", "lines": 2}]
    assert line["raw"] == "<2 bytes>"
    assert not {"email", "client_secret", "return_center_address"} & set(line)


def test_an_exception_is_told_without_values(stream: Stream) -> None:
    """Pydantic's own text quotes its input: here a buyer's street."""
    try:
        Address.model_validate({"address1": "Domstraat 1", "city": ["Utrecht-Secret"], "state": "UT"})
    except ValidationError:
        structlog.get_logger().exception("decode_failed")
    text = stream.getvalue().decode()
    (line,) = stream.lines()
    assert line["exception"][0]["type"] == "ValidationError"
    assert "city" in line["exception"][0]["message"]
    assert "Domstraat" not in text
    assert "Utrecht-Secret" not in text


def test_causes_and_groups_are_told(stream: Stream) -> None:
    broken = ExceptionGroup("two", [ValueError("one"), KeyError("x")])
    broken.__cause__ = OSError("disk a@b.example")
    structlog.get_logger().error("broke", exc_info=broken)
    (line,) = stream.lines()
    assert [one["type"] for one in line["exception"]] == ["ExceptionGroup", "ValueError", "KeyError", "OSError"]
    assert line["exception"][-1]["message"] == "disk ***"


def test_libraries_go_through_the_same_net_from_warning(stream: Stream) -> None:
    logging.getLogger("aiokafka.client").info("chatter")
    logging.getLogger("aiokafka.client").warning("broker %s said no to %s", 1, "a@b.example")
    logging.getLogger("aiohttp.access").warning("GET /metrics")
    (line,) = stream.lines()
    assert (line["logger"], line["level"], line["event"]) == ("aiokafka.client", "warning", "broker 1 said no to ***")


def test_a_malformed_line_of_a_library_raises_nothing_and_is_not_silent(stream: Stream) -> None:
    record = logging.LogRecord("aiokafka", logging.ERROR, __file__, 1, "%d of %d", ("x",), None)
    for handler in logging.getLogger().handlers:
        if type(handler).__module__ == logs.__name__:  # pytest's own ones raise, on purpose
            handler.handle(record)
    (line,) = stream.lines()
    assert line == {"level": "error", "event": "log_line_lost", "logger": "aiokafka"}


def test_what_json_cannot_say_is_still_a_line(stream: Stream) -> None:
    structlog.get_logger().info("odd", surrogate="\ud800", huge=2**70, nan=float("nan"), kind=BaseModel)
    (line,) = stream.lines()
    assert line["huge"] == 2**70


def test_a_closed_stdout_fails_no_event(stream: Stream) -> None:
    stream.close()
    structlog.get_logger().error("nobody_listens")


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Basic dXNlcjpwYXNz", "Basic ***"),
        ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx.sig", "token ***"),
        ('{"access_token": "abc", "expires_in": 900}', '{"access_token": ***, "expires_in": 900}'),
        ("client_secret=abc&grant_type=client_credentials", "client_secret=***&grant_type=client_credentials"),
        ("token: a1b2c3d4e5", "token: ***"),
        ("no token: Walmart answered 401", "no token: Walmart answered 401"),
        ("the tokens of 3 accounts", "the tokens of 3 accounts"),
        ("order 1796277083022, 1Z999AA10123456784", "order 1796277083022, 1Z999AA10123456784"),
        ("basic facts", "basic facts"),
    ],
)
def test_scrubbing_of_texts(text: str, clean: str) -> None:
    assert Scrubber().text(text) == clean


@pytest.mark.parametrize(
    ("key", "hidden"),
    [
        ("email", True),
        ("customerEmail", True),
        ("customer_email", True),
        ("access_token", True),
        ("WM_SEC.ACCESS_TOKEN", True),
        ("sasl_password", True),
        ("postalCode", True),
        ("address1", True),
        ("return_center_address", True),
        ("body", True),
        ("capacity", False),
        ("tracking_number", False),
        ("token_seconds_left", False),
        ("account", False),
        ("key", False),
    ],
)
def test_private_keys(key: str, hidden: bool) -> None:
    assert private(key) is hidden


@given(secret=st.text(min_size=4, max_size=40).map(str.strip).filter(lambda text: len(text) >= 4), around=st.text())
def test_a_registered_secret_never_comes_through(secret: str, around: str) -> None:
    if secret in "***":
        return
    cleaned = Scrubber([secret]).value({"a": [f"{around}{secret}{around}"], secret: 1})
    assert not [text for text in (*cleaned["a"], *cleaned) if secret in text.replace("***", "")]


@given(
    secret=st.text(min_size=4, max_size=12).map(str.strip).filter(lambda text: len(text) >= 4),
    around=st.text(max_size=8) | st.sampled_from(["a@b.c", "Basic x", "toKen=1", "\N{KELVIN SIGN}", "ſecret"]),
    hit=st.booleans(),
)
def test_a_text_that_is_judged_clean_would_not_be_changed(secret: str, around: str, hit: bool) -> None:
    scrubber = Scrubber([secret])
    text = f"{around}{secret}{around}" if hit else around
    if scrubber.is_clean(text):
        assert scrubber.text(text) == text


def test_a_secret_inside_another_leaves_nothing_of_the_longer_one() -> None:
    assert Scrubber(["abcd", "abcdefgh"]).text("xabcdefghx") == "x***x"
