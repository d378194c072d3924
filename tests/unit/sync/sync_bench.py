"""Short ways to say an event, an order and a try; a fake account in front of the tiny Walmart."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sync_model import ORDERED_AT, PO, RefusedError, Walmart

from schemas.events import ORDER_CANCELLED_TYPE, ORDER_SHIPPED_TYPE, OrderCancelled, OrderShipped
from schemas.walmart.order import Order
from worker.delivery import Event
from worker.errors import WalmartError
from worker.outcome import Again, Outcome, Progress, Trouble, Verdict
from worker.settings import Settings
from worker.sync.apply import Sync
from worker.sync.calls import Memory, Plan, Superseded
from worker.sync.plan import never_corrected, plan
from worker.sync.rules import Rules
from worker.sync.verdict import planned_requests
from worker.walmart.answer import CallError, CallKind, Done

NOW = ORDERED_AT + 3_600.0
A, B, C = "1Z999AA10123456784", "9405511899223197428490", "PKG3"
OUT_OF_STOCK = {"text": "The item is out of stock"}


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def item(where: str, quantity: int = 1, total: int | None = None) -> dict[str, Any]:
    """`"1"`: line 1; `"sku:A"`: SKU A."""
    sku = where.removeprefix("sku:")
    address = {"sku": sku} if sku != where else {"line_number": where}
    return {**address, "quantity": quantity, "tracking_total": total}


def package(number: str | None, *items: dict[str, Any], carrier: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "carrier": carrier or {"code": "ups"},
        "tracking_number": number,
        "items": list(items) or None,
        **more,
    }


def shipped(*packages: dict[str, Any], **more: Any) -> OrderShipped:
    return OrderShipped.model_validate(
        {
            "store": "main_store",
            "purchase_order_id": PO,
            "commerce_order_id": "000000123",
            "shipment_id": "000000045",
            "shipped_at": iso(NOW - 60),
            "packages": list(packages),
            **more,
        }
    )


def gone(where: str, cancelled: int, shipped_total: int = 0) -> dict[str, Any]:
    sku = where.removeprefix("sku:")
    address = {"sku": sku} if sku != where else {"line_number": where}
    return {**address, "cancelled_total": cancelled, "shipped_total": shipped_total}


def cancelled(*items: dict[str, Any], **more: Any) -> OrderCancelled:
    return OrderCancelled.model_validate(
        {
            "store": "main_store",
            "purchase_order_id": PO,
            "commerce_order_id": "000000123",
            "cancelled_at": iso(NOW - 30),
            "reason": OUT_OF_STOCK,
            "items": list(items) or None,
            **more,
        }
    )


def settings(store: dict[str, Any] | None = None, account: dict[str, Any] | None = None, **timing: float) -> Settings:
    return Settings.model_validate(
        {
            "accounts": {"main": {"client_id": "id", "client_secret_file": "secret", **(account or {})}},
            "stores": {"main_store": {"account": "main", **(store or {})}},
            "timing": timing,
        }
    )


def rules(store: dict[str, Any] | None = None, account: dict[str, Any] | None = None) -> Rules:
    tree = settings(store, account)
    return Rules.of("main_store", tree.stores["main_store"], tree.accounts["main"])


def made(
    data: OrderShipped | OrderCancelled,
    walmart: Walmart,
    *,
    store: dict[str, Any] | None = None,
    account: dict[str, Any] | None = None,
    superseded: Superseded = never_corrected,
    memory: Memory | None = None,
    now: float = NOW,
    at: float = NOW - 60,
) -> Plan:
    """The plan of an event against an order."""
    return plan(
        data,
        walmart.order(),
        rules(store, account),
        now,
        at=at,
        superseded=superseded,
        memory=memory or Memory(),
    )


def run(data: OrderShipped | OrderCancelled, walmart: Walmart, **more: Any) -> Plan:
    """Plan, send everything planned, and plan again until nothing is left; returns the last plan."""
    memory = Memory()
    for _ in range(50):
        step = made(data, walmart, memory=memory, **more)
        if not step.calls:
            return step
        request = planned_requests(step, PO)[0]
        path = request.path.rsplit("/", 1)[-1]
        if path == "acknowledge":
            memory.acknowledged = True
        try:
            walmart.post(path, request.body)
        except RefusedError:
            if path != "acknowledge":
                raise
    raise AssertionError("the plan never ends")


def codes(step: Plan) -> list[str]:
    return sorted(problem.code for problem in step.problems)


def warned(step: Plan | Verdict) -> set[str]:
    return {warning.code for warning in step.warnings}


def fates(step: Plan) -> dict[tuple[str | None, str | None, str], int]:
    """(line, number as told, fate) -> units."""
    told: dict[tuple[str | None, str | None, str], int] = {}
    for each in step.lines:
        key = (each.line_number, each.tracking_number, each.fate)
        told[key] = told.get(key, 0) + each.quantity
    return told


class HandClock:
    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> float:
        return self.time


Fault = Callable[["FakeApi", str], CallError | None]


def refused(text: str, field: str | None = "data") -> CallError:
    error = WalmartError("INVALID_REQUEST_CONTENT.GMP_ORDER_API", field, text)
    return CallError(CallKind.REFUSED, text, 400, (error,))


class FakeApi:
    """An account whose calls fail as told. `faults`: per path, one per call, in turn.

    `lost`: the call works and the answer is lost. `dropped`: neither. `late`: an unchanged order is answered.
    A CallError is answered as it is, with nothing done. None: the call goes well.
    """

    def __init__(self, walmart: Walmart, clock: HandClock, lag: float = 0.0) -> None:
        self.walmart, self.clock, self.lag = walmart, clock, lag
        self.faults: dict[str, list[Any]] = {}
        self.calls: list[str] = []
        self.bodies: list[Any] = []
        self.stock: dict[tuple[str, str | None], int] = {}
        self.history: list[tuple[float, Order]] = [(float("-inf"), walmart.order())]
        self.before_write: Callable[[str], None] | None = None
        self.read_seconds = 0.0
        """How long a read takes: it shows the order as it was when it was asked for."""

    def changed(self) -> None:
        """Somebody changed the order: reads show it after the lag."""
        self.history.append((self.clock.now(), self.walmart.order()))

    async def get_order(self, purchase_order_id: str) -> Order | CallError:
        self.calls.append("get")
        fault = self._fault("get")
        if isinstance(fault, CallError):
            return fault
        seen = [order for at, order in self.history if at <= self.clock.now() - self.lag]
        self.clock.time += self.read_seconds
        return seen[-1]

    async def acknowledge(self, purchase_order_id: str) -> Order | CallError:
        return await self._post("acknowledge", None)

    async def ship(self, purchase_order_id: str, body: dict[str, object], *, deadline: float) -> Order | CallError:
        assert deadline > self.clock.now()
        return await self._post("shipping", body)

    async def cancel(self, purchase_order_id: str, body: dict[str, object], *, deadline: float) -> Order | CallError:
        assert deadline > self.clock.now()
        return await self._post("cancel", body)

    async def put_inventory(self, sku: str, quantity: int, ship_node: str | None) -> Done | CallError:
        self.calls.append("inventory")
        fault = self._fault("inventory")
        if isinstance(fault, CallError):
            return fault
        self.stock[sku, ship_node] = quantity
        return Done()

    async def _post(self, path: str, body: Any) -> Order | CallError:
        self.calls.append(path)
        self.bodies.append(body)
        if self.before_write is not None:
            self.before_write(path)
        fault = self._fault(path)
        if isinstance(fault, CallError):
            return fault
        unknown = CallError(CallKind.UNKNOWN, "timed out")
        if fault == "dropped":
            return unknown
        before = self.walmart.order()
        try:
            self.walmart.post(path, body)
        except RefusedError as error:
            return refused(str(error))
        self.changed()
        if fault == "lost":
            return unknown
        return before if fault == "late" else self.walmart.order()

    def _fault(self, path: str) -> Any:
        waiting = self.faults.get(path)
        return waiting.pop(0) if waiting else None


class Bench:
    """A worker's mission room with one account."""

    def __init__(self, walmart: Walmart, *, lag: float = 0.0, tree: Settings | None = None, **more: Any) -> None:
        self.walmart = walmart
        self.clock = HandClock()
        self.api = FakeApi(walmart, self.clock, lag)
        self.settings = tree or settings()
        self.sync = Sync({"main": self.api}, self.settings, self.clock, **more)
        self.progress = Progress()

    def restarted(self) -> None:
        """Another process takes over: nothing of this one's memory is left."""
        self.sync = Sync({"main": self.api}, self.settings, self.clock)
        self.progress = Progress()

    def story(self) -> list[str]:
        """What was told, without times and durations."""
        return [re.sub(r" in \d+\.\d+ s", "", what) for _, what in self.progress.story.steps()]

    async def attempt(self, data: OrderShipped | OrderCancelled, *, time: float | None = NOW - 60) -> Outcome:
        self.progress.attempts += 1
        outcome = await self.sync.attempt(event_of(data, time), self.progress)
        assert not self.progress.posting
        if isinstance(outcome, Again):
            self.progress.failed_tries += 1
        return outcome

    async def settle(
        self, data: OrderShipped | OrderCancelled, *, time: float | None = NOW - 60, tries: int = 60
    ) -> Verdict:
        """Try until there is a verdict, as a lane would."""
        for _ in range(tries):
            outcome = await self.attempt(data, time=time)
            if isinstance(outcome, Verdict):
                return outcome
            assert outcome.trouble is not Trouble.SHIPMENTS, "it waits for shipments"
            self.clock.time += outcome.after_s if outcome.after_s is not None else 1.0
        raise AssertionError("no verdict")

    async def next_event(self, data: OrderShipped | OrderCancelled, **more: Any) -> Verdict:
        self.progress = Progress()
        return await self.settle(data, **more)


def event_of(data: OrderShipped | OrderCancelled, time: float | None = NOW - 60) -> Event:
    kind = ORDER_SHIPPED_TYPE if isinstance(data, OrderShipped) else ORDER_CANCELLED_TYPE
    return Event("/commerce", "event-1", kind, time, data)


class Purse:
    """Budgets that have so many calls left of the named operations (others: any number), asked in turn."""

    def __init__(self, **left: int) -> None:
        self.left = left
        self.asked: list[tuple[str, str, str]] = []

    def may_call(self, account: str, call: str, order: str, now: float) -> bool:
        self.asked.append((account, call, order))
        if call not in self.left:
            return True
        self.left[call] -= 1
        return self.left[call] >= 0
