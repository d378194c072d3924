"""`dlq` and `send` as processes of their own on a real Kafka: with a worker played by the test, and with a real one."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import ConsumerRecord

from schemas import deadletter
from schemas.deadletter import Confirmed, DeadLetter, DeadLetterHeaders
from worker.cli.exit_codes import ExitCode
from worker.report.result import result_id
from worker.sandbox.walmart.control import WalmartControl, running_walmart
from worker.sandbox.walmart.specs import NewLine
from worker.sandbox.worker_process import SECRET, WorkerProcess, sandbox_settings, to_toml
from worker.settings import TopicSettings

pytestmark = pytest.mark.integration

PERSONAL = "77 Planted Street"
EVENT = {
    "store": "sandbox",
    "purchase_order_id": "PO1",
    "commerce_order_id": "1",
    "shipment_id": "s1",
    "shipped_at": "2026-11-20T15:03:58Z",
    "packages": [
        {"carrier": {"code": "ups"}, "tracking_number": "1Z1", "items": [{"line_number": "1", "quantity": 1}]}
    ],
    "return_center_address": {
        "address1": PERSONAL, "city": "Plantedville", "state": "CA", "postal_code": "94000", "country": "USA",
    },
}  # fmt: skip
VALUE = json.dumps(EVENT).encode()
HEADERS: list[tuple[str, bytes | None]] = [
    ("ce_specversion", b"1.0"),
    ("ce_id", b"e"),
    ("ce_source", b"/commerce"),
    ("ce_type", b"commerce.order.shipped.v1"),
    ("content-type", b"application/json"),
    ("order-sync-like", b"theirs"),
]


@dataclass(frozen=True, slots=True)
class Done:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Desk:
    """Topics of one test, dead letters made by hand, and commands run on them."""

    def __init__(self, folder: Path, bootstrap: str, topics: TopicSettings, producer: AIOKafkaProducer) -> None:
        self.bootstrap = bootstrap
        self.topics = topics
        self.producer = producer
        secret = folder / "secret"
        secret.write_text(SECRET)
        tree = sandbox_settings(bootstrap, "http://127.0.0.1:1", secret, topics=topics.model_dump())
        self.config = folder / "desk.toml"
        self.config.write_text(to_toml(tree))

    def key(self, number: int) -> str:
        return f"{self.topics.order_shipped}|/commerce|e{number}"

    async def put(self, number: int, *, value: bytes | None = VALUE, partition: int = 0, **about: Any) -> None:
        """A dead letter of event number `number`."""
        given: dict[str, Any] = {
            "state": "dead", "key": b"PO1", "code": "carrier_unmapped", "reason": "no name", "store": "sandbox",
            "order": "PO1", "topic": self.topics.order_shipped, "partition": partition, "offset": number,
            "timestamp_ms": 1_795_000_000_000, "first_seen": 1_795_000_000.0 + number, "attempts": 1,
        }  # fmt: skip
        written, headers = deadletter.write(DeadLetterHeaders(**{**given, **about}), value, HEADERS)
        await self.write(self.key(number), written, headers, partition)

    async def write(
        self, key: str, value: bytes | None, headers: list[tuple[str, bytes | None]], partition: int = 0
    ) -> None:
        await self.producer.send_and_wait(
            self.topics.dead_letter, key=key.encode(), value=value, headers=headers, partition=partition
        )

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "worker.cli.main", "--config", str(self.config), *arguments,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def run(self, *arguments: str) -> Done:
        return await ended(await self.start(*arguments))

    @asynccontextmanager
    async def reading(self, topic: str, *, from_end: bool = False) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        try:
            partitions = [TopicPartition(topic, number) for number in range(3)]
            consumer.assign(partitions)
            if from_end:
                ends = await consumer.end_offsets(partitions)
                for partition, end in ends.items():
                    consumer.seek(partition, end)
            yield consumer
        finally:
            await consumer.stop()

    async def records(self, topic: str) -> list[ConsumerRecord]:
        """Everything that lies in a topic now."""
        found: list[ConsumerRecord] = []
        async with self.reading(topic) as consumer:
            ends = await consumer.end_offsets([TopicPartition(topic, number) for number in range(3)])
            async with asyncio.timeout(20):
                while len(found) < sum(ends.values()):
                    for records in (await consumer.getmany(timeout_ms=200)).values():
                        found += records
        return found

    async def newest(self) -> dict[str, DeadLetter]:
        """The newest dead letter of each key."""
        records = await self.records(self.topics.dead_letter)
        return {record.key.decode(): deadletter.read(record.value, record.headers) for record in records}

    @asynccontextmanager
    async def worker(self, answer: Callable[[DeadLetter], str | None]) -> AsyncIterator[list[DeadLetter]]:
        """A worker played by the test: answers each replay with a code (failed), "" (succeeded) or not at all (None).

        Result first, then `dead` or the tombstone, as the real one does.
        """
        seen: list[DeadLetter] = []

        async def play(consumer: AIOKafkaConsumer) -> None:
            async for record in consumer:
                letter = deadletter.read(record.value, record.headers)
                if letter.about.state != "replay":
                    continue
                seen.append(letter)
                code = answer(letter)
                if code is not None:
                    await self.settle(record, letter, code)

        async with self.reading(self.topics.dead_letter, from_end=True) as consumer:
            playing = asyncio.create_task(play(consumer))
            try:
                yield seen
            finally:
                playing.cancel()
                await asyncio.wait({playing})
                if not playing.cancelled() and playing.exception() is not None:
                    raise AssertionError("the played worker failed") from playing.exception()

    async def settle(self, record: ConsumerRecord, letter: DeadLetter, code: str) -> None:
        about, key = letter.about, record.key.decode()
        status, effect = ("failed", "none") if code else ("succeeded", "applied")
        result = {
            "result_id": result_id(key, about.replay_number, status, effect, code or None),
            "event": {
                "source": "/commerce", "id": "e", "type": "commerce.order.shipped.v1", "topic": about.topic,
                "partition": about.partition, "offset": about.offset, "time": None,
            },
            "store": "sandbox", "account": "main", "purchase_order_id": about.order, "commerce_order_id": "1",
            "shipment_id": "s1", "operation": "ship", "status": status, "final": True, "effect": effect,
            "order_status": None, "walmart_status": None, "lines": [], "inventory": [], "warnings": [],
            "error": {
                "code": code, "category": "mapping", "retryable": False, "owner": "configuration", "action": "map it",
                "message": "still no name", "http_status": None, "walmart_errors": [], "correlation_id": None,
            } if code else None,
            "attempts": 2, "received_at": "2026-11-20T15:04:05Z", "completed_at": "2026-11-20T15:04:06Z",
            "latency_seconds": 1.0, "waited": {"budget": 0.0, "retry": 0.0}, "dead_letter": None,
        }  # fmt: skip
        await self.producer.send_and_wait(self.topics.sync_result, key=b"PO1", value=json.dumps(result).encode())
        if code:
            again = DeadLetterHeaders(
                state="dead", code=code, order=about.order, topic=about.topic, partition=about.partition,
                offset=about.offset, replay_number=about.replay_number,
            )  # fmt: skip
            value, headers = deadletter.write(again, letter.value, letter.headers)
            await self.write(key, value, headers, record.partition)
        else:
            await self.write(key, None, [], record.partition)


async def ended(process: asyncio.subprocess.Process, timeout_s: float = 60) -> Done:
    async with asyncio.timeout(timeout_s):
        out, err = await process.communicate()
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # what happens is in other processes
            await asyncio.sleep(0.05)


@pytest.fixture
async def desk(tmp_path: Path, kafka: str, topics: TopicSettings) -> AsyncIterator[Desk]:
    producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all")
    await producer.start()
    try:
        yield Desk(tmp_path, kafka, topics, producer)
    finally:
        await producer.stop()


# -- ls and show


async def test_ls_finds_filters_and_counts(desk: Desk) -> None:
    empty = await desk.run("dlq", "ls")
    assert (empty.code, empty.out.strip()) == (0, "No unfinished events.")
    await desk.put(1)
    await desk.put(2, code="event_invalid", order="PO2", partition=1)
    await desk.put(3, state="waiting", code="walmart_unavailable")
    await desk.put(4)
    await desk.write(desk.key(4), None, [])  # settled
    await desk.write("heartbeat", b"", [("order-sync-state", b"heartbeat")])
    await desk.write("foreign", b"x", [("who", b"knows")], 2)
    everything = await desk.run("dlq", "ls", "--json")
    assert everything.code == 0
    told = everything.json
    assert {(one["key"], one["state"]) for one in told["letters"]} == {
        (desk.key(1), "dead"), (desk.key(2), "dead"), (desk.key(3), "waiting"), ("foreign", "broken"),
    }  # fmt: skip
    assert told["by_code"] == {"carrier_unmapped": 1, "event_invalid": 1, "walmart_unavailable": 1, "(none)": 1}
    one = (await desk.run("dlq", "ls", "--category", "data", "--order", "PO2", "--json")).json["letters"]
    assert [(letter["key"], letter["owner"], letter["replayable"]) for letter in one] == [
        (desk.key(2), "commerce", True)
    ]
    table = await desk.run("dlq", "ls", "--code", "carrier_unmapped")
    assert desk.key(1) in table.out
    assert desk.key(2) not in table.out
    assert PERSONAL not in everything.out + table.out


async def test_show_tells_everything_but_personal_data(desk: Desk) -> None:
    await desk.put(1, confirmed=(Confirmed("1", 2, "1Z9"),))
    shown = await desk.run("dlq", "show", "e1")
    assert shown.code == 0
    for part in (desk.key(1), "carrier_unmapped", "stores.sandbox.carriers", "1Z1", "line 1: 2 under 1Z9"):
        assert part in shown.out
    told = (await desk.run("dlq", "show", desk.key(1), "--json")).json
    assert told["event"]["data"]["packages"] == EVENT["packages"]
    assert told["event"]["headers"] == {"content-type": "application/json", "order-sync-like": "(hidden, 6 bytes)"}
    assert PERSONAL not in shown.out + json.dumps(told)
    assert PERSONAL in (await desk.run("dlq", "show", "e1", "--reveal")).out
    assert (await desk.run("dlq", "show", "e1", "--raw")).out.encode() == VALUE
    missing = await desk.run("dlq", "show", "e2")
    assert missing.code == ExitCode.FAILED
    assert "e2" in missing.err


# -- replay


async def test_replay_asks_in_order_and_tells_what_became_of_each(desk: Desk) -> None:
    await desk.put(3)
    await desk.put(1, confirmed=(Confirmed("1", 1, "1Z0"),), replay_number=1)
    await desk.put(2)
    await desk.put(4, order="PO2")
    await desk.put(5, state="waiting")
    await desk.put(6, topic=None)  # broken
    async with desk.worker(lambda letter: "carrier_unmapped" if letter.about.offset == 2 else "") as seen:
        done = await desk.run(
            "dlq", "replay", "--order", "PO1", "--why", "mapped", "--by", "ada", "--yes", "--json", "--rate", "50"
        )
    assert done.code == ExitCode.FAILED
    became = {one["key"]: (one["became"], one["code"]) for one in done.json["letters"]}
    assert became == {
        desk.key(1): ("succeeded", None),
        desk.key(2): ("failed", "carrier_unmapped"),
        desk.key(3): ("succeeded", None),
        desk.key(6): ("not_replayable", None),
    }
    assert done.json["waiting"] == 1
    assert desk.key(6) in done.err
    assert [letter.about.offset for letter in seen] == [1, 2, 3]
    first = seen[0]
    assert (first.value, first.headers) == (VALUE, tuple(HEADERS))
    about = first.about
    assert (about.replay_number, about.by, about.why, about.key) == (2, "ada", "mapped", b"PO1")
    assert about.confirmed == (Confirmed("1", 1, "1Z0"),)
    newest = await desk.newest()
    assert newest[desk.key(4)].about.state == "dead"
    assert newest[desk.key(5)].about.state == "waiting"


async def test_a_replay_of_which_all_succeeded_ends_with_0(desk: Desk) -> None:
    await desk.put(1)
    await desk.put(2, value=None, partition=2)
    async with desk.worker(lambda _: "") as seen:
        done = await desk.run("dlq", "replay", "--code", "carrier_unmapped", "--why", "mapped", "--yes")
    assert done.code == 0, done.err
    assert "2 succeeded" in done.out
    assert {letter.value for letter in seen} == {VALUE, None}
    again = await desk.run("dlq", "replay", "--code", "carrier_unmapped", "--why", "mapped", "--yes")
    assert (again.code, again.out.strip()) == (0, "No dead letters like that.")
    by_key = await desk.run("dlq", "replay", "--key", desk.key(1), "--why", "mapped", "--yes")
    assert by_key.code == ExitCode.FAILED
    assert desk.key(1) in by_key.err


async def test_nobody_answers_then_the_same_command_goes_on(desk: Desk) -> None:
    """Resumable: what was asked for is awaited, not asked for twice."""
    for number in (1, 2):
        await desk.put(number)
    arguments = ("dlq", "replay", "--all", "--why", "x", "--yes", "--json", "--rate", "50", "--timeout")
    first = await desk.run(*arguments, "1")
    assert first.code == ExitCode.NO_ANSWER
    assert first.json["counts"] == {"no_answer": 2}
    second = await desk.start(*arguments, "60")
    assert second.stderr is not None
    async with asyncio.timeout(30):
        assert b"2 asked for earlier" in await second.stderr.readline()
    for record in await desk.records(desk.topics.dead_letter):
        letter = deadletter.read(record.value, record.headers)
        if letter.about.state == "replay":
            await desk.settle(record, letter, "")
    done = await ended(second)
    assert done.code == 0
    assert {one["key"]: one["became"] for one in done.json["letters"] if one["asked_earlier"]} == {
        desk.key(1): "succeeded",
        desk.key(2): "succeeded",
    }
    states = [
        (record.key.decode(), deadletter.read(record.value, record.headers).about.state)
        for record in await desk.records(desk.topics.dead_letter)
    ]
    assert states.count((desk.key(1), "replay")) == 1
    assert states.count((desk.key(2), "replay")) == 1


async def test_no_wait_only_asks(desk: Desk) -> None:
    await desk.put(1)
    done = await desk.run("dlq", "replay", "--all", "--why", "x", "--yes", "--no-wait", "--json")
    assert done.code == 0
    assert done.json["counts"] == {"asked": 1}
    about = (await desk.newest())[desk.key(1)].about
    assert (about.state, about.replay_number) == ("replay", 1)
    assert about.by


async def test_ctrl_c_tells_how_far_it_came(desk: Desk) -> None:
    await desk.put(1)
    await desk.put(2)
    async with desk.worker(lambda _: None) as seen:
        process = await desk.start("dlq", "replay", "--all", "--why", "x", "--yes", "--rate", "0.05")
        await until(lambda: bool(seen))
        process.send_signal(signal.SIGINT)
        done = await ended(process)
    assert done.code == ExitCode.INTERRUPTED
    assert "no_answer" in done.out
    assert "not_written" in done.out
    newest = await desk.newest()
    assert {number: newest[desk.key(number)].about.state for number in (1, 2)} == {1: "replay", 2: "dead"}


async def test_what_somebody_else_settles_meanwhile_is_not_written(desk: Desk) -> None:
    await desk.put(1)
    await desk.put(2)
    async with desk.worker(lambda _: "") as seen:
        process = await desk.start("dlq", "replay", "--all", "--why", "x", "--yes", "--json", "--rate", "0.2")
        await until(lambda: bool(seen))
        await desk.write(desk.key(2), None, [])
        done = await ended(process)
    assert done.code == ExitCode.FAILED
    assert {one["key"]: one["became"] for one in done.json["letters"]} == {
        desk.key(1): "succeeded",
        desk.key(2): "changed",
    }
    assert len(seen) == 1


async def test_a_topic_that_is_not_there_is_named(desk: Desk) -> None:
    text = desk.config.read_text().replace(desk.topics.dead_letter, "no-such-topic")
    desk.config.write_text(text)
    done = await desk.run("dlq", "ls")
    assert done.code == ExitCode.UNREACHABLE
    assert "no-such-topic" in done.err


# -- with a real worker


async def test_from_send_to_replay_with_a_real_worker(desk: Desk, tmp_path: Path) -> None:
    """The whole story: an unmapped carrier dies, a person lets it pass and replays it, and Walmart agrees."""
    async with running_walmart(tmp_path / "journal.jsonl") as walmart, aiohttp.ClientSession() as session:
        control = WalmartControl(walmart.control_url, session)
        order = await control.add_order([NewLine(sku="MUG", quantity=2)])
        secret = tmp_path / "secret"
        tree = sandbox_settings(
            desk.bootstrap,
            walmart.url,
            secret,
            topics=desk.topics.model_dump(),
            kafka={"group_id": f"dlq-{uuid.uuid4().hex[:8]}"},
        )
        worker = WorkerProcess(tmp_path, tree)
        await worker.start()
        try:
            sent = await desk.run(
                "send", "shipped", "--order", order, "--store", "sandbox", "--line", "1=2", "--carrier-title",
                "Ad Hoc Post", "--tracking", "AHP123456", "--id", "e77", "--wait", "30", "--json",
            )  # fmt: skip
            assert sent.code == ExitCode.FAILED, sent.err + worker.log_tail()
            assert sent.json["result"]["error"]["code"] == "carrier_unmapped"
            (letter,) = (await desk.run("dlq", "ls", "--order", order, "--json")).json["letters"]
            assert letter["key"].endswith("|e77")
            same = await desk.run("dlq", "replay", "--key", letter["key"], "--why", "too early", "--yes", "--json")
            assert same.code == ExitCode.FAILED, same.err + worker.log_tail()
            assert [(one["became"], one["code"]) for one in same.json["letters"]] == [("failed", "carrier_unmapped")]
        finally:
            assert await worker.stop() == 0
        tree["stores"]["sandbox"]["unmapped_carrier"] = "other"
        tree["stores"]["sandbox"]["tracking_url_template"] = "https://track.example/{tracking_number}"
        worker = WorkerProcess(tmp_path, tree, name="mended")
        await worker.start()
        try:
            done = await desk.run("dlq", "replay", "--order", order, "--why", "carrier allowed", "--yes", "--json")
            assert done.code == 0, done.out + done.err + worker.log_tail()
            (item,) = done.json["letters"]
            assert (item["became"], item["effect"], item["replay_number"]) == ("succeeded", "applied", 2)
            # The result is written first: the tombstone may be a moment behind it.
            for _ in range(10):
                if not (left := (await desk.run("dlq", "ls", "--order", order, "--json")).json["letters"]):
                    break
            assert left == []
        finally:
            assert await worker.stop() == 0
        (shown,) = (await control.order(order)).lines
        assert shown.shipped == 2
