from __future__ import annotations

import json
from typing import Any

from oncall_samples import TOPIC, letter, record, tombstone

from schemas import deadletter
from schemas.deadletter import Confirmed
from schemas.results import SyncResult
from worker.oncall.answers import read_result
from worker.oncall.replay import SETTLED_GRACE_S, Item, Watch, asking_record, plan
from worker.report.result import result_id


def answer(
    key: str, number: int, *, offset: int = 1, status: str = "succeeded", code: str | None = None, **given: Any
) -> SyncResult:
    """The result a worker would publish for that replay."""
    effect = "applied" if code is None else "none"
    error = code and {
        "code": code, "category": "mapping", "retryable": False, "owner": "configuration", "action": "map it",
        "message": "no name", "http_status": None, "walmart_errors": [], "correlation_id": None,
    }  # fmt: skip
    told = {
        "result_id": result_id(key, number, status, effect, code),
        "event": {"source": "", "id": "1", "type": "", "topic": TOPIC, "partition": 0, "offset": offset, "time": None},
        "store": "us", "account": "main", "purchase_order_id": "PO1", "commerce_order_id": "1", "shipment_id": "s",
        "operation": "ship", "status": status, "final": status != "retrying", "effect": effect, "order_status": None,
        "walmart_status": None, "lines": [], "inventory": [], "warnings": [], "error": error or None, "attempts": 1,
        "received_at": "2026-11-20T15:04:05Z", "completed_at": "2026-11-20T15:04:06Z", "latency_seconds": 1.0,
        "waited": {"budget": 0.0, "retry": 0.0}, "dead_letter": None, **given,
    }  # fmt: skip
    result = read_result(json.dumps(told).encode())
    assert result is not None
    return result


def item(**given: Any) -> Item:
    made = plan([letter(**given)]).items[0]
    made.written = made.became is None and not made.earlier
    return made


# -- the plan


def test_only_dead_letters_are_written() -> None:
    waiting, asked = letter(2, state="waiting"), letter(3, state="replay", replay_number=2)
    broken = letter(4, topic=None)
    made = plan([letter(1, replay_number=1), waiting, asked, broken, letter(5, state="corrected")])
    assert [(one.key, one.number) for one in made.fresh] == [(letter(1).key, 2)]
    assert [(one.key, one.number) for one in made.earlier] == [(asked.key, 2)]
    assert [one.key for one in made.impossible] == [broken.key]
    assert made.waiting == 1


def test_keys_that_are_not_there_are_told() -> None:
    assert plan([letter(1)], frozenset({letter(1).key, "gone"})).unknown_keys == ["gone"]


def test_the_asking_record_keeps_the_event_and_everything_known() -> None:
    headers = (("ce_id", b"1"), ("order-sync-state", b"theirs"), ("empty", None))
    confirmed = (Confirmed("1", 2, "1Z"),)
    one = item(value=None, headers=headers, confirmed=confirmed, paused_seconds=3.0, replay_number=4, shipment="s")
    value, written = asking_record(one, by="ada on host", why="fixed, ada@example.com said")
    read = deadletter.read(value, written)
    assert value == b""  # a null value would settle it
    assert read.value is None
    assert read.headers == headers
    assert read.problems == ()
    about = read.about
    assert (about.state, about.replay_number, about.by) == ("replay", 5, "ada on host")
    assert "ada@example.com" not in (about.why or "")
    was = one.letter.about
    for name in ("key", "code", "store", "order", "shipment", "topic", "partition", "offset", "first_seen", "attempts"):
        assert getattr(about, name) == getattr(was, name), name
    assert (about.confirmed, about.paused_seconds) == (confirmed, 3.0)


# -- what became of it


def test_the_result_of_this_replay_counts() -> None:
    one = item()
    Watch([one]).see_result(answer(one.key, 1))
    assert one.became == "succeeded"


def test_results_of_other_deliveries_do_not_count() -> None:
    """The first delivery's, an earlier replay's, another event's."""
    one = item(replay_number=1)
    watch = Watch([one])
    for other in (answer(one.key, 0), answer(one.key, 1), answer(one.key, 2, offset=9), answer("other", 2)):
        watch.see_result(other)
    assert one.became is None
    watch.see_result(answer(one.key, 2, status="failed", code="carrier_unmapped"))
    assert (one.became, one.code, one.note) == ("failed", "carrier_unmapped", "no name")


def test_retrying_is_not_the_end() -> None:
    one = item()
    watch = Watch([one])
    watch.see_result(answer(one.key, 1, status="retrying", code="walmart_unavailable"))
    assert one.became is None
    assert watch.open == [one]
    watch.see_result(answer(one.key, 1))
    assert one.became == "succeeded"


def test_an_observed_replay_did_not_change_walmart() -> None:
    one = item()
    Watch([one]).see_result(answer(one.key, 1, observed=True))
    assert one.became == "observed"


def test_the_waiting_room_is_believed_where_no_result_is_seen() -> None:
    one = item()
    watch = Watch([one])
    watch.see_letter(tombstone(record(), 300), now=10.0)
    watch.close(10.0 + SETTLED_GRACE_S - 0.1)
    assert one.became is None
    watch.close(10.0 + SETTLED_GRACE_S)
    assert one.became == "succeeded"


def test_dead_again_in_the_waiting_room() -> None:
    one = item()
    watch = Watch([one])
    watch.see_letter(record(replay_number=1, code="internal", place=(0, 300)), now=0.0)
    watch.close(SETTLED_GRACE_S)
    assert (one.became, one.code) == ("failed", "internal")


def test_our_own_record_and_late_writes_of_the_first_delivery_change_nothing() -> None:
    one = item()
    watch = Watch([one])
    watch.see_letter(record(state="replay", replay_number=1, place=(0, 300)), now=0.0)
    watch.see_letter(record(replay_number=0, place=(0, 301)), now=0.0)
    watch.see_letter(record(place=(0, 1)), now=0.0)
    watch.close(1e9)
    assert one.became is None


def test_what_changed_before_it_was_written_is_left_alone() -> None:
    for seen in (
        tombstone(record(), 300),
        record(place=(0, 300)),
        record(state="replay", replay_number=1, place=(0, 300)),
    ):
        one = item()
        one.written = False
        Watch([one]).see_letter(seen, now=0.0)
        assert one.became == "changed"
        assert one.note


def test_foreign_results_are_no_results() -> None:
    assert read_result(None) is None
    assert read_result(b"\xff") is None
    assert read_result(b'{"result_id": 1}') is None
    assert read_result(b"[]") is None


def test_a_field_of_a_newer_version_is_tolerated() -> None:
    assert answer("k", 1, something_new=1, waited={"budget": 0.0, "retry": 0.0, "new": 1}).status == "succeeded"
