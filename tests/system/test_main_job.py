"""The main job on real parts: an event in, Walmart agrees, a result out."""

from __future__ import annotations

import signal
import subprocess
import sys

import orjson
import pytest

from schemas import deadletter
from tests.system.stage import ADDRESS, UPS, Stage, cancelled, package, shipped
from worker.sandbox.walmart.specs import FaultSpec, NewLine

pytestmark = pytest.mark.integration


async def test_an_event_becomes_true_at_walmart_and_a_result(stage: Stage) -> None:
    worker = await stage.worker()
    order = await stage.control.add_order([NewLine(sku="MUG", quantity=2, status="Created")])
    place = await stage.send(shipped(order, package(UPS, 2), return_center_address=ADDRESS))
    result = await stage.result(place)
    assert (result.status, result.effect, result.walmart_status) == ("succeeded", "applied", "shipped")
    assert (await stage.control.order(order)).line("1").tracking == {UPS: 2}
    assert await worker.stop() == 0
    assert (await stage.committed())[place[0], place[1]] == place[2] + 1
    assert await stage.dead_letters() == {}


async def test_a_bad_event_becomes_a_dead_letter_with_identical_bytes(stage: Stage) -> None:
    """Dead letter, result, offset: all three, and the next event of the partition is handled."""
    await stage.worker()
    order = await stage.control.add_order([NewLine(sku="MUG")])
    raw, headers = b"\xff\x00 no event", [("x-trace", b"\x01\x02"), ("order-sync-code", b"mine")]
    bad = await stage.send(raw, key=order.encode(), headers=headers)
    good = await stage.send(shipped(order, package(UPS)))
    failed, succeeded = await stage.results([bad, good])
    assert (failed.status, failed.error.code if failed.error else None) == ("failed", "event_undecodable")
    assert succeeded.status == "succeeded"
    (record,) = (await stage.dead_letters()).values()
    letter = deadletter.read(record.value, record.headers)
    assert (letter.value, letter.key, list(letter.headers)) == (raw, order.encode(), headers)
    assert record.partition == bad[1], "in the partition number it came from"
    assert record.key.decode() == f"{bad[0]}/{bad[1]}/{bad[2]}"
    assert failed.dead_letter is not None
    assert (failed.dead_letter.partition, failed.dead_letter.offset) == (record.partition, record.offset)


async def test_null_keys_and_null_values_are_kept(stage: Stage) -> None:
    await stage.worker()
    topic = stage.topics.order_shipped
    for key, value in ((b"k", None), (None, b"no event")):
        sent = await stage.producer.send_and_wait(topic, value=value, key=key, partition=1)
        result = await stage.result((topic, 1, sent.offset))
        assert result.error is not None
        assert result.error.code == "event_undecodable"
        record = (await stage.dead_letters())[f"{topic}/1/{sent.offset}"]
        assert record.value is not None, "a null value would read as a tombstone"
        letter = deadletter.read(record.value, record.headers)
        assert (letter.value, letter.key) == (value, key)


async def test_events_of_one_order_over_both_topics(stage: Stage) -> None:
    """Ship 1, cancel 1, ship 1 of 3, told with totals: the end is the same however they interleave."""
    await stage.worker()
    order = await stage.control.add_order([NewLine(sku="MUG", quantity=3)])
    places = [
        await stage.send(shipped(order, package(UPS, 1, total=1))),
        await stage.send(cancelled(order, 1, 2)),
        await stage.send(shipped(order, package(UPS, 1, total=2))),
    ]
    results = await stage.results(places)
    assert [result.status for result in results] == ["succeeded"] * 3
    line = (await stage.control.order(order)).line("1")
    assert (line.tracking, line.cancelled, line.charged) == ({UPS: 2}, 1, 2)


async def test_success_of_the_same_shipment_closes_the_older_dead_letter(stage: Stage) -> None:
    await stage.worker()
    order = await stage.control.add_order([NewLine(sku="MUG")])
    first = await stage.result(await stage.send(shipped(order, package(None), shipment_id="S1")))
    assert first.error is not None
    assert first.error.code == "tracking_number_missing"
    assert len(await stage.dead_letters()) == 1
    second = await stage.result(await stage.send(shipped(order, package(UPS), shipment_id="S1")))
    assert second.status == "succeeded"
    assert await stage.dead_letters() == {}


async def test_an_outage_is_waited_for_and_told_once(stage: Stage) -> None:
    """A `retrying` result after the SLO time, exactly one, then the final one; never a dead letter."""
    await stage.worker(timing={"slo_seconds": 1})
    order = await stage.control.add_order([NewLine(sku="MUG")])
    fault = await stage.control.add_fault(FaultSpec(kind="outage"))
    place = await stage.send(shipped(order, package(UPS)))
    while not (told := [result for result in await stage.all_results() if result.status == "retrying"]):
        pass
    await stage.control.clear_faults(fault.id)
    result = await stage.result(place)
    assert (result.status, result.effect) == ("succeeded", "applied")
    assert told[0].error is not None
    assert told[0].error.code == "walmart_unavailable"
    statuses = [one.status for one in await stage.all_results()]
    assert statuses == ["retrying", "succeeded"]
    assert await stage.dead_letters() == {}


async def test_observe_sends_nothing_and_tells_what_it_would(stage: Stage) -> None:
    await stage.worker(stores={"sandbox": {"account": "main", "observe": True}})
    order = await stage.control.add_order([NewLine(sku="MUG", status="Created")])
    good = await stage.send(shipped(order, package(UPS), return_center_address=ADDRESS))
    bad = await stage.send(shipped(order, package(None)))
    would, would_fail = await stage.results([good, bad])
    assert (would.status, would.effect, would.observed) == ("succeeded", "applied", True)
    assert [call.path.rsplit("/", 1)[1] for call in would.planned] == ["acknowledge", "shipping"]
    assert (would_fail.status, would_fail.dead_letter) == ("failed", None)
    assert await stage.dead_letters() == {}
    assert (await stage.control.order(order)).line("1").created == 1


async def test_a_paused_store_waits_and_the_others_do_not(stage: Stage) -> None:
    """Nothing is sent or lost for the paused store; what cannot be read is told at once."""
    worker = await stage.worker(stores={"other": {"account": "main", "paused": True}})
    orders = [await stage.control.add_order([NewLine(sku="MUG")]) for _ in range(2)]
    held = await stage.send(shipped(orders[0], package(UPS), store="other"))
    unreadable = await stage.send(b"{", key=orders[0].encode())
    free = await stage.send(shipped(orders[1], package(UPS)))
    await stage.results([unreadable, free])
    assert not [
        one
        for one in await stage.all_results()
        if one.event.offset == held[2] and one.event.partition == held[1] and one.event.topic == held[0]
    ]
    await worker.stop()
    again = await stage.worker(stores={"other": {"account": "main"}})
    assert (await stage.result(held)).status == "succeeded"
    assert await again.stop() == 0


async def test_the_same_identity_with_other_bytes_is_its_own_event(stage: Stage) -> None:
    await stage.worker()
    orders = [await stage.control.add_order([NewLine(sku="MUG")]) for _ in range(2)]
    first = await stage.send(shipped(orders[0], package(None), event_id="same"))
    await stage.result(first)
    second = await stage.send(shipped(orders[0], package("   "), event_id="same"))
    result = await stage.result(second)
    assert result.status == "failed"
    assert "identity_reused" in {warning.code for warning in result.warnings}
    assert set(await stage.dead_letters()) == {
        f"{stage.topics.order_shipped}|/test|same",
        f"{second[0]}/{second[1]}/{second[2]}",
    }


async def test_the_largest_event_fits_the_dead_letter_topic(stage: Stage) -> None:
    """A dead letter is larger than its event: it must be writable all the same."""
    await stage.worker()
    raw = b"x" * 1_048_000
    result = await stage.result(await stage.send(raw, key=b"big"))
    assert result.status == "failed"
    (record,) = (await stage.dead_letters()).values()
    assert record.value == raw


async def test_a_correction_is_not_undone_by_a_repeat(stage: Stage) -> None:
    """A number corrected away never comes back: not by a repeat, not after a restart."""
    worker = await stage.worker()
    order = await stage.control.add_order([NewLine(sku="MUG", quantity=2)])
    event = shipped(order, package("1Z12345E0205271688", 1))
    await stage.result(await stage.send(event))
    correction = shipped(order, package(UPS, 1, replaces_tracking_number="1Z12345E0205271688"))
    assert (await stage.result(await stage.send(correction))).operation == "correct"
    repeat = await stage.result(await stage.send(event))
    assert (repeat.status, repeat.effect) == ("succeeded", "none")
    assert "tracking_superseded" in {warning.code for warning in repeat.warnings}
    await worker.stop()
    await stage.worker()
    assert (await stage.result(await stage.send(event))).effect == "none"
    line = (await stage.control.order(order)).line("1")
    assert (line.tracking, line.charged) == ({UPS: 1}, 1)


async def test_a_clean_stop_repeats_no_finished_call(stage: Stage) -> None:
    """SIGTERM under load: what was finished is committed, so nothing is read or called twice."""
    worker = await stage.worker()
    orders = [await stage.control.add_order([NewLine(sku="MUG")]) for _ in range(60)]
    places = [await stage.send(shipped(order, package(UPS))) for order in orders]
    while not await stage.all_results():
        pass
    worker.send_signal(signal.SIGTERM)
    assert await worker.wait() == 0
    await stage.worker()
    await stage.results(places)
    results = await stage.all_results()
    assert len(results) == len(places), "one result each: nothing was handled twice"
    assert {result.effect for result in results} == {"applied"}


async def test_metrics_and_health_are_served(stage: Stage) -> None:
    worker = await stage.worker()
    order = await stage.control.add_order([NewLine(sku="MUG")])
    await stage.result(await stage.send(shipped(order, package(UPS))))
    page = ""
    while "order_sync_results_total{" not in page or 'slo="good"} 0.0' in page:
        page = await stage.metrics(worker)  # it is counted a moment after the result can be read
    assert 'order_sync_results_total{code="none",effect="applied",operation="ship",status="succeeded"} 1.0' in page
    assert 'order_sync_slo_events_total{slo="good"} 1.0' in page


def test_the_sandbox_ends_as_its_samples_say() -> None:
    """`order-sync sandbox --once --json`: exit 0 and every event as expected."""
    done = subprocess.run(
        [sys.executable, "-m", "worker.cli.main", "sandbox", "--once", "--json"],
        capture_output=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    summary = orjson.loads(done.stdout)
    assert summary["ok"]
    assert summary["as_expected"] == summary["events"] >= 18
