"""What an embedded broker is told: its `server.properties`, its logging, and ports that stay its own."""

from __future__ import annotations

import random
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HOST: Final = "127.0.0.1"

_FIRST_PORT: Final = 20_000
_LAST_PORT: Final = 32_000

LOGGING: Final = """\
rootLogger.level = INFO
rootLogger.appenderRef.stdout.ref = STDOUT
appender.stdout.type = Console
appender.stdout.name = STDOUT
appender.stdout.layout.type = PatternLayout
appender.stdout.layout.pattern = %d{ISO8601} %-5p %m (%c{1})%n
"""


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """Where one node listens, on the loopback address."""

    node_id: int
    client_port: int
    controller_port: int

    @property
    def client(self) -> str:
        """For bootstrap servers."""
        return f"{HOST}:{self.client_port}"


def free_port() -> int:
    """A free port below the range the system gives to outgoing connections.

    In that range a client that keeps knocking on a stopped broker's port can end up connected to itself, and the broker
    does not get its port back.
    """
    for _ in range(200):
        port = random.randrange(_FIRST_PORT, _LAST_PORT)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port between {_FIRST_PORT} and {_LAST_PORT}")


def addresses(nodes: int, port: int = 0) -> tuple[NodeAddress, ...]:
    """Addresses for `nodes` nodes; clients use `port`, `port` + 1, … (0: any free ones)."""
    taken = {port + offset for offset in range(nodes)} if port else set[int]()
    found: list[NodeAddress] = []
    for offset in range(nodes):
        client = port + offset if port else _another(taken)
        found.append(NodeAddress(offset + 1, client, _another(taken)))
    return tuple(found)


def _another(taken: set[int]) -> int:
    while (port := free_port()) in taken:
        pass
    taken.add(port)
    return port


def server_properties(
    node: NodeAddress, cluster: Sequence[NodeAddress], data: Path | str, extra: Mapping[str, str]
) -> dict[str, str]:
    """Settings of one node: broker and controller in one process, small buffers, quick fail-over."""
    nodes = len(cluster)
    replication = str(min(nodes, 3))
    in_sync = "2" if nodes >= 3 else "1"
    properties = {
        "process.roles": "broker,controller",
        "node.id": str(node.node_id),
        "controller.quorum.voters": ",".join(f"{one.node_id}@{HOST}:{one.controller_port}" for one in cluster),
        "listeners": f"PLAINTEXT://{node.client},CONTROLLER://{HOST}:{node.controller_port}",
        "advertised.listeners": f"PLAINTEXT://{node.client}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": str(data),
        "auto.create.topics.enable": "false",
        "default.replication.factor": replication,
        "min.insync.replicas": in_sync,
        "group.initial.rebalance.delay.ms": "0",
        "num.network.threads": "2",
        "num.io.threads": "4",
        # A node that is killed is given up after 3 s instead of 9.
        "broker.heartbeat.interval.ms": "500",
        "broker.session.timeout.ms": "3000",
        "log.cleaner.dedupe.buffer.size": str(16 * 1_048_576),
        "log.cleaner.backoff.ms": "1000",
    }
    for prefix in ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic"):
        properties[f"{prefix}.num.partitions"] = "4"
        properties[f"{prefix}.replication.factor"] = replication
    properties["transaction.state.log.min.isr"] = in_sync
    properties["share.coordinator.state.topic.min.isr"] = in_sync
    return {**properties, **extra}


def render(properties: Mapping[str, str]) -> str:
    """As a Java properties file."""
    return "".join(f"{key}={value.replace(chr(92), chr(92) * 2)}\n" for key, value in properties.items())
