"""What an earlier owner of the partition has corrected, and what this worker knew or reads of the order from before."""

from __future__ import annotations

import math
from typing import Any

from sync_bench import NOW, Bench, item, package, shipped
from sync_model import Walmart, line

from worker.delivery import Delivery, Event
from worker.outcome import ConfirmedUnits, Unsettled
from worker.sync.calls import Call
from worker.sync.doors import MemoryCorrections

PO = "1796277083022"


class Fence:
    believe_from = 0.0
    owned_until = math.inf

    async def intend(self, event: Event, call: Call, deadline: float, delivery: Delivery | None) -> bool:
        return True


def one(number: str) -> Any:
    return shipped(package(number, item("1")))


def correction(old: str, new: str) -> Any:
    return shipped(package(new, item("1"), replaces_tracking_number=old))


async def test_what_answered_a_write_before_the_partition_was_away_is_not_newer_than_reads_after() -> None:
    """W1 ships under BACK; W2 owns the partition for five seconds and corrects to THERE; W1 is to correct back.

    Reads do not lag at all.
    """
    fence, corrections = Fence(), MemoryCorrections()
    walmart = Walmart({"1": line(ordered=2)})
    bench = Bench(walmart, fence=fence, corrections=corrections)
    first = one("BACK")
    assert (await bench.settle(first, time=NOW - 10)).effect == "applied"
    # W1 gives the partition back; W2 corrects BACK to THERE, marks BACK.
    bench.sync.let_go()
    bench.clock.time = NOW + 5
    walmart.lines["1"].parcels = {"THERE": 1}
    bench.api.changed()
    corrections.times[PO, "BACK|1"] = NOW - 9
    # ... and W1 has it again.
    bench.clock.time = NOW + 10
    fence.believe_from = NOW + 10 + 40
    end = await bench.next_event(correction("THERE", "BACK"), time=NOW - 8)
    shown = dict(walmart.lines["1"].parcels)
    # A replay (or repeat) of the first shipment must charge nobody.
    bench.clock.time += 120
    await bench.next_event(first, time=NOW - 10)
    assert shown == {"BACK": 1}
    assert end.effect == "applied"
    assert sum(walmart.charged().values()) == 1


async def test_what_an_earlier_owner_applied_for_the_event_makes_an_old_read_no_newer() -> None:
    """W2 corrected BACK to THERE, began the event that corrects back (its other package), and parked it or died.

    W1 goes on with what the record carries (`applied`), within the read lag.
    """
    fence, corrections = Fence(), MemoryCorrections()
    fence.believe_from = NOW + 40
    corrections.times = {(PO, "THERE|1"): NOW - 8, (PO, "BACK|1"): NOW - 9}
    walmart = Walmart({"1": line(ordered=2, THERE=1), "2": line(ordered=1, X=1)})
    bench = Bench(walmart, fence=fence, corrections=corrections)
    bench.api.history = [
        (-math.inf, Walmart({"1": line(ordered=2, BACK=1), "2": line(ordered=1)}).order()),
        (NOW + 20, walmart.order()),
    ]
    back = shipped(package("X", item("2")), package("BACK", item("1"), replaces_tracking_number="THERE"))
    bench.progress.restore([("2", 1, "X")])
    await bench.settle(back, time=NOW - 8)
    assert walmart.lines["1"].parcels == {"BACK": 1}


async def test_a_call_of_ours_that_a_read_shows_is_not_taken_back_by_a_read_that_lags_more() -> None:
    """Shortly after a takeover a correction's answer is lost, and a read shows it; the next one's read lags more."""
    fence = Fence()
    fence.believe_from = NOW + 12
    walmart = Walmart({"1": line(ordered=2, THERE=1)})
    bench = Bench(walmart, fence=fence, lag=5.0)
    bench.api.faults = {"shipping": ["lost"]}
    assert (await bench.settle(correction("THERE", "BACK"), time=NOW - 8)).effect == "applied"
    bench.clock.time, bench.api.lag = NOW + 13, 25.0
    await bench.next_event(correction("BACK", "LAST"), time=NOW - 7)
    assert walmart.lines["1"].parcels == {"LAST": 1}


async def test_what_a_read_from_before_both_corrections_shows_is_not_the_call_in_doubt() -> None:
    """W2: BACK to THERE, then THERE to BACK, whose call was lost: parked in doubt. W1's read is older than both."""
    fence, corrections = Fence(), MemoryCorrections()
    fence.believe_from = NOW + 40
    corrections.times = {(PO, "THERE|1"): NOW - 8, (PO, "BACK|1"): NOW - 9}
    walmart = Walmart({"1": line(ordered=2, THERE=1)})
    bench = Bench(walmart, fence=fence, corrections=corrections)
    bench.api.history = [
        (-math.inf, Walmart({"1": line(ordered=2, BACK=1)}).order()),
        (NOW + 20, walmart.order()),
    ]
    bench.progress.unsettled = Unsettled((ConfirmedUnits("1", 1, "BACK"),), NOW + 30, True, True)
    await bench.settle(correction("THERE", "BACK"), time=NOW - 8)
    assert walmart.lines["1"].parcels == {"BACK": 1}
