"""Walmart as the worker's `exchange` meets it: the sandbox's own rules, virtual time, and a network that fails."""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import cache
from typing import Any, Final
from unittest.mock import patch

from multidict import CIMultiDict
from yarl import URL

from tests.sim.budgets import BudgetPlan, Budgets
from tests.sim.cluster import START
from tests.sim.history import History
from tests.sim.virtual_loop import PROCESS, Process, VirtualLoop
from worker.sandbox.walmart import budget, gateway, sellers, services
from worker.sandbox.walmart import world as world_module
from worker.sandbox.walmart.answers import Answer, error_of_status, in_envelope
from worker.sandbox.walmart.bodies import BodyChecks
from worker.sandbox.walmart.calls import Call, Route, route
from worker.sandbox.walmart.journal import Journal
from worker.sandbox.walmart.orders import EffectKind, LineEffect, Order
from worker.sandbox.walmart.specs import Envelope, FaultSpec
from worker.sandbox.walmart.world import World
from worker.walmart.exchange import NoReply, Reply
from worker.walmart.guarded_body import GuardedBody, NotWrittenError

EVENT: Final[contextvars.ContextVar[str]] = contextvars.ContextVar("event", default="")
"""Identity of the event whose attempt is running."""

READS: Final = frozenset({"get_order", "token", "token_detail", "get_inventory"})


@cache
def checks() -> BodyChecks:
    """Walmart's own request schemas, compiled once."""
    return BodyChecks()


class LoopTime:
    """Stands in for the `time` module: of the simulated Walmart, and of each process with its own wall clock."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def time(self) -> float:
        """Epoch seconds, as the process that asks believes; the truth outside of processes."""
        process = PROCESS.get()
        return START + self._loop.time() - 1_000 + (process.clock_ahead_s if process is not None else 0.0)

    def monotonic(self) -> float:
        """Loop seconds."""
        return self._loop.time()

    now = time
    perf_counter = monotonic


@contextmanager
def on_loop_time(clock: LoopTime) -> Iterator[None]:
    """The simulated Walmart lives on this clock."""
    with ExitStack() as stack:
        for module in (world_module, services, budget, gateway, sellers):
            stack.enter_context(patch.object(module, "time", clock))
        yield


@dataclass
class Weather:
    """Chances per call, and what is possible at all."""

    faults: float = 0.0
    kinds: tuple[str, ...] = ()
    lag_s: float = 0.0
    """Reads may show an order as it was up to so many seconds ago."""
    slow: float = 0.0


@dataclass
class Effect:
    """Units moved at Walmart by a call of the worker's."""

    order: str
    kind: EffectKind
    lines: list[LineEffect]
    event: str
    """The event in whose attempt the call was made."""
    process: Process | None
    at: float
    called_at: float


class _Wire:
    """What a GuardedBody is written to."""

    class _Transport:
        @staticmethod
        def is_closing() -> bool:
            return False

    transport = _Transport()

    def __init__(self) -> None:
        self.content = b""

    async def write(self, chunk: bytes) -> None:
        self.content += chunk


@dataclass
class FakeWalmart:
    """Answers `exchange`."""

    loop: VirtualLoop
    chance: random.Random
    history: History
    call_timeout_s: float
    weather: Weather = field(default_factory=Weather)
    outages: dict[str, tuple[float, str]] = field(default_factory=dict)
    """Account -> loop time until which it is out, and how: `refused`, `503`, `401`, `403`, `429`, `silent`."""
    effects: list[Effect] = field(default_factory=list)
    calls: int = 0
    plan: BudgetPlan = field(default_factory=BudgetPlan)

    def __post_init__(self) -> None:
        self.world = World(Journal(None, keep=False))
        self.budgets = Budgets(self.plan, self.world, self.loop, self.chance, self.history)
        self._serving: tuple[str, Process | None, float] = ("", None, 0.0)
        change = self.world.change

        def recorded(order: Order, kind: EffectKind, lines: list[LineEffect], *, by: str, **more: Any) -> None:
            change(order, kind, lines, by=by, **more)
            event, process, called_at = self._serving
            told = ", ".join(
                f"{line['quantity']} of line {line['line_number']} {line.get('tracking_number', '')}".rstrip()
                for line in lines
            )
            self.history.add(f"EFFECT {kind} {order.purchase_order_id}: {told} (call of {process}, {event})", "walmart")
            if by == "api" and kind != "acknowledged":
                self.effects.append(
                    Effect(order.purchase_order_id, kind, list(lines), event, process, self.loop.time(), called_at)
                )

        self.world.change = recorded  # type: ignore[method-assign,assignment]

    # -- the call

    async def exchange(
        self,
        session: object,
        method: str,
        url: URL,
        *,
        headers: Mapping[str, str],
        body: GuardedBody | None,
        timeout: object,
    ) -> Reply | NoReply:
        """As `worker.walmart.exchange.exchange`."""
        del session, timeout
        try:
            async with asyncio.timeout(self.call_timeout_s):
                return await self._exchange(method, url, headers, body)
        except TimeoutError:
            return NoReply(body.written if body is not None else True, "no answer within the call's time")
        finally:
            if body is not None:
                body.give_up()

    async def _exchange(
        self, method: str, url: URL, headers: Mapping[str, str], body: GuardedBody | None
    ) -> Reply | NoReply:
        chance, weather = self.chance, self.weather
        self.calls += 1
        account = url.host or ""
        fault = self._fault(account)
        await asyncio.sleep(chance.choice((0.0, 0.001, 0.02)))  # finding or making a connection
        if fault == "refused":
            self._tell(fault, method, url)
            return NoReply(False, "could not connect")
        if fault == "slow_connect":
            self._tell(fault, method, url)
            await asyncio.sleep(chance.uniform(0.2, 1.1) * self.call_timeout_s)
        wire = _Wire()
        deadline: float | None = None
        if body is not None:
            deadline = body._deadline
            try:
                await body.write_with_length(wire, None)  # type: ignore[arg-type]
            except NotWrittenError:
                self.history.count("too late to be written")
                return NoReply(False, "the deadline for sending had passed")
        answer: asyncio.Future[Answer | None] = self.loop.create_future()
        call = (method, url, CIMultiDict(headers), wire.content, EVENT.get(), PROCESS.get(), self.loop.time())
        # A deadline is a time on the clock of the process that set it.
        left_s = 0.0 if body is None or deadline is None else max(0.0, deadline - body._clock.now())
        delay = chance.choice((0.005, 0.02, 0.1, 0.3))
        if fault is not None and fault != "slow_connect":
            self._tell(fault, method, url)
        elif chance.random() < weather.slow:
            self.history.count("slow calls")
            delay = chance.uniform(0.5, 1.2) * self.call_timeout_s
        if fault == "late_effect" and deadline is not None:
            # The connection breaks; what was sent arrives all the same, at the latest at its deadline.
            self.loop.in_world(chance.choice((0.0, 0.1)), _resolve, answer, None)
            delay = chance.uniform(0.0, left_s)
        elif deadline is not None:
            delay = min(delay, left_s)
        self.loop.in_world(delay, self._arrives, answer, fault, call)
        served = await answer
        if served is None:
            return NoReply(True, "the connection broke", broken=True)
        answered_at = datetime.fromtimestamp(int(START + self.loop.time() - 1_000), UTC)
        told = {"Date": format_datetime(answered_at, usegmt=True), **(served.headers or {})}
        return Reply(served.status, CIMultiDict(told), served.body)

    def _fault(self, account: str) -> str | None:
        until, how = self.outages.get(account, (0.0, ""))
        if self.loop.time() < until:
            return "outage_" + how if how != "refused" else "refused"
        if self.chance.random() < self.weather.faults and self.weather.kinds:
            return self.chance.choice(self.weather.kinds)
        return None

    def _tell(self, fault: str, method: str, url: URL) -> None:
        self.history.count(f"walmart: {fault}")
        self.history.add(f"fault {fault}: {method} {url.path}")

    def _arrives(self, answer: asyncio.Future[Answer | None], fault: str | None, call: tuple[Any, ...]) -> None:
        """At Walmart's door, outside of any process."""
        served = self._answered(fault, *call)
        if served is _SILENCE:
            return
        self.loop.in_world(self.chance.choice((0.001, 0.02, 0.1)), _resolve, answer, served)

    def _answered(
        self,
        fault: str | None,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        content: bytes,
        event: str,
        process: Process | None,
        called_at: float,
    ) -> Answer | None:
        found = route(method, url.raw_path_qs)
        if isinstance(found, Answer):
            return found
        match fault:
            case "dropped_before":
                return None
            case "silent" | "outage_silent":
                return _SILENCE
            case "outage_503" | "outage_401" | "outage_403" | "outage_429":
                return self._refusal(fault.removeprefix("outage_"), found.operation)
            case "503" | "500" | "401" | "403" | "423" | "html" | "429" | "429_bare":
                return self._refusal(fault, found.operation)
            case "bare_400" if found.operation != "token":
                return in_envelope(error_of_status(400), "bare")
        self._serving = (event, process, called_at)
        served = self._served(found, headers, url, content)
        if served.ok:
            match fault:
                case "dropped_after" | "late_effect":
                    return None
                case "silent_after":
                    return _SILENCE
                case "500_after" if found.operation != "token":
                    return Answer(500, b'{"error":[{"code":"SYSTEM_ERROR.GMP_ORDER_API"}]}')
                case "garbage_after":
                    return Answer(200, self.chance.choice((b"{}", b"<html>", b"", b'{"order":')))
        return served

    def _refusal(self, how: str, operation: str) -> Answer:
        if operation == "token":
            status = {"401": 400, "403": 400, "423": 503, "html": 502, "429_bare": 429}.get(how) or int(how)
            return in_envelope(error_of_status(status), "bare")
        if how == "html":
            return in_envelope(error_of_status(502), "html")
        if how in ("429", "429_bare"):
            headers = {}
            if how == "429":
                at_ms = int((START + self.loop.time() - 1_000 + self.chance.uniform(0.5, 6.0)) * 1000)
                headers = {"X-Current-Token-Count": "0", "X-Next-Replenishment-Time": str(at_ms)}
            return Answer(429, in_envelope(error_of_status(429), "gateway").body, headers=headers)
        envelopes: tuple[Envelope, ...] = ("orders", "gateway", "generic")
        return in_envelope(error_of_status(int(how)), self.chance.choice(envelopes))

    def _served(self, found: Route, headers: Mapping[str, str], url: URL, content: bytes) -> Answer:
        world = self.world
        call = Call(
            found.operation,
            found.purchase_order_id,
            found.sku or url.query.get("sku"),
            headers,
            dict(url.query),
            content,
            gateway.seller_shown(world, found.operation, headers),
        )
        if found.operation == "token":
            return gateway.issue_token(world, call)
        refusal, more = gateway.admit(world, call)
        if more and call.seller is not None:
            more = self.budgets.answered(
                call.seller.client_id, found.operation, more, refused=refusal is not None and refusal.status == 429
            )
        if refusal is not None:
            return Answer(refusal.status, refusal.body, refusal.content_type, {**(refusal.headers or {}), **more})
        if found.operation == "get_order" and self.weather.lag_s:
            seconds = self.chance.choice((0.0, self.chance.uniform(0, self.weather.lag_s), self.weather.lag_s))
            if seconds:
                self.history.count("lagging reads")
                world.faults.add(FaultSpec(kind="read_lag", times=1, seconds=seconds, operation="get_order"))
        served = services.serve(world, checks(), call)
        if more:
            served = Answer(served.status, served.body, served.content_type, {**(served.headers or {}), **more})
        return served


_SILENCE: Final = Answer(0, b"")


def _resolve(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)
