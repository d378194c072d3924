"""The metrics: what is counted, and that their names and labels are what dashboards rely on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mypy import api as mypy
from prometheus_client import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from worker.errors import ERRORS, Failure
from worker.outcome import Again, Trouble, Verdict, Warned
from worker.telemetry import instruments
from worker.telemetry.instruments import NONE, Label, Registry, labels
from worker.telemetry.metrics import CallName, CallOutcome, EndpointGroup, Metrics
from worker.waits import Cause
from worker.walmart.answer import CallKind
from worker.walmart.call_report import Group
from worker.walmart.call_report import Operation as ClientOperation

SUCCEEDED = Verdict("ship", "applied", walmart_status="shipped")
FAILED = Verdict("ship", "none", failure=Failure("carrier_unmapped", "no name"))


def metrics() -> Metrics:
    return Metrics(accounts=["main"], topics=["shipped"])


def test_a_result_at_exactly_the_slo_is_good_and_in_the_slo_bucket() -> None:
    told = metrics()
    told.settled(SUCCEEDED, latency_seconds=300.0, calls=3, counts_for_slo=True)
    assert told.value("slo_events_total", slo="good") == 1
    assert told.value("slo_events_total", slo="bad") == 0
    assert told.value("event_latency_seconds_bucket", operation="ship", le="300.0") == 1
    assert told.value("event_latency_seconds_bucket", operation="ship", le="120.0") == 0
    assert told.value("results_total", operation="ship", status="succeeded", effect="applied", code="none") == 1


@pytest.mark.parametrize(
    ("verdict", "latency", "cause"),
    [
        (SUCCEEDED, 300.1, "closed"),
        (SUCCEEDED, 400.0, "closed"),
        (FAILED, 1.0, "failed"),
        (FAILED, 999.0, "failed"),
    ],
)
def test_a_missed_slo_has_one_cause(verdict: Verdict, latency: float, cause: str) -> None:
    told = metrics()
    told.settled(verdict, latency_seconds=latency, calls=1, late_because="closed", counts_for_slo=True)
    assert told.value("slo_events_total", slo="bad") == 1
    assert {one: told.value("slo_missed_total", cause=one) for one in get_args(Cause)} == {
        one: float(one == cause) for one in get_args(Cause)
    }


def test_what_does_not_count_for_the_slo_is_counted_everywhere_else() -> None:
    """A replay, or an event that was counted as bad while it was retried."""
    told = metrics()
    told.settled(FAILED, latency_seconds=9.0, calls=2, counts_for_slo=False)
    assert told.value("slo_events_total", slo="bad") == told.value("slo_events_total", slo="good") == 0
    assert told.value("results_total", operation="ship", status="failed", effect="none", code="carrier_unmapped") == 1
    assert told.value("calls_per_event_sum", operation="ship") == 2


def test_an_event_still_retrying_is_bad_at_that_moment() -> None:
    told = metrics()
    again = Again(Trouble.THROTTLED, Failure("throttled", "429"), operation="cancel")
    told.still_retrying(again, effect="none", late_because="budget", counts_for_slo=True)
    assert told.value("slo_events_total", slo="bad") == 1
    assert told.value("slo_missed_total", cause="budget") == 1
    assert told.value("results_total", operation="cancel", status="retrying", effect="none", code="throttled") == 1
    assert told.value("event_latency_seconds_count", operation="cancel") == 0


def test_a_clock_that_is_ahead_makes_no_negative_latency() -> None:
    told = metrics()
    told.settled(SUCCEEDED, latency_seconds=-5.0, calls=1, counts_for_slo=True)
    assert told.value("event_latency_seconds_sum", operation="ship") == 0
    assert told.value("slo_events_total", slo="good") == 1


def test_warnings_of_a_finished_event_are_counted() -> None:
    told = metrics()
    verdict = Verdict("ship", "applied", warnings=(Warned("carrier_corrected", "x"), Warned("tracking_cleaned", "y")))
    told.settled(verdict, latency_seconds=1, calls=1, counts_for_slo=True)
    assert told.value("warnings_total", code="carrier_corrected") == 1


def test_another_slo_time_is_a_bucket_edge_too() -> None:
    told = Metrics(slo_seconds=42)
    told.settled(SUCCEEDED, latency_seconds=42, calls=1, counts_for_slo=True)
    assert told.value("event_latency_seconds_bucket", operation="ship", le="42.0") == 1
    assert told.value("slo_events_total", slo="good") == 1


def test_calls_are_counted_and_throttled_ones_twice() -> None:
    told = metrics()
    told.call("main", "ship", "throttled", 0.1)
    told.call("main", "ship", "ok", 0.2)
    assert told.value("walmart_calls_total", account="main", operation="ship", outcome="ok") == 1
    assert told.value("walmart_throttled_total", account="main", operation="ship") == 1
    assert told.value("walmart_call_seconds_count", operation="ship") == 2


def test_call_labels_are_the_clients_own_words() -> None:
    """The rooms do not import each other; this holds their words together."""
    assert set(get_args(CallName)) == set(get_args(ClientOperation))
    assert set(get_args(CallOutcome)) == {"ok", *(kind.value for kind in CallKind)}
    assert get_args(EndpointGroup) == get_args(Group)


def test_counters_with_known_labels_start_at_zero() -> None:
    """Else Prometheus does not see the first step."""
    page = metrics().render()[0].decode()
    assert 'order_sync_slo_events_total{slo="bad"} 0.0' in page
    assert 'order_sync_commits_total{outcome="failed"} 0.0' in page
    assert 'order_sync_walmart_calls_total{account="main",operation="ship",outcome="unknown"} 0.0' in page
    assert all(f'order_sync_dead_letters_written_total{{code="{code}"}} 0.0' in page for code in ERRORS)


def test_a_snapshot_replaces_the_whole_gauge() -> None:
    told = metrics()
    told.dead_letters.replace({("dead", "internal"): 2, ("waiting", "throttled"): 1})
    told.dead_letters.replace({("waiting", "throttled"): 5})
    assert told.value("dead_letters", state="waiting", code="throttled") == 5
    assert 'state="dead"' not in told.render()[0].decode()


def test_a_partition_given_away_disappears_and_may_come_back() -> None:
    told = metrics()
    told.lag_records.set(7, "shipped", 3)
    told.lag_records.forget("shipped", 3)
    told.lag_records.forget("shipped", 4)
    assert "lag_records{" not in told.render()[0].decode()
    told.lag_records.set(8, "shipped", 3)
    assert told.value("lag_records", topic="shipped", partition="3") == 8


def test_series_are_bounded_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instruments, "MAX_SERIES", 3)
    registry = Registry("t_")
    name: Label[str] = Label("name", "")
    counter = registry.counter("x_total", "", labels(name))
    for number in range(10):
        counter.inc(str(number))
    assert registry.prometheus.get_sample_value("t_x_total", {"name": "overflow"}) == 7
    assert registry.prometheus.get_sample_value("t_x_total", {"name": "9"}) is None


STEPS = st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.floats(0, 20) | st.sampled_from([1.0, 2.5, 10.0])))


@given(steps=STEPS)
def test_the_page_is_what_prometheus_clients_own_instruments_would_say(
    steps: list[tuple[str | None, float]],
) -> None:
    ours, edges = Registry("t_"), (1.0, 2.5, 10.0)
    name: Label[str | None] = Label("name", "")
    theirs = prometheus_client.CollectorRegistry()
    made = (
        ours.counter("c_total", "C.", labels(name)),
        ours.gauge("g", "G.", labels(name)),
        ours.histogram("h", "H.", labels(name), buckets=edges),
        ours.counter("plain_total", "P.", NONE),
    )
    models = (
        prometheus_client.Counter("t_c_total", "C.", ["name"], registry=theirs),
        prometheus_client.Gauge("t_g", "G.", ["name"], registry=theirs),
        prometheus_client.Histogram("t_h", "H.", ["name"], buckets=edges, registry=theirs),
        prometheus_client.Counter("t_plain_total", "P.", registry=theirs),
    )
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
    for label, value in steps:
        made[0].add(value, label)
        made[1].set(value, label)
        made[2].observe(value, label)
        made[3].inc()
        models[0].labels(str(label).lower()).inc(value)
        models[1].labels(str(label).lower()).set(value)
        models[2].labels(str(label).lower()).observe(value)
        models[3].inc()
    assert generate_latest(ours.prometheus) == generate_latest(theirs)
    assert openmetrics.generate_latest(ours.prometheus) == openmetrics.generate_latest(theirs)


def test_a_gauge_that_cannot_be_read_hides_no_other() -> None:
    told = metrics()
    told.at_scrape(lambda: told.events_in_flight.set(1 / 0))
    told.at_scrape(lambda: told.lanes.set(4))
    told.render()
    assert told.value("internal_errors_total", part="telemetry") == 1
    assert told.value("lanes") == 4


def test_two_registries_share_nothing() -> None:
    one, other = metrics(), metrics()
    one.rebalances.inc()
    assert other.value("rebalances_total") == 0


def test_every_metric_follows_the_naming_rules_and_parses() -> None:
    """https://prometheus.io/docs/practices/naming/: prefix, base units, `_total` for counters and only for them."""
    told = metrics()
    assert len({one.name for one in told.definitions}) == len(told.definitions)
    for one in told.definitions:
        assert re.fullmatch(r"order_sync_[a-z][a-z_]*[a-z]", one.name), one.name
        assert (one.kind == "counter") == one.name.endswith("_total"), one.name
        assert one.help.endswith("."), one.name
        assert not {label.name for label in one.labels} & {"id", "order", "event_id", "purchase_order_id", "key"}
        if one.unit in ("seconds", "bytes"):
            assert one.unit in one.name, one.name
    families = {family.name for family in text_string_to_metric_families(told.render()[0].decode())}
    assert {one.name.removesuffix("_total") for one in told.definitions} <= families


def test_the_accept_header_chooses_the_format() -> None:
    plain, plain_type = metrics().render("text/plain")
    rich, rich_type = metrics().render("application/openmetrics-text; version=1.0.0")
    assert plain_type.startswith("text/plain")
    assert rich_type.startswith("application/openmetrics-text")
    assert rich.endswith(b"# EOF\n")
    assert not plain.endswith(b"# EOF\n")


def test_a_misspelt_name_or_label_value_is_a_type_error(tmp_path: Path) -> None:
    """What the typed registry is for. Each line below must be refused, on its own line."""
    bad = [
        'm.slo_events.inc("goood")',
        'm.walmart_calls.inc("main", "ship")',
        'm.walmart_calls.inc("main", "ship", "ok")  # an account may be shown as `other`',
        'm.budget_left.set(1, m.account("main"), "get_order")',
        "m.evnts_received",
        'm.dead_letters.replace({("ded", "internal"): 4.0})',
        'm.commits.inc("ok")',
        'm.lanes.set(1, "x")',
        'm.commit(outcome="comitted", seconds=0.1)',
    ]
    file = tmp_path / "typed.py"
    file.write_text("\n".join(["from worker.telemetry.metrics import Metrics", "m = Metrics()", *bad]))
    out, _, code = mypy.run([str(file), "--follow-imports=silent", f"--cache-dir={tmp_path}/cache"])
    refused = {int(number) for number in re.findall(r"typed\.py:(\d+): error", out)}
    assert code == 1
    assert refused == set(range(3, 3 + len(bad))), out
