"""Inventory after a cancellation: absolute numbers, best effort, never an older one over a newer."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from schemas.events import InventoryLevel
from schemas.walmart.inventory import inventory_body
from worker.clock import Clock
from worker.outcome import InventoryOutcome, PlannedRequest, Progress, Warned
from worker.sync.calling import timed
from worker.sync.doors import Budgets
from worker.sync.reasons import OUT_OF_STOCK
from worker.sync.rules import Rules
from worker.walmart.answer import CallError, CallKind, OrdersApi

QUICK_TRIES: Final = 3
QUICK_WAIT_S: Final = 0.3
"""Doubles with each try. A longer wait that Walmart asks for is not waited for."""

BUDGET_LOOKS: Final = 8
BUDGET_LOOK_S: Final = 1.0
"""So often, and at most so long apart, it is asked whether the account's budget has a call left: about six seconds,
for the number is sent now or never."""

Place = tuple[str, str, str | None]
"""Account, SKU, ship node (None: the account's default node)."""


class _Shelf:
    __slots__ = ("lock", "newest")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.newest: float | None = None


class Inventory:
    """Sends inventory levels one at a time per place and remembers the newest `as_of` sent. Bounded."""

    def __init__(self, clock: Clock, budgets: Budgets, capacity: int = 50_000) -> None:
        self._clock = clock
        self._budgets = budgets
        self._capacity = capacity
        self._shelves: OrderedDict[Place, _Shelf] = OrderedDict()

    async def update(
        self,
        api: OrdersApi,
        rules: Rules,
        levels: Sequence[InventoryLevel],
        *,
        order: str,
        reason: str | None,
        max_age_s: float,
        progress: Progress,
    ) -> tuple[tuple[InventoryOutcome, ...], tuple[Warned, ...]]:
        """Send what is fresh. `order`: whose turn it is; `reason`: the cancel reason (US spelling).

        Never fails the event.
        """
        outcomes: list[InventoryOutcome] = []
        warnings: list[Warned] = []
        for level in levels:
            skip = self.skipped(rules, level, reason, max_age_s)
            outcome: InventoryOutcome
            warning: Warned | None
            if skip is not None:
                outcome, warning = skip
            else:
                shelf = self._shelf((rules.account, level.sku, level.ship_node))
                async with shelf.lock:
                    outcome, warning = await self._send(api, (rules.account, order), level, shelf, progress)
            outcomes.append(outcome)
            if warning is not None:
                warnings.append(warning)
        return tuple(outcomes), tuple(warnings)

    def skipped(
        self, rules: Rules, level: InventoryLevel, reason: str | None, max_age_s: float
    ) -> tuple[InventoryOutcome, Warned] | None:
        """Why a level is not to be sent, if it is not."""
        if reason == OUT_OF_STOCK and not rules.inventory_after_out_of_stock:
            why = (
                "Walmart set it out of stock with this reason;"
                f" stores.{rules.store}.inventory_after_out_of_stock is off"
            )
            return _skip(level, "out_of_stock_reason", why)
        age = self._clock.now() - level.as_of.timestamp()
        if age > max_age_s:
            return _skip(level, "stale", f"the number was true {age:.0f} s ago, more than {max_age_s:g} s")
        return None

    async def _send(
        self, api: OrdersApi, turn: tuple[str, str], level: InventoryLevel, shelf: _Shelf, progress: Progress
    ) -> tuple[InventoryOutcome, Warned | None]:
        as_of = min(level.as_of.timestamp(), self._clock.now())
        if shelf.newest is not None and as_of < shelf.newest:
            return _skip(level, "older_than_sent", "a newer number has been sent already")
        if not await self._budget(turn, progress):
            return _failed(level, "throttled: the account's budget of put_inventory calls is used up")
        shelf.newest = as_of
        wait = QUICK_WAIT_S
        why = ""
        for remaining in reversed(range(QUICK_TRIES)):
            progress.posting = True
            ask = f"PUT inventory {level.sku} {level.quantity}"
            sending = api.put_inventory(level.sku, level.quantity, level.ship_node)
            try:
                answer, _ = await timed(ask, sending, progress, self._clock)
            finally:
                progress.posting = False
            if not isinstance(answer, CallError):
                return InventoryOutcome(level.sku, level.ship_node, level.quantity, "updated"), None
            why = answer.message
            told = answer.retry_after_s
            final = answer.kind in (CallKind.REFUSED, CallKind.UNAUTHORIZED) or (told is not None and told > 1)
            if final or not remaining:
                break
            await asyncio.sleep(told if told is not None else wait)
            wait *= 2
            if not await self._budget(turn, progress):
                break
        return _failed(level, why)

    async def _budget(self, turn: tuple[str, str], progress: Progress) -> bool:
        """Wait a moment for a call of the account's budget; False: there is none."""
        account, order = turn
        wait, begun = QUICK_WAIT_S, self._clock.now()
        for look in range(BUDGET_LOOKS):
            if look:
                await asyncio.sleep(wait)
                wait = min(BUDGET_LOOK_S, wait * 2)
            if self._budgets.may_call(account, "put_inventory", order, self._clock.now()):
                break
        else:
            return False
        progress.waited_budget_s += max(0.0, self._clock.now() - begun)
        return True

    def _shelf(self, place: Place) -> _Shelf:
        shelf = self._shelves.get(place)
        if shelf is None:
            shelf = self._shelves[place] = _Shelf()
        self._shelves.move_to_end(place)
        while len(self._shelves) > self._capacity:
            oldest = next(iter(self._shelves))
            if self._shelves[oldest].lock.locked():
                break
            del self._shelves[oldest]
        return shelf


def planned(level: InventoryLevel) -> PlannedRequest:
    """The request observe mode tells of."""
    node = f"&shipNode={level.ship_node}" if level.ship_node else ""
    return PlannedRequest("PUT", f"/v3/inventory?sku={level.sku}{node}", inventory_body(level.sku, level.quantity))


def _failed(level: InventoryLevel, why: str) -> tuple[InventoryOutcome, Warned]:
    return (
        InventoryOutcome(level.sku, level.ship_node, level.quantity, "failed", why[:300]),
        Warned("inventory_failed", f"{level.sku}: {why[:300]}"),
    )


def _skip(level: InventoryLevel, reason: str, why: str) -> tuple[InventoryOutcome, Warned]:
    return (
        InventoryOutcome(level.sku, level.ship_node, level.quantity, "skipped", reason),
        Warned("inventory_skipped", f"{level.sku}: {why}"),
    )
