"""Corrections that meet each other: numbers swapped, given on, refused, blocked."""

from __future__ import annotations

from typing import Any

import pytest
from sync_bench import NOW, Bench, item, made, package, refused, shipped, warned
from sync_bench import settings as tree
from sync_model import Walmart, line

from worker.outcome import Progress, Trouble
from worker.sync.calls import Correct
from worker.walmart.answer import CallError, CallKind


def correction(old: str, new: str, *items: dict[str, Any], **more: Any) -> Any:
    return package(new, *(items or (item("1"),)), replaces_tracking_number=old, **more)


async def test_numbers_swapped_between_two_lines_in_one_event_are_corrected() -> None:
    bench = Bench(Walmart({"1": line(ordered=2, X=1), "2": line(ordered=2, Y=1)}))
    event = shipped(correction("X", "Y", item("1")), correction("Y", "X", item("2")))
    end = await bench.settle(event)
    assert (end.effect, end.failure) == ("applied", None)
    assert (bench.walmart.lines["1"].parcels, bench.walmart.lines["2"].parcels) == ({"Y": 1}, {"X": 1})
    assert (await bench.next_event(event)).effect == "already_applied"


async def test_a_number_given_to_another_lines_package_stays_corrected_away_on_its_own() -> None:
    bench = Bench(Walmart({"1": line(ordered=2), "2": line(ordered=1)}))
    first = shipped(package("X", item("1")), package("W", item("2")))
    await bench.settle(first, time=NOW - 10)
    await bench.next_event(shipped(correction("X", "Z", item("1"))), time=NOW - 9)
    await bench.next_event(shipped(correction("W", "X", item("2"))), time=NOW - 8)
    end = await bench.next_event(first, time=NOW - 10)
    assert warned(end) == {"tracking_superseded"}
    assert (bench.walmart.lines["1"].open, bench.walmart.lines["2"].parcels) == (1, {"X": 1})


async def test_a_correction_back_that_walmart_refuses_frees_nothing() -> None:
    bench = Bench(Walmart({"1": line(ordered=2)}))
    first = shipped(package("X", item("1")))
    await bench.settle(first, time=NOW - 10)
    await bench.next_event(shipped(correction("X", "Y")), time=NOW - 9)
    bench.api.faults = {"shipping": [refused("4 hours", "trackingInfo")] * 20}
    back = await bench.next_event(shipped(correction("Y", "X")), time=NOW - 8)
    assert back.failure is not None
    assert back.failure.code == "correction_refused"
    bench.api.faults = {}
    await bench.next_event(first, time=NOW - 10)
    assert bench.walmart.lines["1"].parcels == {"Y": 1}


async def test_a_blocked_correction_still_tells_that_the_first_shipment_is_out_of_date() -> None:
    bench = Bench(Walmart({"1": line(ordered=2)}))
    speedy = {"title": "Speedy"}
    first = shipped(package("X", item("1"), carrier=speedy))
    assert (await bench.settle(first, time=NOW - 10)).failure is not None
    second = await bench.next_event(shipped(correction("X", "Y", carrier=speedy)), time=NOW - 9)
    assert second.failure is not None
    await bench.next_event(shipped(correction("Y", "Z")), time=NOW - 8)
    bench.sync.configure({"main": bench.api}, tree({"carriers": {"Speedy": "USPS"}}))
    assert warned(await bench.next_event(first, time=NOW - 10)) == {"tracking_superseded"}
    assert bench.walmart.lines["1"].parcels == {"Z": 1}


def test_by_sku_untouched_lines_are_not_shipped_where_the_units_may_be_shown_on_another() -> None:
    walmart = Walmart({"1": line("A", X=1), "2": line("A")})
    step = made(shipped(correction("Y", "Z", item("sku:A"))), walmart)
    assert step.calls == ()
    assert [problem.code for problem in step.problems] == ["correction_unmatched"]


def test_a_total_does_not_send_units_again_whose_correction_was_refused() -> None:
    """X was corrected to Y, Walmart refused; then a second unit goes into box Y."""
    walmart = Walmart({"1": line(ordered=4, X=1)})
    event = shipped(package("Y", item("1", 1, 2)))
    gone = {("1", "X"): 100.0}.get
    (call,) = made(event, walmart, superseded=gone).calls
    assert call.quantities == (1,)  # type: ignore[union-attr]
    walmart.lines["1"].parcels["Y"] = 1
    walmart.lines["1"].acknowledged -= 1
    assert made(event, walmart, superseded=gone).calls == ()


async def test_a_lost_correction_is_tried_again_beside_a_total_of_the_same_box() -> None:
    """The first try has marked the old number; its units are still this correction's, not the total's."""
    bench = Bench(Walmart({"1": line(ordered=1, X=1)}))
    bench.api.faults = {"shipping": ["dropped"]}
    await bench.settle(shipped(package("Y", item("1", 1, 2)), correction("X", "Y")))
    assert bench.walmart.lines["1"].parcels == {"Y": 1}


@pytest.mark.parametrize("fault", ["lost", "dropped"])
async def test_a_correction_whose_answer_is_lost_under_lagging_reads_moves_no_further_unit(fault: str) -> None:
    bench = Bench(Walmart({"1": line(ordered=4, X=3)}), lag=29.0)
    bench.api.faults = {"shipping": [fault]}
    end = await bench.settle(shipped(correction("X", "Y", item("1", 1))))
    assert (end.failure, end.effect) == (None, "applied")
    assert bench.walmart.lines["1"].parcels == {"X": 2, "Y": 1}


async def test_a_correction_refused_because_it_is_there_already_is_no_failure() -> None:
    bench = Bench(Walmart({"1": line(ordered=1, X=1)}), lag=29.0)
    event = shipped(correction("X", "Y"))
    await bench.settle(event)
    bench.restarted()
    bench.api.faults = {"shipping": [refused("Current tracking number is not found", "currentTrackingInfo")] * 20}
    assert (await bench.settle(event)).failure is None


def test_a_correction_is_fenced() -> None:
    (call,) = made(shipped(correction("X", "Y")), Walmart({"1": line(ordered=1, X=1)})).calls
    assert isinstance(call, Correct)
    assert call.leaves_units_open


async def test_only_refusals_without_a_cause_count_towards_giving_up_for_one() -> None:
    """An outage shows as 503 for long: one bare 400 at its end must not be the last word."""
    bench = Bench(Walmart({"1": line()}))
    down = CallError(CallKind.NOT_SENT, "no connection")
    bare = CallError(CallKind.REFUSED_WITHOUT_CAUSE, "Invalid Request", 400)
    bench.api.faults = {"get": [down] * 10, "shipping": [bare] * 4}
    assert (await bench.settle(shipped(package("X", item("1"))))).failure is None


async def test_an_acknowledgement_refused_without_a_cause_is_tried_again() -> None:
    bench = Bench(Walmart({"1": line(created=True)}))
    bench.api.faults = {"acknowledge": [CallError(CallKind.REFUSED_WITHOUT_CAUSE, "Invalid Request", 400)]}
    outcome = await bench.attempt(shipped(package("X", item("1"))))
    assert getattr(outcome, "trouble", None) is Trouble.NO_CAUSE
    assert (await bench.settle(shipped(package("X", item("1"))))).effect == "applied"


async def test_what_an_event_saw_as_done_an_old_read_does_not_take_back_from_the_next() -> None:
    walmart = Walmart({"1": line(ordered=2)})
    bench = Bench(walmart)
    event = shipped(package("X", item("1", 2)))
    await bench.settle(event)
    bench.restarted()
    assert (await bench.settle(event)).effect == "already_applied"
    bench.api.lag = 29.0
    bench.progress = Progress()
    assert (await bench.settle(event)).walmart_status == "shipped"
    assert "shipping" not in bench.api.calls[bench.api.calls.index("shipping") + 1 :]


@pytest.mark.parametrize(("length", "code"), [(60, None), (61, "tracking_number_invalid")])
def test_no_carrier_has_numbers_of_more_than_60_characters(length: int, code: str | None) -> None:
    step = made(shipped(package("7" * length, item("1"))), Walmart({"1": line()}))
    assert [problem.code for problem in step.problems] == ([code] if code else [])
