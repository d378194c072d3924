"""The composition root: builds the rooms, starts and stops them in order. The whole machine on one page.

Intake ──record──▶ Arrivals ──entry──▶ Lanes/Engine ──turn──▶ Handling(Sync) ──outcome──▶ Report ──▶ Intake
                      ▲                   ▲  Gates ◀── Gatekeeper ◀── calls                │      (finished)
                      └───── taken up ── Room (the one waiting room) ◀── parked, dead ─────┘
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection, Coroutine
from typing import Any

import aiohttp
import structlog

from worker.arrivals import Arrivals
from worker.clock import Clock, SystemClock
from worker.delivery import Delivery
from worker.events_in_memory import is_named, told
from worker.garbage import expect_little
from worker.gatekeeper import Gatekeeper
from worker.gauges import refresh
from worker.guard import ShipmentGuard
from worker.handling import Handling, Result
from worker.intake.consumer import FencedError, Intake, IntakeDoors
from worker.lanes.engine import Engine
from worker.lanes.gates import Gates
from worker.lanes.lanes import Entry, Lanes
from worker.parked.pump import TakenUp
from worker.parked.room import Room, RoomDoors
from worker.reload import Reloader, SettingsSource
from worker.report.publisher import Publisher
from worker.report.report import Report
from worker.retries import Retries
from worker.settings import Settings
from worker.stopping import note_furthest, to_finish
from worker.sync.apply import Sync
from worker.telemetry.health import Health, Vitals, judge
from worker.telemetry.metrics import CallOutcome, Metrics
from worker.telemetry.server import TelemetryServer
from worker.upkeep import Upkeep
from worker.walmart.accounts import Accounts
from worker.walmart.answer import CallKind
from worker.walmart.call_report import CallReport, counted_as
from worker.walmart.session import make_session
from worker.window import Window

log = structlog.get_logger()


class StoppedError(Exception):
    """A main task ended although nobody asked it to: the process must be restarted."""


class Worker:
    """One worker process. `run` returns after `stop` was called and everything is put away."""

    def __init__(
        self,
        settings: Settings,
        *,
        source: SettingsSource | None = None,
        clock: Clock | None = None,
        random_source: random.Random | None = None,
    ) -> None:
        """`source`: where changed settings come from while it runs; absent: they stay as they are."""
        self.settings = settings
        self.clock = clock or SystemClock()
        self.port = 0
        """Of the HTTP endpoints, once started."""
        random_source = random_source or random.Random()  # noqa: S311  # jitter
        self._stop = asyncio.Event()
        topics = settings.topics
        self.metrics = Metrics(
            slo_seconds=settings.timing.slo_seconds,
            accounts=settings.accounts,
            by_name=settings.metrics.by_name,
            topics=(topics.order_shipped, topics.order_cancelled, topics.sync_result, topics.dead_letter),
        )
        self.vitals = Vitals(max_internal_errors=settings.limits.max_internal_errors)
        self._gates = Gates()
        self._gatekeeper = Gatekeeper(self._gates, settings, random_source, self.clock)
        self._lanes: Lanes[Delivery] = Lanes(self._gates)
        self._accounts = Accounts(
            settings,
            self.clock,
            observer=self._observe_call,
            begun=self._gatekeeper.begun,
            watch=self._gatekeeper,
            random_source=random_source,
        )
        self._window = Window(settings.limits, settings.timing)
        self._publisher = Publisher(settings.kafka, self.metrics.publish_failures.inc)
        self._retries = Retries(settings.timing, settings.limits, random_source)
        self._arrivals = Arrivals(
            settings,
            self._lanes,
            self._gatekeeper,
            self._window,
            self.metrics,
            self._retries,
            self.clock,
            lambda entry: self._enter(entry),
            prepare=self._accounts.prepare,
        )
        self._room = Room(
            settings,
            self._publisher,
            self.metrics,
            self.clock,
            doors=RoomDoors(
                group_of=self._arrivals.room_group,
                allowance=self._allowance,
                take_up=self._take_up,
                space=self._arrivals.space,
            ),
        )
        self._report = Report(
            self._publisher,
            self._room,
            self.metrics,
            self.clock,
            results_topic=topics.sync_result,
            room_topic=topics.dead_letter,
        )
        self._intake = Intake(
            settings,
            self.metrics,
            IntakeDoors(
                accept=lambda record, epoch: self._arrivals.accept(self._intake, record, epoch),
                too_large=self._arrivals.too_large,
                unreadable=self._arrivals.unreadable,
                has_room=self._has_room,
                has_reserve=lambda: self._has_room(self._arrivals.cancellations),
                let_go=self._let_go,
                take_over=self._take_over,
                may_read=self._room.tail.is_ready,
            ),
            clock=self.clock,
        )
        self._gates.listen(lambda _: self._room.wake())
        self._upkeep = Upkeep(
            settings, self._lanes, self._gatekeeper, self._accounts, self._window, self._room, self.clock
        )
        self._server = TelemetryServer(settings.http, self.metrics, self.health, self._events)
        self._session: aiohttp.ClientSession | None = None
        self._guard = ShipmentGuard(
            settings,
            self._intake,
            self._room,
            self.clock,
            self._arrivals.in_memory,
            stopping=lambda: self.vitals.stopping,
        )
        self._sync = Sync(
            self._accounts, settings, self.clock, self._room, self._intake.fence, self._guard, self._gatekeeper
        )
        self._handling = Handling(
            settings,
            self._sync,
            self._report,
            self._room,
            self._intake.fence,
            self._gatekeeper,
            self._retries,
            self.metrics,
            self.clock,
            finished=self._finished,
            settled=self._arrivals.settled,
            bugs=self._note_bugs,
        )
        self._engine: Engine[Delivery, Result] = Engine(
            self._lanes,
            attempt=self._handling.attempt,
            evicted=self._handling.evicted,
            waited=self._handling.waited,
            conclude=self._handling.conclude,
            failed=self._engine_failed,
            clock=self.clock,
            max_running=settings.limits.max_in_flight_events,
        )
        self._reloader = (
            Reloader(source, settings, self.configure, self.metrics, self.clock) if source is not None else None
        )
        self.metrics.at_scrape(self._refresh_gauges)

    # -- life

    async def run(self) -> None:
        """Start everything, work until `stop`, put everything away.

        Raises StoppedError when the worker cannot go on (its process should exit with an error and be restarted).
        """
        self._session = make_session(self.settings.timing)
        self._accounts.connect(self._session)
        try:
            self.port = await self._server.start()
            await self._publisher.start()
            await self._room.start()
            try:
                await self._intake.start()
            except FencedError as error:
                raise StoppedError(str(error)) from error
            expect_little()
            log.info("worker_started", port=self.port, group=self.settings.kafka.group_id)
            await self._work()
        finally:
            await self._put_away()

    def stop(self) -> None:
        """Ask for a clean stop: finish what runs, commit, end. Safe to call from a signal handler."""
        self._stop.set()

    def reload(self) -> None:
        """Have the settings read anew at once. Safe to call from a signal handler."""
        if self._reloader is not None:
            self._reloader.ask()

    def configure(self, settings: Settings, *, rotated: Collection[str] = ()) -> None:
        """Take new settings, all rooms in one step. `rotated`: accounts whose secret's file holds something else.

        What stands in `worker.settings_change` as waiting for a restart has to be as it was.
        """
        self.settings = settings
        self.metrics.configure(
            slo_seconds=settings.timing.slo_seconds, accounts=settings.accounts, by_name=settings.metrics.by_name
        )
        self.vitals.max_internal_errors = settings.limits.max_internal_errors
        self._window.configure(settings.limits, settings.timing)
        self._retries.configure(settings.timing, settings.limits)
        self._intake.configure(settings)
        self._room.configure(settings)
        renewed = self._accounts.configure(settings, rotated=rotated)
        self._sync.configure(self._accounts, settings)
        self._guard.configure(settings)
        self._handling.configure(settings)
        self._upkeep.configure(settings)
        self._gatekeeper.configure(settings)
        for account in renewed:
            self._gatekeeper.probe_soon(account, self.clock.now())
        self._arrivals.configure(settings)
        self._engine.configure(settings.limits.max_in_flight_events)

    async def _work(self) -> None:
        names: dict[str, Coroutine[Any, Any, None]] = {
            "engine": self._engine.run(),
            "room": self._room.run(),
            "committer": self._intake.committer.run(),
            "late": self._upkeep.tell_late(self._handling),
            "relief": self._upkeep.relieve(),
            "intake": self._intake.run(),
        }
        if self._reloader is not None:
            names["reload"] = self._reloader.run()
        tasks: set[asyncio.Task[Any]] = {asyncio.create_task(coroutine, name=name) for name, coroutine in names.items()}
        asked: asyncio.Task[Any] = asyncio.create_task(self._stop.wait(), name="stop")
        # A task's death is learnt from asyncio.wait below; a loop that is stuck, from its beats.
        self.vitals.watch("poll", silent_after_seconds=120, now=self.clock.now())
        try:
            done, _ = await asyncio.wait({*tasks, asked}, return_when=asyncio.FIRST_COMPLETED)
            if asked not in done:
                died = next(iter(done))
                error = None if died.cancelled() else _leaf(died.exception())
                self.vitals.fatal = f"the {died.get_name()} task ended"
                log.error("task_ended", task=died.get_name(), error=type(error).__name__, exc_info=error)
                raise StoppedError(f"the {died.get_name()} task ended: {type(error).__name__}: {error}")
            await self._finish()
        finally:
            for task in (*tasks, asked):
                task.cancel()
            await asyncio.wait({*tasks, asked}, timeout=5)

    async def _finish(self) -> None:
        engine = self._engine
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
        await self._room.close()
        await self._publisher.stop()
        await self._accounts.close()
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
        vitals.stalled = self._intake.failed
        vitals.intents_known = self._intake.intents_known
        vitals.misassigned = self._intake.pairing_broken or self._intake.counts_differ
        vitals.table_caught_up = self._room.tail.caught_up
        vitals.producer_up = self._publisher.healthy
        if self._intake.polled_at:
            vitals.beat("poll", now - (loop_now - self._intake.polled_at))
        return judge(vitals, now)

    # -- the doors between the rooms

    def _events(self, match: str) -> list[dict[str, Any]]:
        """The stories of the events in memory that a text names (`order-sync explain --worker`)."""
        return [told(entry) for entry in self._lanes if is_named(entry.item, match)]

    def _enter(self, entry: Entry[Delivery]) -> None:
        self._engine.add(entry)

    def _allowance(self, group: str, now: float) -> int:
        # An event taken up before the intents are read back would believe Walmart too early.
        return self._arrivals.allowance(group, now) if self._intake.intents_known else 0

    def _take_up(self, taken: TakenUp) -> None:
        self._arrivals.take_up(taken, self._intake.epoch)

    def _take_over(self, partitions: frozenset[int], epoch: int) -> None:
        del epoch
        self._room.follow(partitions)
        of_all = self._intake.partition_count(self.settings.topics.order_shipped)
        self._gatekeeper.set_share(len(partitions) / of_all if of_all else 1.0)

    def _finished(self, delivery: Delivery) -> None:
        self._arrivals.forget(delivery)
        if delivery.room_place is None:
            self._intake.finished(delivery.record, delivery.epoch)

    def _has_room(self, cancellations: int | None = None) -> bool:
        return (
            not self._stop.is_set()
            and not self._room.is_full
            and self.vitals.internal_errors_in_row < self.settings.limits.max_internal_errors
            and self._window.has_room(
                self._lanes.count + self._room.coming, self._lanes.size, cancellations=cancellations
            )
        )

    async def _let_go(self, budget_s: float) -> None:
        # What were taken up from here on would run on, unseen, while the partition's next owner runs it too.
        self._room.hold()
        await self._engine.release(
            lambda _: True, must_finish=lambda delivery: delivery.progress.posting, budget_s=budget_s
        )
        self._arrivals.forget_all()
        self._sync.let_go()

    def _note_bugs(self, in_row: int) -> None:
        self.vitals.internal_errors_in_row = in_row
        if self._gatekeeper.note_bugs(in_row, self.settings.limits.max_internal_errors):
            log.error("intake_stopped" if in_row else "intake_goes_on", in_row=in_row)

    def _engine_failed(self, delivery: Delivery, error: BaseException) -> None:
        self.metrics.internal_errors.inc("report")
        log.error("conclusion_failed", event_id=delivery.envelope.id, exc_info=error)

    def _observe_call(self, report: CallReport) -> None:
        outcome: CallOutcome = "ok" if report.kind is None else report.kind.value
        self.metrics.call(report.account, report.operation, outcome, report.seconds)
        group = counted_as(report.operation)
        if group is not None and report.kind not in (CallKind.NOT_SENT, CallKind.THROTTLED):
            self.metrics.budget_call(report.account, group)
        self._gatekeeper.observe(report, self.clock.now())

    def _refresh_gauges(self) -> None:
        in_flight = self._engine.in_flight
        refresh(self.metrics, self.settings, self._lanes, self._intake, self._accounts, in_flight, self.clock.now())


def _leaf(error: BaseException | None) -> BaseException | None:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
