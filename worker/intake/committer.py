"""The one committer: writes the contiguous offsets and the intents, bounded in time.

aiokafka's `commit()` retries for ever; here every commit has a deadline, and one that failed is no failure of the
work: the offsets stay due and go with the next commit. One that got no answer may still have reached the broker: it
carried an offset that may be committed, and intents that are withdrawn or lazily cleaned.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from typing import Literal

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError, OffsetMetadataTooLargeError

from worker.clock import Clock, SystemClock
from worker.intake.intents import Intents
from worker.intake.offsets import Offsets
from worker.telemetry.metrics import Metrics

log = structlog.get_logger()

INTERVAL_S = 0.1
"""Least time between two commits. A crash repeats what was finished since the last one, harmlessly."""
CLEAN_S = 1.0
"""So long an ended intent may stay in the metadata when no other commit of its partition takes it away."""
CALM_S = 5.0
"""After a commit without an answer, a broker that was away may still work on it when a newer one, over another
connection, is taken already: it would wipe out the intents of that. Nothing risky is sent so soon."""
_TURN_S = 0.5
_LEAST_METADATA_BYTES = 256

Place = tuple[str, int]
Wrote = Literal["nothing", "committed", "refused", "failed"]


class Committer:
    """Commits what `Offsets` says is finished, and with it what `Intents` says is about to be sent."""

    def __init__(
        self,
        consumer: Callable[[], AIOKafkaConsumer | None],
        offsets: Offsets,
        metrics: Metrics,
        timeout_s: float,
        *,
        intents: Intents | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._consumer = consumer
        self._offsets = offsets
        self._metrics = metrics
        self._timeout_s = timeout_s
        self._clock = clock or SystemClock()
        self.intents = intents if intents is not None else Intents(keep_s=0)
        self._due = asyncio.Event()
        self._one = asyncio.Lock()
        self._turns: deque[asyncio.Future[None]] = deque()
        """Those that wait for room in the metadata, longest first."""
        self._cleaning: asyncio.TimerHandle | None = None
        self._largest_taken = 0
        self.taken_at = float("-inf")
        """Epoch seconds when the latest commit that was taken had been sent: we were the owner then."""
        self._unanswered = False
        """A commit got no answer, and none was taken since."""
        self._calm_at = float("-inf")

    def note(self) -> None:
        """Something new is committable."""
        self._due.set()

    def ended(self, owner: Hashable, offset: int | None = None, *, in_doubt: bool = False) -> None:
        """The owner's event is concluded: its intent is carried on only while reads may be old (see `Intents.end`)."""
        if self.intents.end(owner, self._clock.now(), offset, in_doubt=in_doubt):
            self._metrics.intents_running.set(self.intents.running())
            self._give_turn()
            self.clean_in(CLEAN_S)

    def clean_in(self, seconds: float) -> None:
        """Have the metadata looked through after so long, if it is not sooner."""
        loop = asyncio.get_running_loop()
        when = loop.time() + max(0.0, seconds)
        if self._cleaning is None or self._cleaning.cancelled() or self._cleaning.when() <= loop.time():
            self._cleaning = loop.call_at(when, self._due.set)
        elif when < self._cleaning.when():
            self._cleaning.cancel()
            self._cleaning = loop.call_at(when, self._due.set)

    async def run(self) -> None:
        """Commit whenever something is due, until cancelled."""
        while True:
            await self._due.wait()
            self._due.clear()
            if not await self.commit():
                self._due.set()
                await asyncio.sleep(1.0)
            expiry = self.intents.next_expiry()
            if expiry is not None:
                self.clean_in(max(CLEAN_S, expiry - self._clock.now()))
            await asyncio.sleep(INTERVAL_S)

    async def commit(self) -> bool:
        """Commit what is due now. False when the broker did not take it (a refused one is dropped, not repeated)."""
        async with self._one:
            return await self._write(self._timeout_s) != "failed"

    async def intend(self, place: Place, owner: Hashable, mark: str, deadline: float) -> bool:
        """Have the intent acknowledged by Kafka: True only if that has happened before the deadline (epoch seconds).

        Those that come while a commit is on its way share the next one. On False the intent is withdrawn.
        """
        bound = min(self._timeout_s, deadline - self._clock.now())
        if bound <= 0:
            return False
        taken = False
        try:
            async with asyncio.timeout(bound):
                while not self.intents.add(place, owner, mark, deadline, self._clock.now()):
                    if not self.intents.is_known(place):
                        return False
                    await self._turn()
                async with self._one:
                    if not self.intents.is_written(place, owner):
                        await self._write(self._timeout_s)
            now = self._clock.now()
            taken = self.intents.is_written(place, owner) and now < deadline and now >= self._calm_at
        except TimeoutError:
            self.intents.doubtful(place)
            self._unanswered = True
        finally:
            if not taken:
                self.intents.withdraw(place, owner)
                self._give_turn()
                self.clean_in(CLEAN_S)
            self._metrics.intents_running.set(self.intents.running())
        return taken

    async def _turn(self) -> None:
        """The metadata is full: wait until an intent has ended (or may have expired)."""
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._turns.append(mine)
        await asyncio.wait({mine}, timeout=_TURN_S)
        mine.cancel()

    def _give_turn(self) -> None:
        while self._turns:
            turn = self._turns.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _batch(self) -> dict[Place, tuple[int, str]]:
        now = self._clock.now()
        due = self._offsets.to_commit()
        for place in self.intents.unwritten(now):
            offset = self._offsets.resume_at(*place)
            if offset is not None:
                due.setdefault(place, offset)
        # What an earlier owner has left in a partition must be read before it is written over.
        return {
            place: (offset, self.intents.text(place, now, offset))
            for place, offset in due.items()
            if self.intents.is_known(place)
        }

    async def _write(self, timeout_s: float) -> Wrote:
        batch, consumer, assignment = self._batch(), self._consumer(), self.intents.assignment
        if not batch or consumer is None:
            return "nothing"
        loop = asyncio.get_running_loop()
        started, sent_at = loop.time(), self._clock.now()
        try:
            async with asyncio.timeout(timeout_s):
                await consumer.commit({TopicPartition(*place): what for place, what in batch.items()})
        except (CommitFailedError, IllegalStateError) as error:
            # Not the owner any more: the new one reads these records again and finds their work done.
            return self._told("refused", started, batch, error)
        except OffsetMetadataTooLargeError as error:
            longest = max(len(text.encode()) for _, text in batch.values())
            self.intents.max_bytes = max(self._largest_taken, longest // 2, _LEAST_METADATA_BYTES)
            log.error("commit_metadata_too_large", bytes=longest, limit_from_now_on=self.intents.max_bytes)  # noqa: TRY400
            return self._told("failed", started, batch, error)
        except (KafkaError, TimeoutError) as error:
            return self._told("failed", started, batch, error)
        except asyncio.CancelledError:
            # The deadline of the intent that led this commit: it may arrive all the same.
            self._unanswered = True
            for place in batch:
                self.intents.doubtful(place)
            raise
        self._metrics.commit("committed", loop.time() - started)
        if assignment != self.intents.assignment:
            return "committed"
        self.taken_at = sent_at
        self._offsets.committed({place: offset for place, (offset, _) in batch.items()})
        for place, (_, text) in batch.items():
            self._largest_taken = max(self._largest_taken, len(text))
            self.intents.carried(place, text)
        if self._unanswered:
            self._unanswered = False
            self._calm_at = self._clock.now() + CALM_S
            loop.call_later(CALM_S, self._tell_again)
        return "committed"

    def _tell_again(self) -> None:
        """What the unanswered commit may have wiped out is written once more."""
        self.intents.all_doubtful()
        self._due.set()

    def _told(
        self,
        outcome: Literal["refused", "failed"],
        started: float,
        batch: dict[Place, tuple[int, str]],
        error: Exception,
    ) -> Wrote:
        self._metrics.commit(outcome, asyncio.get_running_loop().time() - started)
        log.warning("commit_not_taken", outcome=outcome, error=type(error).__name__)
        for place in batch:
            self.intents.doubtful(place)
        return outcome
