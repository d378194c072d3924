"""The topics for a production cluster, made from `worker/topics.py`: `python -m deploy.topics.generate [--check]`."""
# ruff: noqa: INP001  # a script beside what it makes, not a package

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from worker.docs import run
from worker.settings import KafkaSettings, TopicSettings
from worker.topics import TopicSpec, topic_specs

HERE: Final = Path(__file__).resolve().parent

_SCRIPT_HEAD: Final = """\
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
  "$KAFKA_TOPICS" --bootstrap-server "$BOOTSTRAP_SERVERS" --create --if-not-exists \\
    --partitions "$PARTITIONS" --replication-factor "$REPLICATION" --config "min.insync.replicas=$in_sync" "$@"
}
"""

_STRIMZI_HEAD: Final = """\
# The topics for the Strimzi operator. Made from worker/topics.py by `make docs`; set the cluster's name.
"""


def _specs() -> tuple[TopicSpec, ...]:
    return topic_specs(TopicSettings(), KafkaSettings())


def script() -> str:
    """A shell script for any cluster."""
    text = _SCRIPT_HEAD
    for spec in _specs():
        options = [f"--config {key}={value}" for key, value in spec.config.items() if key != "min.insync.replicas"]
        text += f'\n# {spec.description}\ncreate "$@" --topic {spec.name}'
        text += "".join(f" \\\n  {option}" for option in options) + "\n"
    return text


def strimzi() -> str:
    """KafkaTopic resources."""
    text = _STRIMZI_HEAD
    for spec in _specs():
        config = "".join(f'    {key}: "{value}"\n' for key, value in spec.config.items())
        text += (
            "---\n"
            f"# {spec.description}\n"
            "apiVersion: kafka.strimzi.io/v1\n"
            "kind: KafkaTopic\n"
            "metadata:\n"
            f"  name: {spec.name}\n"
            "  labels:\n"
            "    strimzi.io/cluster: kafka\n"
            "spec:\n"
            f"  partitions: {spec.partitions}\n"
            f"  replicas: {spec.replication}\n"
            "  config:\n"
            f"{config}"
        )
    return text


PAGES: Final = {HERE / "create-topics.sh": script, HERE / "strimzi.yaml": strimzi}

if __name__ == "__main__":
    sys.exit(run(PAGES, sys.argv[1:], "python -m deploy.topics.generate"))
