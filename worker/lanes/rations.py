"""The budgets behind gates: who has one, what it is told of calls, and when somebody waits for its next turn. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

from worker.lanes.budget import Budget

_SOON_S: Final = 0.002
"""Turns of a budget are not waited for more exactly than that."""


class Rations:
    """Budgets by the names of their gates; a gate without one admits as many turns as come.

    `turn` is called with a gate's name when its budget may admit a turn that it did not admit before; `wake_at` with a
    time (epoch seconds) and a gate's name, when somebody waits until then. `ring` is to be called at that time.
    """

    def __init__(self, turn: Callable[[str], None], wake_at: Callable[[float, str], None]) -> None:
        self._turn = turn
        self._wake_at = wake_at
        self._budgets: dict[str, Budget] = {}
        self._awaited: dict[str, float] = {}
        """Gate -> when its budget is believed to admit the next turn, where somebody waits for that.

        Infinite while only an answer can tell.
        """

    def __contains__(self, name: str) -> bool:
        return name in self._budgets

    def give(self, name: str, budget: Budget | None) -> None:
        """Let no more turns behind the gate begin than a budget has; None: as many as come."""
        if budget is not None:
            self._budgets[name] = budget
        else:
            self._budgets.pop(name, None)
        self.look_again(name)

    def look_again(self, name: str) -> None:
        """The budget is another, or has another rate or share: whoever waits for its next turn asks anew."""
        self._awaited.pop(name, None)
        self._turn(name)

    def get(self, name: str) -> Budget | None:
        """The gate's budget."""
        return self._budgets.get(name)

    def by_name(self) -> Mapping[str, Budget]:
        """All budgets, by the names of their gates. Not to be changed meanwhile."""
        return self._budgets

    # -- turns

    def admits(self, name: str, now: float) -> bool:
        """True if one more turn may begin behind the gate, as far as its budget goes."""
        budget = self._budgets.get(name)
        return budget is None or budget.admits(now)

    def took(self, name: str, subject: str) -> None:
        """A turn began: it may make one call."""
        if name in self._budgets:
            self._budgets[name].reserve(subject)

    def left(self, name: str, subject: str) -> None:
        """The turn ended: a call that it did not make is another's."""
        if name in self._budgets and self._budgets[name].release(subject):
            self._turn(name)

    # -- calls

    def may_call(self, name: str, subject: str, now: float) -> bool:
        """True if a call may go out for this subject: its turn has one left, or the budget has."""
        budget = self._budgets.get(name)
        return budget is None or budget.is_reserved(subject) or budget.may_overdraw(now)

    def begun(self, name: str, subject: str, now: float) -> int:
        """A call behind the gate goes out for a turn's subject. Returns a ticket for `ended`; 0: there is no budget."""
        budget = self._budgets.get(name)
        return 0 if budget is None else budget.begun(subject, now)

    def ended(
        self,
        name: str,
        ticket: int,
        now: float,
        left: int | None = None,
        refill_at: float | None = None,
        *,
        answered: bool = True,
    ) -> None:
        """The call is over. What its answer, if one came, told of the bucket: tokens left, and when the next comes."""
        budget = self._budgets.get(name)
        if budget is None or ticket <= 0:
            return
        budget.ended(ticket, now, left, refill_at, answered=answered)
        if budget.admits(now):
            self._turn(name)
        elif name in self._awaited:
            self.await_turn(name, now)

    # -- waiting

    def await_turn(self, name: str, now: float) -> None:
        """Somebody waits for the gate's budget: tell when it may admit a turn."""
        budget = self._budgets.get(name)
        if budget is None or budget.admits(now):
            # It is not what holds the gate: to look at it again and again would take all time until that opens.
            return
        at = max(budget.next_at(now), now + _SOON_S)
        awaited = self._awaited.get(name)
        if awaited is None or at < awaited - _SOON_S or awaited <= now:
            self._awaited[name] = at
            if at < math.inf:
                self._wake_at(at, name)

    def ring(self, name: str, at: float) -> None:
        """A time has come."""
        if self._awaited.get(name) == at:
            del self._awaited[name]
            self._turn(name)

    def set_back(self, seconds: float) -> None:
        """The clock was; budgets notice it themselves."""
        self._awaited = {name: at - seconds for name, at in self._awaited.items()}

    @property
    def awaited(self) -> int:
        """Gates whose next turn somebody waits for."""
        return len(self._awaited)

    def is_awaited_at(self, name: str, at: float) -> bool:
        """True if this is still the time at which the gate's next turn is awaited."""
        return self._awaited.get(name) == at
