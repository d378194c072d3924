"""Dead-letter records: what is kept, what is given back, and what survives."""

from __future__ import annotations

from dataclasses import fields
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.carried import Carried, Intent, read_carried
from schemas.deadletter import (
    HEADERS,
    MAX_NAMED_BYTES,
    PREFIX,
    UNREADABLE,
    Confirmed,
    DeadLetterHeaders,
    decode,
    encode,
    read,
    write,
)
from schemas.headerkinds import MAX_STEPS, MAX_STORY_BYTES
from tests.mutations import Headers, example_records

FULL = DeadLetterHeaders(
    state="dead",
    key=b"1796277083022\xff",
    code="carrier_unmapped",
    reason='carrier "Speedy Freight" has no Walmart name',
    store="us_store_view",
    order="1796277083022",
    shipment="000000045",
    topic="commerce.order-shipped.v1",
    partition=3,
    offset=1187,
    timestamp_ms=1_795_187_045_087,
    first_seen=1_795_187_045.21,
    attempts=2,
    confirmed=(Confirmed("1", 2, "1Z999AA10123456784"), Confirmed("2", 1, None)),
    progress=Carried(
        counts_from=1_795_187_000.5,
        told_retrying=True,
        unsettled=Intent(expected=(Confirmed("1", 2, None),), believe_at=1_795_187_050.25, leaves_open=True),
        doubted=(Confirmed("2", 1, "1Z"),),
        one_by_one=2,
        warned=(("tracking_cleaned", "spaces"),),
    ),
    next_try=1_795_187_105.5,
    first_parked=77,
    paused_seconds=12.5,
    replay_number=1,
    result_id="5d0d8ac5-3c8e-5f0b-8a43-1a1f3f1a9f0e",
    by="kim",
    why="carrier is mapped now",
    story=((1_795_187_045.1, "received"), (1_795_187_046.25, "waits 3 s: throttled")),
)

headers_of_anyone = st.lists(
    st.tuples(
        st.text(max_size=20)
        | st.sampled_from([PREFIX + "state", "original-" + PREFIX + "state", PREFIX, "original-", "ce_id"]),
        st.none() | st.binary(max_size=20),
    ),
    max_size=8,
)


def texts(headers: Headers | list[tuple[str, bytes]]) -> dict[str, str]:
    return {name: raw.decode(errors="replace") for name, raw in headers if raw is not None}


class TestKeptAndGivenBack:
    @given(value=st.none() | st.binary(max_size=50), headers=headers_of_anyone, key=st.none() | st.binary(max_size=20))
    def test_any_record_comes_back_byte_for_byte(
        self, value: bytes | None, headers: Headers, key: bytes | None
    ) -> None:
        written, kept = write(DeadLetterHeaders(state="dead", key=key), value, headers)
        letter = read(written, kept)
        assert (letter.key, letter.value, list(letter.headers)) == (key, value, headers)
        assert letter.problems == ()

    def test_a_letter_of_a_letter_comes_back_too(self) -> None:
        """Someone may copy a dead letter to an input topic with all its headers."""
        value, once = write(FULL, b"v", [("x", b"1")])
        _, twice = write(FULL, value, once)
        assert list(read(value, twice).headers) == once

    def test_everything_we_note_comes_back(self) -> None:
        assert decode(encode(FULL)) == (FULL, ())
        missing = {field.name for field in fields(FULL)} - {header.attribute for header in HEADERS}
        assert not missing, "a field without a header is lost"

    def test_a_null_value_is_not_written_as_a_tombstone(self) -> None:
        value, headers = write(FULL, None, [])
        assert value == b""
        assert texts(headers)["order-sync-null-value"] == "true"
        assert read(value, headers).value is None

    def test_an_empty_value_stays_empty(self) -> None:
        value, headers = write(FULL, b"", [])
        assert "order-sync-null-value" not in texts(headers)
        assert read(value, headers).value == b""

    def test_a_null_key_and_an_empty_key_differ(self) -> None:
        for key in (None, b""):
            _, headers = write(DeadLetterHeaders(state="dead", key=key), b"v", [])
            assert (PREFIX + "key" in texts(headers)) == (key is not None)
            assert read(b"v", headers).key == key

    def test_headers_with_our_prefix_are_kept_apart(self) -> None:
        original: Headers = [("order-sync-state", b"mine"), ("original-order-sync-x", b"y"), ("original-x", b"z")]
        _, headers = write(FULL, b"v", original)
        names = [name for name, _ in headers[: len(original)]]
        assert names == ["original-order-sync-state", "original-original-order-sync-x", "original-x"]
        letter = read(b"v", headers)
        assert letter.about.state == "dead"
        assert list(letter.headers) == original


class TestAsText:
    def test_our_headers_are_readable_text(self) -> None:
        told = texts([header for header in encode(FULL) if header[0] != PREFIX + "key"])
        assert told["order-sync-timestamp"] == "2026-11-20T15:04:05.087Z"
        assert told["order-sync-first-seen"] == "2026-11-20T15:04:05.210Z"
        assert told["order-sync-offset"] == "1187"
        assert told["order-sync-paused-seconds"] == "12.500"
        assert told["order-sync-confirmed"].startswith('[{"line_number":"1","quantity":2,')

    def test_what_is_absent_is_left_out(self) -> None:
        assert encode(DeadLetterHeaders(state="waiting")) == [("order-sync-state", b"waiting")]

    def test_a_reason_is_one_scrubbed_line(self) -> None:
        reason = "bad\r\nphone\x00 of jo@mail.example, token=abc123 Bearer abcdefghijklmnop " + "x" * 9_000
        raw = dict(encode(DeadLetterHeaders(state="dead", reason=reason, why=reason)))
        for name in ("order-sync-reason", "order-sync-why"):
            text = raw[name].decode()
            assert len(text) == 500
            assert text.isprintable()
            assert not any(secret in text for secret in ("jo@mail", "abc123", "abcdefghijklmnop"))

    def test_an_address_in_by_is_cut_to_the_name(self) -> None:
        raw = dict(encode(DeadLetterHeaders(state="replay", by="kim@mail.example")))
        assert raw["order-sync-by"] == b"kim"

    @pytest.mark.parametrize("milliseconds", [0, -1, 1, 10**12, 10**15, 2**62, -(2**62)])
    def test_any_record_time_comes_back(self, milliseconds: int) -> None:
        """Kafka's timestamp is the producer's: it may be nonsense, but it is kept."""
        about = DeadLetterHeaders(state="dead", timestamp_ms=milliseconds)
        assert decode(encode(about))[0].timestamp_ms == milliseconds

    def test_a_story_keeps_its_ends_and_stays_small(self) -> None:
        steps = tuple((float(n), f"{n} " + "é" * 500) for n in range(500))
        raw = dict(encode(DeadLetterHeaders(state="waiting", story=steps)))["order-sync-story"]
        assert len(raw) <= MAX_STORY_BYTES
        read_back, problems = decode([("order-sync-state", b"waiting"), ("order-sync-story", raw)])
        assert problems == ()
        assert (read_back.story[0][0], read_back.story[-1][0]) == (0.0, float(MAX_STEPS - 1))

    def test_a_story_has_no_addresses(self) -> None:
        raw = dict(encode(DeadLetterHeaders(state="dead", story=((1.0, "told jo@mail.example\nof it"),))))
        assert raw["order-sync-story"] == b'[[1.0,"told (e-mail) of it"]]'

    def test_what_was_confirmed_of_thousands_of_items_stays_small_and_comes_back(self) -> None:
        confirmed = tuple(Confirmed(f"{n:010d}", 1, "N" * 60) for n in range(2_000))
        headers = encode(DeadLetterHeaders(state="dead", confirmed=confirmed))
        size = sum(len(name) + len(raw) for name, raw in headers)
        assert MAX_NAMED_BYTES < size < 200_000
        assert decode(headers)[0].confirmed == confirmed

    def test_headers_stay_small_whatever_the_event(self) -> None:
        """The topic allows 256 KiB more than the largest input; most of it is for what was confirmed."""
        long = "é" * 100_000
        about = DeadLetterHeaders(
            state="dead", code=long, reason=long, store=long, order=long, shipment=long, topic=long, by=long, why=long
        )
        assert sum(len(name) + len(raw) for name, raw in encode(about)) < 10_000


class TestSurvivesAnything:
    def test_a_tombstone_means_settled_whatever_its_headers_say(self) -> None:
        assert read(None, []).about.state == "settled"
        assert read(None, encode(FULL)).about.state == "settled"

    def test_a_foreign_record(self) -> None:
        letter = read(b"v", [("kafka_dlt-exception-message", b"boom")])
        assert letter.about == DeadLetterHeaders(state=None)
        assert letter.value == b"v"
        assert [problem.field for problem in letter.problems] == ["order-sync-state"]

    @pytest.mark.parametrize(
        ("name", "raw"),
        [
            ("state", b"undead"),
            ("state", b"\xff"),
            ("partition", b"-1"),
            ("offset", b"1.5"),
            ("offset", b"9" * 30),
            ("attempts", "²".encode()),
            ("timestamp", b"yesterday"),
            ("first-seen", b"2026-11-20T15:04:05"),
            ("paused-seconds", b"nan"),
            ("paused-seconds", b"-1"),
            ("paused-seconds", b"1" * 500),
            ("null-value", b"yes"),
            ("reason", b"\xff\xfe"),
            ("confirmed", b"{"),
            ("confirmed", b'[{"line_number": 1, "quantity": 1}]'),
            ("confirmed", b'[{"line_number": "1", "quantity": true}]'),
            ("confirmed", b'[{"line_number": "1", "quantity": 0}]'),
            ("confirmed", b'{"line_number": "1"}'),
            ("confirmed", b'[["1", 0, null]]'),
            ("progress", b"{"),
            ("progress", b"{}"),
            ("progress", b'{"v": 2}'),
            ("progress", b'{"v": 1, "told_retrying": 1}'),
            ("progress", b'{"v": 1, "hold_until": -1}'),
            ("progress", b'{"v": 1, "unsettled": {"expected": [], "believe_at": 1}}'),
            (
                "progress",
                b'{"v": 1, "unsettled": {"expected": [["1", true, null]], "believe_at": 1, "leaves_open": true}}',
            ),
            ("progress", b'{"v": 1, "doubted": "x"}'),
            ("progress", b'{"v": 1, "warned": [["code"]]}'),
            ("next-try", b"soon"),
            ("first-parked", b"-1"),
            ("story", b'[["now", "x"]]'),
            ("story", b'{"1": "x"}'),
            ("tomorrow", b"1"),
        ],
    )
    def test_a_broken_header_is_told_and_counts_as_absent(self, name: str, raw: bytes) -> None:
        good = [header for header in encode(FULL) if header[0] != PREFIX + name]
        about, problems = decode([*good, (PREFIX + name, raw)])
        assert [problem.field for problem in problems] == [PREFIX + name]
        expected = {header.name: header for header in HEADERS}.get(PREFIX + name)
        if expected is not None:
            absent = None if name in ("state", "confirmed", "progress") else expected.absent
            assert getattr(about, expected.attribute) == absent
        assert about.code == FULL.code

    def test_unreadable_confirmations_are_not_taken_for_none(self) -> None:
        """Else a replay could ship confirmed units again."""
        about, _ = decode([("order-sync-state", b"dead"), ("order-sync-confirmed", b"[{")])
        assert about.confirmed is None

    @pytest.mark.parametrize("name", ["confirmed", "progress"])
    def test_what_cannot_be_read_is_still_unreadable_when_it_is_written_anew(self, name: str) -> None:
        """A replay is asked for with the same headers: absent would mean that nothing was confirmed."""
        about, _ = decode([("order-sync-state", b"dead"), (PREFIX + name, b"[{")])
        headers = encode(about)
        assert (PREFIX + name, UNREADABLE) in headers
        assert getattr(decode(headers)[0], name) is None

    def test_fields_of_a_newer_version_are_passed_over(self) -> None:
        assert read_carried(b'{"v": 1, "waits": 3, "mood": "fine"}') == Carried(waits=3)

    def test_headers_that_are_not_wanted_are_not_read(self) -> None:
        headers = [("order-sync-state", b"dead"), ("order-sync-story", b"broken")]
        assert read(b"v", headers, without=("order-sync-story",)).problems == ()

    def test_of_a_repeated_header_the_last_counts(self) -> None:
        about, problems = decode([*encode(FULL), ("order-sync-code", b"internal")])
        assert about.code == "internal"
        assert [problem.field for problem in problems] == ["order-sync-code"]

    def test_a_null_value_marker_on_a_value_drops_nothing(self) -> None:
        letter = read(b"v", [("order-sync-state", b"dead"), ("order-sync-null-value", b"true")])
        assert letter.value == b"v"
        assert [problem.field for problem in letter.problems] == ["order-sync-null-value"]

    def test_epoch_milliseconds_are_understood(self) -> None:
        about, problems = decode([("order-sync-state", b"dead"), ("order-sync-first-seen", b"1795187045210")])
        assert (about.first_seen, problems) == (1_795_187_045.21, ())

    def test_garbage_never_raises(self) -> None:
        rng = Random(7)
        names = [header.name for header in HEADERS] + ["order-sync-", "ce_id", ""]
        for _ in range(5_000):
            headers: Headers = [
                (rng.choice(names), rng.choice((None, b"", rng.randbytes(6), b"1", b"[]", b"[1]", b"true", b"dead")))
                for _ in range(rng.randrange(8))
            ]
            letter = read(rng.choice((None, b"", b"v")), headers)
            assert letter.about is not None
            assert all(problem.field.startswith(PREFIX) and problem.message for problem in letter.problems)


def test_example_events_keep_everything() -> None:
    for record in example_records():
        value, headers = write(DeadLetterHeaders(state="dead", key=record.key), record.value, record.headers)
        letter = read(value, headers)
        assert (list(letter.headers), letter.key, letter.value) == (record.headers, record.key, record.value)
