"""What Walmart's answers mean for the gates: which gate an event stands behind, and when one closes or opens.

    account:NAME                 401, no token: at once; paused; slow while its first token is asked for
    account:NAME/read, /ship, …  429: slow until told; 403: closed; 5xx, timeouts: closed after several different orders
    store:NAME                   paused
    worker                       shut by a run of unexpected exceptions

A gate's reason is an error code. An account has gates from its first event on, not before. Those of endpoint groups are
rationed: Walmart counts the calls of each seller and endpoint, and every answer tells what is left.
"""

from __future__ import annotations

import random
from collections.abc import Container
from typing import Final

import structlog

from worker.clock import Clock
from worker.delivery import Delivery
from worker.lanes.budget import Budget
from worker.lanes.gates import Gates
from worker.settings import AccountSettings, Settings
from worker.walmart.answer import CallKind
from worker.walmart.call_report import CallReport, Operation

log = structlog.get_logger()

WORKER: Final = "worker"
SEVERAL: Final = 3
"""So many different orders fail in a row, without a success between, before a gate closes: one order that Walmart
cannot serve must not stop its account."""
THROTTLED_S: Final = 1.0
"""A 429 without headers: buckets of 60 a minute refill one call a second."""

TOKEN_WAIT_S: Final = 60.0
"""How long an account's gate waits for its token without hearing of it: beyond the longest queue for one."""
STARTING: Final = "not_started"
"""Reason of an account's gate while its token is asked for: nothing is wrong."""

_GROUPS: Final[dict[Operation, str]] = {
    "get_order": "read",
    "ship": "ship",
    "cancel": "cancel",
    "acknowledge": "acknowledge",
    "put_inventory": "inventory",
    "token_detail": "token",
    "token": "token",
}
"""Operation -> endpoint group: Walmart counts each on its own."""
_UNCOUNTED: Final = frozenset({"token", "token_detail"})
"""Walmart publishes no limit for these."""


FLOW_S: Final = 30.0
"""What an account's budget lets through in so many seconds may be in memory: it is its turn soon."""


def account_gate(account: str) -> str:
    """Name of the gate of an account as a whole."""
    return f"account:{account}"


def call_gate(account: str, call: str) -> str:
    """Name of the gate of one endpoint group of an account. `call`: an operation of the client."""
    return f"account:{account}/{_GROUPS.get(call, call)}"  # type: ignore[call-overload]


def account_and_group(name: str) -> tuple[str, str]:
    """Of a gate that `call_gate` named."""
    account, _, group = name.removeprefix("account:").rpartition("/")
    return account, group


class Gatekeeper:
    """Tells the gates what was seen, and rations them."""

    def __init__(self, gates: Gates, settings: Settings, random_source: random.Random, clock: Clock) -> None:
        self.gates = gates
        self.random = random_source
        self._clock = clock
        self._share = 1.0
        self._failed: dict[str, set[str]] = {}
        """Gate -> subjects that failed since a call behind it worked."""
        self._names: dict[tuple[str, str], tuple[str, ...]] = {}
        self.configure(settings)

    def configure(self, settings: Settings) -> None:
        """Take new settings: shut what is paused, open what no longer is, forget what is gone."""
        self._settings = settings
        known = list(self._names)
        self._names.clear()
        for name, budget in list(self.gates.rations.by_name().items()):
            account, group = account_and_group(name)
            owner = settings.accounts.get(account)
            if owner is None:
                self.gates.rations.give(name, None)
            else:
                self._set_rate(budget, owner, group)
                self.gates.rations.look_again(name)
        for view in self.gates.views():
            if not self._is_known(view.name):
                self.gates.open(view.name)
        self._failed = {name: failed for name, failed in self._failed.items() if self._is_known(name)}
        shut = {account_gate(name) for name, account in settings.accounts.items() if account.paused}
        shut |= {f"store:{name}" for name, store in settings.stores.items() if store.paused}
        for view in self.gates.views():
            if view.state == "shut" and view.name != WORKER and view.name not in shut:
                self.gates.open(view.name)
        for name in shut:
            self.gates.shut(name, "paused")
        self.gates.bound({})
        for store, kind in known:
            self.names_of(store, ships=kind == "ship")

    def _is_known(self, gate: str) -> bool:
        kind, _, name = gate.partition(":")
        if kind == "store":
            return name in self._settings.stores
        return gate == WORKER or name in self._settings.accounts or name.rpartition("/")[0] in self._settings.accounts

    def probe_soon(self, account: str, now: float) -> None:
        """Its keys have changed: what was closed for the old ones is probed at once."""
        self.gates.hasten(account_gate(account), now)
        for group in set(_GROUPS.values()):
            self.gates.hasten(f"{account_gate(account)}/{group}", now)

    def names(self, delivery: Delivery) -> tuple[str, ...]:
        """The gates a delivery's turn needs; what cannot be read, or has no store of ours, waits for nobody."""
        if delivery.event is None:
            return (WORKER,)
        return self.names_of(delivery.envelope.store or "", ships=delivery.envelope.shipment is not None)

    def names_again(self, delivery: Delivery, before: tuple[str, ...]) -> tuple[str, ...]:
        """The gates a delivery's turn needs now, and those of its account that it came to stand behind since."""
        names = self.names(delivery)
        below = tuple(f"{name}/" for name in names)
        return names + tuple(name for name in before if name.startswith(below) and name not in names)

    def names_of(self, store: str, *, ships: bool) -> tuple[str, ...]:
        """The gates of a store's shipments or cancellations."""
        kind = "ship" if ships else "cancel"
        known = self._names.get((store, kind))
        if known is None:
            settings = self._settings.stores.get(store)
            if settings is None:
                return (WORKER,)
            account = settings.account
            if len(self._settings.accounts) > 1:
                self.gates.bind(account_gate(account), self._settings.limits.max_in_flight_events_per_account)
            known = self._names[store, kind] = (
                WORKER,
                account_gate(account),
                f"store:{store}",
                call_gate(account, "get_order"),
                call_gate(account, kind),
            )
            for call in ("get_order", kind):
                self._budget(account, call)
        return known

    # -- budgets

    def set_share(self, share: float) -> None:
        """Take as much of every account's calls as is owned of all partitions, while all replicas want more."""
        self._share = min(1.0, share) if share > 0 else 1.0
        for name, budget in self.gates.rations.by_name().items():
            budget.share = self._share
            self.gates.rations.look_again(name)

    def begun(self, account: str, operation: Operation, subject: str) -> int:
        """A request is about to leave. Returns the ticket that its report brings back."""
        if operation in _UNCOUNTED:
            return 0
        self._budget(account, operation)
        return self.gates.rations.begun(call_gate(account, operation), subject, self._clock.now())

    def may_call(self, account: str, call: str, order: str, now: float) -> bool:
        """True if a call (an operation of the client) may be made now: reserved by this order's turn, or still left."""
        self._budget(account, call)
        return self.gates.rations.may_call(call_gate(account, call), order, now)

    def flow(self, names: tuple[str, ...], now: float) -> float:
        """Turns that the budgets behind these gates let begin within FLOW_S seconds."""
        budgets = [budget for name in names if (budget := self.gates.rations.get(name)) is not None]
        return min((budget.within(FLOW_S, now) for budget in budgets), default=float("inf"))

    def forget_idle(self, active: Container[str]) -> None:
        """Budgets of accounts without events, that were not used for long, need no memory. `active`: accounts."""
        now = self._clock.now()
        idle = {
            name
            for name, budget in self.gates.rations.by_name().items()
            if account_and_group(name)[0] not in active and budget.is_forgettable(now)
        }
        for name in idle:
            self.gates.rations.give(name, None)
        if idle:
            # Their next event makes them anew.
            self._names = {key: names for key, names in self._names.items() if idle.isdisjoint(names)}

    def _budget(self, account: str, call: str) -> None:
        name = call_gate(account, call)
        if self.gates.rations.get(name) is not None:
            return
        known = self._settings.accounts.get(account)
        if known is not None:
            rate = known.calls_per_minute(_GROUPS[call])  # type: ignore[index]
            self.gates.rations.give(name, Budget(rate / 60, rate, self._clock.now(), self._share))

    @staticmethod
    def _set_rate(budget: Budget, account: AccountSettings, group: str) -> None:
        rate = account.calls_per_minute(group)
        if rate / 60 != budget.rate:
            budget.set_rate(rate / 60, rate)

    # -- what was seen

    def observe(self, report: CallReport, now: float) -> None:
        """One request to Walmart was tried."""
        if report.account not in self._settings.accounts:
            # Removed from the settings while it ran: there is no gate any more.
            return
        account, gates = account_gate(report.account), self.gates
        own = account if report.operation == "token" else call_gate(report.account, report.operation)
        if report.operation not in _UNCOUNTED:
            left, refill_at, answered = report.budget_left, report.replenish_at, report.status is not None
            gates.rations.ended(own, report.ticket, now, left, refill_at, answered=answered)
        match report.kind:
            case None | CallKind.REFUSED:
                self._failed.pop(own, None)
                self._worked(own, now)
                if report.operation != "token":
                    # Its token is good, however its renewal fails.
                    self._failed.pop(account, None)
                    self._worked(account, now)
            case CallKind.REFUSED_WITHOUT_CAUSE:
                pass
            case CallKind.UNAUTHORIZED:
                missing = report.status == 403 and report.operation != "token"
                self._close(own if missing else account, "scope_missing" if missing else "credentials_rejected", now)
            case CallKind.THROTTLED:
                after = THROTTLED_S if report.retry_after_s is None else report.retry_after_s
                # A little later than told, and each worker at another moment.
                until = now + after * (1 + 0.1 * self.random.random())
                budget = gates.rations.get(own)
                if budget is not None:
                    budget.throttled(now, until)
                gates.slow(own, until, "throttled", now)
            case CallKind.NOT_SENT | CallKind.UNKNOWN:
                if report.too_late or report.cancelled:
                    return
                failed = self._failed.setdefault(own, set())
                failed.add(report.subject or report.correlation_id)
                if len(failed) >= SEVERAL or gates.state(own).state == "closed":
                    self._close(own, "walmart_unavailable", now)

    # -- tokens (implements worker.walmart.token.TokenWatch)

    def token_awaited(self, account: str, now: float) -> None:
        """Its events wait at the account's gate: waiting for a token would hold a slot of the worker."""
        name = account_gate(account)
        if self.gates.state(name).state == "open":
            self.gates.slow(name, now + TOKEN_WAIT_S, STARTING, now, starting=True)

    def token_settled(self, account: str) -> None:
        """What went wrong, if anything did, is observed after this."""
        view = self.gates.state(account_gate(account))
        if view.state == "slow" and view.reason == STARTING:
            self.gates.open(view.name)

    def token_put_off(self, account: str, now: float) -> None:
        """So is the next probe: each would take a turn to hear the same."""
        view = self.gates.state(account_gate(account))
        if view.state == "closed":
            self._close(view.name, view.reason, now)

    def _worked(self, name: str, now: float) -> None:
        before = self.gates.state(name)
        self.gates.worked(name, now)
        if before.state == "closed" and self.gates.state(name).state == "open":
            log.info("gate_opened", gate=name, reason=before.reason, after_seconds=round(now - before.since, 1))

    def _close(self, name: str, reason: str, now: float) -> None:
        view = self.gates.state(name)
        if view.state == "shut" or (view.state == "closed" and now < view.next_at):
            # Calls that were under way when it closed are no probes.
            return
        if view.state != "closed":
            log.warning("gate_closed", gate=name, reason=reason)
        self._failed.pop(name, None)
        wait = self._settings.timing.probe_seconds * (0.8 + 0.4 * self.random.random())
        self.gates.close(name, reason, now + wait, now)

    def note_bugs(self, in_row: int, limit: int) -> bool:
        """Shut everything after a run of unexpected exceptions; open it when something came through. True: changed."""
        shut = self.gates.state(WORKER).state == "shut"
        if in_row >= limit and not shut:
            self.gates.shut(WORKER, "internal")
            return True
        if not in_row and shut:
            self.gates.open(WORKER)
            return True
        return False

    def held_at(self, delivery: Delivery, now: float) -> tuple[str, int] | None:
        """(reason, failed probes) of the gate that holds a delivery; None where none does."""
        name = self.gates.admits(self.names(delivery), now)
        if name is None:
            return None
        view = self.gates.state(name)
        if self.gates.why(name, now) == "budget":
            return "throttled", 0
        return view.reason or "not_started", view.probes
