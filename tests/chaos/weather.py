"""The faults, drawn by chance: kills of workers at a pace, and beside them one thing after another."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final, TypeVar

import aiohttp

from tests.chaos.deeds import Deeds
from tests.chaos.options import Options
from tests.chaos.troop import Member, Troop
from worker.sandbox.kafka import EmbeddedKafka
from worker.sandbox.walmart.control import ControlError, WalmartControl, WalmartProcess
from worker.sandbox.walmart.specs import FaultSpec

T = TypeVar("T")

SESSION_S: Final = 6.0
"""Session timeout of the workers: the shortest a broker takes by default."""
CALL_TIMEOUT_S: Final = 2.0
LATE_EFFECT_S: Final = 0.4
"""How long after the caller has given up an effect may still come."""
_CALM_EVERY_S: Final = 80.0
_CALM_S: Final = 10.0
_RESTART_S: Final = (0.0, 0.0, 0.5, 2.0, SESSION_S + 3)
"""After a kill a worker is started so much later, seconds; the longest is past its session."""


class Weather:
    """What happens to the system. `standing`: faults of Walmart's that a restart of it must not end."""

    def __init__(
        self,
        options: Options,
        chance: Random,
        deeds: Deeds,
        kafka: EmbeddedKafka,
        walmart: WalmartProcess,
        control: WalmartControl,
        troop: Troop,
        standing: Callable[[], list[FaultSpec]],
    ) -> None:
        self._options, self._chance, self._deeds = options, chance, deeds
        self._kafka, self._walmart, self._control, self._troop = kafka, walmart, control, troop
        self._standing = standing
        self._over = asyncio.Event()
        self._busy = asyncio.Event()
        self._busy.set()
        self._restarts: set[asyncio.Task[None]] = set()
        self._guests: list[Member] = []
        self._scenes: tuple[tuple[int, Callable[[], Awaitable[None]]], ...] = (
            (4, self._kill_broker),
            (2, self._pause_broker),
            (5, self._kill_walmart),
            (5, self._freeze_worker),
            (3, self._join_or_leave),
            (2, self._restart_in_order),
            (3, self._lost_answers),
            (2, self._lost_calls),
            (3, self._refusals),
            (2, self._throttled),
            (5, self._slow),
            (2, self._outage),
            (1, self._tokens),
        )

    async def blow(self) -> None:
        """Until `subside` is called; what has been begun is ended first."""
        self._deeds.note(f"reads lag {self._options.lag_seconds} s")
        await self._stand()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._kill_workers())
            group.create_task(self._one_after_another())
            group.create_task(self._calm_now_and_then())

    def subside(self) -> None:
        """Begin nothing more."""
        self._over.set()
        self._busy.set()

    async def clear(self) -> None:
        """After `blow`: Walmart forgets the faults that are left, workers that wait for their start are started."""
        await asyncio.gather(*self._restarts)
        await self._control.clear_faults()
        self._deeds.note("all clear")

    # -- workers

    async def _kill_workers(self) -> None:
        pace = self._options.pace_seconds
        while not await self._over_after(self._chance.uniform(0.3, 2 * pace - 0.3)):
            # Mostly one at work; sometimes one that is just starting.
            wanted = self._chance.random() < 0.85
            alive = [one for one in self._troop.members if one.alive and not one.frozen and not one.resting]
            victims = [one for one in alive if one.ready is wanted] or alive
            if victims:
                victim = self._chance.choice(victims)
                await self._troop.kill(victim)
                if victim in self._guests:
                    self._guests.remove(victim)
                else:
                    self._start_later(victim, self._chance.choice(_RESTART_S))

    async def _over_after(self, seconds: float, *, calm: bool = False) -> bool:
        """Wait, and for the end of a calm; True when it is all over, which ends the wait."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), seconds)
        if not calm:
            await self._busy.wait()
        return self._over.is_set()

    def _start_later(self, member: Member, seconds: float) -> None:
        async def start() -> None:
            await asyncio.sleep(seconds)
            await self._troop.start(member)

        task = asyncio.create_task(start())
        self._restarts.add(task)
        task.add_done_callback(self._restarts.discard)

    async def _calm_now_and_then(self) -> None:
        while not await self._over_after(_CALM_EVERY_S):
            self._busy.clear()
            self._deeds.note("calm")
            await self._over_after(_CALM_S, calm=True)
            self._busy.set()

    async def _one_after_another(self) -> None:
        weights = [weight for weight, _ in self._scenes]
        scenes = [scene for _, scene in self._scenes]
        while not await self._over_after(self._chance.uniform(1, 7)):
            (scene,) = self._chance.choices(scenes, weights)
            await scene()

    async def _freeze_worker(self) -> None:
        ready = [one for one in self._troop.members if one.ready and one.alive]
        if len(ready) < 2:
            return
        sleeper = self._chance.choice(ready)
        seconds = self._chance.uniform(SESSION_S + 1, SESSION_S + 5)
        self._deeds.did("frozen", f"{sleeper.name} for {seconds:.1f} s")
        self._troop.freeze(sleeper)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._troop.thaw(sleeper)
            self._deeds.note(f"{sleeper.name} wakes up")

    async def _join_or_leave(self) -> None:
        if self._guests:
            leaving = self._guests.pop()
            self._deeds.did("left", leaving.name)
            await self._troop.stop(leaving)
        else:
            self._guests.append(await self._troop.join())
            self._deeds.did("joined", self._guests[-1].name)

    async def _restart_in_order(self) -> None:
        ready = [one for one in self._troop.members if one.ready and one.alive and one not in self._guests]
        if ready:
            member = self._chance.choice(ready)
            self._deeds.did("restarted in order", member.name)
            await self._troop.stop(member)
            await self._troop.start(member)

    # -- brokers

    async def _kill_broker(self) -> None:
        node = self._chance.randint(1, self._options.nodes)
        with self._deeds.unwell("broker", grace_s=2):
            self._deeds.killed("broker", f"broker {node}")
            self._kafka.kill(node)
            await asyncio.sleep(self._chance.choice((0.0, 1.0, 5.0)))
            await self._kafka.restart(node)
            self._deeds.note(f"broker {node} is back")

    async def _pause_broker(self) -> None:
        node = self._chance.randint(1, self._options.nodes)
        seconds = self._chance.uniform(1, 8)
        with self._deeds.unwell("broker", grace_s=2):
            self._deeds.did("broker paused", f"{node} for {seconds:.1f} s")
            self._kafka.pause(node)
            try:
                await asyncio.sleep(seconds)
            finally:
                self._kafka.resume(node)

    # -- Walmart

    async def _kill_walmart(self) -> None:
        with self._deeds.unwell("walmart", grace_s=3):
            self._deeds.killed("walmart", "walmart")
            await self._walmart.kill()
            await asyncio.sleep(self._chance.choice((0.0, 0.5, 3.0)))
            await self._walmart.start()
            await self._stand()

    async def _stand(self) -> None:
        lag = FaultSpec(kind="read_lag", seconds=self._options.lag_seconds, operation="get_order")
        for fault in [*([lag] if self._options.lag_seconds else []), *self._standing()]:
            await self._try(self._control.add_fault(fault))

    async def _lost_answers(self) -> None:
        kind = self._chance.choice(("drop", "status", "truncated"))
        times = self._chance.randint(1, 6)
        operation = self._chance.choice(("ship", "cancel", "ship"))
        if kind == "drop":
            fault = FaultSpec(kind="drop", when="after", operation=operation, times=times)
        elif kind == "status":
            status = self._chance.choice((500, 502, 504))
            fault = FaultSpec(kind="status", when="after", operation=operation, status=status, times=times)
        else:
            fault = FaultSpec(
                kind="status", when="after", operation=operation, status=200, envelope="truncated", times=times
            )
        await self._fault("answers lost", fault)

    async def _lost_calls(self) -> None:
        operation = self._chance.choice(("ship", "cancel", "get_order", "acknowledge", "token"))
        times = self._chance.randint(1, 10)
        await self._fault("connections dropped", FaultSpec(kind="drop", operation=operation, times=times))

    async def _refusals(self) -> None:
        status = self._chance.choice((500, 502, 503, 504))
        envelope = self._chance.choice(("gateway", "html", "empty", "generic"))
        operation = self._chance.choice((None, "ship", "cancel", "get_order"))
        times = self._chance.randint(1, 30)
        fault = FaultSpec(kind="status", status=status, envelope=envelope, operation=operation, times=times)
        await self._fault("5xx", fault)
        if self._chance.random() < 0.3:
            await self._fault("bare 400", FaultSpec(kind="bare_invalid_request", operation="ship", times=2))

    async def _throttled(self) -> None:
        operation = self._chance.choice((None, "ship", "cancel", "get_order"))
        headers = self._chance.choice(({}, {"Retry-After": "1"}, {"Retry-After": "3"}))
        fault = FaultSpec(
            kind="status", status=429, operation=operation, headers=headers, times=self._chance.randint(1, 20)
        )
        with self._deeds.unwell("walmart", grace_s=4):
            await self._fault("429", fault)

    async def _slow(self) -> None:
        """Some calls take longer than the worker waits; what they do then happens at once, or a little too late."""
        when = self._chance.choice(("before", "after"))
        seconds = self._chance.choice((0.5, 1.5, CALL_TIMEOUT_S + LATE_EFFECT_S if when == "before" else 5.0))
        operation = self._chance.choice((None, "ship", "ship", "cancel"))
        times = self._chance.randint(5, 60)
        fault = FaultSpec(kind="delay", when=when, seconds=seconds, operation=operation, times=times)
        await self._fault("slow", fault)

    async def _outage(self) -> None:
        kind = self._chance.choice(("outage", "refuse_connections"))
        seconds = self._chance.uniform(1, 12)
        with self._deeds.unwell("walmart", grace_s=4):
            self._deeds.did("outage", f"{kind} for {seconds:.1f} s")
            state = await self._try(self._control.add_fault(FaultSpec(kind=kind)))
            try:
                await asyncio.sleep(seconds)
            finally:
                if state is not None:
                    await self._try(self._control.clear_faults(state.id))

    async def _tokens(self) -> None:
        if self._chance.random() < 0.5:
            await self._fault("tokens expired", FaultSpec(kind="expire_tokens"))
            return
        with self._deeds.unwell("walmart", grace_s=4):
            self._deeds.did("keys revoked")
            state = await self._try(self._control.add_fault(FaultSpec(kind="revoked")))
            try:
                await asyncio.sleep(self._chance.uniform(1, 5))
            finally:
                if state is not None:
                    await self._try(self._control.clear_faults(state.id))

    async def _fault(self, name: str, fault: FaultSpec) -> None:
        told = fault.model_dump(exclude_defaults=True, exclude={"kind"})
        self._deeds.did(name, " ".join(f"{key}={value}" for key, value in told.items()))
        await self._try(self._control.add_fault(fault))

    async def _try(self, call: Awaitable[T]) -> T | None:
        try:
            async with asyncio.timeout(5):
                return await call
        except (aiohttp.ClientError, ControlError, TimeoutError) as error:
            self._deeds.note(f"not done: {type(error).__name__}")
            return None
