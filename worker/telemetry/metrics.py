"""Every metric of the worker, defined once. `METRICS.md` is generated from here and a test fails when they drift.

How the app uses it: one `Metrics` per process, handed to the rooms; an attribute is a family, its label values are
typed and positional. What is told in several metrics at once has a method, so that they cannot disagree::

    metrics = Metrics(slo_seconds=settings.timing.slo_seconds, accounts=settings.accounts, topics=(...))
    metrics.events_received.add(3, "commerce.order-shipped.v1")
    metrics.settled(verdict, latency_seconds=2.0, calls=3, late_because="budget", counts_for_slo=True)
    metrics.commit("committed", 0.003)
    metrics.call("main", "ship", "ok", 0.21)
    metrics.lag_records.set(12, "commerce.order-shipped.v1", 3)      # .forget(topic, partition) when it is given away
    metrics.dead_letters.replace({("dead", "carrier_unmapped"): 4})  # all there are, as a snapshot
    metrics.at_scrape(lambda: metrics.events_in_flight.set(engine.in_flight))
    body, content_type = metrics.render(accept=None)

Labels are bounded: no ids; topics are the configured names only, and accounts those that `[metrics] account_names`
wants to see, all others together being `other`. So that a sum over all accounts always means the same, what is shown
of `other` is a sum, of gauges, too.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Collection, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Literal, NamedTuple, TypeVar, get_args

from prometheus_client import GCCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder

from schemas.results import Effect, Operation, Status
from worker.errors import ERRORS
from worker.outcome import WARNINGS, Again, Trouble, Verdict
from worker.telemetry.account_names import AccountLabel, AccountNames
from worker.telemetry.instruments import NONE, Definition, Label, Registry, labels
from worker.waits import MEANINGS, Cause, WaitReason

PREFIX = "order_sync_"

CallName = Literal["token", "token_detail", "get_order", "acknowledge", "ship", "cancel", "put_inventory"]
EndpointGroup = Literal["read", "ship", "cancel", "acknowledge", "inventory"]
CallOutcome = Literal["ok", "not_sent", "unauthorized", "throttled", "refused", "refused_without_cause", "unknown"]
CommitOutcome = Literal["committed", "refused", "failed"]
FenceOutcome = Literal["taken", "refused", "not_owner"]
Slo = Literal["good", "bad"]
GateState = Literal["open", "slow", "closed", "shut"]
RoomState = Literal["dead", "waiting", "replay"]
Reload = Literal["applied", "refused", "failed"]
Part = Literal["intake", "decode", "lanes", "sync", "walmart", "report", "parked", "rebalance", "telemetry", "settings"]

_CODES = tuple(ERRORS)
_TROUBLES = tuple(trouble.value for trouble in Trouble)

RELOAD: Label[Reload] = Label(
    "outcome",
    "applied; refused: mistakes, the old ones stay in force; failed: a bug of ours, the old ones stay in force",
    get_args(Reload),
)
OPERATION: Label[Operation | None] = Label(
    "operation", "what the event does; none: not readable", (*get_args(Operation), None)
)
STATUS: Label[Status] = Label("status", "status of the result", get_args(Status))
EFFECT: Label[Effect] = Label("effect", "effect of the result", get_args(Effect))
CODE: Label[str] = Label("code", "code of worker/ERRORS.md", _CODES)
CODE_OR_NONE: Label[str | None] = Label("code", "code of worker/ERRORS.md; none: succeeded", (*_CODES, None))
WARNING: Label[str] = Label("code", "warning code of worker/ERRORS.md", tuple(WARNINGS))
TROUBLE: Label[str] = Label("trouble", "why it is tried again", _TROUBLES)
SLO: Label[Slo] = Label("slo", "good: succeeded within the SLO time", get_args(Slo))
CAUSE: Label[Cause] = Label(
    "cause",
    "failed; budget: in time but for the waits for Walmart's call budget; calls: its calls took that long; "
    "else what it waited for longest, as in `reason`",
    get_args(Cause),
)
WAIT: Label[WaitReason] = Label(
    "reason", "; ".join(f"{reason}: {meaning}" for reason, meaning in MEANINGS.items()), get_args(WaitReason)
)
CALL: Label[CallName] = Label("operation", "the call", get_args(CallName))
GROUP: Label[EndpointGroup] = Label(
    "group", "calls that Walmart counts together, for each account", get_args(EndpointGroup)
)
CALL_OUTCOME: Label[CallOutcome] = Label(
    "outcome", "what is known about it; unknown: may or may not have worked", get_args(CallOutcome)
)
COMMIT: Label[CommitOutcome] = Label(
    "outcome", "refused: not the owner any more; failed: no answer", get_args(CommitOutcome)
)
FENCE: Label[FenceOutcome] = Label(
    "outcome",
    "taken: Kafka knows of the call; refused: no answer in time, or not the owner any more; not_owner: given back",
    get_args(FenceOutcome),
)
GATE: Label[GateState] = Label(
    "state",
    "slow: until Walmart's headers allow more; closed: probed until it opens; shut: paused, or a run of bugs",
    get_args(GateState),
)
ROOM: Label[RoomState] = Label("state", "state of the unfinished event", get_args(RoomState))
PART: Label[Part] = Label("part", "the room it happened in", get_args(Part))
PARTITION: Label[int] = Label("partition", "partition number, of those assigned to this worker")
VERSION: Label[str] = Label("version", "version of order-sync")
PYTHON: Label[str] = Label("python", "version of Python")

LATENCY_EDGES = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 600, 1_800, 3_600, 14_400, 86_400)
CALL_EDGES = (0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20)
KAFKA_EDGES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40)
CALLS_EDGES = (0, 1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 50)

F = TypeVar("F", bound=Callable[[], None])


class BudgetSeen(NamedTuple):
    """One account's budget of one endpoint group, as it is."""

    account: str
    group: EndpointGroup
    left: float
    """Calls."""
    calls_per_minute: float
    """Calls a minute that this worker may make of it while everybody wants more."""
    waiting: int = 0
    """Orders that wait for one of its calls."""


class Metrics:
    """The registry: one instance per process."""

    def __init__(
        self,
        *,
        slo_seconds: float = 300,
        accounts: Collection[str] = (),
        by_name: Collection[str] | None = None,
        topics: Iterable[str] = (),
    ) -> None:
        self._accounts = AccountNames(accounts, by_name)
        account: Label[AccountLabel] = Label(
            "account",
            "name of an account that is shown by name (setting metrics.account_names), or `other`: all others together",
            self._accounts.labels,
        )
        topic: Label[str] = Label("topic", "name of a configured topic", tuple(topics))
        self.slo_seconds = slo_seconds
        self._at_scrape: list[Callable[[], None]] = []
        self._registry = registry = Registry(PREFIX)
        counter, gauge, histogram = registry.counter, registry.gauge, registry.histogram

        # -- events
        self.events_received = counter("events_received_total", "Records read from the input topics.", labels(topic))
        self.results = counter(
            "results_total",
            "Sync results published: final ones, and `retrying` ones for events not settled after the SLO time.",
            labels(OPERATION, STATUS, EFFECT, CODE_OR_NONE),
        )
        self.event_latency = histogram(
            "event_latency_seconds",
            "From the event's own time to its final result.",
            labels(OPERATION),
            unit="seconds",
            buckets=tuple(sorted({*LATENCY_EDGES, float(slo_seconds)})),
        )
        self.slo_events = counter(
            "slo_events_total",
            "Events counted for the freshness objective, first delivery only, each once: good = succeeded within the "
            "SLO time of its own time. One that is still not settled then counts as bad at that moment.",
            labels(SLO),
        )
        self.slo_missed = counter("slo_missed_total", "The bad ones of slo_events_total by cause.", labels(CAUSE))
        self.waited = counter(
            "event_waited_seconds_total",
            "Seconds that events waited, counted when each wait is over (what is parked: when it is taken up).",
            labels(WAIT),
            unit="seconds",
        )
        self.events_waiting = gauge(
            "events_waiting", "Events in memory that wait, by what holds them.", labels(WAIT), unit="events"
        )
        self.warnings = counter("warnings_total", "Warnings in results.", labels(WARNING))
        self.retries = counter("retries_total", "Tries that ended in another try.", labels(TROUBLE))
        self.retrying_events = gauge("retrying_events", "Events in memory between two tries.", NONE, unit="events")
        self.misplaced_keys = counter(
            "misplaced_keys_total",
            "Records that lie in another partition than murmur2 of their key: a producer uses another partitioner.",
            labels(topic),
        )
        self.internal_errors = counter("internal_errors_total", "Unexpected exceptions: bugs of ours.", labels(PART))

        # -- Walmart
        self.walmart_calls = counter("walmart_calls_total", "Calls to Walmart.", labels(account, CALL, CALL_OUTCOME))
        self.walmart_call_seconds = histogram(
            "walmart_call_seconds", "Time of one call, all of it.", labels(CALL), unit="seconds", buckets=CALL_EDGES
        )
        self.walmart_throttled = counter("walmart_throttled_total", "Calls answered with 429.", labels(account, CALL))
        self.calls_per_event = histogram(
            "calls_per_event",
            "Calls to Walmart that a finished event has taken, over all its tries, parked ones included. Sum by count: "
            "about 2 (a read and a write), fewer where an order's next event follows within order_fresh_seconds.",
            labels(OPERATION),
            unit="calls",
            buckets=CALLS_EDGES,
        )
        self.budget_calls = counter(
            "budget_calls_total", "Calls that Walmart counts against an account's budget.", labels(account, GROUP)
        )
        self.budget_left = gauge(
            "budget_left",
            "Calls left in the budgets of accounts that were used lately. `other`: of all of them together.",
            labels(account, GROUP),
            unit="calls",
        )
        self.budget_calls_per_minute = gauge(
            "budget_calls_per_minute",
            "Calls a minute that this worker may make of those budgets: its share of what Walmart grants.",
            labels(account, GROUP),
            unit="calls",
        )
        self.budget_orders_waiting = gauge(
            "budget_orders_waiting",
            "Orders in memory that wait for a call of that budget, and for nothing else. 0: the budget delays nobody.",
            labels(account, GROUP),
            unit="orders",
        )
        self.budgets_used_up = gauge(
            "budgets_used_up",
            "Budgets (one per account and group) all used up: orders wait for the next call.",
            labels(GROUP),
            unit="budgets",
        )
        self.accounts = gauge("accounts", "Accounts in the settings.", NONE, unit="accounts")
        self.accounts_in_memory = gauge(
            "accounts_in_memory",
            "Accounts with an event, or a token, in the last quarter of an hour: the others take no memory.",
            NONE,
            unit="accounts",
        )
        self.token_requests = gauge(
            "token_requests", "Access tokens being asked for, or waiting for their turn.", NONE, unit="requests"
        )
        self.gates = gauge("gates", "Gates (one per account and endpoint group) by state.", labels(GATE), unit="gates")

        # -- work in memory
        self.events_queued = gauge(
            "events_queued", "Events held in memory, those in flight included.", NONE, unit="events"
        )
        self.account_events_queued = gauge(
            "account_events_queued", "The same by account: whose events fill the window.", labels(account),
            unit="events",
        )  # fmt: skip
        self.events_queued_bytes = gauge("events_queued_bytes", "Their keys, values and headers.", NONE, unit="bytes")
        self.events_in_flight = gauge("events_in_flight", "Events being worked on.", NONE, unit="events")
        self.lanes = gauge("lanes", "Orders with at least one event in memory.", NONE, unit="orders")

        # -- dead letters
        self.dead_letters = gauge(
            "dead_letters",
            "Unfinished events in the dead-letter partitions this worker owns.",
            labels(ROOM, CODE),
            unit="events",
        )
        self.dead_letters_written = counter("dead_letters_written_total", "Dead letters written.", labels(CODE))

        # -- Kafka
        self.lag_records = gauge(
            "lag_records",
            "Records of the partition that are not finished: its end less the committed offset.",
            labels(topic, PARTITION),
            unit="records",
        )
        self.lag_seconds = gauge(
            "lag_seconds",
            "Age of the oldest record of the partition that is not finished; 0: none.",
            labels(topic, PARTITION),
            unit="seconds",
        )
        self.commits = counter("commits_total", "Offset commits.", labels(COMMIT))
        self.commit_seconds = histogram(
            "commit_seconds", "Time of one offset commit.", NONE, unit="seconds", buckets=KAFKA_EDGES
        )
        self.rebalances = counter(
            "rebalances_total", "Assignments given back: the group rebalanced, or the consumer is made anew.", NONE
        )
        self.partitions_assigned = gauge(
            "partitions_assigned", "Input partitions of this worker, both topics.", NONE, unit="partitions"
        )
        self.publish_seconds = histogram(
            "publish_seconds",
            "From handing a record to the producer to the acknowledgement of all replicas.",
            labels(topic),
            unit="seconds",
            buckets=KAFKA_EDGES,
        )
        self.publish_failures = counter("publish_failures_total", "Records Kafka did not acknowledge.", labels(topic))
        self.intake_paused = gauge(
            "intake_paused", "1: nothing is read for want of room (or after a run of bugs).", NONE
        )
        self.fence = counter(
            "fence_total",
            "Intents asked for before calls that leave units open. Only `taken` ones are sent.",
            labels(FENCE),
        )
        self.intents_running = gauge("intents_running", "Intents in the metadata of our commits.", NONE)
        self.intents_found = counter(
            "intents_found_total", "Intents an earlier owner of a partition had left behind.", NONE
        )
        self.commit_metadata_unreadable = counter(
            "commit_metadata_unreadable_total",
            "Metadata of offset commits that are not, or not all, intents of ours.",
            NONE,
        )
        self.consumer_rebuilds = counter(
            "consumer_rebuilds_total", "New consumers made inside the process, because nothing moved.", NONE
        )
        self.unpaired_partitions = gauge(
            "unpaired_partitions",
            "Partition numbers of which one input topic's partition alone is assigned here; its cancels are not read.",
            NONE,
        )
        self.input_partitions = gauge("input_partitions", "Partitions of the input topic.", labels(topic))

        # -- settings
        self.settings_reloads = counter(
            "settings_reloads_total",
            "Settings read anew, because a file had changed or on SIGHUP.",
            labels(RELOAD),
        )
        self.settings_loaded = gauge(
            "settings_loaded_timestamp_seconds",
            "When the settings in force were read (epoch).",
            NONE,
            unit="seconds",
        )
        self.settings_refused = gauge(
            "settings_refused",
            "1: the settings as their files say now have mistakes; those in force are older, and a restart would fail.",
            NONE,
        )
        self.settings_restart_needed = gauge(
            "settings_restart_needed", "Changed settings that wait for a restart.", NONE, unit="settings"
        )

        # -- the process
        self.last_progress = gauge(
            "last_progress_timestamp_seconds", "When an event was last finished (epoch).", NONE, unit="seconds"
        )
        self.build_info = gauge(
            "build_info",
            "Always 1.",
            labels(VERSION, PYTHON),
        )
        self.build_info.set(1, _version(), platform.python_version())
        ProcessCollector(registry=registry.prometheus)
        GCCollector(registry=registry.prometheus)

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """Every metric defined here, in order: what the reference page is made of."""
        return tuple(self._registry.definitions)

    def configure(
        self, *, slo_seconds: float, accounts: Collection[str], by_name: Collection[str] | None = None
    ) -> None:
        """Take new settings: what counts as good, and which accounts are shown by name."""
        self.slo_seconds = slo_seconds
        self._accounts.configure(accounts, by_name)
        labels_now = self._accounts.labels
        for family in (self.walmart_calls, self.walmart_throttled, self.budget_calls):
            family.retain("account", labels_now)
        self.walmart_calls.start_at_zero(labels_now, CALL.values, CALL_OUTCOME.values)
        self.walmart_throttled.start_at_zero(labels_now, CALL.values)
        self.budget_calls.start_at_zero(labels_now, GROUP.values)

    def account(self, name: str) -> AccountLabel:
        """What metrics call an account."""
        return self._accounts.of(name)

    # -- things told in several metrics at once

    def settled(
        self,
        verdict: Verdict,
        *,
        latency_seconds: float,
        calls: int,
        late_because: Cause = "calls",
        counts_for_slo: bool,
    ) -> None:
        """An event's final result is acknowledged.

        Args:
            verdict: Its outcome.
            latency_seconds: From the event's own time to the result (a clock that is ahead may make it negative).
            calls: Calls to Walmart it took.
            late_because: What made it late, if it is.
            counts_for_slo: First delivery, and `still_retrying` was not told before (that counted it already).
        """
        latency = max(0.0, latency_seconds)
        code = verdict.failure.code if verdict.failure is not None else None
        self.results.inc(verdict.operation, verdict.status, verdict.effect, code)
        self.event_latency.observe(latency, verdict.operation)
        self.calls_per_event.observe(calls, verdict.operation)
        for warning in verdict.warnings:
            self.warnings.inc(warning.code)
        if counts_for_slo:
            if verdict.failure is not None:
                self._missed("failed")
            elif latency <= self.slo_seconds:
                self.slo_events.inc("good")
            else:
                self._missed(late_because)

    def still_retrying(
        self, again: Again, *, effect: Effect, late_because: Cause = "retry", counts_for_slo: bool
    ) -> None:
        """A `retrying` result is acknowledged: the event is not settled after the SLO time, which makes it bad now."""
        self.results.inc(again.operation, "retrying", effect, again.failure.code)
        if counts_for_slo:
            self._missed(late_because)

    def call(self, account: str, name: CallName, outcome: CallOutcome, seconds: float) -> None:
        """One call to Walmart ended."""
        label = self._accounts.of(account)
        self.walmart_calls.inc(label, name, outcome)
        self.walmart_call_seconds.observe(seconds, name)
        if outcome == "throttled":
            self.walmart_throttled.inc(label, name)

    def budget_call(self, account: str, group: EndpointGroup) -> None:
        """One call that Walmart counts was made."""
        self.budget_calls.inc(self._accounts.of(account), group)

    def budgets(self, seen: Iterable[BudgetSeen]) -> None:
        """All budgets there are, as they are now."""
        left: dict[tuple[AccountLabel, EndpointGroup], float] = {}
        rate: dict[tuple[AccountLabel, EndpointGroup], float] = {}
        waiting: dict[tuple[AccountLabel, EndpointGroup], float] = {}
        used_up: dict[tuple[EndpointGroup], float] = {(group,): 0.0 for group in GROUP.values}
        for one in seen:
            key = (self._accounts.of(one.account), one.group)
            left[key] = left.get(key, 0.0) + one.left
            rate[key] = rate.get(key, 0.0) + one.calls_per_minute
            waiting[key] = waiting.get(key, 0.0) + one.waiting
            if one.waiting:
                used_up[(one.group,)] += 1
        self.budget_orders_waiting.replace(waiting)
        self.budget_left.replace(left)
        self.budget_calls_per_minute.replace(rate)
        self.budgets_used_up.replace(used_up)

    def queued_by_account(self, counts: Mapping[str, int]) -> None:
        """Events in memory by account; empty name: of none."""
        told: dict[tuple[AccountLabel], float] = {}
        for account, count in counts.items():
            if account:
                label = (self._accounts.of(account),)
                told[label] = told.get(label, 0.0) + count
        self.account_events_queued.replace(told)

    def commit(self, outcome: CommitOutcome, seconds: float) -> None:
        """One commit ended."""
        self.commits.inc(outcome)
        self.commit_seconds.observe(seconds)

    def _missed(self, cause: Cause) -> None:
        self.slo_events.inc("bad")
        self.slo_missed.inc(cause)

    # -- reading

    def at_scrape(self, refresh: F) -> F:
        """Have `refresh` called before each scrape: for gauges that are read off somewhere instead of counted."""
        self._at_scrape.append(refresh)
        return refresh

    def render(self, accept: str | None = None) -> tuple[bytes, str]:
        """The page for Prometheus and its content type, in the format the `Accept` header asks for."""
        for refresh in self._at_scrape:
            try:
                refresh()
            except Exception:  # noqa: BLE001  # one gauge that cannot be read must not hide all the others
                self.internal_errors.inc("telemetry")
        encode, content_type = choose_encoder(accept or "")
        return encode(self._registry.prometheus), content_type

    def value(self, name: str, **label_values: str) -> float:
        """A sample's value as a scraper would see it (0 where it does not exist yet): for tests and the CLI."""
        found = self._registry.prometheus.get_sample_value(f"{PREFIX}{name}", label_values)
        return 0.0 if found is None or math.isnan(found) else found


def _version() -> str:
    try:
        return version("order-sync")
    except PackageNotFoundError:
        return "unknown"
