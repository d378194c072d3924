"""The contenders do the same work, and what is judged at its effect is judged rightly."""

from __future__ import annotations

import asyncio
import struct
import time
from pathlib import Path
from typing import get_args

import orjson
import pytest

from schemas.events import OrderShipped
from tests.bench import calls
from tests.bench.contract import CONTENDERS, FLOORS, Task, Work
from tests.bench.ground import Ground
from tests.bench.handlers import KEYS, LONGEST_S, Waiting, effects_count, handler_of, number_of, violations, waits_s
from tests.bench.peers import LOCK, PEERS
from tests.bench.traffic import STRUCTURED
from worker.delivery import Record
from worker.intake.decode import Decoder
from worker.settings import TopicSettings


@pytest.mark.parametrize("work", get_args(Work))
def test_ours_comes_first_and_is_compared_with_a_floor(work: Work) -> None:
    known = Ground("", print, 0, peers=PEERS).contenders(work)
    assert known[0].name == "order-sync"
    assert FLOORS[work] in known
    assert set(PEERS) <= set(known)
    assert len({one.name for one in known}) == len(known)
    task = Task(work, "", TopicSettings().model_dump(), "group", "")
    for one in known:
        *command, told = one.run(task)
        assert Path("tests/bench", command[-1].rpartition(".")[2] + ".py").exists()
        assert Task(**orjson.loads(told)) == task


def test_peers_are_locked_and_only_there() -> None:
    assert "faststream-concurrent-aiokafka==" in LOCK.read_text()
    assert not any("faststream" in other.read_text() for other in LOCK.parent.glob("*.txt") if other != LOCK)
    assert not set(PEERS) & set(CONTENDERS)


async def test_an_effect_comes_after_the_wait(tmp_path: Path) -> None:
    effects = tmp_path / "effects"
    assert effects_count(effects) == 0
    task = Task("handler", "", {}, "group", "", effects=str(effects))
    handle = handler_of(task)
    assert isinstance(handle, Waiting)
    handling = asyncio.create_task(handle(7))
    await asyncio.sleep(0)
    assert effects_count(effects) == 0
    await handling
    assert violations(effects) == (effects_count(effects), 0) == (1, 0)


def test_waits_are_spread_evenly() -> None:
    waits = [waits_s(number) for number in range(2_000)]
    assert 0 <= min(waits) < max(waits) <= LONGEST_S
    assert sum(waits) / len(waits) == pytest.approx(LONGEST_S / 2, rel=0.02)


@pytest.mark.parametrize(
    ("numbers", "wrong"),
    [
        ([0, 1, 2, KEYS, KEYS + 2, KEYS + 1, 2 * KEYS], 0),
        ([0, 2 * KEYS, KEYS], 2),
        ([0, 0], 1),
        ([KEYS, 0], 2),
    ],
)
def test_out_of_turn_are_overtaking_repeated_and_missing_effects(
    tmp_path: Path, numbers: list[int], wrong: int
) -> None:
    effects = tmp_path / "effects"
    effects.write_bytes(b"".join(struct.pack("<I", number) for number in numbers))
    assert violations(effects) == (len(numbers), wrong)


@pytest.mark.parametrize("scene", calls.SCENES, ids=lambda scene: scene.name)
def test_the_events_of_an_order_ship_all_of_it(scene: calls.Scene) -> None:
    topics, left = TopicSettings(), {str(n): line.quantity for n, line in enumerate(scene.template.lines, start=1)}
    orders = set()
    for number in range(scene.each, 2 * scene.each):
        key, value = scene.event(number)
        record = Record(topics.order_shipped, 0, number, 0, key.encode(), value, tuple(STRUCTURED))
        delivery = Decoder(topics).decode(record, now=time.time())
        assert delivery.event is not None, delivery.refusal
        assert isinstance(delivery.event.data, OrderShipped)
        assert number_of(delivery.event.id) == number
        orders.add(delivery.event.data.purchase_order_id)
        for item in delivery.event.data.packages[0].items or ():
            assert item.line_number is not None
            left[item.line_number] -= item.quantity
    assert set(left.values()) == {0}
    assert len(orders) == 1
