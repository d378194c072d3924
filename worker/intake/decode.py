"""From a record's bytes to a delivery: an event, or a refusal that keeps the bytes. Pure, never raises."""

from __future__ import annotations

from schemas.attributes import Known
from schemas.cloudevents import CloudEvent, ContractError, read_event
from schemas.events import ORDER_CANCELLED_TYPE, ORDER_SHIPPED_TYPE
from worker.delivery import Delivery, Envelope, Event, Record
from worker.errors import Failure
from worker.kafka import partition_of
from worker.outcome import Warned
from worker.settings import TopicSettings


class Decoder:
    """Reads records of the two input topics (and their dead letters)."""

    def __init__(self, topics: TopicSettings) -> None:
        self._type_of_topic = {topics.order_shipped: ORDER_SHIPPED_TYPE, topics.order_cancelled: ORDER_CANCELLED_TYPE}

    def decode(self, record: Record, *, now: float, epoch: int = 0) -> Delivery:
        """Read one record. `now` is epoch seconds; `epoch` the assignment it was read under."""
        read = read_event(record.headers, record.value)
        if isinstance(read, ContractError):
            return self._refused(record, read.known, Failure(read.code, read.message), now, epoch)
        envelope, data = read
        expected = self._type_of_topic.get(record.topic)
        if expected is not None and envelope.type != expected:
            known = Known(
                envelope.id, envelope.source, envelope.type, envelope.time,
                data.store, data.purchase_order_id, data.commerce_order_id,
            )  # fmt: skip
            text = f'type = "{envelope.type}": does not belong on topic {record.topic}, which carries {expected}'
            return self._refused(record, known, Failure("event_unknown_type", text), now, epoch)
        time = None if envelope.time is None else envelope.time.timestamp()
        return Delivery(
            record=record,
            event=Event(envelope.source, envelope.id, envelope.type, time, data),
            envelope=Envelope(
                envelope.source, envelope.id, envelope.type, time,
                data.store, data.purchase_order_id, data.commerce_order_id, getattr(data, "shipment_id", None),
            ),
            refusal=None,
            key=identity_key(record.topic, envelope),
            lane=data.purchase_order_id,
            received_at=now,
            epoch=epoch,
            first_seen=now,
        )  # fmt: skip

    def too_large(self, record: Record, *, now: float, epoch: int) -> Delivery:
        """A record that the client could not fetch: only its coordinates are known."""
        text = f"record {record.coordinates} is too large to be fetched (kafka.max_record_bytes)"
        return self._refused(record, Known(), Failure("event_too_large", text), now, epoch)

    def unreadable(self, record: Record, *, now: float, epoch: int) -> Delivery:
        """A record that the client could not take apart: only its coordinates are known."""
        text = (
            f"record {record.coordinates} cannot be read: a header name in it, or before it in its batch, is not UTF-8"
        )
        return self._refused(record, Known(), Failure("event_undecodable", text), now, epoch)

    @staticmethod
    def _refused(record: Record, known: Known, failure: Failure, now: float, epoch: int) -> Delivery:
        named = known.id is not None and known.source is not None
        return Delivery(
            record=record,
            event=None,
            envelope=Envelope(
                known.source, known.id, known.type, None if known.time is None else known.time.timestamp(),
                known.store, known.purchase_order_id, known.commerce_order_id, known.shipment_id,
            ),
            refusal=failure,
            key=f"{record.topic}|{known.source}|{known.id}" if named else record.coordinates,
            # A lane of its own: it does nothing at Walmart, and is told at once whatever its order waits for.
            lane=record.coordinates,
            received_at=now,
            epoch=epoch,
            first_seen=now,
        )  # fmt: skip


def identity_key(topic: str, event: CloudEvent) -> str:
    """`topic|source|id`: the identity of an event, and the key of its dead letter."""
    return f"{topic}|{event.source}|{event.id}"


def misplaced(record: Record, partition_count: int | None) -> bool:
    """True when the record lies elsewhere than Kafka's default (murmur2) partitioner puts its key.

    librdkafka producers default to CRC32, which would part the two topics of one order.
    """
    if not record.key or not partition_count:
        return False
    return partition_of(record.key, partition_count) != record.partition


def reused_identity(delivery: Delivery) -> None:
    """Name the delivery by its coordinates: another event with its identity but other bytes is known."""
    delivery.progress.warned = (
        *delivery.progress.warned,
        Warned("identity_reused", f"{delivery.key} is known with other content; named {delivery.record.coordinates}"),
    )
    delivery.key = delivery.record.coordinates
