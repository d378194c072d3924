"""What the judge of the simulation lets pass, and that it does so only then."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from aiokafka import TopicPartition

from schemas import deadletter
from schemas.deadletter import DeadLetterHeaders
from tests.sim.commerce import Message
from tests.sim.group import Member
from tests.sim.history import History
from tests.sim.judge import Judge
from tests.sim.replays import Replays
from tests.sim.scenario import DEAD_LETTERS, GROUP, RESULTS, SHIPPED, make
from tests.sim.simulation import Simulation
from tests.sim.virtual_loop import Process, VirtualLoop
from worker.report.result import result_id

KEY = f"{SHIPPED}|/commerce|e1"
OLD, NEW = Process("w1#1"), Process("w2#1")


@pytest.fixture
def judge() -> Iterator[Judge]:
    simulated = Simulation(make(1))
    simulated.scenario.orders.clear()
    yield simulated.judge
    simulated.loop.close()


def told(key: str, status: str, number: int = 0, offset: int = 0, **more: Any) -> dict[str, Any]:
    """A final result of the shipment `e1`."""
    code = "store_unknown" if status == "failed" else None
    return {
        "result_id": result_id(key, number, status, "none", code),
        "event": {"topic": SHIPPED, "source": "/commerce", "id": "e1", "partition": 0, "offset": offset},
        "status": status,
        "effect": "none",
        "error": code and {"code": code, "message": ""},
        "warnings": [],
        "observed": False,
        **more,
    }


# -- a dead letter beside a success


def published(judge: Judge, order: str = "") -> None:
    message = Message(0.0, SHIPPED, b"PO", b"{}", (), KEY, order, "e1")
    judge.published(message, 0, judge.cluster.append(SHIPPED, 0, b"PO", b"{}", ()))


def concluded(judge: Judge, status: str, by: Process, **more: Any) -> None:
    judge.cluster.append(RESULTS, 0, None, orjson.dumps(told(KEY, status, **more)), (), by=by)


def dead(judge: Judge, by: Process) -> None:
    about = DeadLetterHeaders(state="dead", topic=SHIPPED, partition=0, offset=0, order="PO", key=b"PO")
    value, headers = deadletter.write(about, b"{}", ())
    judge.cluster.append(DEAD_LETTERS, 0, KEY.encode(), value, tuple(headers), by=by)


def owned(judge: Judge, by: Process) -> None:
    owner = Member("m", by, (SHIPPED,), 3.0, 6.0, None, assigned=frozenset({TopicPartition(SHIPPED, 0)}))
    judge.cluster.group(GROUP).members["m"] = owner


@pytest.mark.parametrize(
    ("letter_by", "owner", "success_by", "is_wrong"),
    [
        (NEW, NEW, OLD, False),
        (NEW, NEW, NEW, True),
        (NEW, OLD, OLD, True),
        (OLD, NEW, OLD, True),
    ],
    ids=["told by one who lost it", "told by the owner", "told by the owner since", "whose own letter it is"],
)
def test_a_dead_letter_stays_only_where_a_later_owner_ended_the_event(
    judge: Judge, letter_by: Process, owner: Process, success_by: Process, is_wrong: bool
) -> None:
    published(judge)
    owned(judge, owner)
    dead(judge, letter_by)
    concluded(judge, "failed", letter_by)
    concluded(judge, "succeeded", success_by)
    judge.close()
    assert any("a dead letter is left" in violation for violation in judge.violations) is is_wrong


# -- what a cancel without items waits for


def test_a_shipment_that_stays_dead_while_it_is_observed_is_not_finished(judge: Judge) -> None:
    published(judge, "PO")
    concluded(judge, "succeeded", OLD, observed=True)
    assert not judge._bad_shipment("PO"), "it left nothing"
    dead(judge, OLD)
    assert judge._bad_shipment("PO")
    assert not judge._bad_shipment("PO2")


@pytest.mark.parametrize("observed", [False, True])
def test_numbers_that_only_an_observed_correction_leads_from_are_not_judged(judge: Judge, observed: bool) -> None:
    value = b'{"data": {"packages": [{"replaces_tracking_number": "OLD"}]}}'
    message = Message(0.0, SHIPPED, b"PO", value, (), KEY, "PO", "e1")
    judge.published(message, 0, judge.cluster.append(SHIPPED, 0, b"PO", value, ()))
    concluded(judge, "succeeded", OLD, observed=observed)
    assert judge._untold == ({"PO"} if observed else set())


def test_a_dead_shipment_whose_success_was_told_is_no_reason_to_wait(judge: Judge) -> None:
    published(judge)
    dead(judge, OLD)
    concluded(judge, "succeeded", OLD)
    assert not judge._bad_shipment("PO")


# -- replays


@pytest.fixture
def replays() -> Iterator[Replays]:
    loop = VirtualLoop()
    made = Replays(History(loop, keep=False))
    about = DeadLetterHeaders(state="replay", topic=SHIPPED, partition=0, offset=0, replay_number=1)
    made.letter(KEY, about, "dead", None, 100.0)
    yield made
    loop.close()


def ended(replays: Replays) -> None:
    replays.letter(KEY, DeadLetterHeaders(state="dead", topic=SHIPPED, partition=0, offset=7), "replay", OLD, 101.0)


def test_a_replay_is_answered_whichever_repeat_of_the_event_its_dead_letter_names(replays: Replays) -> None:
    ended(replays)
    assert len(replays.unanswered()) == 1
    replays.result(told(KEY, "failed", number=1, offset=7), 110.0)
    assert replays.unanswered() == []


def test_a_repeat_of_the_event_that_is_run_meanwhile_overtakes_its_replay(replays: Replays) -> None:
    ended(replays)
    replays.result(told(KEY, "failed", offset=7), 101.0)
    assert replays.unanswered() == []


def test_a_replay_that_is_asked_for_again_is_overtaken_by_the_second_one(replays: Replays) -> None:
    about = DeadLetterHeaders(state="replay", topic=SHIPPED, partition=0, offset=0, replay_number=2)
    replays.letter(KEY, about, "waiting", None, 105.0)
    ended(replays)
    assert len(replays.unanswered()) == 1
    replays.result(told(KEY, "failed", number=2), 106.0)
    assert replays.unanswered() == []


def test_what_was_told_long_before_or_of_another_event_of_its_identity_does_not(replays: Replays) -> None:
    replays.result(told(KEY, "failed"), 50.0)
    replays.result(told(f"{SHIPPED}/0/9", "failed", offset=9), 101.0)
    ended(replays)
    assert len(replays.unanswered()) == 1
