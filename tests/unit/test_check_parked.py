"""`order-sync check`: what lies in the dead-letter topic, above all after partitions were added."""

from __future__ import annotations

import zlib
from typing import Any

from aiokafka.partitioner import murmur2

from schemas.deadletter import DeadLetterHeaders, write
from worker.check_parked import Gathering, ParkedSeen, judge_parked
from worker.findings import Finding, Level
from worker.settings import LimitSettings

BEFORE, AFTER = 3, 24


def at(order: str, count: int) -> int:
    return int(murmur2(order.encode()) & 0x7FFFFFFF) % count


MOVED = next(
    order
    for order in map(str, range(1_000))
    if at(order, BEFORE) != at(order, AFTER) and zlib.crc32(order.encode()) % AFTER != at(order, BEFORE)
)
"""An order that 24 partitions put elsewhere than 3 did."""
STAYED = next(order for order in map(str, range(1_000)) if at(order, BEFORE) == at(order, AFTER))


def gathered(*records: tuple[int, str, DeadLetterHeaders | None], count: int = AFTER) -> ParkedSeen:
    gathering = Gathering(count)
    for partition, key, about in records:
        value, headers = (None, []) if about is None else write(about, b"{}", [("ce_id", b"1")])
        gathering.add(partition, key.encode(), value, headers)
    return gathering.seen()


def event(state: Any, order: str) -> DeadLetterHeaders:
    return DeadLetterHeaders(state=state, key=order.encode(), order=order, code="walmart_unavailable")


def levels(findings: list[Finding], *wanted: Level) -> list[str]:
    return [one.message for one in findings if one.level in wanted]


def judged(seen: ParkedSeen, members: int = 1, **limits: int) -> list[Finding]:
    return judge_parked(LimitSettings(**limits), "walmart.dead-letter.v1", seen, members)


def test_what_waits_where_its_key_says_is_only_counted() -> None:
    right = at(MOVED, AFTER)
    seen = gathered((right, "k1", event("waiting", MOVED)), (right, "k2", event("dead", MOVED)))
    (only,) = judged(seen)
    assert (only.level, only.message) == (
        "ok",
        "unfinished events, read to the end: waiting: 1, replays: 0, dead: 1, markers: 0",
    )


def test_what_waited_while_partitions_were_added_is_a_mistake() -> None:
    """The rest of its order now comes in another partition: two workers would handle it at once."""
    seen = gathered(
        (at(MOVED, BEFORE), "t|s|1", event("waiting", MOVED)), (at(STAYED, BEFORE), "t|s|2", event("waiting", STAYED))
    )
    (text,) = levels(judged(seen), "mistake")
    assert text.startswith("1 waiting events or replays lie in another partition")
    assert f"t|s|1 in partition {at(MOVED, BEFORE)} instead of {at(MOVED, AFTER)}" in text


def test_a_replay_counts_by_its_events_key_and_a_marker_by_its_order() -> None:
    marker = DeadLetterHeaders(state="corrected", order=MOVED, timestamp_ms=1)
    found = judged(
        gathered((at(MOVED, BEFORE), f"corrected|{MOVED}|1Z", marker), (at(MOVED, BEFORE), "k", event("replay", MOVED)))
    )
    (text,) = levels(found, "mistake")
    assert text.startswith("1 waiting events or replays")
    (text,) = levels(found, "warning")
    assert text.startswith("1 markers of numbers corrected away lie in another partition")


def test_dead_letters_elsewhere_are_a_warning_with_what_to_do() -> None:
    (only,) = [one for one in judged(gathered((at(MOVED, BEFORE), "k", event("dead", MOVED)))) if one.level != "ok"]
    assert only.level == "warning"
    assert "1 dead letters lie in another partition" in only.message
    assert "partitions.md" in (only.action or "")


def test_another_partitioner_of_a_producer_is_told_apart_from_added_partitions() -> None:
    """Its later events come to the same partition: no order is torn apart."""
    order = next(one for one in map(str, range(1_000)) if zlib.crc32(one.encode()) % AFTER != at(one, AFTER))
    seen = gathered((zlib.crc32(order.encode()) % AFTER, "k", event("waiting", order)))
    assert levels(judged(seen), "mistake") == []
    (text,) = levels(judged(seen), "warning")
    assert "CRC32" in text


def test_what_is_settled_and_heartbeats_do_not_count_and_the_newest_record_decides() -> None:
    wrong = at(MOVED, BEFORE)
    seen = gathered(
        (wrong, "k1", event("waiting", MOVED)),
        (wrong, "k1", None),
        (wrong, "k2", event("waiting", MOVED)),
        (wrong, "k2", event("dead", STAYED)),
        (wrong, "beat", DeadLetterHeaders(state="heartbeat")),
    )
    assert (dict(seen.states), seen.elsewhere.get("waiting")) == ({"dead": 1}, None)


def test_events_without_a_key_of_their_own_lie_anywhere() -> None:
    seen = gathered((5, "t/5/1", DeadLetterHeaders(state="waiting")), (6, "x", DeadLetterHeaders(state="corrected")))
    assert dict(seen.elsewhere) == {}


def test_foreign_and_broken_records_are_survived_and_told() -> None:
    gathering = Gathering(AFTER)
    gathering.add(0, None, b"\xff", [])
    gathering.add(1, b"\xff\xfe", b"x", [("order-sync-state", b"\xff"), ("order-sync-key", b"\x00")])
    gathering.add(2, b"k", b"x", [("order-sync-state", b"waiting"), ("order-sync-attempts", b"many")])
    seen = gathering.seen()
    assert (seen.foreign, dict(seen.states)) == (2, {"waiting": 1})
    assert any("2 records were not written by order-sync" in text for text in levels(judged(seen), "warning"))


def test_a_topic_that_was_not_read_to_its_end_is_no_reassurance() -> None:
    gathering = Gathering(AFTER)
    (text,) = levels(judged(gathering.seen("15 s were not enough")), "ok", "warning")
    assert text.startswith("not read to its end (15 s were not enough)")


def test_a_waiting_room_that_fills_is_told_before_and_when_it_is_full() -> None:
    def found(count: int, members: int) -> list[str]:
        seen = ParkedSeen({"waiting": count})
        return [one.level for one in judged(seen, members, max_parked_events=1_000) if one.subject == "waiting room"]

    assert found(700, 1) == []
    assert found(850, 1) == ["warning"]
    assert found(1_000, 1) == ["mistake"]
    assert found(1_000, 2) == []
    assert found(2_000, 2) == ["mistake"]
