"""What the group has given us: the partitions, their epoch, and what their earlier owners left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import structlog

from worker.clock import Clock
from worker.intake.committer import Committer
from worker.intake.group_offsets import Asks
from worker.intake.offsets import Offsets
from worker.intake.pairing import Pairing, pair
from worker.settings import TopicSettings
from worker.telemetry.metrics import Metrics

log = structlog.get_logger()

Place = tuple[str, int]

_LONGEST_BACKOFF_S: Final = 15.0
_CLEAN_S: Final = 1.0


class Assignment:
    """Begins anew, with a new epoch, each time partitions are given back or given to us."""

    def __init__(
        self,
        committer: Committer,
        offsets: Offsets,
        topics: TopicSettings,
        asks: Asks,
        clock: Clock,
        metrics: Metrics,
        owns: Callable[[Pairing, int], None],
    ) -> None:
        """Nothing is assigned yet. `owns` is told of every change, before anything of it may be read."""
        self._committer = committer
        self._offsets = offsets
        self._topics = topics
        self._asks = asks
        self._clock = clock
        self._metrics = metrics
        self._owns = owns
        self._reading_back: asyncio.Task[None] | None = None
        self.epoch = 0
        self.taken_at = 0.0
        """Epoch seconds of the latest assignment."""
        self.inherited = True
        """Somebody (or an earlier life of ours) has worked on one of these partitions before."""
        self.places: frozenset[Place] = frozenset()
        self.pairing = Pairing(frozenset(), frozenset())
        self.joined = False
        """True once the group has given us an assignment (possibly an empty one), until it is to be given back."""
        self.intents_known = False
        """What the earlier owners of our partitions left behind is read: events may be handed out."""

    @property
    def may_send(self) -> bool:
        """We own an assignment, know its intents, and have not begun to give it back."""
        return self.joined and self.intents_known

    async def give_back(self, let_go: Awaitable[None]) -> None:
        """End what runs, commit what is finished (and what is still about to be sent), own nothing."""
        epoch = self.epoch
        self.joined = False
        await let_go
        await self._committer.commit()
        if epoch == self.epoch:
            self.epoch += 1
            self._own(frozenset())

    def take(self, places: Iterable[Place]) -> None:
        """These are ours now. Must be called in a running event loop."""
        self.epoch += 1
        self._own(frozenset(places))
        self.joined = True
        self.taken_at = self._clock.now()
        if self.pairing.unpaired:
            log.error("partitions_not_paired", numbers=sorted(self.pairing.unpaired))
        log.info("partitions_assigned", partitions=sorted(f"{topic}/{number}" for topic, number in self.places))
        # Not awaited here: the group waits for us meanwhile.
        self._reading_back = asyncio.create_task(self._read_back(self.epoch))

    def end(self) -> None:
        """Stop asking."""
        if self._reading_back is not None:
            self._reading_back.cancel()
            self._reading_back = None

    def _own(self, places: frozenset[Place]) -> None:
        self.end()
        self.places = places
        self.pairing = pair(places, shipped=self._topics.order_shipped, cancelled=self._topics.order_cancelled)
        self.intents_known = False
        self._offsets.assign(set(places), self.epoch)
        self._committer.intents.assign(places)
        self._metrics.partitions_assigned.set(len(places))
        self._metrics.intents_running.set(0)
        self._metrics.unpaired_partitions.set(len(self.pairing.unpaired))
        self._owns(self.pairing, self.epoch)

    async def _read_back(self, epoch: int) -> None:
        """Find out where reading begins, and what earlier owners were about to send. Until then nothing is read."""
        backoff_s = 0.1
        while True:
            try:
                committed = await self._asks.committed(self.places)
                break
            except Exception as error:  # noqa: BLE001  # whatever it is: without an answer nothing may be read
                log.warning("intents_not_read", error=type(error).__name__, detail=str(error)[:200])
            await asyncio.sleep(backoff_s)
            backoff_s = min(_LONGEST_BACKOFF_S, backoff_s * 2)
        if epoch == self.epoch:
            self._note(committed)

    def _note(self, committed: dict[Place, tuple[int, str]]) -> None:
        now, intents = self._clock.now(), self._committer.intents
        self.inherited = any(offset >= 0 for offset, _ in committed.values())
        for place, (offset, text) in committed.items():
            if offset >= 0:
                self._offsets.found(*place, offset)
            problem = intents.read_back(place, text, now)
            if problem is not None:
                self._metrics.commit_metadata_unreadable.inc()
                log.warning("commit_metadata_unreadable", topic=place[0], partition=place[1], problem=problem)
        found = intents.found_count()
        if found:
            self._metrics.intents_found.add(found)
            log.info("intents_found", count=found)
        self.intents_known = True
        self._committer.clean_in(_CLEAN_S)
