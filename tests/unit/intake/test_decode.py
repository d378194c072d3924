"""Decoding: identity, lane, and refusals that keep what could be read."""

from __future__ import annotations

import pytest
from aiokafka.partitioner import DefaultPartitioner

from schemas.cloudevents import CloudEvent, to_headers_binary, to_value
from schemas.events import ORDER_CANCELLED_TYPE
from worker.delivery import Record
from worker.intake.decode import Decoder, misplaced
from worker.settings import TopicSettings

TOPICS = TopicSettings()
CANCEL = {
    "store": "us",
    "purchase_order_id": "1796277083022",
    "commerce_order_id": "100",
    "cancelled_at": "2026-11-20T15:59:58Z",
    "items": [{"line_number": "1", "cancelled_total": 1, "shipped_total": 0}],
}


def record(topic: str = TOPICS.order_cancelled, data: object = CANCEL, key: bytes | None = b"k", **more: int) -> Record:
    event = CloudEvent("e1", "/src", ORDER_CANCELLED_TYPE, None, data, "binary")
    return Record(topic, more.get("partition", 3), 9, 1_000, key, to_value(data), tuple(to_headers_binary(event)))


def test_identity_is_topic_source_and_id() -> None:
    """Ids alone are not unique: two sources may both number from 1."""
    read = Decoder(TOPICS).decode(record(), now=5.0)
    assert read.key == f"{TOPICS.order_cancelled}|/src|e1"
    assert (read.lane, read.refusal, read.happened_at) == ("1796277083022", None, 1.0)


def test_an_event_on_the_other_topic_is_refused() -> None:
    """The barrier between the topics would look in the wrong place."""
    read = Decoder(TOPICS).decode(record(TOPICS.order_shipped), now=5.0)
    assert read.refusal is not None
    assert read.refusal.code == "event_unknown_type"
    assert "does not belong on topic" in read.refusal.message
    assert read.envelope.order == "1796277083022"


def test_a_refused_event_tells_what_could_be_read_and_names_field_and_value() -> None:
    read = Decoder(TOPICS).decode(record(data={**CANCEL, "items": []}), now=5.0)
    assert read.refusal is not None
    assert read.event is None
    assert "data.items = []" in read.refusal.message
    assert (read.envelope.store, read.envelope.order, read.envelope.id) == ("us", "1796277083022", "e1")
    assert read.key == f"{TOPICS.order_cancelled}|/src|e1"


def test_without_a_readable_identity_it_is_named_by_its_coordinates() -> None:
    raw = Record(TOPICS.order_shipped, 1, 2, 0, None, None, ())
    read = Decoder(TOPICS).decode(raw, now=5.0)
    assert read.key == read.lane == f"{TOPICS.order_shipped}/1/2"


@pytest.mark.parametrize("key", [b"1796277083022", b"x", b"\xff\x00", b"a-longer-key-than-most"])
def test_misplaced_agrees_with_kafkas_default_partitioner(key: bytes) -> None:
    right = DefaultPartitioner()(key, list(range(12)), list(range(12)))
    for partition in range(12):
        assert misplaced(record(key=key, partition=partition), 12) == (partition != right)


def test_no_key_and_no_count_are_not_misplaced() -> None:
    assert not misplaced(record(key=None), 12)
    assert not misplaced(record(), None)
