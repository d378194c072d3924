#!/bin/sh
# Creates the topics with Kafka's own tool; those that exist are left as they are (`order-sync check` judges them).
# Made from worker/topics.py by `make docs`.
#   BOOTSTRAP_SERVERS=kafka:9092 PARTITIONS=12 REPLICATION=3 sh create-topics.sh --command-config client.properties
set -eu
: "${BOOTSTRAP_SERVERS:=localhost:9092}" "${PARTITIONS:=12}" "${REPLICATION:=3}"
: "${KAFKA_TOPICS:=/opt/kafka/bin/kafka-topics.sh}"
# Acknowledged means on two brokers, where there are three.
in_sync=1
[ "$REPLICATION" -lt 3 ] || in_sync=2
create() {
  "$KAFKA_TOPICS" --bootstrap-server "$BOOTSTRAP_SERVERS" --create --if-not-exists \
    --partitions "$PARTITIONS" --replication-factor "$REPLICATION" --config "min.insync.replicas=$in_sync" "$@"
}

# Shipments, key: purchase order id.
create "$@" --topic commerce.order-shipped.v1 \
  --config cleanup.policy=delete \
  --config retention.ms=604800000 \
  --config max.message.bytes=1048588

# Cancellations, key: purchase order id.
create "$@" --topic commerce.order-cancelled.v1 \
  --config cleanup.policy=delete \
  --config retention.ms=604800000 \
  --config max.message.bytes=1048588

# What became of every event, key: purchase order id.
create "$@" --topic walmart.sync-result.v1 \
  --config cleanup.policy=delete \
  --config retention.ms=2592000000

# Unfinished events, key: identity of the event.
create "$@" --topic walmart.dead-letter.v1 \
  --config cleanup.policy=compact \
  --config max.message.bytes=1310720 \
  --config max.compaction.lag.ms=43200000 \
  --config segment.ms=21600000 \
  --config min.cleanable.dirty.ratio=0.1 \
  --config delete.retention.ms=86400000
