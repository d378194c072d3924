"""Cancels without items: what may be in a box is never cancelled."""

from __future__ import annotations

import pytest
from sync_bench import NOW, A, B, Bench, cancelled, iso, item, package, settings, shipped
from sync_model import Walmart, line

from worker.delivery import Delivery, Event
from worker.outcome import Again, Outcome, Trouble, Verdict
from worker.sync.doors import Clear, GuardAnswer, Refuse, Wait
from worker.walmart.answer import CallError, CallKind


class SaidGuard:
    """Answers as told; the last answer stays."""

    def __init__(self, *answers: GuardAnswer) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[Event, Delivery | None]] = []

    async def look(self, event: Event, delivery: Delivery | None) -> GuardAnswer:
        self.asked.append((event, delivery))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


WAIT = Wait(7.5, "shipment s1 is on its way")


def verdict(outcome: Outcome) -> Verdict:
    assert isinstance(outcome, Verdict), outcome
    return outcome


def again(outcome: Outcome) -> Again:
    assert isinstance(outcome, Again), outcome
    return outcome


async def test_behind_a_clear_guard_everything_open_is_cancelled_with_its_reason() -> None:
    bench = Bench(Walmart({"1": line(ordered=3, Z=1), "2": line("B", created=True)}), guard=SaidGuard(Clear()))
    end = verdict(await bench.attempt(cancelled()))
    assert (end.status, end.effect, end.operation, end.walmart_status) == ("succeeded", "applied", "cancel", "shipped")
    assert [(each.line_number, each.quantity, each.state, each.reason) for each in end.lines] == [
        ("1", 2, "confirmed", "SELLER_CANCEL_OUT_OF_STOCK"),
        ("2", 1, "confirmed", "SELLER_CANCEL_OUT_OF_STOCK"),
    ]
    assert bench.api.calls == ["get", "cancel"]


async def test_a_repeat_is_already_applied() -> None:
    bench = Bench(Walmart({"1": line(ordered=3, Z=1)}), guard=SaidGuard(Clear()))
    await bench.settle(cancelled())
    bench.api.calls.clear()
    end = await bench.next_event(cancelled())
    assert (end.status, end.effect) == ("succeeded", "already_applied")
    assert bench.api.calls == ["get"]


async def test_all_shipped_though_commerce_says_cancelled_is_a_conflict() -> None:
    bench = Bench(Walmart({"1": line(ordered=2, Z=2)}), guard=SaidGuard(Clear()))
    end = verdict(await bench.attempt(cancelled()))
    assert end.failure is not None
    assert (end.failure.code, end.effect, end.walmart_status) == ("cancel_after_ship", "none", "shipped")
    assert [(each.quantity, each.state, each.reason) for each in end.lines] == [(2, "rejected", "cancel_after_ship")]


async def test_it_waits_for_shipments_which_may_pass_it_and_asks_walmart_nothing() -> None:
    bench = Bench(Walmart({"1": line()}), guard=SaidGuard(WAIT, WAIT, Clear()))
    for _ in range(2):
        outcome = again(await bench.attempt(cancelled()))
        assert (outcome.trouble, outcome.failure.code, outcome.after_s) == (
            Trouble.SHIPMENTS,
            "waiting_for_shipments",
            7.5,
        )
        assert "shipment s1 is on its way" in outcome.failure.message
        assert outcome.call is None
    assert bench.api.calls == []
    assert bench.progress.waits == 2
    assert verdict(await bench.attempt(cancelled())).effect == "applied"


async def test_a_shipment_that_passes_it_is_left_alone() -> None:
    walmart = Walmart({"1": line(ordered=3)})
    bench = Bench(walmart, guard=SaidGuard(WAIT, Clear()))
    again(await bench.attempt(cancelled()))
    kept = bench.progress
    await bench.next_event(shipped(package(A, item("1", 2))))
    bench.progress = kept
    assert verdict(await bench.attempt(cancelled())).effect == "applied"
    assert walmart.state() == {"1": (0, 1, ((A, 2),))}


async def test_where_it_cannot_be_known_it_is_refused_without_a_call() -> None:
    bench = Bench(Walmart({"1": line()}), guard=SaidGuard(Refuse("its key lies in another partition")))
    end = verdict(await bench.attempt(cancelled()))
    assert end.failure is not None
    assert (end.failure.code, end.effect) == ("cancel_without_items", "none")
    assert "its key lies in another partition" in end.failure.message
    assert bench.api.calls == []


async def test_without_a_guard_it_is_refused() -> None:
    bench = Bench(Walmart({"1": line()}))
    end = verdict(await bench.attempt(cancelled()))
    assert end.failure is not None
    assert end.failure.code == "cancel_without_items"
    assert bench.api.calls == []


async def test_a_store_that_takes_none_refuses_without_asking_the_guard() -> None:
    guard = SaidGuard(Clear())
    bench = Bench(Walmart({"1": line()}), tree=settings({"cancel_without_items": "refuse"}), guard=guard)
    end = verdict(await bench.attempt(cancelled()))
    assert end.failure is not None
    assert end.failure.code == "cancel_without_items"
    assert "main_store" in end.failure.message
    assert (guard.asked, bench.api.calls) == ([], [])


async def test_cancels_with_items_and_shipments_are_not_guarded() -> None:
    guard = SaidGuard(Refuse("no"))
    bench = Bench(Walmart({"1": line(ordered=2)}), guard=guard)
    await bench.settle(shipped(package(A, item("1"))))
    await bench.next_event(cancelled({"line_number": "1", "cancelled_total": 1, "shipped_total": 1}))
    assert guard.asked == []


@pytest.mark.parametrize("answer", [Clear(), WAIT, Refuse("keys")])
async def test_the_guard_is_asked_in_observe_mode_too(answer: GuardAnswer) -> None:
    guard = SaidGuard(answer)
    bench = Bench(Walmart({"1": line(ordered=2)}), tree=settings({"observe": True}), guard=guard)
    outcome = await bench.attempt(cancelled())
    assert len(guard.asked) == 1
    if isinstance(answer, Clear):
        assert [request.path.rsplit("/", 1)[-1] for request in verdict(outcome).planned] == ["cancel"]
    elif isinstance(answer, Wait):
        assert again(outcome).trouble is Trouble.SHIPMENTS
    else:
        assert verdict(outcome).failure is not None
    assert bench.walmart.lines["1"].cancelled == 0


async def test_the_guard_is_asked_at_each_try() -> None:
    """A shipment may have arrived since."""
    bench = Bench(Walmart({"1": line(ordered=2)}), guard=SaidGuard(Clear(), WAIT, Clear()))
    bench.api.faults = {"cancel": [CallError(CallKind.THROTTLED, "slow", 429)]}
    assert again(await bench.attempt(cancelled())).trouble is Trouble.THROTTLED
    assert again(await bench.attempt(cancelled())).trouble is Trouble.SHIPMENTS
    assert verdict(await bench.attempt(cancelled())).effect == "applied"


@pytest.mark.parametrize("answer", [WAIT, Refuse("keys")])
async def test_one_that_has_worked_already_is_not_held_back_by_the_guard(answer: GuardAnswer) -> None:
    """Else it would wait for a shipment that can only be told that its units are cancelled."""
    bench = Bench(Walmart({"1": line(ordered=2)}), lag=5, guard=SaidGuard(Clear(), answer))
    bench.api.faults = {"cancel": ["lost"]}
    assert again(await bench.attempt(cancelled())).trouble is Trouble.UNKNOWN
    bench.clock.time += 10
    end = verdict(await bench.attempt(cancelled()))
    assert (end.status, end.effect) == ("succeeded", "applied")
    assert bench.api.calls.count("cancel") == 1


async def test_a_lost_one_is_not_sent_again_while_the_guard_waits() -> None:
    bench = Bench(Walmart({"1": line(ordered=2)}), guard=SaidGuard(Clear(), WAIT, Clear()))
    bench.api.faults = {"cancel": ["dropped"]}
    again(await bench.attempt(cancelled()))
    assert again(await bench.attempt(cancelled())).trouble is Trouble.SHIPMENTS
    assert bench.api.calls.count("cancel") == 1
    assert verdict(await bench.attempt(cancelled())).effect == "applied"


async def test_what_was_cancelled_before_the_guard_refused_is_told() -> None:
    """The second of two calls is lost, then keys are found misplaced."""
    bench = Bench(Walmart({"1": line(), "2": line("B")}), guard=SaidGuard(Clear(), Refuse("keys are misplaced")))
    bad = CallError(CallKind.REFUSED, "unknown reason", 400)
    bench.api.faults = {"cancel": [bad, None, "dropped"]}
    again(await bench.attempt(cancelled()))
    end = verdict(await bench.attempt(cancelled()))
    assert end.failure is not None
    assert (end.failure.code, end.effect, end.walmart_status) == ("cancel_without_items", "partly_applied", "open")
    assert sorted((each.state, each.quantity) for each in end.lines) == [("confirmed", 1), ("rejected", 1)]
    assert bench.api.calls.count("cancel") == 3


async def test_a_lost_answer_under_lag_is_settled_by_reading_or_by_walmarts_refusal() -> None:
    bench = Bench(Walmart({"1": line(ordered=2)}), lag=20, guard=SaidGuard(Clear()))
    bench.api.faults = {"cancel": ["lost"]}
    end = await bench.settle(cancelled())
    assert (end.status, end.effect) == ("succeeded", "applied")
    assert bench.walmart.lines["1"].cancelled == 2


async def test_inventory_goes_out_as_after_any_cancel_and_never_after_a_refused_one() -> None:
    stock = [{"sku": "A", "quantity": 4, "as_of": iso(NOW - 5)}]
    event = cancelled(inventory=stock, reason={"text": "Price or other listing errors"})
    bench = Bench(Walmart({"1": line()}), guard=SaidGuard(Clear()))
    end = verdict(await bench.attempt(event))
    assert [(each.sku, each.state) for each in end.inventory] == [("A", "updated")]
    assert bench.api.stock == {("A", None): 4}
    refused = Bench(Walmart({"1": line()}), guard=SaidGuard(Refuse("keys")))
    assert verdict(await refused.attempt(event)).inventory == ()
    assert refused.api.stock == {}


async def test_a_shipment_told_after_its_lines_were_cancelled_is_its_own_error() -> None:
    bench = Bench(Walmart({"1": line(ordered=1)}), guard=SaidGuard(Clear()))
    await bench.settle(cancelled())
    end = await bench.next_event(shipped(package(B, item("1"))))
    assert end.failure is not None
    assert end.failure.code == "shipped_after_cancel"


async def test_the_story_tells_what_the_guard_said_and_how_it_ended() -> None:
    bench = Bench(Walmart({"1": line(ordered=2)}), guard=SaidGuard(WAIT, Clear()))
    await bench.attempt(cancelled())
    await bench.attempt(cancelled())
    assert bench.story() == [
        "guard: wait: shipment s1 is on its way",
        f"not settled, waiting_for_shipments: a cancellation without items waits for shipments: {WAIT.why}",
        "guard: clear, no shipment of the order is on its way",
        "GET order -> ok: open",
        "POST cancel 2 of line 1 -> ok: cancelled",
        "succeeded, applied, order cancelled",
    ]
