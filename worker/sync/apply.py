"""Apply: one attempt after the other makes Walmart's order agree with an event."""

from __future__ import annotations

from collections.abc import Mapping

from worker.clock import Clock
from worker.delivery import Delivery, Event
from worker.errors import Failure
from worker.outcome import Again, Outcome, Progress, Trouble
from worker.settings import Settings
from worker.sync.attempt import Attempt
from worker.sync.doors import Budgets, Corrections, Fence, Guard, MemoryCorrections, NoBudgets, NoFence, RefusingGuard
from worker.sync.inventory import Inventory
from worker.sync.room import Room
from worker.sync.rules import Rules
from worker.sync.saved import SavedAnswers
from worker.sync.snapshot import OrderMemory
from worker.sync.verdict import operation_of, refused, told
from worker.walmart.answer import OrdersApi


class Sync:
    """The mission. `apis`: one per Walmart account, by the account's name."""

    def __init__(
        self,
        apis: Mapping[str, OrdersApi],
        settings: Settings,
        clock: Clock,
        corrections: Corrections | None = None,
        fence: Fence | None = None,
        guard: Guard | None = None,
        budgets: Budgets | None = None,
    ) -> None:
        budgets = budgets or NoBudgets()
        self._room = Room(
            settings,
            clock,
            corrections or MemoryCorrections(),
            fence or NoFence(),
            guard or RefusingGuard(),
            Inventory(clock, budgets),
            OrderMemory(settings.timing.read_lag_seconds),
            budgets,
            SavedAnswers(settings.timing.order_fresh_seconds),
        )
        self.configure(apis, settings)

    def configure(self, apis: Mapping[str, OrdersApi], settings: Settings) -> None:
        """Take new settings; an attempt that is under way keeps its store's rules."""
        self._apis = apis
        self._room.settings = settings
        self._room.orders.keep_seconds = settings.timing.read_lag_seconds
        self.forget_answers()
        self._rules = {
            name: Rules.of(name, store, settings.accounts[store.account]) for name, store in settings.stores.items()
        }

    def forget_answers(self) -> None:
        """Orders may be changed by another worker from now on (their partitions are given away): read them again."""
        # A new memory: what an attempt that is under way keeps of the earlier owner's, or seller's, order is not seen.
        self._room.saved = SavedAnswers(self._room.settings.timing.order_fresh_seconds)

    def let_go(self) -> None:
        """The partitions are given away: others change the orders from now on."""
        self.forget_answers()
        self._room.orders.doubt()

    async def attempt(self, event: Event, progress: Progress, delivery: Delivery | None = None) -> Outcome:
        """One try at one event; the caller sees to it that an order has one at a time.

        `delivery` is handed on to the fence, the guard and the markers, and gives the event's time where `ce_time` is
        absent. What happens is told in `progress.story`, the outcome last.
        """
        outcome = await self._attempt(event, progress, delivery)
        progress.story.add(self._room.clock.now(), told(outcome))
        return outcome

    async def _attempt(self, event: Event, progress: Progress, delivery: Delivery | None) -> Outcome:
        data = event.data
        rules = self._rules.get(data.store)
        if rules is None:
            return refused(data, Failure("store_unknown", f"store {data.store} is not in the settings"))
        api = self._apis.get(rules.account)
        if api is None:
            failure = Failure("not_ready", f"account {rules.account} is not connected")
            return Again(Trouble.OURS, failure, operation=operation_of(data))
        return await Attempt(self._room, api, rules, event, progress, delivery).run()
