"""The topics' shape, and what of an existing topic is a mistake."""

from __future__ import annotations

import pytest

from worker.settings import KafkaSettings, TopicSettings
from worker.topics import DEAD_LETTER_HEADROOM_BYTES, TopicSpec, mismatches, topic_specs

DAY_MS = 86_400_000


def specs(max_record_bytes: int = 1_048_576, replication: int = 3) -> dict[str, TopicSpec]:
    kafka = KafkaSettings(max_record_bytes=max_record_bytes)
    made = topic_specs(TopicSettings(), kafka, partitions=6, replication=replication)
    return {spec.name: spec for spec in made}


def test_the_four_topics_share_one_number_of_partitions() -> None:
    """An order's events and its dead letter lie in one partition number."""
    made = specs()
    assert list(made) == [
        "commerce.order-shipped.v1",
        "commerce.order-cancelled.v1",
        "walmart.sync-result.v1",
        "walmart.dead-letter.v1",
    ]
    assert {spec.partitions for spec in made.values()} == {6}


def test_a_dead_letter_has_room_for_the_largest_event_and_its_headers() -> None:
    made = specs(max_record_bytes=5_000_000)
    largest_event = int(made["commerce.order-shipped.v1"].config["max.message.bytes"])
    assert int(made["walmart.dead-letter.v1"].config["max.message.bytes"]) == 5_000_000 + DEAD_LETTER_HEADROOM_BYTES
    assert 5_000_000 <= largest_event < 5_000_000 + DEAD_LETTER_HEADROOM_BYTES


def test_kafkas_own_limit_is_the_default() -> None:
    """An input topic made with the broker's defaults is not a mistake."""
    assert specs()["commerce.order-shipped.v1"].config["max.message.bytes"] == "1048588"


@pytest.mark.parametrize(("replication", "in_sync"), [(1, "1"), (2, "1"), (3, "2")])
def test_acknowledged_means_on_two_brokers_where_there_are_three(replication: int, in_sync: str) -> None:
    assert {spec.config["min.insync.replicas"] for spec in specs(replication=replication).values()} == {in_sync}


@pytest.mark.parametrize("spec", specs().values(), ids=lambda spec: spec.role)
def test_a_topic_made_from_its_spec_is_right(spec: TopicSpec) -> None:
    assert mismatches(spec, spec.config) == []


@pytest.mark.parametrize("name", ["commerce.order-shipped.v1", "commerce.order-cancelled.v1", "walmart.sync-result.v1"])
def test_a_topic_made_with_the_brokers_defaults_is_right(name: str) -> None:
    assert mismatches(specs()[name], {}) == []


@pytest.mark.parametrize(
    ("name", "found", "told"),
    [
        ("commerce.order-shipped.v1", {"cleanup.policy": "compact"}, "compaction would drop events"),
        ("commerce.order-cancelled.v1", {"cleanup.policy": "compact,delete"}, "compaction would drop events"),
        ("walmart.sync-result.v1", {"cleanup.policy": "compact"}, "compaction would drop events"),
        ("commerce.order-shipped.v1", {"retention.ms": str(DAY_MS)}, "must exceed the longest wait"),
        ("commerce.order-shipped.v1", {"max.message.bytes": "2000000"}, "could not be kept as a dead letter"),
        ("walmart.dead-letter.v1", {}, "must be compact alone"),
        ("walmart.dead-letter.v1", {"cleanup.policy": "compact,delete"}, "must be compact alone"),
        ("walmart.dead-letter.v1", {"cleanup.policy": "compact", "max.message.bytes": "1048588"}, "at least 1310720"),
        (
            "walmart.dead-letter.v1",
            {"cleanup.policy": "compact", "max.compaction.lag.ms": str(2**63 - 1)},
            "settled events would linger",
        ),
        ("walmart.dead-letter.v1", {"cleanup.policy": "compact", "delete.retention.ms": "1000"}, "miss tombstones"),
    ],
)
def test_what_would_lose_or_block_events_is_told(name: str, found: dict[str, str], told: str) -> None:
    (sentence,) = mismatches(specs()[name], found)
    assert sentence.startswith(name)
    assert told in sentence


@pytest.mark.parametrize("kept", ["-1", str(DAY_MS + 1)])
def test_kept_longer_than_the_longest_wait_is_enough(kept: str) -> None:
    """-1 is Kafka's "for ever"."""
    assert mismatches(specs()["commerce.order-shipped.v1"], {"retention.ms": kept}) == []
