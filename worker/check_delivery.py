"""What the numbers of the delivery core mean together: membership, calls, retries, parking, memory. Pure.

Every one of them is shown with its value. A pair that makes the worker unsafe (one order handled by two workers at
once, a unit sent twice) is a mistake; one that only makes it slower, louder or later is a warning.
"""

from __future__ import annotations

from typing import Final

from worker.findings import Finding, mistake, ok, warning
from worker.settings import Settings

DRAIN_SHARE: Final = 0.6
"""Of the rebalance timeout: how long running calls are waited for."""
_WINDOW_RESERVE: Final = 1.25
"""The window may be exceeded by this: a poll in progress, shipments that cancels wait for."""
_PARKED_ROW_BYTES: Final = 1_000
_ACCOUNT_BYTES: Final = 8_000
"""Its settings, and what it costs in use (measured: 3 kB each, and Walmart's tokens are longer)."""
_OWN_MIB: Final = 100
"""Python, its libraries, the event loop."""
_FETCHES_MIB: Final = 24
"""Three consumers' answers of up to 8 MiB."""


def check_delivery(settings: Settings) -> list[Finding]:
    """All of it, in the order an event meets it."""
    return [
        *_membership(settings),
        *_rebalance(settings),
        *_calls(settings),
        *_retries(settings),
        *_giving_up(settings),
        *_cancels(settings),
        *_windows(settings),
        *_waiting_room(settings),
        *_stop(settings),
    ]


def named(settings: Settings, *keys: str) -> str:
    """`key = value` of each, as in the settings file."""
    told = []
    for key in keys:
        section, _, name = key.partition(".")
        value = getattr(getattr(settings, section), name)
        told.append(f"{key} = {_number(value)}" if isinstance(value, int | float) else f'{key} = "{value}"')
    return ", ".join(told)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


def _membership(settings: Settings) -> list[Finding]:
    kafka, subject = settings.kafka, "membership"
    session = named(settings, "kafka.session_timeout_seconds")
    findings: list[Finding] = []
    if kafka.group_instance_id is None:
        text = (
            "kafka.group_instance_id is not set: dynamic membership; every stop and every start of a replica takes "
            f"all partitions from everybody, and a killed one's stand still for {session}"
        )
        findings.append(warning(subject, text, "Set it, another one for each replica (a StatefulSet's pod name)."))
    else:
        text = (
            f"{named(settings, 'kafka.group_instance_id')}, {session}: static members do not leave at a stop: scaling "
            f"down costs one session timeout ({kafka.session_timeout_seconds:g} s) in which the gone replica's "
            "partitions stand still; a rolling restart shorter than that costs nothing. No two processes may have one "
            "instance id: the older one ends with exit code 4"
        )
        findings.append(ok(subject, text))
    if kafka.session_timeout_seconds < 6:
        text = f"{session}: brokers refuse less than 6 s by default"
        findings.append(warning(subject, text, "Use 6 s or more, or lower group.min.session.timeout.ms."))
    if kafka.session_timeout_seconds > 300:
        text = f"{session}: after a crash the partitions stand still for {kafka.session_timeout_seconds / 60:g} minutes"
        findings.append(warning(subject, text, "Use 30 to 60 s unless restarts take longer."))
    return findings


def _rebalance(settings: Settings) -> list[Finding]:
    kafka, timing, subject = settings.kafka, settings.timing, "rebalance"
    rebalance = named(settings, "kafka.rebalance_timeout_seconds")
    call = named(settings, "timing.call_timeout_seconds")
    drain = kafka.rebalance_timeout_seconds * DRAIN_SHARE
    findings: list[Finding] = []
    if timing.call_timeout_seconds > drain:
        text = (
            f"{rebalance}, {call}: a rebalance waits only {drain:g} s (60 %) for running calls, so another worker may "
            "take over an order while a call for it is on its way"
        )
        findings.append(mistake(subject, text, "Raise kafka.rebalance_timeout_seconds to twice the call timeout."))
    else:
        text = f"{rebalance}: running calls get {drain:g} s (60 %) to end, {call}; reads and queues are dropped"
        findings.append(ok(subject, text))
    if drain + kafka.request_timeout_seconds > kafka.rebalance_timeout_seconds:
        text = (
            f"{rebalance}, {named(settings, 'kafka.request_timeout_seconds')}: the commit after the drain may come too "
            "late; what was finished would be read and looked up once more"
        )
        action = "Keep kafka.request_timeout_seconds below 40 % of kafka.rebalance_timeout_seconds."
        findings.append(warning(subject, text, action))
    if kafka.session_timeout_seconds <= timing.call_timeout_seconds:
        text = (
            f"{named(settings, 'kafka.session_timeout_seconds')}, {call}: a worker that stalls loses its orders to "
            "another one while a call of its own may still be on its way"
        )
        findings.append(mistake(subject, text, "Make the session timeout longer than the call timeout."))
    return findings


def _calls(settings: Settings) -> list[Finding]:
    timing, subject = settings.timing, "unknown outcomes"
    lag, call = named(settings, "timing.read_lag_seconds"), named(settings, "timing.call_timeout_seconds")
    findings: list[Finding] = []
    if not timing.read_lag_seconds:
        text = f"{lag}: a read is believed at once, so a partial quantity is sent again where Walmart's reads lag"
        findings.append(mistake(subject, text, "Set it to 30 s, or to what you have measured at Walmart."))
    else:
        text = (
            f"{call}, {lag}: after a lost answer the order's old state is believed only "
            f"{timing.call_timeout_seconds + timing.read_lag_seconds:g} s after the call began"
        )
        findings.append(ok(subject, text))
        if timing.read_lag_seconds < timing.call_timeout_seconds:
            text = f"{lag}, {call}: Walmart may finish a call that we gave up only after its reads are believed"
            findings.append(warning(subject, text, "Make read_lag_seconds at least as long as a call may take."))
    fresh = named(settings, "timing.order_fresh_seconds")
    if not timing.order_fresh_seconds:
        findings.append(ok(subject, f"{fresh}: every event reads its order first"))
    elif timing.order_fresh_seconds <= timing.read_lag_seconds:
        text = f"{fresh}, {lag}: an order's next event is planned from the answer to its last write, so long no older"
        findings.append(ok(subject, f"{text} than a read may be"))
    else:
        text = (
            f"{fresh}, {lag}: events are planned from a state older than any read; what somebody else ships or cancels "
            "of a line meanwhile may be shipped or cancelled once more"
        )
        findings.append(warning(subject, text, "Make order_fresh_seconds at most read_lag_seconds."))
    if timing.connect_timeout_seconds >= timing.call_timeout_seconds:
        connect = named(settings, "timing.connect_timeout_seconds")
        text = f"{connect}, {call}: connecting may take all of a call's time"
        findings.append(warning(subject, text, "Make connect_timeout_seconds shorter."))
    return findings


def _retries(settings: Settings) -> list[Finding]:
    timing, subject = settings.timing, "retries"
    give_up_s = timing.give_up_after_hours * 3600
    keys = ("retry_base_seconds", "retry_max_seconds", "park_after_seconds", "parked_retry_max_seconds")
    text = (
        f"{named(settings, *(f'timing.{key}' for key in keys))}: waits grow up to retry_max in memory; what would wait "
        "longer than park_after is parked in the dead-letter topic, where they grow up to parked_retry_max; "
        f"{named(settings, 'timing.probe_seconds')}: how often a closed account is tried"
    )
    findings = [ok(subject, text)]
    park = named(settings, "timing.park_after_seconds")
    if timing.longest_in_memory_seconds > timing.park_after_seconds:
        text = (
            f"{park}, {named(settings, 'timing.call_timeout_seconds', 'timing.read_lag_seconds')}: parked is only what "
            f"waits longer than {timing.longest_in_memory_seconds:g} s, because before that no unknown outcome can be "
            "settled"
        )
        action = "Make park_after_seconds at least 1.5 x (call_timeout_seconds + read_lag_seconds)."
        findings.append(warning(subject, text, action))
    for key in ("retry_base_seconds", "retry_max_seconds", "probe_seconds"):
        if getattr(timing, key) > timing.longest_in_memory_seconds:
            text = f"{named(settings, f'timing.{key}')}, {park}: what waits that long is parked, never kept in memory"
            findings.append(warning(subject, text, f"Make timing.{key} shorter, or park_after_seconds longer."))
    if timing.retry_base_seconds > timing.retry_max_seconds:
        text = f"{named(settings, 'timing.retry_base_seconds', 'timing.retry_max_seconds')}: every wait is the longest"
        findings.append(warning(subject, text, "Make retry_base_seconds shorter than retry_max_seconds."))
    if timing.parked_retry_max_seconds < timing.retry_max_seconds:
        longest = named(settings, "timing.parked_retry_max_seconds", "timing.retry_max_seconds")
        text = f"{longest}: parked events are tried more often than those in memory"
        findings.append(warning(subject, text, "Make parked_retry_max_seconds the longer one."))
    if timing.parked_retry_max_seconds * settings.limits.min_tries > give_up_s:
        text = (
            f"{named(settings, 'timing.parked_retry_max_seconds', 'limits.min_tries', 'timing.give_up_after_hours')}: "
            "the tries an event must have had may take longer than the time after which it is given up"
        )
        findings.append(warning(subject, text, "Make parked_retry_max_seconds shorter."))
    return findings


def _giving_up(settings: Settings) -> list[Finding]:
    timing, subject = settings.timing, "giving up"
    give_up_s = timing.give_up_after_hours * 3600
    give_up = named(settings, "timing.give_up_after_hours")
    slo = named(settings, "timing.slo_seconds")
    text = (
        f"{slo}: then a retrying result; {give_up}, {named(settings, 'limits.min_tries')}: then, and after so many "
        "tries, a dead letter. Both count from first sight and survive restarts; paused time does not count"
    )
    findings = [ok(subject, text)]
    if timing.longest_in_memory_seconds >= give_up_s:
        text = f"{named(settings, 'timing.park_after_seconds')}, {give_up}: events are given up before they are parked"
        findings.append(warning(subject, text, "Make give_up_after_hours much longer than park_after_seconds."))
    if timing.slo_seconds >= give_up_s:
        text = f"{slo}, {give_up}: events are given up before anybody is told that they are late"
        findings.append(warning(subject, text, "Make give_up_after_hours longer than slo_seconds."))
    if give_up_s <= timing.call_timeout_seconds + timing.read_lag_seconds:
        text = (
            f"{give_up}, {named(settings, 'timing.call_timeout_seconds', 'timing.read_lag_seconds')}: an event is "
            "given up before it can be known whether its call worked"
        )
        findings.append(warning(subject, text, "Make give_up_after_hours longer."))
    return findings


def _cancels(settings: Settings) -> list[Finding]:
    guarding = sorted(name for name, store in settings.stores.items() if store.cancel_without_items == "guard")
    if not guarding:
        return []
    timing, subject = settings.timing, "cancels without items"
    settle = named(settings, "timing.settle_seconds")
    text = (
        f"{settle}: in the stores {', '.join(guarding)} they wait so long after their own time, then for every "
        "shipment that is read, retried, waiting or dead. Best effort: totals (items) are exact"
    )
    findings = [ok(subject, text)]
    if not timing.settle_seconds:
        text = f"{settle}: a shipment still on its way to Kafka is not waited for; what is in a box may be cancelled"
        findings.append(mistake(subject, text, "Set it to what producers need to publish, or refuse such cancels."))
    if timing.settle_seconds > timing.longest_in_memory_seconds:
        text = f"{settle}, {named(settings, 'timing.park_after_seconds')}: every one of them is parked first"
        findings.append(warning(subject, text, "Make settle_seconds at most park_after_seconds."))
    if timing.settle_seconds >= timing.slo_seconds:
        text = f"{settle}, {named(settings, 'timing.slo_seconds')}: none of them can be in time"
        findings.append(warning(subject, text, "Make settle_seconds shorter."))
    return findings


def _windows(settings: Settings) -> list[Finding]:
    limits, subject = settings.limits, "windows"
    events, share = "limits.max_queued_events", "limits.max_queued_events_per_account"
    size, slots = "limits.max_queued_bytes", "limits.max_in_flight_events"
    text = (
        f"{named(settings, events, size)}: above either nothing more is read; "
        f"{named(settings, share)}: what a stuck account holds beyond it is parked; "
        f"{named(settings, slots, 'limits.max_in_flight_events_per_account')} at one moment; "
        f"{named(settings, 'limits.max_token_requests')} at one moment, over all accounts; "
        f"{named(settings, 'limits.max_internal_errors')}: so many unexpected exceptions in a row stop it"
    )
    findings = [ok(subject, text)]
    if limits.max_queued_events_per_account > limits.max_queued_events:
        text = f"{named(settings, share, events)}: a stuck account fills the window before it has to make room"
        findings.append(warning(subject, text, "Make the share of an account a quarter of the window or less."))
    elif limits.max_queued_events_per_account * 2 > limits.max_queued_events and len(settings.accounts) > 1:
        text = f"{named(settings, share, events)}: two stuck accounts may fill the window for a moment"
        findings.append(warning(subject, text, "Make the share of an account a quarter of the window or less."))
    if limits.max_in_flight_events > limits.max_queued_events:
        text = f"{named(settings, slots, events)}: there are never so many events in memory"
        findings.append(warning(subject, text, "Make max_in_flight_events smaller, or max_queued_events larger."))
    if len(settings.accounts) / limits.max_token_requests > settings.timing.slo_seconds:
        tokens = named(settings, "limits.max_token_requests", "timing.slo_seconds")
        text = f"{tokens}: after a start {len(settings.accounts)} accounts may wait longer than that for their tokens"
        findings.append(warning(subject, text, "Make max_token_requests larger (a token takes up to a second)."))
    if settings.kafka.max_record_bytes > limits.max_queued_bytes:
        record = named(settings, "kafka.max_record_bytes")
        text = f"{record}, {named(settings, size)}: one event may fill the whole window"
        findings.append(warning(subject, text, "Make max_queued_bytes at least ten times max_record_bytes."))
    return findings


def _waiting_room(settings: Settings) -> list[Finding]:
    limits = settings.limits
    queued = int(limits.max_queued_bytes * _WINDOW_RESERVE) >> 20
    parked = limits.max_parked_events * _PARKED_ROW_BYTES >> 20
    accounts = len(settings.accounts) * _ACCOUNT_BYTES >> 20
    text = (
        f"{named(settings, 'limits.max_parked_events')}: so many waiting events, about 1 kB each, may a worker have; "
        "then nothing more is parked, intake pauses, and the backlog stays in Kafka"
    )
    memory = (
        f"up to about {queued + parked + accounts + _FETCHES_MIB + _OWN_MIB} MiB: {queued} of events in memory, "
        f"{parked} of parked ones (limits.max_parked_events x 1 kB), {accounts} of accounts (8 kB each), "
        f"{_FETCHES_MIB} of fetches, {_OWN_MIB} of its own. Give it that and a quarter more"
    )
    findings = [ok("waiting room", text), ok("memory", memory)]
    if limits.max_parked_events < limits.max_queued_events:
        text = (
            f"{named(settings, 'limits.max_parked_events', 'limits.max_queued_events')}: what is in memory does not "
            "fit into the waiting room, so one outage of an account may stop all others"
        )
        findings.append(warning("waiting room", text, "Make max_parked_events many times max_queued_events."))
    return findings


def _stop(settings: Settings) -> list[Finding]:
    needed = settings.timing.call_timeout_seconds * 2 + settings.kafka.request_timeout_seconds * 2
    text = (
        f"{named(settings, 'timing.call_timeout_seconds', 'kafka.request_timeout_seconds')}: a clean stop takes up to "
        f"{needed:g} s with Kafka away, a few seconds otherwise"
    )
    findings = [ok("stop", text)]
    if needed > 60:
        action = f"Set terminationGracePeriodSeconds (docker stop --time) to {needed:g}; deploy/README.md says 60."
        findings.append(warning("stop", text, action))
    return findings
