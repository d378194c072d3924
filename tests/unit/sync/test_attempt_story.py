"""What an event's story tells of its attempts."""

from __future__ import annotations

from sync_bench import NOW, A, B, Bench, cancelled, gone, iso, item, package, refused, shipped
from sync_model import Walmart, line

from worker.delivery import Delivery, Event
from worker.outcome import Progress
from worker.sync.calls import Call
from worker.walmart.answer import CallError, CallKind


def one(number: str = A, **more: object) -> object:
    return package(number, item("1"), **more)


async def test_calls_are_told_with_answer_and_duration() -> None:
    bench = Bench(Walmart({"1": line(ordered=3, created=True)}))
    await bench.attempt(shipped(one()))
    assert bench.story() == [
        "GET order -> ok: open",
        "POST acknowledge -> ok: open",
        f"POST shipping 1 of line 1 under {A} -> ok: partially_shipped",
        "succeeded, applied, order partially_shipped",
    ]
    assert all(" in 0." in what for _, what in bench.progress.story.steps()[:3])
    assert bench.progress.story.begun_at == NOW


async def test_a_lost_call_is_told_to_the_end() -> None:
    bench = Bench(Walmart({"1": line(ordered=3)}), lag=5)
    gone_away = CallError(CallKind.UNKNOWN, "ship: HTTP 504", 504)
    bench.api.faults = {"shipping": [gone_away]}
    await bench.attempt(shipped(one()))
    bench.clock.time += 45
    await bench.attempt(shipped(one()))
    assert bench.story() == [
        "GET order -> ok: open",
        f"POST shipping 1 of line 1 under {A} -> 504, outcome unknown: ship: HTTP 504",
        "GET order -> ok: open",
        "not settled, outcome_unknown: ship: HTTP 504",
        "GET order -> ok: open",
        "GET order -> ok: open",
        "read twice and not shown: the call in doubt is taken for lost",
        f"POST shipping 1 of line 1 under {A} -> ok: partially_shipped",
        "succeeded, applied, order partially_shipped",
    ]


async def test_a_call_found_to_have_worked_is_told() -> None:
    bench = Bench(Walmart({"1": line(ordered=3)}), lag=5)
    bench.api.faults = {"shipping": ["lost"]}
    await bench.attempt(shipped(one()))
    bench.clock.time += 6
    await bench.attempt(shipped(one()))
    assert "the order shows it: the call in doubt has worked" in bench.story()


async def test_a_read_back_is_told() -> None:
    bench = Bench(Walmart({"1": line(ordered=3)}))
    bench.api.faults = {"shipping": ["lost"]}
    await bench.attempt(shipped(one()))
    assert bench.story()[2:4] == ["GET order -> ok: partially_shipped", "read back: the order shows it"]


async def test_a_call_that_is_turned_away_tells_what_walmart_says() -> None:
    bench = Bench(Walmart({"1": line()}))
    bench.api.faults = {"get": [CallError(CallKind.THROTTLED, "get_order: HTTP 429", 429, retry_after_s=7)]}
    await bench.attempt(shipped(one()))
    assert bench.story()[0] == ("GET order -> 429, throttled (Walmart says: again after 7 s): get_order: HTTP 429")


async def test_a_call_that_never_left_is_told_so() -> None:
    bench = Bench(Walmart({"1": line()}))
    bench.api.faults = {"get": [CallError(CallKind.NOT_SENT, "get_order: could not connect")]}
    await bench.attempt(shipped(one()))
    assert bench.story()[0] == "GET order -> no answer, not sent: get_order: could not connect"


async def test_a_refused_fence_is_told() -> None:
    class Shut:
        async def intend(self, event: Event, call: Call, deadline: float, delivery: Delivery | None) -> bool:
            return False

    bench = Bench(Walmart({"1": line(ordered=2)}), fence=Shut())
    await bench.attempt(shipped(one()))
    assert bench.story()[1] == "fence refused: nothing was sent"


async def test_markers_are_told() -> None:
    bench = Bench(Walmart({"1": line(ordered=2, OLD1=1)}))
    await bench.attempt(shipped(one(replaces_tracking_number="OLD1")))
    assert "marked: OLD1 is corrected away on line 1" in bench.story()
    bench.progress = Progress()
    await bench.attempt(shipped(package("OLD1", item("1"), replaces_tracking_number=A)), time=NOW - 10)
    assert "mark taken off: OLD1 counts again on line 1" in bench.story()


async def test_a_large_call_names_a_few_of_its_parts() -> None:
    bench = Bench(Walmart({str(number): line(f"S{number}") for number in range(1, 9)}))
    await bench.attempt(shipped(package(B, *(item(str(number)) for number in range(1, 9)))))
    assert f"POST shipping 1 of line 1 under {B}, 1 of line 2" in bench.story()[1]
    assert "and 5 more -> ok" in bench.story()[1]


async def test_inventory_and_failures_are_told() -> None:
    stock = [{"sku": "A", "quantity": 4, "as_of": iso(NOW - 5)}]
    bench = Bench(Walmart({"1": line()}))
    await bench.attempt(cancelled(gone("1", 1), inventory=stock, reason={"text": "Price or other listing errors"}))
    assert "PUT inventory A 4 -> ok" in bench.story()
    bench = Bench(Walmart({"1": line()}))
    bench.api.faults = {"shipping": [refused("Method code is not supported", "methodCode")]}
    await bench.attempt(shipped(one()))
    assert bench.story()[-1].startswith("failed, none, order open, walmart_refused: ")


async def test_a_store_that_is_not_known_is_told() -> None:
    bench = Bench(Walmart({"1": line()}))
    await bench.attempt(shipped(one(), store="elsewhere"))
    assert bench.story() == ["failed, none, store_unknown: store elsewhere is not in the settings"]


async def test_an_unbounded_number_of_tries_makes_a_bounded_story() -> None:
    bench = Bench(Walmart({"1": line()}))
    bench.api.faults = {"get": [CallError(CallKind.NOT_SENT, "could not connect")] * 200}
    for _ in range(200):
        await bench.attempt(shipped(one()))
    assert len(bench.progress.story.steps()) <= 33
