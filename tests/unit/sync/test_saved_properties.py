"""What holds for every history of an order whose reads are saved, whatever the answers, the lag, and others do."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sync_bench import Bench, made, run
from sync_bench import settings as tree
from sync_model import Line, Walmart
from test_sync_properties import events, histories, lines

from schemas.events import OrderCancelled, OrderShipped
from worker.outcome import Again, Progress, Trouble, Verdict
from worker.sync import attempt
from worker.walmart.answer import CallError, CallKind

Said = OrderShipped | OrderCancelled
History = tuple[dict[str, Line], list[Said], bool]

FAULTS = [
    None,
    None,
    "lost",
    "dropped",
    "late",
    CallError(CallKind.THROTTLED, "too many", 429, retry_after_s=2.0),
    CallError(CallKind.REFUSED, "locked", 423, locked=True),
]


async def settled(bench: Bench, event: Said) -> Verdict:
    bench.progress = Progress()
    outcome: Verdict | Again | None = None
    for _ in range(200):
        outcome = await bench.attempt(event)
        if isinstance(outcome, Verdict):
            return outcome
        assert outcome.trouble is not Trouble.SHIPMENTS
        bench.clock.time += outcome.after_s if outcome.after_s is not None else 1.0
    raise AssertionError(f"no verdict: {outcome}")


@given(histories(), st.sampled_from([5.0, 30.0, 300.0]), st.data())
@settings(max_examples=150, deadline=None)
async def test_a_history_under_faults_lag_and_handovers_ends_as_on_a_calm_day(
    history: History, fresh: float, data: st.DataObject
) -> None:
    """However long an answer counts as fresh: between our own writes nobody else changes the order."""
    state, said, _ = history
    calm = Walmart(state).copy()
    for event in said:
        run(event, calm)
    walmart = Walmart(state, one_number_per_line=data.draw(st.booleans())).copy()
    lag = data.draw(st.sampled_from([0.0, 5.0, 29.0]))
    bench = Bench(walmart, lag=lag, tree=tree(read_lag_seconds=30, order_fresh_seconds=fresh))
    some = st.lists(st.sampled_from(FAULTS), max_size=6)
    bench.api.faults = {"shipping": data.draw(some), "cancel": data.draw(some), "acknowledge": data.draw(some)}
    for event in said:
        for _ in range(data.draw(st.integers(1, 2))):
            bench.clock.time += data.draw(st.sampled_from([0.0, 1.0, 29.0, 31.0]))
            if data.draw(st.booleans()):
                bench.sync.forget_answers()
            verdict = await settled(bench, event)
            assert verdict.status == "succeeded", verdict
    assert {n: s[1:] for n, s in walmart.state().items()} == {n: s[1:] for n, s in calm.state().items()}


def changed_by_others(bench: Bench, data: st.DataObject) -> None:
    """Somebody ships or cancels a part of what is open; reads show it at once."""
    for each in bench.walmart.lines.values():
        units = data.draw(st.integers(0, each.open))
        if not units or data.draw(st.booleans()):
            continue
        from_created = min(units, each.created)
        each.created -= from_created
        each.acknowledged -= units - from_created
        if data.draw(st.booleans()):
            each.cancelled += units
        else:
            each.parcels["FOREIGN"] = each.parcels.get("FOREIGN", 0) + units
    bench.api.changed()


@given(lines(), st.lists(events, min_size=2, max_size=5), st.data())
@settings(max_examples=200, deadline=None)
async def test_every_verdict_is_what_the_true_order_says_whoever_changes_it_between_two_events(
    state: dict[str, Line], said: list[Said], data: st.DataObject
) -> None:
    """Success: nothing is left to send or to complain of. Failure: Walmart's own order shows why."""
    bench = Bench(Walmart(state).copy())
    for event in said:
        changed_by_others(bench, data)
        verdict = await settled(bench, event)
        left = made(event, bench.walmart, now=bench.clock.time, superseded=superseded(bench))
        assert not [call for call in left.calls if call.keys] or verdict.failure is not None
        assert bool(left.problems) == (verdict.failure is not None), (verdict, left.problems)


def superseded(bench: Bench) -> Any:
    corrections, order = bench.sync._room.corrections, bench.walmart.order().purchase_order_id
    return lambda key: corrections.superseded_at(order, f"{key[1]}|{key[0]}")


@given(histories())
@settings(max_examples=150, deadline=None)
async def test_an_order_is_read_until_its_first_write_and_not_again_while_that_answer_is_fresh(
    history: History,
) -> None:
    state, said, _ = history
    bench = Bench(Walmart(state).copy())
    has_written = False
    for event in said:
        before = len(bench.api.calls)
        assert (await settled(bench, event)).status == "succeeded"
        calls = bench.api.calls[before:]
        assert calls.count("get") == (0 if has_written else 1)
        assert len(calls) - calls.count("get") - calls.count("acknowledge") <= 2, "a shipment and a correction at most"
        has_written = has_written or len(calls) > 1


class Replanning:
    """Attempts that plan once more after a call that was all there was to do."""

    def __enter__(self) -> None:
        self.before, attempt.is_all = attempt.is_all, lambda call, step, data: False

    def __exit__(self, *error: object) -> None:
        attempt.is_all = self.before


@given(lines(), st.lists(events, min_size=1, max_size=4), st.data())
@settings(max_examples=300, deadline=None)
async def test_a_plan_whose_calls_have_all_worked_ends_as_planning_again_would(
    state: dict[str, Line], said: list[Said], data: st.DataObject
) -> None:
    one_number = data.draw(st.booleans())
    faults = data.draw(st.lists(st.sampled_from(FAULTS), max_size=4))
    walmart = Walmart(state, one_number_per_line=one_number)
    once, twice = Bench(walmart.copy()), Bench(walmart.copy())
    once.api.faults, twice.api.faults = {"shipping": list(faults)}, {"shipping": list(faults)}
    for event in filter(one_way, said):
        one = await settled(once, event)
        with Replanning():
            again = await settled(twice, event)
        assert told(one) == told(again)
        assert once.api.bodies == twice.api.bodies
        assert once.progress.confirmed == twice.progress.confirmed


def one_way(event: Said) -> bool:
    """True if its items name lines, or SKUs, but not both: what the contract asks for."""
    items: list[Any] = [*(event.items or ())]
    if isinstance(event, OrderShipped):
        items += [each for package in event.packages for each in package.items or ()]
    return len({each.sku is None for each in items}) < 2


def told(verdict: Verdict) -> Any:
    """Of a verdict what results tell; the first of several warnings that differ in their numbers only."""
    warnings = {(warning.code, warning.message.split(",")[0]): None for warning in verdict.warnings}
    lines_told = sorted(verdict.lines, key=str)
    return verdict.operation, verdict.status, verdict.effect, verdict.walmart_status, lines_told, list(warnings)
