"""An account whose calls are judged by the simulated Walmart's own rules, in this process and on a hand-made clock."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from unittest.mock import patch

import orjson

from schemas.walmart.order import Order, read_order
from worker.sandbox.walmart import services
from worker.sandbox.walmart import world as world_module
from worker.sandbox.walmart.answers import Answer
from worker.sandbox.walmart.bodies import BodyChecks
from worker.sandbox.walmart.calls import Call
from worker.sandbox.walmart.foreign import change_order
from worker.sandbox.walmart.journal import Journal
from worker.sandbox.walmart.orders import LEFT, EffectKind, LineEffect
from worker.sandbox.walmart.orders import Order as TrueOrder
from worker.sandbox.walmart.rendering import order_json
from worker.sandbox.walmart.specs import Change, FaultSpec, LineChange, NewOrder, Operation, SellerSpec
from worker.sandbox.walmart.world import World
from worker.walmart.answer import CallError, CallKind, Done
from worker.walmart.error_reading import read_error

SELLER = "seller"
OWN_KINDS = ("shipped", "corrected", "cancelled")


class CrashedError(Exception):
    """The worker dies here."""


class HandTime:
    """Stands in for the `time` module of the simulation, and is the worker's clock."""

    def __init__(self, start: float) -> None:
        self.seconds = start
        self.later: list[tuple[float, Callable[[], object]]] = []

    def time(self) -> float:
        return self.seconds

    def now(self) -> float:
        return self.seconds

    def monotonic(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        """Go on; what was to happen meanwhile happens."""
        end = self.seconds + seconds
        while self.later:
            self.later.sort(key=lambda each: each[0])
            at, act = self.later[0]
            if at > end:
                break
            del self.later[0]
            self.seconds = max(self.seconds, at)
            act()
        self.seconds = end


@contextmanager
def on_hand_time(clock: HandTime) -> Iterator[None]:
    """The simulation lives on this clock."""
    with patch.object(world_module, "time", clock), patch.object(services, "time", clock):
        yield


@cache
def checks() -> BodyChecks:
    """Walmart's own request schemas, compiled once."""
    return BodyChecks()


@dataclass(frozen=True)
class Weather:
    """What may go wrong, as chances per call."""

    faults: float = 0.0
    bare: bool = False
    """A 400 without a cause is among the faults."""
    crashes: bool = False
    late: bool = False
    """A call whose connection broke may still have its effect, up to ten seconds later."""
    lag: float = 0.0
    """Reads show an order as it was up to so many seconds ago."""
    ignored: bool = False
    """A 200 may leave a line out."""


@dataclass
class Effect:
    """Units that a call of ours, or somebody else, has moved."""

    kind: EffectKind
    by: str
    lines: list[LineEffect]
    owner: str
    """The event whose call it was."""


@dataclass
class Account:
    """Implements `OrdersApi` for one order."""

    clock: HandTime
    chance: random.Random
    spec: NewOrder
    weather: Weather = field(default_factory=Weather)

    def __post_init__(self) -> None:
        self.world = World(Journal(None, keep=False))
        self.world.add_seller(SellerSpec(client_id=SELLER, client_secret="secret", unlimited=True))
        (self.id,) = self.world.add_orders([self.spec])
        self.effects: list[Effect] = []
        self.calls: list[str] = []
        self.calm = False
        self.owner = self._served = ""
        self.causeless = 0
        change = self.world.change

        def recorded(order: TrueOrder, kind: EffectKind, lines: list[LineEffect], *, by: str, **more: Any) -> None:
            change(order, kind, lines, by=by, **more)
            self.effects.append(Effect(kind, by, list(lines), self._served))

        self.world.change = recorded  # type: ignore[method-assign,assignment]

    @property
    def true(self) -> TrueOrder:
        return self.world.orders[self.id]

    def own(self) -> list[Effect]:
        """What calls of ours did to units (an acknowledgement does nothing)."""
        return [effect for effect in self.effects if effect.by == "api" and effect.kind in OWN_KINDS]

    @property
    def status(self) -> str:
        lines = self.true.lines.values()
        shipped = any(line.units(*LEFT) for line in lines)
        if any(line.open for line in lines):
            return "partially_shipped" if shipped else "open"
        return "shipped" if shipped else "cancelled"

    def quirk(self, **spec: Any) -> None:
        self.world.faults.add(FaultSpec(**spec))

    def changed(self, kind: str, **line: Any) -> None:
        """Somebody else changes the order."""
        lines = (LineChange(**line),) if line else None
        change_order(self.world, self.true, Change(kind=kind, lines=lines))

    # -- OrdersApi

    async def get_order(self, purchase_order_id: str) -> Order | CallError:
        return self._answer("get_order", None, None)

    async def acknowledge(self, purchase_order_id: str) -> Order | CallError:
        return self._answer("acknowledge", None, self.clock.now() + 10)

    async def ship(self, purchase_order_id: str, body: dict[str, object], *, deadline: float) -> Order | CallError:
        assert deadline > self.clock.now()
        return self._answer("ship", body, deadline)

    async def cancel(self, purchase_order_id: str, body: dict[str, object], *, deadline: float) -> Order | CallError:
        assert deadline > self.clock.now()
        return self._answer("cancel", body, deadline)

    async def put_inventory(self, sku: str, quantity: int, ship_node: str | None) -> Done | CallError:
        return Done()

    # -- how a call goes

    def _answer(
        self, operation: Operation, body: dict[str, object] | None, deadline: float | None
    ) -> Order | CallError:
        self.calls.append(operation)
        chance, weather = self.chance, self.weather
        self.clock.advance(chance.choice((0.05, 0.2, 1.0)))
        fault = None
        if not self.calm and chance.random() < weather.faults:
            faults = ["not_sent", "429", "401", "423", "503", "timeout", "reset"]
            faults += ["bare"] if weather.bare and self.causeless < 3 else []
            faults += ["crash", "crash_after"] if weather.crashes else []
            if operation != "get_order":
                faults += ["lost", "lost", "unreadable", "500_after"]
                faults += ["old_answer"]
                faults += ["late", "late"] if weather.late else []
                faults += ["ignored"] if weather.ignored else []
            fault = chance.choice(faults)
        unknown = CallError(CallKind.UNKNOWN, "no answer")
        match fault:
            case "not_sent":
                return CallError(CallKind.NOT_SENT, "could not connect")
            case "429" | "401" | "423" | "503":
                code = {"429": "REQUEST_THRESHOLD_VIOLATED", "401": "UNAUTHORIZED", "423": "RESOURCE_IS_LOCKED"}
                return self._read(
                    Answer(int(fault), orjson.dumps({"error": [{"code": code.get(fault, "SYSTEM_ERROR")}]})), operation
                )
            case "bare":
                self.causeless += 1
                self.quirk(kind="bare_invalid_request", times=1)
            case "timeout":
                self.clock.advance(10)
                return unknown
            case "reset":
                return unknown
            case "crash":
                raise CrashedError
            case "late":
                assert deadline is not None
                at = self.clock.now() + chance.uniform(0, 10)
                owner = self.owner
                self.clock.later.append((at, lambda: self._serve(operation, body, owner)))
                return unknown
            case "ignored":
                if operation in ("ship", "cancel"):
                    number = chance.choice(sorted(self.true.lines))
                    self.quirk(kind="line_ignored", times=1, line_number=number)
        before = self.clock.now()
        if operation == "get_order" and weather.lag and not self.calm:
            self.quirk(
                kind="read_lag", times=1, seconds=chance.choice((0.0, chance.uniform(0, weather.lag), weather.lag))
            )
        answer = self._serve(operation, body)
        if fault == "crash_after":
            raise CrashedError
        if fault in ("lost", "unreadable", "500_after") and answer.ok:
            if fault == "lost":
                self.clock.advance(chance.choice((0.0, 10.0)))
                return unknown
            return self._read(Answer(500 if fault == "500_after" else 200, b"{}"), operation)
        if fault == "old_answer" and answer.ok:
            return read_order(order_json(self.true, as_of=before - 0.001))
        return self._read(answer, operation)

    def _serve(self, operation: Operation, body: dict[str, object] | None, owner: str | None = None) -> Answer:
        self._served = self.owner if owner is None else owner
        seller = self.world.sellers[SELLER]
        content = b"" if body is None else orjson.dumps(body)
        answer = services.serve(self.world, checks(), Call(operation, self.id, None, {}, {}, content, seller))
        self.clock.seconds += 0.001  # no two effects at one time
        return answer

    def _read(self, answer: Answer, operation: Operation) -> Order | CallError:
        if answer.ok:
            try:
                return read_order(orjson.loads(answer.body))
            except ValueError:
                pass
        return read_error(answer.status, {}, answer.body, operation, now=self.clock.now())  # type: ignore[arg-type]
