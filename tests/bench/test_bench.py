"""The benchmarks measure what they say: the bare loops do the same work, and the figures are read off rightly."""

from __future__ import annotations

import time

import orjson

from schemas.events import OrderShipped
from schemas.walmart.order import read_order
from tests.bench.contract import STORE, Task
from tests.bench.fast_walmart import Walmart
from tests.bench.figures import Figure, percentile, ratio
from tests.bench.traffic import STRUCTURED, event, order_id, ship_body
from tests.bench.worker_runner import settings_of
from worker.delivery import Record
from worker.intake.decode import Decoder
from worker.settings import TopicSettings
from worker.sync.calls import Ship
from worker.sync.plan import plan
from worker.sync.rules import Rules


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
