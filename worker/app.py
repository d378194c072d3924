"""The composition root: builds the rooms, starts and stops them in order. The whole machine on one page.

Intake ──record──▶ Decoder ──delivery──▶ Lanes/Engine ──turn──▶ Handling(Sync) ──outcome──▶ Report ──▶ Intake
                                             ▲                                                │     (finished)
                                             └────────────── replays ────────── Room ◀────────┘
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

import aiohttp
import structlog

from worker.clock import Clock, SystemClock
from worker.delivery import Delivery, Record
from worker.errors import ERRORS, Failure
from worker.garbage import expect_little
from worker.handling import Elsewhere, Handling
from worker.intake.consumer import Intake, IntakeDoors
from worker.intake.decode import Decoder, misplaced, reused_identity
from worker.lanes.engine import Engine
from worker.lanes.lanes import Entry, Lanes
from worker.outcome import Outcome
from worker.parked.room import Replay, Room
from worker.report.publisher import Publisher
from worker.report.report import Report
from worker.settings import Settings
from worker.stopping import note_furthest, to_finish
from worker.sync.apply import Sync
from worker.telemetry.health import Health, Vitals, judge
from worker.telemetry.metrics import CallOutcome, Metrics
from worker.telemetry.server import TelemetryServer
from worker.walmart.call_report import CallReport
from worker.walmart.client import WalmartClient
from worker.walmart.session import make_session

log = structlog.get_logger()

WORKER_GATE = "worker"
"""Closed when a run of bugs stops the worker from doing more harm."""
LATE_CHECK_S = 1.0
LATE_UNTRIED_S = 10.0
"""An event that is late already when it is read (a backlog) gets this long before it is told to be late."""
_LANE_OVERHEAD_BYTES = 1_500
"""What an event costs in memory beyond its bytes, roughly."""


class StoppedError(Exception):
    """A main task ended although nobody asked it to: the process must be restarted."""


class Worker:
    """One worker process. `run` returns after `stop` was called and everything is put away."""

    def __init__(self, settings: Settings, *, clock: Clock | None = None, random_source: random.Random | None = None):
        self.settings = settings
        self.clock = clock or SystemClock()
        self.port = 0
        """Of the HTTP endpoints, once started."""
        self._random = random_source or random.Random()  # noqa: S311  # jitter
        self._stop = asyncio.Event()
        self._known: dict[str, tuple[int, int]] = {}
        """Identity -> (digest, count) of the events in memory."""
        self._replays: dict[str, Delivery] = {}

        topics = settings.topics
        self.metrics = Metrics(
            slo_seconds=settings.timing.slo_seconds,
            accounts=settings.accounts,
            topics=(topics.order_shipped, topics.order_cancelled, topics.sync_result, topics.dead_letter),
        )
        self.vitals = Vitals(max_internal_errors=settings.limits.max_internal_errors)
        self._decoder = Decoder(topics)
        self._publisher = Publisher(settings.kafka, self.metrics.publish_failures.inc)
        self._room = Room(settings, self._publisher, self.metrics, self.clock, replay=self._replay)
        self._report = Report(
            self._publisher,
            self._room,
            self.metrics,
            self.clock,
            results_topic=topics.sync_result,
            room_topic=topics.dead_letter,
        )
        self._lanes: Lanes[Delivery] = Lanes()
        self._intake = Intake(
            settings,
            self.metrics,
            IntakeDoors(
                accept=self._accept,
                too_large=self._too_large,
                unreadable=self._unreadable,
                has_room=self._has_room,
                let_go=self._let_go,
                take_over=self._take_over,
                may_read=self._room.tail.is_ready,
            ),
        )
        self._server = TelemetryServer(settings.http, self.metrics, self.health)
        self._session: aiohttp.ClientSession | None = None
        self._apis: dict[str, WalmartClient] = {}
        self._handling: Handling | None = None
        self._engine: Engine[Delivery, Outcome | Elsewhere] | None = None
        self._close_paused_gates()
        self.metrics.at_scrape(self._refresh_gauges)

    # -- life

    async def run(self) -> None:
        """Start everything, work until `stop`, put everything away.

        Raises StoppedError when the worker cannot go on (its process should exit with an error and be restarted).
        """
        settings = self.settings
        self._session = make_session(settings.limits, settings.timing)
        self._apis = {
            name: WalmartClient(self._session, name, account, settings.timing, self.clock, observer=self._observe_call)
            for name, account in settings.accounts.items()
        }
        sync = Sync(self._apis, settings, self.clock, self._room)
        self._handling = Handling(
            settings,
            sync,
            self._report,
            self._room,
            self.metrics,
            self.clock,
            finished=self._finished,
            bugs=self._note_bugs,
            random_source=self._random,
        )
        self._engine = Engine(
            self._lanes,
            attempt=self._handling.attempt,
            conclude=self._handling.conclude,
            failed=self._engine_failed,
            clock=self.clock,
            max_running=settings.limits.max_in_flight_events,
        )
        try:
            self.port = await self._server.start()
            await self._publisher.start()
            await self._room.tail.start()
            await self._intake.start()
            expect_little()
            log.info("worker_started", port=self.port, group=settings.kafka.group_id)
            await self._work(self._engine)
        finally:
            await self._put_away()

    def stop(self) -> None:
        """Ask for a clean stop: finish what runs, commit, end. Safe to call from a signal handler."""
        self._stop.set()

    async def _work(self, engine: Engine[Delivery, Outcome | Elsewhere]) -> None:
        names: dict[str, Coroutine[Any, Any, None]] = {
            "engine": engine.run(),
            "room": self._room.run(),
            "committer": self._intake.committer.run(),
            "late": self._tell_late(),
            "intake": self._intake.run(),
        }
        tasks: set[asyncio.Task[Any]] = {asyncio.create_task(coroutine, name=name) for name, coroutine in names.items()}
        asked: asyncio.Task[Any] = asyncio.create_task(self._stop.wait(), name="stop")
        # A task's death is learnt from asyncio.wait below; a loop that is stuck, from its beats.
        self.vitals.watch("poll", silent_after_seconds=120, now=self.clock.now())
        try:
            done, _ = await asyncio.wait({*tasks, asked}, return_when=asyncio.FIRST_COMPLETED)
            if asked not in done:
                died = next(iter(done))
                error = None if died.cancelled() else died.exception()
                self.vitals.fatal = f"the {died.get_name()} task ended"
                log.error("task_ended", task=died.get_name(), error=type(error).__name__, detail=str(error)[:200])
                raise StoppedError(f"the {died.get_name()} task ended: {type(error).__name__}: {error}")
            await self._finish(engine)
        finally:
            for task in (*tasks, asked):
                task.cancel()
            await asyncio.wait({*tasks, asked}, timeout=5)

    async def _finish(self, engine: Engine[Delivery, Outcome | Elsewhere]) -> None:
        log.info("stopping", running=engine.busy)
        self.vitals.stopping = True
        # Polling goes on meanwhile (it keeps the membership), but nothing new is read: there is no room any more.
        self._room.hold()
        furthest = dict(self._intake.offsets.furthest_finished())
        for delivery in engine.running:
            note_furthest(furthest, delivery)
        kept = to_finish(self._lanes, furthest)
        await engine.finish(lambda delivery: delivery in kept, self.settings.timing.call_timeout_seconds * 2)
        await self._let_go(1.0)

    async def _put_away(self) -> None:
        await self._intake.close()
        await self._room.tail.close()
        await self._publisher.stop()
        for api in self._apis.values():
            await api.close()
        if self._session is not None:
            await self._session.close()
        await self._server.stop()
        log.info("worker_stopped")

    def health(self) -> Health:
        """Judged from progress: our own loops, the assignment, the table, the producer. Walmart is not asked."""
        now = self.clock.now()
        loop_now = asyncio.get_running_loop().time()
        vitals = self.vitals
        vitals.assigned = self._intake.joined and not self._intake.listener_failed
        vitals.table_caught_up = self._room.tail.caught_up
        vitals.producer_up = self._publisher.healthy
        if self._intake.polled_at:
            vitals.beat("poll", now - (loop_now - self._intake.polled_at))
        return judge(vitals, now)

    # -- the way of an event

    def _accept(self, record: Record, epoch: int) -> None:
        if misplaced(record, self._intake.partition_count(record.topic)):
            self.metrics.misplaced_keys.inc(record.topic)
        self._enter(self._decoder.decode(record, now=self.clock.now(), epoch=epoch))

    def _too_large(self, record: Record, epoch: int) -> None:
        self._enter(self._decoder.too_large(record, now=self.clock.now(), epoch=epoch))

    def _unreadable(self, record: Record, epoch: int) -> None:
        self._enter(self._decoder.unreadable(record, now=self.clock.now(), epoch=epoch))

    def _replay(self, replay: Replay) -> None:
        """A person asked for it: the original event, as it came, with what was confirmed."""
        delivery = self._decoder.decode(replay.original, now=self.clock.now(), epoch=self._intake.epoch)
        about = replay.about
        delivery.key = replay.key
        delivery.room_place = replay.place
        delivery.replay_number = about.replay_number
        delivery.room_code = about.code if about.code in ERRORS else "internal"
        delivery.first_seen = about.first_seen or delivery.first_seen
        delivery.progress.attempts = about.attempts
        if about.confirmed is None:
            delivery.event = None
            delivery.refusal = Failure(
                "dead_letter_unreadable", f"order-sync-confirmed of the dead letter {replay.key} cannot be read"
            )
        else:
            delivery.progress.restore(about.confirmed)
        self._enter(delivery)

    def _enter(self, delivery: Delivery) -> None:
        digest = hash(delivery.record.value)
        known, count = self._known.get(delivery.key, (digest, 0))
        if known != digest and delivery.room_place is None:
            reused_identity(delivery)
            known, count = digest, 0
        self._known[delivery.key] = (known, count + 1)
        delivery.known_as = delivery.key
        assert self._engine is not None
        self._engine.add(
            Entry(
                delivery,
                delivery.lane,
                gates=self._gates(delivery),
                size=delivery.record.size + _LANE_OVERHEAD_BYTES,
                passes=delivery.envelope.shipment is not None,
            )
        )

    def _gates(self, delivery: Delivery) -> tuple[str, ...]:
        store = self.settings.stores.get(delivery.envelope.store or "") if delivery.event is not None else None
        if store is None:
            return (WORKER_GATE,)
        return (WORKER_GATE, f"account:{store.account}", f"store:{delivery.envelope.store}")

    def _finished(self, delivery: Delivery) -> None:
        self._forget(delivery)
        if delivery.room_place is None:
            self._intake.finished(delivery.record, delivery.epoch)

    def _forget(self, delivery: Delivery) -> None:
        digest, count = self._known.get(delivery.known_as, (0, 0))
        if count > 1:
            self._known[delivery.known_as] = (digest, count - 1)
        else:
            self._known.pop(delivery.known_as, None)

    # -- windows, rebalances

    def _has_room(self) -> bool:
        limits = self.settings.limits
        return (
            not self._stop.is_set()
            and self.vitals.internal_errors_in_row < limits.max_internal_errors
            and self._lanes.count < limits.max_queued_events
            and self._lanes.size < limits.max_queued_bytes
        )

    async def _let_go(self, budget_s: float) -> None:
        assert self._engine is not None
        # A replay that were begun from here on would run on, unseen, while the partition's next owner runs it too.
        self._room.hold()
        await self._engine.release(
            lambda _: True, must_finish=lambda delivery: delivery.progress.posting, budget_s=budget_s
        )
        self._known.clear()

    def _take_over(self, partitions: frozenset[int], epoch: int) -> None:
        self._room.follow(partitions)

    # -- odds and ends

    def _close_paused_gates(self) -> None:
        for name, account in self.settings.accounts.items():
            if account.paused:
                self._lanes.close(f"account:{name}")
        for name, store in self.settings.stores.items():
            if store.paused:
                self._lanes.close(f"store:{name}")

    def _note_bugs(self, in_row: int) -> None:
        self.vitals.internal_errors_in_row = in_row
        if in_row == self.settings.limits.max_internal_errors:
            log.error("intake_stopped", reason="a run of unexpected exceptions", in_row=in_row)
            self._lanes.close(WORKER_GATE)
        elif not in_row and WORKER_GATE in self._lanes.closed_gates:
            # Something that was still running came through: not everything is broken.
            log.warning("intake_goes_on")
            self._lanes.open(WORKER_GATE)
            if self._engine is not None:
                self._engine.wake()

    def _engine_failed(self, delivery: Delivery, error: BaseException) -> None:
        self.metrics.internal_errors.inc("report")
        log.error("conclusion_failed", event_id=delivery.envelope.id, exc_info=error)

    async def _tell_late(self) -> None:
        """Publish one `retrying` result for each event that is not settled after the SLO time."""
        assert self._handling is not None
        while True:
            await asyncio.sleep(LATE_CHECK_S)
            late_before = self.clock.now() - self.settings.timing.slo_seconds
            late = [
                entry
                for entry in self._lanes
                if not entry.item.told_retrying
                and entry.item.happened_at < late_before
                and (entry.item.last_again is not None or entry.item.received_at < self.clock.now() - LATE_UNTRIED_S)
            ]
            for entry in late:
                # Looked at one by one: while the others were told it may have been settled, or let go of.
                if not entry.running and not entry.gone:
                    entry.item.told_retrying = True
                    await self._handling.still_retrying(entry.item)

    def _observe_call(self, report: CallReport) -> None:
        outcome: CallOutcome = "ok" if report.kind is None else report.kind.value
        self.metrics.call(report.account, report.operation, outcome, report.seconds)
        if report.budget_left is not None:
            self.metrics.budget_left.set(report.budget_left, report.account, report.operation)

    def _refresh_gauges(self) -> None:
        metrics, engine = self.metrics, self._engine
        metrics.events_queued.set(self._lanes.count)
        metrics.events_queued_bytes.set(self._lanes.size)
        metrics.lanes.set(len(self._lanes))
        closed = len(self._lanes.closed_gates)
        gates = len(self.settings.accounts) + len(self.settings.stores) + 1
        metrics.gates.replace({("open",): float(gates - closed), ("closed",): float(closed)})
        metrics.events_in_flight.set(engine.in_flight if engine is not None else 0)
        metrics.retrying_events.set(sum(1 for entry in self._lanes if entry.item.last_again is not None))
        now = self.clock.now()
        # Replaced as a whole: partitions that were given away must not keep their last value.
        metrics.lag_records.replace({place: float(lag) for place, lag in self._intake.lag().items()})
        oldest = {place: self._intake.offsets.oldest_ms(*place) for place in self._intake.assigned}
        metrics.lag_seconds.replace(
            {place: 0.0 if since is None else max(0.0, now - since / 1000) for place, since in oldest.items()}
        )
