"""The benchmarks measure what they say: the bare loops do the same work, and the figures are read off rightly."""

from __future__ import annotations

import asyncio
import random
import time
from typing import get_args

import orjson
import pytest

from schemas import deadletter
from schemas.events import OrderShipped
from schemas.walmart.order import read_order
from tests.bench import isolation
from tests.bench.contract import PLENTY, STORE, Task
from tests.bench.fast_walmart import Door, Walmart
from tests.bench.faults import HOLDS, THROTTLED, Bucket, Faults
from tests.bench.figures import Figure, aims, percentile, ratio, to_json
from tests.bench.flood import Flood
from tests.bench.lanes_runner import IN_FLIGHT, Drive, Mode, gates_of
from tests.bench.orders import order_id, ship_body
from tests.bench.parked import parked_record
from tests.bench.registry import MEASUREMENTS
from tests.bench.traffic import STRUCTURED, event
from tests.bench.worker_runner import settings_of
from worker.clock import SystemClock
from worker.delivery import Place, Record
from worker.gatekeeper import Gatekeeper
from worker.intake.decode import Decoder
from worker.lanes.gates import Gates
from worker.parked.unfinished import Rules as ParkedRules
from worker.parked.unfinished import is_whole, row_of
from worker.settings import TopicSettings
from worker.sync.calls import Ship
from worker.sync.plan import plan
from worker.sync.rules import Rules
from worker.walmart.answer import CallKind
from worker.walmart.error_reading import read_error


def test_the_bare_loop_sends_what_the_worker_sends() -> None:
    """One GET, one POST with the same bytes, nothing left afterwards."""
    topics = TopicSettings()
    settings = settings_of(Task("calls", "", topics.model_dump(), "group", "http://127.0.0.1:9"))
    rules = Rules.of(STORE, settings.stores[STORE], settings.accounts["main"])
    record = Record(topics.order_shipped, 0, 7, 0, order_id(7).encode(), event(7), tuple(STRUCTURED))
    delivery = Decoder(topics).decode(record, now=time.time())
    assert delivery.event is not None, delivery.refusal
    data = delivery.event.data
    assert isinstance(data, OrderShipped)
    walmart = Walmart(0)

    before = read_order(orjson.loads(walmart.get(order_id(7))))
    planned = plan(data, before, rules, time.time())
    (call,) = planned.calls
    assert isinstance(call, Ship)
    assert call.body() == ship_body(7, int(data.shipped_at.timestamp() * 1000))

    after = read_order(orjson.loads(walmart.post(order_id(7), orjson.dumps(call.body()))))
    again = plan(data, after, rules, time.time())
    assert not again.calls
    assert not again.problems


def test_percentiles() -> None:
    values = [float(value) for value in range(1, 101)]
    assert percentile(values, 0.5) == 50
    assert percentile(values, 0.99) == 99
    assert percentile([3.0], 0.99) == 3


def test_a_ratio_is_taken_round_by_round() -> None:
    ours = Figure("cpu", "us", "rate", "/s", [90.0, 45.0, 80.0])
    theirs = Figure("cpu", "them", "rate", "/s", [100.0, 50.0, 100.0])
    one = ratio("cpu", "rate", ours, theirs, aim=(">=", 0.85))
    assert one.values == [0.9, 0.9, 0.8]
    assert one.met is True
    assert Figure("m", "us", "peak", "MB", [301.0], aim=("<", 300.0)).met is False


def test_the_table_of_aims_tells_what_was_missed() -> None:
    said: list[str] = []
    figures = [
        Figure("cpu", "us / them", "CPU per event", "", [1.4, 1.6, 1.5], aim=("<=", 1.5)),
        Figure("cpu", "us", "CPU per event", "µs", [250.0]),
        Figure("budget", "us", "used", "", [0.97, 0.98, 0.96], aim=(">=", 0.98)),
    ]
    aims(figures, said.append)
    assert [line.split()[0] for line in said[1:3]] == ["met", "MISSED"]
    assert said[-1] == "1 of 2 aims met"
    (first, second, third) = orjson.loads(to_json({}, figures))["figures"]
    assert (first["met"], first["aim"], second["met"], third["median"]) == (True, "<= 1.5", None, 0.97)


def test_every_measurement_says_what_it_measures() -> None:
    assert all(one.title.endswith(".") and one.minutes > 0 for one in MEASUREMENTS.values())


# -- isolation


def test_a_fault_meets_its_account_alone_and_is_read_as_what_it_is() -> None:
    faults = Faults({"a": "throttled", "b": "dead", "c": "hangs"}, stuck=["7"])
    for account, order, writes in (("a", None, True), ("a", "1", False), ("c", None, True), ("d", "1", True)):
        assert faults.answer(account, order, writes=writes) == "served"
    assert faults.answer("c", "1", writes=False) is None
    assert faults.answer("d", "7", writes=True) == "served"
    for answer, kind in (
        (faults.answer("a", "1", writes=True), CallKind.THROTTLED),
        (faults.answer("b", None, writes=True), CallKind.UNAUTHORIZED),
        (faults.answer("b", "1", writes=False), CallKind.UNAUTHORIZED),
        (faults.answer("d", "7", writes=False), CallKind.UNKNOWN),
    ):
        assert isinstance(answer, bytes)
        head, _, body = answer.partition(b"\r\n\r\n")
        status, *lines = head.decode().splitlines()
        headers = dict(line.lower().split(": ") for line in lines)
        assert int(headers["content-length"]) == len(body)
        error = read_error(int(status.split()[1]), headers, body, "ship", now=time.time())
        assert error.kind is kind
        assert error.retry_after_s == (1.0 if kind is CallKind.THROTTLED else None)


async def test_the_side_door_closes_and_cuts_off_who_is_connected() -> None:
    door, side = Door(Walmart(0)), Door(Walmart(0))
    door.side = side
    await door.open()
    await side.open()
    port = side.port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /bench/counts HTTP/1.1\r\n\r\n")
    assert (await reader.readline()).split()[1] == b"200"
    await door.break_(Faults({"a": "refuses"}))
    with pytest.raises(ConnectionError):
        await asyncio.open_connection("127.0.0.1", port)
    assert (await reader.read()).endswith(b"}"), "what it was owed, and then the end"
    _, other = await asyncio.open_connection("127.0.0.1", door.port)
    await door.break_(Faults())
    _, again = await asyncio.open_connection("127.0.0.1", port)
    for one in (other, again, writer):
        one.close()
    door.close()
    side.close()


def test_clean_runs_before_and_after_make_one() -> None:
    figures = {
        (name, f"others, {phase}, p99"): Figure("isolation", name, f"others, {phase}, p99", "ms", [66.0, 88.0])
        for name in (scene.name for scene in isolation.SCENES)
        for phase in ("steady", "burst")
    }
    for phase in ("steady", "burst"):
        figures["clean", f"others, {phase}, p99"].values = [50.0, 70.0, 90.0, 70.0]
    for one in isolation.ratios(figures):
        assert one.values == [66 / 60, 88 / 80]
        assert (one.aim is None) is ("burst" in one.name or "healthy" in one.contender)


def test_a_budget_is_granted_one_by_one() -> None:
    bucket = Bucket(2.0, size=2.0, now=100.0)
    assert [bucket.grants(100.0) for _ in range(3)] == [True, True, False]
    assert not bucket.grants(100.4)
    assert bucket.grants(100.5)
    assert [bucket.grants(200.0) for _ in range(3)] == [True, True, False]

    walmart = Walmart(0)
    walmart.break_(Faults(budgets={"a": 1.0}))
    assert walmart.refusal("a", "1", writes=False) == "served"
    for left in range(int(HOLDS) - 1, -1, -1):
        assert walmart.refusal("a", "1", writes=True) == "served"
        assert walmart.left("a", writes=True) == left
    assert walmart.left("a", writes=False) == walmart.left("b", writes=True) == PLENTY
    assert walmart.refusal("a", "2", writes=True) == THROTTLED
    assert walmart.refusal("b", "2", writes=True) == "served"


def test_the_flood_and_the_others_are_different_stores_but_for_the_stuck_order() -> None:
    settings = settings_of(
        Task(
            "calls",
            "",
            TopicSettings().model_dump(),
            "group",
            "",
            settings=isolation.settings("http://127.0.0.1:9", "http://127.0.0.1:8"),
        )
    )
    assert set(settings.accounts) == {isolation.DISTURBED, *isolation.OTHERS} == set(settings.stores)
    for name, account in settings.accounts.items():
        assert account.base_url == f"http://127.0.0.1:{8 if name == isolation.DISTURBED else 9}/{name}"
    for scene in isolation.SCENES:
        flood, burst = scene.flood("", "topic", 20.0), scene.burst("", "topic", 3_000)
        assert (flood.store == isolation.DISTURBED) is not scene.one_order
        assert flood.store in settings.stores
        assert scene.faults.stuck == ([order_id(flood.first), order_id(burst.first)] if scene.one_order else [])
    first, busy, *troubled = isolation.SCENES
    assert not first.flooded
    assert busy.flooded
    assert busy.faults == Faults()
    assert all(scene.faults != Faults() for scene in troubled)


def test_a_flood_writes_everything_once_at_its_rate() -> None:
    flood = Flood("", "topic", STORE, first=500, count=1_003, per_second=100)
    lumps = flood.lumps()
    assert [number for lump in lumps for number in lump] == list(range(500, 1_503))
    assert flood.at(lumps[-1]) == pytest.approx(10.0, abs=0.1)
    at_once = Flood("", "topic", STORE, first=500, count=1_003, per_second=0)
    assert at_once.lumps() == [range(500, 1_503)]
    assert at_once.at(at_once.lumps()[0]) == 0


# -- lanes


def test_the_drive_stands_behind_the_gates_the_worker_uses() -> None:
    task = Task("calls", "", TopicSettings().model_dump(), "group", "")
    names = Gatekeeper(Gates(), settings_of(task), random.Random(1), SystemClock()).names_of(STORE, ships=True)
    assert [name.replace("main", "01").replace(STORE, "01") for name in names] == list(gates_of(1))


@pytest.mark.parametrize("mode", get_args(Mode))
def test_as_many_lanes_wait_all_the_time_while_each_event_has_its_turns(mode: Mode) -> None:
    drive = Drive(1_000, mode)
    for _ in range(2_000):
        drive.event()
    # Those that wait for their second turn come to them.
    assert 1_000 <= drive.lanes.count <= 1_000 + IN_FLIGHT
    assert drive.lanes.count == len(drive.lanes)
    assert drive.turns == 2_000


# -- parked


def test_parked_events_are_written_as_the_worker_writes_and_reads_them() -> None:
    topics = TopicSettings()
    key, value, headers, partition = parked_record(topics.order_shipped, 7, 1_700_000_000.0)
    letter = deadletter.read(value, headers)
    place = Place(partition, 2)
    assert not letter.problems
    assert is_whole(letter.about, place)
    assert (letter.key, tuple(letter.headers)) == (order_id(7).encode(), tuple(STRUCTURED))
    task = Task("calls", "", topics.model_dump(), "group", "")
    rules = ParkedRules.of(settings_of(task))
    row = row_of(key.decode(), letter.about, place, value, written_at=1_700_000_000.0, rules=rules)
    assert (row.state, row.order, row.store, row.ships, row.next_try) == ("waiting", order_id(7), STORE, True, 0.0)
    record = Record(topics.order_shipped, partition, 2, 0, letter.key, letter.value, letter.headers)
    assert Decoder(topics).decode(record, now=0.0).key == key.decode()
