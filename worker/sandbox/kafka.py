"""A real Apache Kafka (KRaft) in child processes, from wheels: for `order-sync sandbox`, `make run` and the tests.

    async with EmbeddedKafka() as kafka:
        print(kafka.bootstrap_servers)

`python -m worker.sandbox.kafka` runs one until Ctrl-C.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from worker.sandbox.kafka_config import LOGGING, NodeAddress, addresses, render, server_properties
from worker.sandbox.kafka_jars import KAFKA_VERSION, KafkaUnavailableError, Progress, classpath
from worker.sandbox.kafka_java import ClassArchive, Java, find_java
from worker.sandbox.kafka_process import BrokerProcess
from worker.sandbox.kafka_topics import create_topics, wait_for_brokers

__all__ = ["EmbeddedKafka", "KafkaUnavailableError", "create_topics"]


class EmbeddedKafka:
    """A Kafka cluster of one to three nodes on 127.0.0.1, each node broker and controller.

    Not bound to an event loop. It must be started from a thread that lives as long as the brokers do (the main
    thread is one): on Linux a broker ends with the thread that started it, so that a killed test leaves none behind.

    A cluster needs a majority of its nodes: of two nodes both, of three nodes two.
    """

    def __init__(
        self,
        *,
        nodes: int = 1,
        port: int = 0,
        data: Path | None = None,
        heap_mb: int = 512,
        start_timeout_s: float = 60,
        properties: Mapping[str, str] | None = None,
        progress: Progress = lambda _: None,
    ) -> None:
        """Describe a cluster; nothing is started yet.

        Args:
            nodes: How many.
            port: Where clients of the first node connect; the next nodes take the next ports. 0: any free ports.
            data: Folder that keeps everything, also across restarts. Absent: a temporary one, removed by `stop`.
            heap_mb: Java heap of each node, in MiB.
            start_timeout_s: How long the cluster may take to come up (fetching the jars is not counted).
            properties: Further broker settings by Kafka's names; they win.
            progress: Told about what takes long, one line each.
        """
        self._temporary = data is None
        self._folder = data
        self._heap_mb = heap_mb
        self._start_timeout_s = start_timeout_s
        self._properties = dict(properties or {})
        self._progress = progress
        self._addresses = addresses(nodes, port)
        self._nodes: dict[int, BrokerProcess] = {}

    @property
    def bootstrap_servers(self) -> str:
        """Comma-separated `host:port` list of all nodes; stays the same across restarts."""
        return ",".join(address.client for address in self._addresses)

    async def start(self) -> None:
        """Fetch Kafka if it is not there yet, format the storage if it is new, start all nodes, wait until they serve.

        Raises:
            KafkaUnavailableError: no Java, no jars, or a node did not come up (with the end of its log).
        """
        jars = await asyncio.to_thread(classpath, self._progress)
        java = Java(find_java(), jars)
        archive = ClassArchive(java)
        if not archive.settled:
            self._progress("preparing Kafka for fast starts (about 10 s, once)")
            with tempfile.TemporaryDirectory(prefix="order-sync-kafka-") as folder:
                classes = Path(folder, "classes")
                await self._train(java, archive.record(classes))
                await asyncio.to_thread(archive.make, classes)
        await self._start(java)

    async def _start(self, java: Java, options: Sequence[str] = ()) -> None:
        self._folder = folder = self._folder or Path(tempfile.mkdtemp(prefix="order-sync-kafka-"))
        try:
            self._write_configuration(java, folder, options)
            await asyncio.to_thread(self._format, java, folder)
            for node in self._nodes.values():
                node.start()
            await self._until_ready(*self._nodes)
        except BaseException:
            await self.stop()
            raise

    async def _train(self, java: Java, options: Sequence[str]) -> None:
        trainee = EmbeddedKafka(start_timeout_s=self._start_timeout_s)
        await trainee._start(java, options)
        process = trainee._nodes[1]
        process.signal(signal.SIGTERM)
        await process.ended(grace_s=10)
        await trainee.stop()

    async def stop(self) -> None:
        """End all nodes (SIGTERM, then SIGKILL); a temporary data folder is removed. Harmless when nothing runs."""
        nodes = [node for node in self._nodes.values() if node.running]
        for node in nodes:
            node.signal(signal.SIGCONT)
            # What is thrown away needs no orderly end.
            node.signal(signal.SIGKILL if self._temporary else signal.SIGTERM)
        await asyncio.gather(*(node.ended(grace_s=10) for node in nodes))
        self._nodes.clear()
        if self._temporary and self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def kill(self, node: int = 1) -> None:
        """`kill -9`: the node is gone when this returns, its data is as it was on disk."""
        self._nodes[node].signal(signal.SIGKILL)
        self._nodes[node].wait()

    async def restart(self, node: int = 1) -> None:
        """Start a node again on its data and ports, ending it in order first if it runs; wait until it serves."""
        process = self._nodes[node]
        if process.running:
            process.signal(signal.SIGCONT)
            process.signal(signal.SIGTERM)
            await process.ended(grace_s=10)
        process.start()
        await self._until_ready(node)

    def pause(self, node: int = 1) -> None:
        """SIGSTOP: connections stay open, nothing is answered."""
        self._nodes[node].signal(signal.SIGSTOP)

    def resume(self, node: int = 1) -> None:
        """SIGCONT after `pause`."""
        self._nodes[node].signal(signal.SIGCONT)

    def log(self, node: int = 1) -> Path:
        """The node's log file."""
        return self._nodes[node].log

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _write_configuration(self, java: Java, folder: Path, extra: Sequence[str]) -> None:
        logging = folder / "log4j2.properties"
        folder.mkdir(parents=True, exist_ok=True)
        logging.write_text(LOGGING)
        options = [f"-Xmx{self._heap_mb}m", f"-Dlog4j2.configurationFile={logging}", *extra]
        for address in self._addresses:
            home = folder / f"node-{address.node_id}"
            home.mkdir(exist_ok=True)
            settings = home / "server.properties"
            properties = server_properties(address, self._addresses, home / "data", self._properties)
            settings.write_text(render(properties))
            command = java.command("kafka.Kafka", str(settings), options=options)
            self._nodes[address.node_id] = BrokerProcess(command, home / "kafka.log")

    def _format(self, java: Java, folder: Path) -> None:
        cluster_id = _cluster_id(folder) or _new_cluster_id()
        for address in self._addresses:
            home = folder / f"node-{address.node_id}"
            if (home / "data" / "meta.properties").exists():
                continue
            arguments = ("format", "-t", cluster_id, "-c", str(home / "server.properties"))
            done = subprocess.run(
                java.command("kafka.tools.StorageTool", *arguments),
                capture_output=True,
                text=True,
                timeout=self._start_timeout_s,
                check=False,
            )
            if done.returncode != 0:
                raise KafkaUnavailableError(f"Kafka's storage could not be formatted:\n{done.stdout}{done.stderr}")

    async def _until_ready(self, *nodes: int) -> None:
        by_id = {address.node_id: address for address in self._addresses}
        try:
            async with asyncio.timeout(self._start_timeout_s):
                await asyncio.gather(*(self._serves(by_id[node], set(nodes)) for node in nodes))
        except TimeoutError:
            raise self._did_not_come_up(nodes, f"within {self._start_timeout_s:g} s") from None
        except _NodeEndedError:
            raise self._did_not_come_up(nodes, "and ended") from None

    async def _serves(self, address: NodeAddress, nodes: set[int]) -> None:
        process = self._nodes[address.node_id]

        def check_alive() -> None:
            if not process.running:
                raise _NodeEndedError

        await wait_for_brokers(address.client, nodes, check_alive)

    def _did_not_come_up(self, nodes: tuple[int, ...], how: str) -> KafkaUnavailableError:
        ended = [node for node in nodes if not self._nodes[node].running] or list(nodes)
        process = self._nodes[ended[0]]
        return KafkaUnavailableError(
            f"Kafka {KAFKA_VERSION} did not come up {how}. The end of its log:\n{process.log_tail()}"
        )


class _NodeEndedError(Exception):
    """A node's process is gone before it served."""


def _new_cluster_id() -> str:
    # A leading zero byte reads as "A": an id that began with "-" would be taken for an option.
    return base64.urlsafe_b64encode(b"\0" + os.urandom(15)).decode().rstrip("=")


def _cluster_id(folder: Path) -> str | None:
    for file in sorted(folder.glob("node-*/data/meta.properties")):
        if match := re.search(r"^cluster\.id=(.+)$", file.read_text(), re.MULTILINE):
            return match[1].strip()
    return None


async def _run(nodes: int, port: int, data: Path | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    def tell(line: str) -> None:
        sys.stderr.write(line + "\n")

    kafka = EmbeddedKafka(nodes=nodes, port=port, data=data, progress=tell)
    async with kafka:
        sys.stdout.write(kafka.bootstrap_servers + "\n")
        sys.stdout.flush()
        await stop.wait()


def main() -> None:
    """Run a cluster until Ctrl-C; its bootstrap servers are printed when it serves."""
    parser = argparse.ArgumentParser(
        prog="python -m worker.sandbox.kafka", description="Run a real Kafka until Ctrl-C."
    )
    parser.add_argument("--nodes", type=int, default=1, choices=(1, 2, 3))
    parser.add_argument("--port", type=int, default=0, help="port of the first node; 0: any free one")
    parser.add_argument("--data", type=Path, help="folder to keep the data in; absent: a temporary one")
    asked = parser.parse_args()
    try:
        asyncio.run(_run(asked.nodes, asked.port, asked.data))
    except KafkaUnavailableError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
