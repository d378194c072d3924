"""One turn of one event: attempt it, then make what came of it durable, or say when to try again.

This is the policy between the lanes (who only know turns) and the sync room (which only knows Walmart): what is tried
again and how long, what ends it, and what an unexpected exception means.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from worker.clock import Clock
from worker.delivery import Delivery
from worker.errors import Failure
from worker.intake.decode import reused_identity
from worker.kafka import NotPublishedError
from worker.lanes.backoff import Backoff
from worker.lanes.engine import Retry
from worker.outcome import Again, LineOutcome, Outcome, Trouble, Verdict
from worker.parked.room import Room
from worker.report.report import Report
from worker.settings import Settings
from worker.sync.apply import Sync
from worker.telemetry.logs import log_again, log_verdict
from worker.telemetry.metrics import Metrics

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The event is settled from the waiting room (or was settled meanwhile): nothing to do here."""


class Handling:
    """Attempts and conclusions for the engine."""

    def __init__(
        self,
        settings: Settings,
        sync: Sync,
        report: Report,
        room: Room,
        metrics: Metrics,
        clock: Clock,
        *,
        finished: Callable[[Delivery], None],
        bugs: Callable[[int], None],
        random_source: random.Random,
    ) -> None:
        self._settings = settings
        self._sync = sync
        self._report = report
        self._room = room
        self._metrics = metrics
        self._clock = clock
        self._finished = finished
        self._bugs = bugs
        self._random = random_source
        self._backoff = Backoff(settings.timing.retry_base_seconds, settings.timing.retry_max_seconds)
        self._internal_errors = 0

    def account(self, delivery: Delivery) -> str | None:
        """The Walmart account of the event's store."""
        store = self._settings.stores.get(delivery.envelope.store or "")
        return None if store is None else store.account

    async def attempt(self, delivery: Delivery) -> Outcome | Elsewhere:
        """Try to make Walmart agree with the event. Never raises but when cancelled."""
        if self._room.settled_elsewhere(delivery):
            return Elsewhere()
        if self._room.other_event_with_this_identity(delivery):
            reused_identity(delivery)
        delivery.progress.attempts += 1
        if delivery.refusal is not None:
            return Verdict(operation=None, effect="none", failure=delivery.refusal)
        assert delivery.event is not None
        try:
            outcome = await self._sync.attempt(delivery.event, delivery.progress, delivery)
        except Exception as error:  # noqa: BLE001  # becomes an `internal` verdict
            return self._bug(delivery, error)
        if self._internal_errors:
            self._internal_errors = 0
            self._bugs(0)
        return outcome

    async def conclude(self, delivery: Delivery, outcome: Outcome | Elsewhere) -> Retry | None:
        """Make the outcome durable; None when the event is done, else when it is tried again."""
        if isinstance(outcome, Elsewhere):
            self._finished(delivery)
            return None
        now = self._clock.now()
        if isinstance(outcome, Again):
            if not self._given_up(delivery, now):
                return self._again(delivery, outcome, now)
            outcome = self._give_up(delivery, outcome)
        await self._durably(delivery, outcome)
        self._finished(delivery)
        self._metrics.last_progress.set(self._clock.now())
        log_verdict(
            delivery,
            outcome,
            account=self.account(delivery),
            latency_seconds=self._clock.now() - delivery.happened_at,
            calls=delivery.progress.calls,
        )
        return None

    async def still_retrying(self, delivery: Delivery) -> None:
        """Tell once that the event is late, and what it waits for."""
        again = delivery.last_again or Again(
            Trouble.OURS, Failure("not_started", "waits for its turn: a pause, or events of its order before it")
        )
        try:
            await self._report.still_retrying(delivery, again, account=self.account(delivery))
        except NotPublishedError:
            delivery.told_retrying = False

    async def _durably(self, delivery: Delivery, verdict: Verdict) -> None:
        tries = 0
        while True:
            try:
                await self._report.conclude(delivery, verdict, account=self.account(delivery))
            except NotPublishedError as error:
                # The lane waits with it: nothing is finished before Kafka has it, however long that takes.
                tries += 1
                log.warning("result_not_published", event_id=delivery.envelope.id, tries=tries, detail=str(error))
                await asyncio.sleep(self._backoff.delay(tries, self._random))
            else:
                return

    def _again(self, delivery: Delivery, again: Again, now: float) -> Retry:
        progress, timing = delivery.progress, self._settings.timing
        progress.failed_tries += 1
        delay = self._backoff.delay(progress.failed_tries, self._random)
        if again.trouble is Trouble.CREDENTIALS:
            delay = timing.probe_seconds * (0.8 + 0.4 * self._random.random())
        elif again.trouble is Trouble.SHIPMENTS:
            delay = again.after_s if again.after_s is not None else timing.probe_seconds
        elif again.after_s is not None:
            delay = again.after_s + (delay if again.trouble is Trouble.THROTTLED else 0.0)
        if again.trouble is Trouble.THROTTLED:
            progress.waited_budget_s += delay
        else:
            progress.waited_retry_s += delay
        self._metrics.retries.inc(again.trouble.value)
        delivery.last_again = again
        log_again(delivery, again, account=self.account(delivery), after_seconds=delay)
        return Retry(at=now + delay, lets_pass=again.trouble is Trouble.SHIPMENTS)

    def _given_up(self, delivery: Delivery, now: float) -> bool:
        # A replay has its own time: what was first seen days ago would be given up at the first hiccup.
        since = delivery.received_at if delivery.replay_number else delivery.first_seen
        return (
            now - since >= self._settings.timing.give_up_after_hours * 3600
            and delivery.progress.attempts >= self._settings.limits.min_tries
        )

    @staticmethod
    def _give_up(delivery: Delivery, again: Again) -> Verdict:
        progress = delivery.progress
        known = {(unit.line_number, unit.tracking_number): unit.quantity for unit in progress.confirmed}
        lines = [
            LineOutcome(number, None, quantity, tracking, "confirmed") for (number, tracking), quantity in known.items()
        ]
        for unit in progress.unsettled.expected if progress.unsettled else ():
            # Both are totals that Walmart shows: what is in doubt is the difference.
            doubtful = unit.quantity - known.get((unit.line_number, unit.tracking_number), 0)
            if doubtful > 0:
                lines.append(
                    LineOutcome(unit.line_number, None, doubtful, unit.tracking_number, "unknown", again.failure.code)
                )
        return Verdict(
            operation=again.operation,
            effect="partly_applied" if progress.applied else "none",
            failure=again.failure,
            walmart_status=again.walmart_status,
            lines=tuple(lines),
            confirmed=progress.confirmed,
        )

    def _bug(self, delivery: Delivery, error: Exception) -> Verdict:
        self._metrics.internal_errors.inc("sync")
        self._internal_errors += 1
        self._bugs(self._internal_errors)
        # The text of an unexpected exception may hold anything: only its type leaves this process.
        log.error(
            "internal_error",
            event_id=delivery.envelope.id,
            order=delivery.envelope.order,
            error=type(error).__name__,
            where=_where(error),
        )
        return Verdict(
            operation=None,
            effect="partly_applied" if delivery.progress.applied else "none",
            failure=Failure("internal", f"unexpected {type(error).__name__} at {_where(error)}"),
            confirmed=delivery.progress.confirmed,
        )


def _where(error: Exception) -> str:
    frame = error.__traceback__
    if frame is None:
        return "?"
    while frame.tb_next is not None:
        frame = frame.tb_next
    return f"{frame.tb_frame.f_globals.get('__name__', '?')}:{frame.tb_lineno}"
