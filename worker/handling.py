"""One turn of one event: attempt it, then make what came of it durable, park it, or say when to try again.

This is the policy between the lanes (who only know turns) and the sync room (which only knows Walmart). What is tried
again and how long stands in `worker/retries.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import structlog

from worker.clock import Clock
from worker.delivery import Delivery
from worker.errors import Failure
from worker.gatekeeper import Gatekeeper, call_gate
from worker.intake.decode import reused_identity
from worker.intake.fence import IntakeFence
from worker.kafka import NotPublishedError
from worker.lanes.engine import Retry
from worker.lanes.gates import Hold
from worker.outcome import Again, LineOutcome, Outcome, Trouble, Verdict
from worker.parked.room import Room
from worker.report.report import Report
from worker.retries import Retries
from worker.settings import Settings
from worker.sync.apply import Sync
from worker.sync.verdict import told
from worker.telemetry.logs import log_again, log_verdict
from worker.telemetry.metrics import Metrics
from worker.waits import OF_CODE, WaitReason

log = structlog.get_logger()

_FULL_S = 1.0
"""While nothing more may be parked, an event that should be is looked at again this often."""
_REST_S = 1.0
"""Whatever an event is parked for is not over in the same moment: written and fetched in turns it would spin."""
_WORTH_TELLING_S = 0.1
_HOLDS: dict[Hold, str] = {
    "budget": "the account's call budget",
    "slow": "Walmart said to wait",
    "starting": "its account's access token was asked for",
    "closed": "its gate was closed",
    "shut": "paused",
    "slots": "as many events of its account were in flight as may be",
}
_AFTER: dict[Trouble, WaitReason] = {
    Trouble.THROTTLED: "slow",
    # The gates tell how long.
    Trouble.BUDGET: "slots",
    Trouble.SHIPMENTS: "shipments",
}
"""What an event waits for after such a try, where no gate holds it; after any other it is between tries."""
_BEHIND = Failure("not_started", "waits behind an earlier event of its order")
_NOT_STARTED = Failure("not_started", "waits for its turn: a pause, or events of its order before it")


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The event is settled from the waiting room (or was settled meanwhile): nothing to do here."""


@dataclass(frozen=True, slots=True)
class Park:
    """The event waits in the dead-letter topic from now on."""

    why: Failure
    until: float = 0.0
    """Epoch seconds before which it is not taken up; 0: as soon as its gate is open."""
    behind: bool = False
    """An event of its order that it may not pass is parked already."""


Result = Outcome | Elsewhere | Park


class Handling:
    """Attempts and conclusions for the engine."""

    def __init__(
        self,
        settings: Settings,
        sync: Sync,
        report: Report,
        room: Room,
        fence: IntakeFence,
        gatekeeper: Gatekeeper,
        retries: Retries,
        metrics: Metrics,
        clock: Clock,
        *,
        finished: Callable[[Delivery], None],
        settled: Callable[[Delivery], None],
        bugs: Callable[[int], None],
    ) -> None:
        self._settings = settings
        self._sync = sync
        self._report = report
        self._room = room
        self._fence = fence
        self._gatekeeper = gatekeeper
        self._retries = retries
        self._metrics = metrics
        self._clock = clock
        self._finished = finished
        self._settled = settled
        self._bugs = bugs
        self._internal_errors = 0

    def configure(self, settings: Settings) -> None:
        """Take new settings."""
        self._settings = settings

    def account(self, delivery: Delivery) -> str | None:
        """The Walmart account it was tried with; before that, its store's."""
        return delivery.tried_with or self._account_now(delivery)

    def _account_now(self, delivery: Delivery) -> str | None:
        store = self._settings.stores.get(delivery.envelope.store or "")
        return None if store is None else store.account

    # -- a turn

    def waited(self, delivery: Delivery, seconds: Mapping[Hold, float]) -> None:
        """Gates have held it, and why."""
        budget = seconds.get("budget", 0.0) + seconds.get("slow", 0.0)
        delivery.progress.waited_budget_s += budget
        for why, passed in seconds.items():
            delivery.progress.waited.at_gate(why, passed)
            self._metrics.waited.add(passed, why)
            if passed >= _WORTH_TELLING_S:
                delivery.progress.story.add(self._clock.now(), f"waited {passed:.1f} s: {_HOLDS[why]}")

    def _has_its_turn(self, delivery: Delivery) -> None:
        waited = delivery.progress.waited
        if (seconds := waited.end(self._clock.now())) > 0:
            self._metrics.waited.add(seconds, waited.reason)

    async def attempt(self, delivery: Delivery) -> Result:
        """Try to make Walmart agree with the event. Never raises but when cancelled."""
        self._has_its_turn(delivery)
        early = self._early(delivery)
        if early is not None:
            return early
        assert delivery.event is not None
        progress = delivery.progress
        progress.attempts += 1
        delivery.tried_with = self._account_now(delivery)
        self._heed_intent(delivery)
        waited_before = progress.waited_budget_s
        try:
            outcome = await self._sync.attempt(delivery.event, progress, delivery)
        except Exception as error:  # noqa: BLE001  # becomes an `internal` verdict
            return self._bug(delivery, error)
        # Inventory updates wait within the turn.
        within = max(0.0, progress.waited_budget_s - waited_before)
        progress.waited.add("budget", within)
        self._metrics.waited.add(within, "budget")
        if self._internal_errors:
            self._internal_errors = 0
            self._bugs(0)
        return outcome

    def evicted(self, delivery: Delivery) -> Result:
        """A turn without an attempt: it waited too long, its account holds too much, or its time is over."""
        self._has_its_turn(delivery)
        if delivery.only_tell:
            # As it was: a paused one's time must go on not to count.
            why = delivery.last_again.failure if delivery.last_again is not None else _held(delivery.room_code)
            return Park(why, delivery.next_try) if self._room.holds(delivery) else Elsewhere()
        early = self._early(delivery)
        if early is not None:
            return early
        now, again = self._clock.now(), delivery.last_again
        reason, probes = self._gatekeeper.held_at(delivery, now) or ("not_started", 0)
        if again is None or (again.failure.code != reason and again.trouble is not Trouble.SHIPMENTS):
            again = Again(Trouble.OURS, _held(reason)) if again is None or reason != "not_started" else again
        if reason != "paused" and self._retries.given_up(delivery, now, probes=probes):
            return self._give_up(delivery, again)
        return Park(again.failure, delivery.next_try if again is delivery.last_again else 0.0)

    def _early(self, delivery: Delivery) -> Result | None:
        """What there is to say before Walmart is asked."""
        room = self._room
        if delivery.room_place is not None:
            if not room.may_run(delivery):
                room.untake(delivery)
                return Elsewhere()
        elif room.settled_elsewhere(delivery):
            return Elsewhere()
        elif room.other_event_with_this_identity(delivery):
            reused_identity(delivery)
        if delivery.refusal is not None:
            delivery.progress.attempts += 1
            return Verdict(operation=None, effect="none", failure=delivery.refusal)
        before = room.blocked_by(delivery)
        if before is not None:
            return Park(_held("paused") if before.code == "paused" else _BEHIND, behind=True)
        return None

    def _heed_intent(self, delivery: Delivery) -> None:
        """Another process (or an earlier life of this one) was about to send something for this event."""
        found = self._fence.found_intent(delivery.lane)
        if found is None:
            return
        timing, progress = self._settings.timing, delivery.progress
        hold_until = max(found.deadline + timing.call_timeout_seconds, found.found_at) + timing.read_lag_seconds
        if hold_until > progress.hold_until:
            progress.hold_until = hold_until
            progress.read_twice = True
            progress.story.add(self._clock.now(), "an intent of an earlier owner was found; old reads are not believed")

    # -- its conclusion

    async def conclude(self, delivery: Delivery, outcome: Result) -> Retry | None:
        """Make the outcome durable; None when the event is done here, else when it has its next turn."""
        if isinstance(outcome, Elsewhere):
            self._end(delivery)
            return None
        now = self._clock.now()
        if isinstance(outcome, Again):
            if not self._retries.given_up(delivery, now, probes=0):
                return await self._again(delivery, outcome, now)
            outcome = self._give_up(delivery, outcome)
        if isinstance(outcome, Park):
            return await self._park(delivery, outcome)
        verdict = outcome
        ending = told(verdict)
        if not delivery.progress.story.ends_with(ending):
            delivery.progress.story.add(now, ending)
        account = self.account(delivery)
        await self._durably(delivery, lambda: self._report.conclude(delivery, verdict, account=account))
        self._settled(delivery)
        self._end(delivery)
        if delivery.envelope.shipment is not None and delivery.envelope.order is not None:
            self._room.wake_order(delivery.envelope.order)
        ended = self._clock.now()
        self._metrics.last_progress.set(ended)
        log_verdict(
            delivery,
            verdict,
            account=account,
            latency_seconds=ended - delivery.happened_at,
            calls=delivery.progress.calls,
        )
        return None

    def _end(self, delivery: Delivery) -> None:
        self._fence.ended(delivery)
        self._finished(delivery)

    async def still_retrying(self, delivery: Delivery) -> None:
        """Tell once that the event is late, and what it waits for."""
        held, again = self._gatekeeper.held_at(delivery, self._clock.now()), delivery.last_again
        reason = held[0] if held is not None else "not_started"
        if held is None and again is None and delivery.progress.waited.mostly_for_budget:
            # The gate happens to have a call left at this moment, for the next in turn.
            reason = "throttled"
        if again is None or reason == "throttled":
            again = Again(Trouble.BUDGET if reason == "throttled" else Trouble.OURS, _held(reason))
        try:
            await self._report.still_retrying(delivery, again, account=self.account(delivery))
        except NotPublishedError:
            delivery.told_retrying = False

    async def _again(self, delivery: Delivery, again: Again, now: float) -> Retry | None:
        progress, for_budget = delivery.progress, again.trouble is Trouble.BUDGET
        if not for_budget:
            progress.failed_tries += 1
        next_try = self._retries.next_try(delivery, again, now)
        delay = next_try.delay_s
        throttled = again.trouble is Trouble.THROTTLED
        if not throttled:
            progress.waited_retry_s += delay
        elif not next_try.park:  # what is parked is told how long that was when it is taken up
            progress.waited_budget_s += delay
        self._metrics.retries.inc(again.trouble.value)
        delivery.last_again = again
        delivery.next_try = next_try.parked_until
        log_again(delivery, again, account=self.account(delivery), after_seconds=delay)
        if next_try.park:
            # Behind a closed gate it is the gate that decides.
            held = self._gatekeeper.held_at(delivery, now) is not None and again.trouble is not Trouble.SHIPMENTS
            delivery.next_try = 0.0 if held else next_try.parked_until
            return await self._park(delivery, Park(again.failure, delivery.next_try))
        progress.story.add(now, "waits for its account's budget" if for_budget else f"waits {delay:.1f} s")
        progress.waited.begin(_AFTER.get(again.trouble, "retry"), now)
        account = self._account_now(delivery)
        behind = (call_gate(account, again.call),) if again.call is not None and account is not None else ()
        return Retry(at=next_try.at, lets_pass=again.trouble is Trouble.SHIPMENTS, behind=behind)

    async def _park(self, delivery: Delivery, park: Park) -> Retry | None:
        if delivery.room_place is None and self._room.is_full and not park.behind:
            # What lies in the topic already may always be written again. One that stands behind a parked event may
            # join it: in its lane that one could never have its turn. (Nothing is read meanwhile.)
            now = self._clock.now()
            delivery.progress.waited.begin(OF_CODE.get(park.why.code, "retry"), now)
            return Retry(at=now + _FULL_S, lets_pass=park.why.code == "waiting_for_shipments")
        now = self._clock.now()
        late = now - delivery.happened_at >= self._settings.timing.slo_seconds
        if late and not delivery.told_retrying:
            again = delivery.last_again or Again(Trouble.OURS, park.why)
            await self._durably(
                delivery, lambda: self._report.still_retrying(delivery, again, account=self.account(delivery))
            )
            delivery.told_retrying = True
        delivery.progress.story.add(now, f"parked: {park.why.code}")
        await self._durably(
            delivery, lambda: self._room.put_waiting(delivery, park.why, max(park.until, now + _REST_S))
        )
        self._end(delivery)
        return None

    async def _durably(self, delivery: Delivery, write: Callable[[], Awaitable[object]]) -> None:
        tries = 0
        while True:
            try:
                await write()
            except NotPublishedError as error:
                # The lane waits with it: nothing is finished before Kafka has it, however long that takes.
                tries += 1
                log.warning("result_not_published", event_id=delivery.envelope.id, tries=tries, detail=str(error))
                await asyncio.sleep(self._retries.publishing_delay(tries))
            else:
                return

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


def _held(reason: str) -> Failure:
    texts = {
        "paused": "its account or store is paused",
        "throttled": "its account's call budget is used up",
        "credentials_rejected": "its account is turned away",
        "scope_missing": "its account's key misses a scope",
        "walmart_unavailable": "Walmart does not serve its account",
    }
    return Failure(reason, texts[reason]) if reason in texts else _NOT_STARTED


def _where(error: Exception) -> str:
    frame = error.__traceback__
    if frame is None:
        return "?"
    while frame.tb_next is not None:
        frame = frame.tb_next
    return f"{frame.tb_frame.f_globals.get('__name__', '?')}:{frame.tb_lineno}"
