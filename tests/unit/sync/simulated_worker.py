"""A lane of one order, as the worker keeps it: tries, backoff, parking of what waits, dead letters and replays."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import Any

from simulated_account import Account, CrashedError, HandTime
from simulated_commerce import STORE, Said

from worker.delivery import Delivery, Event
from worker.lanes.backoff import Backoff
from worker.outcome import Again, ConfirmedUnits, Progress, Trouble, Verdict
from worker.settings import Settings
from worker.sync.apply import Sync
from worker.sync.calls import Call
from worker.sync.doors import Clear, GuardAnswer, Wait

GIVE_UP_S = 24 * 3600.0


class Markers:
    """Survives a crash, keeps milliseconds as the waiting room does, and sometimes cannot be written."""

    def __init__(self, chance: random.Random, failing: float) -> None:
        self.times: dict[tuple[str, str], float] = {}
        self.chance, self.failing = chance, failing

    def superseded_at(self, order: str, number: str) -> float | None:
        return self.times.get((order, number))

    def unsettled(self, order: str, delivery: Delivery | None) -> tuple[str, ...]:
        del order, delivery
        return ()

    async def mark(self, order: str, number: str, event_time: float, delivery: Delivery | None) -> bool:
        if self.chance.random() < self.failing:
            return False
        self.times[order, number] = round(event_time * 1000) / 1000
        return True

    async def free(self, order: str, number: str, delivery: Delivery | None) -> bool:
        if self.chance.random() < self.failing:
            return False
        self.times.pop((order, number), None)
        return True


class SomeFence:
    """Lets pass, mostly."""

    believe_from = 0.0
    owned_until = math.inf

    def __init__(self, chance: random.Random, failing: float) -> None:
        self.chance, self.failing = chance, failing

    async def intend(self, event: Event, call: Call, deadline: float, delivery: Delivery | None) -> bool:
        return self.chance.random() >= self.failing


class WatchfulGuard:
    """Knows everything that was said, as only a test can: waits until each earlier shipment is settled."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    async def look(self, event: Event, delivery: Delivery | None) -> GuardAnswer:
        assert event.time is not None
        settled = {each.said.event.id for each in self.worker.settled}
        open_ = [
            said.event.id
            for said in self.worker.said
            if not said.is_cancel and said.at < event.time and said.event.id not in settled
        ]
        return Wait(5.0, f"{len(open_)} shipment(s) on their way") if open_ else Clear()


@dataclass
class Settled:
    """An event and what it came to."""

    said: Said
    verdict: Verdict
    moved: bool
    """Units were moved for it, by whichever try."""
    restored: tuple[ConfirmedUnits, ...] = ()
    tries: int = 0
    calls: int = 0


@dataclass
class Worker:
    """Runs the events of one order in turn."""

    account: Account
    clock: HandTime
    chance: random.Random
    kafka: float = 0.0
    """How often a marker or the fence cannot be written."""
    store: dict[str, Any] = field(default_factory=dict)
    said: list[Said] = field(default_factory=list)
    """Everything that commerce says, for the guard."""
    settled: list[Settled] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.markers = Markers(self.chance, self.kafka)
        self.backoff = Backoff(0.5, 30)
        self.restart()

    def settings(self) -> Settings:
        return Settings.model_validate(
            {
                "accounts": {"main": {"client_id": "id", "client_secret_file": "secret"}},
                "stores": {STORE: {"account": "main", **self.store}},
                "timing": {"read_lag_seconds": 30},
            }
        )

    def restart(self) -> None:
        """Another process: only what Kafka keeps is left."""
        fence = SomeFence(self.chance, self.kafka)
        guard = WatchfulGuard(self)
        self.sync = Sync({"main": self.account}, self.settings(), self.clock, self.markers, fence, guard)

    async def run(self, queue: list[Said]) -> None:
        """Deliver these; a cancel that waits for shipments lets them pass."""
        waiting: list[tuple[Said, Progress, int, float]] = []
        for said in queue:
            if said.at > self.clock.now():
                self.clock.advance(said.at - self.clock.now())
            if said.is_cancel and waiting:
                waiting.append((said, Progress(), self._before(), self.clock.now()))
                continue
            await self._take(said, waiting)
            waiting = await self._again(waiting)
        while waiting:
            self.clock.advance(600.0)
            waiting = await self._again(waiting)

    async def _take(self, said: Said, waiting: list[tuple[Said, Progress, int, float]]) -> None:
        progress, before, first_seen = Progress(), self._before(), self.clock.now()
        if not await self.settle(said, progress, before, first_seen):
            waiting.append((said, progress, before, first_seen))

    async def _again(self, waiting: list[tuple[Said, Progress, int, float]]) -> list[tuple[Said, Progress, int, float]]:
        while waiting and await self.settle(*waiting[0]):
            del waiting[0]
        return waiting

    def _moved(self, owner: str, before: int) -> bool:
        return any(effect.owner == owner for effect in self.account.own()[before:])

    def _before(self) -> int:
        return len(self.account.own())

    async def replay(self, dead: Settled) -> None:
        """As a person asks for it: what the dead letter says was confirmed is all that is known."""
        assert dead.verdict.failure is not None
        progress = Progress()
        progress.restore((units.line_number, units.quantity, units.tracking_number) for units in dead.verdict.confirmed)
        await self.settle(dead.said, progress, self._before(), self.clock.now(), dead.verdict.confirmed, wait=True)

    async def settle(
        self,
        said: Said,
        progress: Progress,
        before: int,
        first_seen: float,
        restored: tuple[ConfirmedUnits, ...] = (),
        *,
        wait: bool = False,
    ) -> bool:
        """Try until there is a verdict; False when it waits for shipments."""
        owner = f"{said.event.id} {id(progress)}"
        for _ in range(400):
            progress.attempts += 1
            self.account.owner = owner
            try:
                outcome = await self.sync.attempt(said.event, progress)
            except CrashedError:
                progress = Progress()
                progress.restore((units.line_number, units.quantity, units.tracking_number) for units in restored)
                self.restart()
                self.clock.advance(5)
                continue
            assert not progress.posting
            if isinstance(outcome, Verdict):
                moved = self._moved(owner, before)
                self.settled.append(Settled(said, outcome, moved, restored, progress.attempts, progress.calls))
                return True
            progress.failed_tries += 1
            if self.clock.now() - first_seen >= GIVE_UP_S and progress.attempts >= 5:
                self.settled.append(
                    Settled(
                        said,
                        Verdict(
                            outcome.operation,
                            "partly_applied" if progress.applied else "none",
                            outcome.failure,
                            outcome.walmart_status,
                            confirmed=progress.confirmed,
                        ),
                        self._moved(owner, before),
                        restored,
                        progress.attempts,
                        progress.calls,
                    )
                )
                return True
            if outcome.trouble is Trouble.SHIPMENTS:
                if not wait:
                    return False
                self.clock.advance(3600.0)
            self.clock.advance(self._delay(outcome, progress))
        raise AssertionError(f"no verdict after 400 tries: {outcome}")

    def _delay(self, again: Again, progress: Progress) -> float:
        delay = self.backoff.delay(progress.failed_tries, self.chance)
        if again.trouble is Trouble.CREDENTIALS:
            return 15.0
        if again.after_s is not None:
            return again.after_s + (delay if again.trouble is Trouble.THROTTLED else 0.0)
        return delay
