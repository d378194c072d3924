"""What holds for every order and every history of events."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sync_bench import Bench, cancelled, gone, item, made, package, run, shipped
from sync_bench import settings as tree
from sync_model import Line, Walmart, line

from schemas.events import OrderCancelled, OrderShipped
from worker.outcome import Again, Progress, Trouble, Verdict
from worker.sync.calls import Acknowledge, Cancel, Memory, Ship
from worker.walmart.answer import CallError, CallKind

NUMBERS = ["N1", "N2", "N3", "N4"]
SKUS = ["A", "B"]


@st.composite
def lines(draw: st.DrawFn) -> dict[str, Line]:
    """An order in some state."""
    made_lines = {}
    for index in range(draw(st.integers(1, 4))):
        ordered = draw(st.integers(1, 4))
        left = ordered
        parcels = {}
        for number in draw(st.lists(st.sampled_from(NUMBERS), unique=True, max_size=2)):
            units = draw(st.integers(0, left))
            if units:
                parcels[number] = units
                left -= units
        gone_units = draw(st.integers(0, left))
        left -= gone_units
        created = draw(st.booleans()) and not parcels and not gone_units
        each = Line(draw(st.sampled_from(SKUS)), ordered, left if created else 0, 0 if created else left, gone_units)
        each.parcels = parcels
        each.asked = draw(st.integers(0, 9)) == 0
        made_lines[str(index + 1)] = each
    return made_lines


@st.composite
def shipments(draw: st.DrawFn) -> OrderShipped:
    """Any shipment the contract allows, mistakes of commerce included."""
    where = st.sampled_from(["1", "2", "3", "9", "sku:A", "sku:B", "sku:X"])
    quantity = st.integers(1, 4)
    items = st.builds(
        lambda place, units, more: item(place, units, None if more is None else units + more),
        where,
        quantity,
        st.none() | st.integers(0, 2),
    )
    number = st.sampled_from([*NUMBERS, None, "1796277083022"])
    carrier = st.sampled_from([{"code": "ups"}, {"code": "ups"}, {"title": "Speedy"}])
    replaces = st.sampled_from([None, None, None, "N1", "N4"])
    flat = draw(st.integers(0, 4)) == 0
    packages = [
        package(
            draw(number),
            *([] if flat else draw(st.lists(items, min_size=1, max_size=3))),
            carrier=draw(carrier),
            replaces_tracking_number=draw(replaces),
        )
        for _ in range(draw(st.integers(1, 4)))
    ]
    more: dict[str, Any] = {"intent_to_cancel_override": draw(st.booleans())}
    if flat:
        more["items"] = draw(st.lists(st.builds(item, where, quantity), min_size=1, max_size=3))
    return shipped(*packages, **more)


@st.composite
def cancellations(draw: st.DrawFn) -> OrderCancelled:
    where = st.sampled_from(["1", "2", "3", "9", "sku:A", "sku:B"])
    total = st.integers(0, 5)
    items = draw(
        st.lists(
            st.builds(gone, where, total, total),
            min_size=1,
            max_size=4,
            unique_by=lambda each: str(next(iter(each.values()))),
        )
    )
    return cancelled(*items)


events = shipments() | cancellations()


def asked_lines(data: OrderShipped | OrderCancelled, walmart: Walmart) -> set[str]:
    items: list[Any] = []
    if isinstance(data, OrderCancelled):
        items.extend(data.items or ())
    else:
        items.extend(data.items or ())
        for each in data.packages:
            items.extend(each.items or ())
    return {
        number
        for number, each in walmart.lines.items()
        if any(number == told.line_number or each.sku == told.sku for told in items)
    }


@given(lines(), events)
@settings(max_examples=200, deadline=None)
def test_a_plan_never_sends_more_than_is_open_nor_touches_another_line(
    state: dict[str, Line], event: OrderShipped | OrderCancelled
) -> None:
    walmart = Walmart(state)
    step = made(event, walmart)
    left = {number: each.open for number, each in walmart.lines.items()}
    touched = set()
    for call in step.calls:
        if isinstance(call, Acknowledge):
            continue
        for (number, _), quantity in zip(call.keys, call.quantities, strict=True):
            touched.add(number)
            if isinstance(call, Ship | Cancel):
                left[number] -= quantity
            if isinstance(call, Ship) and walmart.lines[number].asked:
                assert call.override
    assert min(left.values()) >= 0
    assert touched <= asked_lines(event, walmart)


@given(lines(), events)
@settings(max_examples=200, deadline=None)
def test_every_plan_is_accepted_and_applying_it_twice_changes_nothing(
    state: dict[str, Line], event: OrderShipped | OrderCancelled
) -> None:
    """The strict Walmart takes every call: `run` fails otherwise."""
    walmart = Walmart(state)
    run(event, walmart)
    before = walmart.state()
    assert made(event, walmart).calls == ()
    assert walmart.state() == before


@given(lines(), events, st.integers(1, 2))
@settings(max_examples=200, deadline=None)
def test_calls_apart_send_the_same_as_together(
    state: dict[str, Line], event: OrderShipped | OrderCancelled, one_by_one: int
) -> None:
    walmart = Walmart(state)
    together = made(event, walmart)
    apart = made(event, walmart, memory=Memory(one_by_one=one_by_one))

    def units(step: Any) -> list[Any]:
        return sorted(
            (type(call).__name__, key, quantity)
            for call in step.calls
            if not isinstance(call, Acknowledge)
            for key, quantity in zip(call.keys, call.quantities, strict=True)
        )

    assert units(together) == units(apart)
    assert together.lines == apart.lines


@given(lines(), shipments(), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_any_order_of_packages_gives_the_same_lines(
    state: dict[str, Line], event: OrderShipped, chance: random.Random
) -> None:
    if event.items is not None:
        return
    packages = list(event.packages)
    chance.shuffle(packages)
    other = event.model_copy(update={"packages": tuple(packages)})

    def sent(data: OrderShipped) -> list[Any]:
        return sorted(
            (type(call).__name__, key, quantity)
            for call in made(data, Walmart(state)).calls
            if not isinstance(call, Acknowledge)
            for key, quantity in zip(call.keys, call.quantities, strict=True)
        )

    assert sent(event) == sent(other)


@st.composite
def histories(draw: st.DrawFn) -> tuple[dict[str, Line], list[OrderShipped | OrderCancelled], bool]:
    """What one honest commerce system says over time about one order, per line or per SKU."""
    by_sku = draw(st.booleans())
    state = {
        str(index + 1): line(draw(st.sampled_from(SKUS)), draw(st.integers(1, 4)), created=draw(st.booleans()))
        for index in range(draw(st.integers(1, 3)))
    }
    places: dict[str, int] = {}
    for number, each in state.items():
        where = f"sku:{each.sku}" if by_sku else number
        places[where] = places.get(where, 0) + each.ordered
    left = dict(places)
    boxes: dict[tuple[str, str], int] = {}
    ship_totals = dict.fromkeys(places, 0)
    cancel_totals = dict.fromkeys(places, 0)
    said: list[OrderShipped | OrderCancelled] = []
    for step in range(draw(st.integers(1, 5))):
        if draw(st.booleans()):
            packages = []
            # Several events may put units into one box: then they say the total.
            for number in draw(st.sampled_from([["BOX"], [f"N{step}"], [f"N{step}", f"M{step}"], ["BOX", f"N{step}"]])):
                items = []
                for where in draw(st.lists(st.sampled_from(sorted(places)), unique=True, min_size=1)):
                    units = draw(st.integers(0, left[where]))
                    if units:
                        left[where] -= units
                        ship_totals[where] += units
                        boxes[where, number] = boxes.get((where, number), 0) + units
                        items.append(item(where, units, boxes[where, number] if number == "BOX" else None))
                if items:
                    packages.append(package(number, *items))
            if packages:
                said.append(shipped(*packages))
        else:
            for where in draw(st.lists(st.sampled_from(sorted(places)), unique=True, min_size=1)):
                units = draw(st.integers(0, left[where]))
                left[where] -= units
                cancel_totals[where] += units
            said.append(cancelled(*[gone(where, cancel_totals[where], ship_totals[where]) for where in sorted(places)]))
    return state, said, by_sku


@given(histories(), st.data())
@settings(max_examples=200, deadline=None)
def test_shipments_and_cancels_with_totals_end_in_one_state_in_whatever_order_and_however_often(
    history: tuple[dict[str, Line], list[OrderShipped | OrderCancelled], bool], data: st.DataObject
) -> None:
    state, said, by_sku = history
    straight = Walmart(state).copy()
    for event in said:
        assert not run(event, straight).problems
    shuffled = data.draw(st.permutations(said + data.draw(st.lists(st.sampled_from(said), max_size=4)) if said else []))
    other = Walmart(state).copy()
    for event in shuffled:
        assert not run(event, other).problems
    if by_sku:
        assert other.group_state() == straight.group_state()
    else:
        assert other.state() == straight.state()


@given(histories(), st.data())
@settings(max_examples=200, deadline=None)
def test_with_foreign_changes_never_more_than_commerce_and_walmart_allow(
    history: tuple[dict[str, Line], list[OrderShipped | OrderCancelled], bool], data: st.DataObject
) -> None:
    state, said, by_sku = history
    walmart = Walmart(state).copy()
    for event in data.draw(st.permutations(said)):
        for each in walmart.lines.values():
            units = data.draw(st.integers(0, each.acknowledged))
            if data.draw(st.booleans()):
                each.acknowledged -= units
                each.cancelled += units
            elif units:
                each.acknowledged -= units
                each.parcels["FOREIGN"] = each.parcels.get("FOREIGN", 0) + units
        run(event, walmart)
    told: dict[tuple[str, str], int] = {}
    most: dict[str, int] = {}
    for event in said:
        if isinstance(event, OrderShipped):
            for each_package in event.packages:
                for each_item in each_package.items or ():
                    place = each_item.sku if by_sku else each_item.line_number
                    key = (str(place), str(each_package.tracking_number))
                    told[key] = told.get(key, 0) + each_item.quantity
        else:
            for total in event.items or ():
                place = str(total.sku if by_sku else total.line_number)
                most[place] = max(most.get(place, 0), total.cancelled_total)
    sent: dict[tuple[str, str], int] = {}
    taken: dict[str, int] = {}
    for kind, entries in walmart.log:
        for number, word, units in entries or ():
            place = walmart.lines[number].sku if by_sku else number
            if kind == "ship":
                sent[place, word] = sent.get((place, word), 0) + units
            else:
                taken[place] = taken.get(place, 0) + units
    assert all(units <= told[key] for key, units in sent.items())
    assert all(units <= most[place] for place, units in taken.items())


FAULTS = [
    None,
    None,
    "lost",
    "dropped",
    "late",
    CallError(CallKind.NOT_SENT, "no connection"),
    CallError(CallKind.THROTTLED, "too many", 429, retry_after_s=2.0),
    CallError(CallKind.UNAUTHORIZED, "who are you", 401),
    CallError(CallKind.REFUSED_WITHOUT_CAUSE, "Invalid Request", 400),
    CallError(CallKind.REFUSED, "locked", 423, locked=True),
]
READ_FAULTS = [None, None, CallError(CallKind.UNKNOWN, "timed out"), CallError(CallKind.NOT_SENT, "no connection")]


@given(lines(), events, st.data())
@settings(max_examples=200, deadline=None)
async def test_no_event_ends_without_a_verdict_and_none_is_applied_twice(
    state: dict[str, Line], event: OrderShipped | OrderCancelled, data: st.DataObject
) -> None:
    """Whatever the calls end in and however far reads lag (less than the allowance): the end is that of a calm day."""
    calm = Walmart(state).copy()
    run(event, calm)
    walmart = Walmart(state).copy()
    bench = Bench(walmart, lag=data.draw(st.sampled_from([0.0, 5.0, 29.0])), tree=tree(read_lag_seconds=30))
    write = st.lists(st.sampled_from(FAULTS), max_size=4)
    bench.api.faults = {
        "get": data.draw(st.lists(st.sampled_from(READ_FAULTS), max_size=4)),
        "acknowledge": data.draw(write),
        "shipping": data.draw(write),
        "cancel": data.draw(write),
    }
    unlucky = any(
        isinstance(fault, CallError) and fault.kind is CallKind.REFUSED_WITHOUT_CAUSE
        for faults in bench.api.faults.values()
        for fault in faults
    )
    verdict = None
    for _ in range(200):
        outcome = await bench.attempt(event)
        if isinstance(outcome, Verdict):
            verdict = outcome
            break
        assert outcome.trouble is not Trouble.SHIPMENTS
        bench.clock.time += outcome.after_s if outcome.after_s is not None else 1.0
    assert verdict is not None
    charged, meant = walmart.charged(), calm.charged()
    assert all(units <= meant.get(key, 0) for key, units in charged.items())
    assert all(each.cancelled <= calm.lines[number].cancelled for number, each in walmart.lines.items())
    if not unlucky:
        assert {n: s[1:] for n, s in walmart.state().items()} == {n: s[1:] for n, s in calm.state().items()}


@given(histories(), st.data())
@settings(max_examples=150, deadline=None)
async def test_a_whole_history_under_faults_and_lag_ends_as_on_a_calm_day(
    history: tuple[dict[str, Line], list[OrderShipped | OrderCancelled], bool], data: st.DataObject
) -> None:
    """Events of one order in turn, some delivered twice, answers lost, reads lagging."""
    state, said, _ = history
    calm = Walmart(state).copy()
    for event in said:
        run(event, calm)
    walmart = Walmart(state, one_number_per_line=data.draw(st.booleans())).copy()
    bench = Bench(walmart, lag=data.draw(st.sampled_from([0.0, 5.0, 29.0])), tree=tree(read_lag_seconds=30))
    some = st.lists(st.sampled_from([None, "lost", "dropped", "late"]), max_size=6)
    bench.api.faults = {"shipping": data.draw(some), "cancel": data.draw(some), "acknowledge": data.draw(some)}
    for event in said:
        for _ in range(data.draw(st.integers(1, 2))):
            bench.progress = Progress()
            outcome: Verdict | Again | None = None
            for _ in range(100):
                outcome = await bench.attempt(event)
                if isinstance(outcome, Verdict):
                    break
                bench.clock.time += outcome.after_s if outcome.after_s is not None else 1.0
            assert isinstance(outcome, Verdict)
            assert outcome.status == "succeeded"
    assert {n: s[1:] for n, s in walmart.state().items()} == {n: s[1:] for n, s in calm.state().items()}
