"""One story out of evidence that overlaps, and what is next."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from oncall_samples import SEEN, TOPIC, record, tombstone

from schemas.carried import Carried
from schemas.results import EventReference, ResultError, SyncResult, Waited
from worker.oncall.evidence import WorkerUnreachableError, from_log, from_worker
from worker.oncall.explaining import MAX_CASES, MAX_STEPS, Asked, Case, Explaining
from worker.oncall.outlook import outlook
from worker.settings import Settings

KEY = f"{TOPIC}|/commerce|1"
STORY = ((SEEN + 1.0, "received"), (SEEN + 1.2, "GET order -> ok in 0.051 s: open"))
SETTINGS = Settings.model_validate(
    {
        "accounts": {"main": {"client_id": "id", "client_secret_file": "secret"}},
        "stores": {"us": {"account": "main"}},
    }
)


def result(offset: int = 1, *, status: str = "succeeded", at: float = SEEN + 5, **more: Any) -> SyncResult:
    error = None
    if status != "succeeded":
        error = ResultError(
            code="throttled", category="throttled", retryable=True, owner="walmart", action="-", message="slow",
            http_status=429, walmart_errors=[], correlation_id=None,
        )  # fmt: skip
    told: dict[str, Any] = {
        "result_id": "r", "store": "us", "account": "main", "purchase_order_id": "PO1", "commerce_order_id": "1",
        "shipment_id": "s1", "operation": "ship", "status": status, "final": status != "retrying",
        "effect": "applied" if error is None else "none", "order_status": None, "walmart_status": None, "lines": [],
        "inventory": [], "warnings": [], "error": error, "attempts": 2, "latency_seconds": 6.0,
        "received_at": datetime.fromtimestamp(SEEN + 1, UTC), "completed_at": datetime.fromtimestamp(at, UTC),
        "waited": Waited(budget=0, retry=0), "dead_letter": None,
        "event": EventReference(
            source="/commerce", id="1", type="commerce.order.shipped.v1", topic=TOPIC, partition=0, offset=offset,
            time=datetime.fromtimestamp(SEEN - 1, UTC),
        ),
    }  # fmt: skip
    return SyncResult.model_validate({**told, **more})


def log_line(**more: Any) -> dict[str, Any]:
    begun = datetime.fromtimestamp(SEEN + 1, UTC).isoformat()
    return {
        "time": "2026-11-18T11:06:45Z", "event": "event_finished", "topic": TOPIC, "partition": 0, "offset": 1,
        "source": "/commerce", "event_id": "1", "order": "PO1", "store": "us", "status": "succeeded",
        "effect": "applied", "story_begun_at": begun,
        "story": ["+0.000 s received", "+0.200 s GET order -> ok in 0.051 s: open", "+0.300 s succeeded, applied"],
    } | more  # fmt: skip


def in_memory(**more: Any) -> dict[str, Any]:
    return {
        "key": KEY, "order": "PO1", "topic": TOPIC, "partition": 0, "offset": 1, "received_at": SEEN + 1,
        "state": "waits for its gate account:main/ship", "story": [list(step) for step in STORY],
    } | more  # fmt: skip


def asked(event: str = KEY, order: str | None = None) -> Explaining:
    return Explaining(Asked(event, order))


def the_one(explaining: Explaining) -> Case:
    (case,) = explaining.cases()
    return case


def whats(case: Case) -> list[str]:
    return [step.what for step in case.story()]


@pytest.mark.parametrize("event", [KEY, "/commerce|1", "1", f"{TOPIC}/0/1", "PO1"])
def test_an_event_is_found_by_any_of_its_names(event: str) -> None:
    explaining = asked(event)
    explaining.add_letter(record(1))
    explaining.add_result(result())
    explaining.add_log_line(log_line())
    explaining.add_memory([in_memory()])
    case = the_one(explaining)
    assert (case.coordinates, case.key, case.order, case.store, case.shipment) == (
        f"{TOPIC}/0/1",
        KEY,
        "PO1",
        "us",
        "s1",
    )
    needle = Asked(event).needle
    assert needle is not None
    assert needle in result().model_dump_json().encode()
    assert needle in json.dumps(log_line()).encode()


@pytest.mark.parametrize("event", ["2", "/commerce|2", f"{TOPIC}/0/11", "PO11", "commerce|1", "O1"])
def test_others_are_let_go(event: str) -> None:
    explaining = asked(event)
    explaining.add_letter(record(1))
    explaining.add_result(result())
    explaining.add_log_line(log_line())
    explaining.add_memory([in_memory()])
    assert explaining.cases() == []


def test_an_order_narrows_an_id_that_several_orders_have() -> None:
    explaining = asked("1", "PO2")
    explaining.add_result(result())
    explaining.add_result(result(7, purchase_order_id="PO2"))
    assert the_one(explaining).order == "PO2"


@pytest.mark.parametrize("event", ['a"b', "a\\b", "é", "", "a|"])
def test_a_name_that_json_may_spell_otherwise_gives_no_shortcut(event: str) -> None:
    assert Asked(event).needle is None


def test_a_step_told_by_several_is_told_once_and_in_order_of_time() -> None:
    explaining = asked()
    explaining.add_memory([in_memory()])
    explaining.add_letter(record(1, story=STORY)._replace(timestamp_ms=int((SEEN + 2) * 1000)))
    explaining.add_log_line(log_line())
    assert whats(the_one(explaining)) == [
        "received",
        "GET order -> ok in 0.051 s: open",
        "succeeded, applied",
        "dead letter (partition 0, offset 101); carrier_unmapped: no name",
    ]
    times = [step.at for step in the_one(explaining).story()]
    assert times == sorted(times)


def test_the_same_words_at_another_time_are_another_step() -> None:
    explaining = asked()
    story = [[SEEN + 1, "GET order -> ok in 0.050 s: open"], [SEEN + 4, "GET order -> ok in 0.050 s: open"]]
    explaining.add_memory([in_memory(story=story)])
    assert len(whats(the_one(explaining))) == 2


def test_of_several_gaps_only_the_newest_is_told() -> None:
    explaining = asked()
    explaining.add_letter(record(1, story=((SEEN + 2, "a"), (SEEN + 3, "… 5 more steps …"))))
    explaining.add_memory([in_memory(story=[[SEEN + 2, "a"], [SEEN + 9, "… 50 more steps …"]])])
    assert [what for what in whats(the_one(explaining)) if "more steps" in what] == ["… 50 more steps …"]


def test_the_whole_life_of_a_parked_event() -> None:
    explaining = asked()
    waiting = record(
        1, state="waiting", code="throttled", reason="slow", next_try=SEEN + 900, place=(0, 50), story=STORY
    )
    explaining.add_letter(waiting)
    case = the_one(explaining)
    view = outlook(case, SETTINGS, SEEN + 60)
    assert (view.state, view.next_try, view.gives_up_at) == ("waiting", SEEN + 900, SEEN + 1 + 24 * 3600)
    assert "in 14 min" in view.next
    assert "account main has budget again" in view.next
    explaining.add_letter(
        record(1, state="replay", by="jane@example.com", why="mapped", replay_number=1, place=(0, 60))
    )
    assert outlook(case, SETTINGS, SEEN + 60).state == "replay"
    explaining.add_letter(tombstone(waiting, 70))
    explaining.add_result(result())
    told = whats(case)
    assert any(what.startswith("parked as waiting (partition 0, offset 50); next try at ") for what in told)
    assert any(what.startswith("replay 1 asked for by jane ") for what in told)
    assert "settled: taken out of the dead-letter topic" in told
    assert "jane@" not in " ".join(told)
    view = outlook(case, SETTINGS, SEEN + 60)
    assert (view.state, view.next) == ("finished", "nothing")


def test_a_replays_time_counts_from_when_it_was_taken_up_and_pauses_do_not_count() -> None:
    explaining = asked()
    explaining.add_letter(
        record(1, state="waiting", progress=Carried(counts_from=SEEN + 500), paused_seconds=100.0, replay_number=1)
    )
    assert outlook(the_one(explaining), SETTINGS, SEEN + 600).gives_up_at == SEEN + 500 + 24 * 3600 + 100


@pytest.mark.parametrize("code", ["paused", "waiting_for_shipments", "credentials_rejected", "outcome_unknown", None])
def test_what_a_parked_event_waits_for_is_said(code: str | None) -> None:
    explaining = asked()
    explaining.add_letter(record(1, state="waiting", code=code))
    told = outlook(the_one(explaining), SETTINGS, SEEN + 60).next
    assert ("once" in told) == (code is not None)
    assert "{" not in told


def test_a_dead_letter_says_who_does_what() -> None:
    explaining = asked()
    explaining.add_letter(record(1))
    view = outlook(the_one(explaining), SETTINGS, SEEN + 60)
    assert view.state == "dead"
    assert "configuration: Map the carrier" in view.next
    assert f"dlq replay --key '{KEY}'" in view.next


def test_a_record_with_broken_headers_is_told_and_ends_nothing() -> None:
    explaining = asked()
    broken = record(1)
    headers = tuple((name, b"\xff" if name == "order-sync-state" else value) for name, value in broken.headers)
    explaining.add_letter(broken._replace(headers=headers))
    assert outlook(the_one(explaining), SETTINGS, SEEN).state == "broken"
    explaining.add_letter(broken._replace(headers=()))
    assert {case.coordinates for case in explaining.cases()} == {f"{TOPIC}/0/1", KEY}


def test_markers_of_corrected_numbers_are_no_events() -> None:
    explaining = asked("PO1")
    explaining.add_letter(record(1, state="corrected", key="corrected|PO1|OLD"))
    assert explaining.cases() == []


def test_an_event_that_is_told_retrying_only_is_with_a_worker() -> None:
    explaining = asked()
    explaining.add_result(result(status="retrying"))
    view = outlook(the_one(explaining), SETTINGS, SEEN + 600)
    assert view.state == "retrying"
    explaining.add_memory([in_memory()])
    view = outlook(the_one(explaining), SETTINGS, SEEN + 600)
    assert (view.state, view.next) == ("memory", "waits for its gate account:main/ship")


def test_the_newest_result_counts() -> None:
    explaining = asked()
    explaining.add_result(result(at=SEEN + 400))
    explaining.add_result(result(status="retrying", at=SEEN + 300))
    assert outlook(the_one(explaining), SETTINGS, SEEN + 600).where == "finished: succeeded, applied"
    told = whats(the_one(explaining))
    assert told[0] == "happened (the event's own time)"
    assert told[-1].startswith("result succeeded, applied (6.0 s after the event, try 2)")


def test_a_log_alone_tells_the_end() -> None:
    explaining = asked()
    explaining.add_log_line(log_line(event="event_retried", code="throttled", message="slow", story=None))
    assert outlook(the_one(explaining), SETTINGS, SEEN).state == "retrying"
    assert whats(the_one(explaining)) == ["not settled, throttled: slow"]
    explaining.add_log_line(log_line(story=None, status="failed", code="carrier_unmapped", message="no name"))
    assert outlook(the_one(explaining), SETTINGS, SEEN).state == "finished"
    assert whats(the_one(explaining))[-1] == "failed, applied, carrier_unmapped: no name"


def test_bounds() -> None:
    explaining = asked("PO1")
    for number in range(MAX_CASES + 5):
        explaining.add_result(result(number))
    assert explaining.too_many
    assert len(explaining.cases()) == MAX_CASES
    explaining = asked()
    explaining.add_memory([in_memory(story=[[SEEN + number, "x"] for number in range(MAX_STEPS + 7)])])
    assert the_one(explaining).left_out == 7


@pytest.mark.parametrize(
    "more",
    [
        {"story": None}, {"story": "x"}, {"story": [["x"], [1], [1, 2], None, {"a": 1}]},
        {"received_at": "x", "story": []}, {"state": None}, {"key": None}, {"order": 7},
    ],
)  # fmt: skip
def test_an_odd_worker_is_survived(more: dict[str, Any]) -> None:
    explaining = asked(f"{TOPIC}/0/1")
    explaining.add_memory([in_memory(**more), {}])
    the_one(explaining).story()


@pytest.mark.parametrize(
    "more",
    [{"time": "x"}, {"time": None}, {"offset": None}, {"story_begun_at": "x"}, {"story": ["x", 1, "+x s y", "+1 s"]}],
)
def test_odd_log_lines_are_survived(more: dict[str, Any]) -> None:
    explaining = asked()
    explaining.add_log_line(log_line(**more))
    assert len(explaining.cases()) <= 1


# -- a log file


def test_a_log_file_is_read_line_by_line_whatever_stands_in_it() -> None:
    lines = [
        b"Traceback (most recent call last):", b"{broken " + KEY.encode(), b"[1]", b'"PO1"', b"\xff\xfe", b"",
        b"x" * 3_000_000, json.dumps(log_line()).encode(), json.dumps(log_line(offset=2, event_id="2")).encode(),
    ]  # fmt: skip
    explaining = asked()
    count = from_log(io.BytesIO(b"\n".join(lines)), explaining)
    assert whats(the_one(explaining))[-1] == "succeeded, applied"
    assert count == len(lines) - 1, "the endless line is not looked at"


# -- a running worker


@pytest.fixture
async def served() -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """A worker's endpoint: answers what `given` holds."""
    given: dict[str, Any] = {"status": 200, "body": b"[]", "asked": []}

    async def events(request: web.Request) -> web.Response:
        given["asked"].append(request.query.get("match"))
        return web.Response(status=given["status"], body=given["body"])

    app = web.Application()
    app.router.add_get("/events", events)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", given
    finally:
        await runner.cleanup()


async def test_a_running_worker_is_asked(served: tuple[str, dict[str, Any]]) -> None:
    url, given = served
    given["body"] = json.dumps([in_memory(), in_memory(offset=9, key="other"), 7]).encode()
    explaining = asked()
    assert await from_worker(url + "/", explaining) == 2
    assert given["asked"] == [KEY]
    assert the_one(explaining).memory == "waits for its gate account:main/ship"


@pytest.mark.parametrize(("status", "body"), [(404, b"[]"), (200, b"{}"), (200, b"<html>"), (302, b"")])
async def test_what_is_no_worker_is_named(served: tuple[str, dict[str, Any]], status: int, body: bytes) -> None:
    url, given = served
    given.update(status=status, body=body)
    with pytest.raises(WorkerUnreachableError, match="/events"):
        await from_worker(url, asked())


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "not a url", "ftp://x"])
async def test_a_worker_that_is_not_there_is_named(url: str) -> None:
    with pytest.raises(WorkerUnreachableError, match="does not answer"):
        await from_worker(url, asked())


def test_times_are_those_of_the_clock() -> None:
    explaining = asked()
    explaining.add_log_line(log_line())
    assert [round(step.at - SEEN, 3) for step in the_one(explaining).story()] == [1.0, 1.2, 1.3]
