from __future__ import annotations

import pytest
from oncall_samples import letter, record, tombstone

from worker.oncall.letters import read_letter
from worker.oncall.snapshot import Gathering


def test_a_letter_knows_what_its_code_means() -> None:
    read = letter(store="us")
    assert (read.category, read.owner, read.state) == ("mapping", "configuration", "dead")
    assert read.action is not None
    assert "stores.us.carriers" in read.action
    assert read.obstacle is None


def test_a_code_of_another_version_is_shown_without_meaning() -> None:
    read = letter(code="from_the_future")
    assert (read.category, read.owner, read.action) == (None, None, None)


@pytest.mark.parametrize("state", ["settled", "heartbeat"])
def test_what_is_no_event_is_no_letter(state: str) -> None:
    assert read_letter(record(state=state)) is None


def test_a_tombstone_is_no_letter() -> None:
    assert read_letter(tombstone(record(), 200)) is None


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"topic": None}, "order-sync-topic"),
        ({"offset": None}, "order-sync-offset"),
        ({"code": "event_too_large"}, "never be fetched"),
        ({"place": (2, 9)}, "partition 2"),
    ],
)
def test_obstacles_are_named(given: dict[str, object], part: str) -> None:
    assert part in (letter(**given).obstacle or "")


def test_a_broken_header_is_an_obstacle() -> None:
    whole = record()
    broken = whole._replace(headers=(*whole.headers, ("order-sync-confirmed", b"not JSON")))
    read = read_letter(broken)
    assert read is not None
    assert "order-sync-confirmed" in (read.obstacle or "")


def test_a_foreign_record_is_broken_not_lost() -> None:
    read = read_letter(record()._replace(headers=(("x", b"y"),)))
    assert read is not None
    assert read.state == "broken"
    assert read.obstacle is not None


def test_without_bytes_nothing_of_the_event_is_kept() -> None:
    read = letter(value=b"street 1", headers=(("mail", b"a@b.example"),)).without_bytes()
    assert read.content.value is None
    assert read.content.headers == ()
    assert read.about.key is None
    assert (read.size, read.has_bytes) == (8, False)


def test_the_newest_record_of_a_key_counts() -> None:
    gathering = Gathering(lambda _: True)
    gathering.add(record(1))
    gathering.add(record(1, state="replay", place=(0, 150)))
    gathering.add(record(2))
    gathering.add(tombstone(record(2), 160))
    gathering.add(record(3, state="heartbeat", place=(0, 161)))
    assert [(one.place.offset, one.state) for one in gathering.letters] == [(150, "replay")]


def test_bytes_are_kept_only_where_wanted() -> None:
    gathering = Gathering(lambda one: one.about.offset == 1)
    gathering.add(record(1))
    gathering.add(record(2))
    assert [one.has_bytes for one in gathering.letters] == [True, False]
