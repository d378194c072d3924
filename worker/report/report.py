"""An outcome becomes durable: dead letter, then result, then "finished"; each after the one before is acknowledged.

From the waiting room it is the other way round (result first, then `dead` or the tombstone), so that a crash between
the two leaves the event there to be run once more.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Protocol

from worker.clock import Clock
from worker.delivery import Delivery, Place
from worker.errors import Failure
from worker.outcome import Again, Trouble, Verdict
from worker.report import result
from worker.report.publisher import Publisher
from worker.telemetry.metrics import Metrics
from worker.waits import OF_CODE, Cause


class WaitingRoom(Protocol):
    """What reporting needs of the room of unfinished events."""

    async def put_dead(self, delivery: Delivery, verdict: Verdict) -> Place:
        """Write the dead letter of a failed event; return where it lies. Raises NotPublishedError."""
        ...

    async def settle(self, delivery: Delivery, *, own_only: bool = False) -> None:
        """Write the tombstones of what this success closes, if there is any. Raises NotPublishedError."""
        ...


class Report:
    """Publishes what became of events."""

    def __init__(
        self,
        publisher: Publisher,
        room: WaitingRoom,
        metrics: Metrics,
        clock: Clock,
        *,
        results_topic: str,
        room_topic: str,
    ) -> None:
        self._publisher = publisher
        self._room = room
        self._metrics = metrics
        self._clock = clock
        self._results_topic = results_topic
        self._room_topic = room_topic

    async def conclude(self, delivery: Delivery, verdict: Verdict, *, account: str | None) -> Place | None:
        """Make the verdict durable. Returns where the dead letter lies, if one was written.

        Raises NotPublishedError when Kafka did not acknowledge something; calling it again is safe.
        """
        failed = verdict.failure is not None and not verdict.observed
        place: Place | None = None
        if delivery.room_place is None and failed:
            place = await self._room.put_dead(delivery, verdict)
        elif failed:
            place = delivery.room_place
        settled_at = await self._publish(delivery, verdict, account, place)
        if delivery.room_place is not None and (failed or (verdict.observed and _stays_dead(delivery))):
            # Observed: nothing was sent, so it is as dead as it was. Left as `replay` it would run for real one day.
            place = await self._room.put_dead(delivery, verdict if failed else _as_it_was(delivery, verdict))
        elif verdict.observed and delivery.room_place is not None:
            await self._room.settle(delivery, own_only=True)
        elif not failed and not verdict.observed:
            await self._room.settle(delivery)
        # Counted once everything is durable: what was not is concluded again.
        progress, latency, slo_s = delivery.progress, settled_at - delivery.happened_at, self._metrics.slo_seconds
        cause: Cause = "calls"
        if latency > slo_s:
            cause = progress.waited.cause(latency, slo_s, budget_s=progress.waited_budget_s)
        self._metrics.settled(
            verdict,
            latency_seconds=latency,
            calls=progress.calls,
            late_because=cause,
            counts_for_slo=delivery.replay_number == 0 and not delivery.told_retrying,
        )
        if failed and verdict.failure is not None:
            self._metrics.dead_letters_written.inc(verdict.failure.code)
        return place

    async def still_retrying(self, delivery: Delivery, again: Again, *, account: str | None) -> None:
        """Publish the one `retrying` result of an event. Raises NotPublishedError."""
        now = self._clock.now()
        message = result.of_retrying(delivery, again, account=account, now=now)
        await self._send(delivery, result.encode(message), result.headers(message))
        self._metrics.still_retrying(
            again,
            effect=message["effect"],
            late_because=_held_because(delivery, again, now, self._metrics.slo_seconds),
            counts_for_slo=delivery.replay_number == 0,
        )

    async def _publish(self, delivery: Delivery, verdict: Verdict, account: str | None, place: Place | None) -> float:
        now = self._clock.now()
        message = result.of_verdict(
            delivery, verdict, account=account, now=now, dead_letter=place, topic=self._room_topic
        )
        await self._send(delivery, result.encode(message), result.headers(message))
        return now

    async def _send(self, delivery: Delivery, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        key = delivery.envelope.order.encode() if delivery.envelope.order else delivery.record.key
        await self._publisher.send(self._results_topic, key=key, value=value, headers=headers)
        self._metrics.publish_seconds.observe(loop.time() - started, self._results_topic)


def _held_because(delivery: Delivery, again: Again, now: float, slo_seconds: float) -> Cause:
    """Why an event is late that still waits."""
    if again.trouble in (Trouble.THROTTLED, Trouble.BUDGET):
        return "budget"
    progress, code = delivery.progress, again.failure.code
    held_by = progress.waited.reason if code == "not_started" else OF_CODE.get(code, "retry")
    return progress.waited.cause(
        now - delivery.happened_at, slo_seconds, budget_s=progress.waited_budget_s, now=now, held_by=held_by
    )


def _stays_dead(delivery: Delivery) -> bool:
    """Of an observed one: a replay was dead before, and one that has sent something must not be forgotten."""
    progress = delivery.progress
    touched = progress.applied or progress.unsettled is not None or bool(progress.doubted)
    return delivery.room_state != "waiting" or touched


def _as_it_was(delivery: Delivery, observed: Verdict) -> Verdict:
    return replace(observed, failure=Failure(delivery.room_code, "replayed in observe mode: nothing was sent"))
