"""Made-up lives of lanes behind budgets: each turn that may be given is given, at its time, and nothing leaks."""

from __future__ import annotations

import math
import random

import pytest

from worker.lanes.budget import Budget
from worker.lanes.gates import Gates
from worker.lanes.lanes import Entry, Lanes

ACCOUNTS = ("a", "b")
KINDS = ("ship", "cancel")
SOON_S = 0.0021
"""Turns of a budget are given no more exactly than that."""


class Life:
    """Two accounts, three budgets each; turns make calls, and whatever may happen to a call happens."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.now = 1_700_000_000.0
        self.gates = Gates()
        self.lanes: Lanes[int] = Lanes(self.gates)
        self.calls: dict[Entry[int], list[tuple[str, int]]] = {}
        """Running turns, and tickets of their calls that are under way."""
        self.stray: list[tuple[str, int]] = []
        """Calls whose turn has ended before them."""
        self.added = 0
        self.woken = False
        self.lanes.on_wake(self._wake)
        for account in ACCOUNTS:
            self.gates.bind(account, 3)
            for call in ("read", *KINDS):
                self.give(f"{account}/{call}")

    def _wake(self) -> None:
        self.woken = True

    def give(self, gate: str) -> None:
        rate = self.draw.choice((0.2, 1.0, 5.0))
        self.gates.rations.give(gate, Budget(rate, rate * 60, self.now, self.draw.choice((1.0, 0.3))))

    # -- what should be

    def admitted(self) -> list[Entry[int]]:
        """Who might have a turn, found by asking all."""
        found = []
        for first in [entry for entry in self.lanes if entry.before is None]:
            lane = [first, *self.lanes.entries_of(first.lane)]
            if any(entry.running for entry in lane):
                continue
            if first.ready_at <= self.now and self.gates.admits(first.gates, self.now) is None:
                found.append(first)
        return found

    def take(self) -> None:
        """As the engine does: all turns that there are; then nobody is left who might have one."""
        while (entry := self.lanes.take(self.now)) is not None:
            self.calls[entry] = []
        due = self.lanes.next_at(self.now)
        soon = due is not None and due <= self.now + SOON_S
        assert soon or not self.admitted(), "a turn that might be given was not"
        self.woken = False

    # -- what happens

    def step(self) -> None:
        getattr(self, self.draw.choice(STEPS))()
        for gate, budget in self.gates.rations.by_name().items():
            assert len(budget._reserved) <= sum(gate in entry.took for entry in self.calls), (
                "a turn was kept for nobody"
            )

    def add(self) -> None:
        account, kind = self.draw.choice(ACCOUNTS), self.draw.choice(KINDS)
        lane = f"{account}{self.draw.randrange(12)}"
        gates = (account, f"{account}/read", f"{account}/{kind}")
        self.added += 1
        age = self.now - self.draw.random() * 1_000
        self.lanes.add(Entry(self.added, lane, gates, account, since=self.now, age=age))

    def wait(self) -> None:
        """Time passes, but not beyond what is waited for: until then nobody may have a turn."""
        self.take()
        due = self.lanes.next_at(self.now)
        until = self.now + self.draw.choice((0.001, 0.1, 1.0, 10.0, 400.0))
        if due is None or until < due - 0.01:
            self.now = until
            assert not self.woken
            assert not self.admitted(), f"nobody is woken until {due}, and it might have its turn at {self.now}"
        else:
            assert due > self.now
            self.now = due
        self.take()

    def call(self) -> None:
        if self.calls:
            entry = self.draw.choice(list(self.calls))
            gate = self.draw.choice(entry.gates[1:])
            if self.gates.rations.may_call(gate, entry.lane, self.now):
                self.calls[entry].append((gate, self.gates.rations.begun(gate, entry.lane, self.now)))

    def answer(self) -> None:
        waiting = [(calls, one) for calls in (*self.calls.values(), self.stray) for one in calls]
        if not waiting:
            return
        calls, (gate, ticket) = self.draw.choice(waiting)
        calls.remove((gate, ticket))
        left = self.draw.choice((None, 0, 0, 1, 2, 5, 30, 59))
        refill_at = self.now + 1 if self.draw.random() < 0.7 else None
        self.gates.rations.ended(gate, ticket, self.now, left, refill_at, answered=self.draw.random() < 0.8)
        budget = self.gates.rations.get(gate)
        if budget is not None and self.draw.random() < 0.1:
            budget.throttled(self.now, self.now + 5)
            self.gates.slow(gate, self.now + 5, "throttled", self.now)
        elif self.draw.random() < 0.5:
            self.gates.worked(gate, self.now)

    def end(self) -> None:
        if not self.calls:
            return
        entry = self.draw.choice(list(self.calls))
        self.stray += self.calls.pop(entry)
        if self.draw.random() < 0.3:
            self.lanes.attempted(entry)
        match self.draw.randrange(3):
            case 0:
                behind = (self.draw.choice(entry.gates[1:]),)
                self.lanes.retry(entry, at=self.now + self.draw.choice((0.0, 0.0, 3.0)), behind=behind)
            case _:
                self.lanes.settle(entry)

    def evict(self) -> None:
        entries = list(self.lanes)
        if entries:
            self.lanes.evict(self.draw.choice(entries))
        while (entry := self.lanes.take_evicted()) is not None:
            assert not entry.took
            self.lanes.settle(entry)

    def configure(self) -> None:
        """Rates, shares, an account that is taken out and put in anew."""
        gate = f"{self.draw.choice(ACCOUNTS)}/{self.draw.choice(('read', *KINDS))}"
        budget = self.gates.rations.get(gate)
        match self.draw.randrange(4):
            case 0:
                self.gates.rations.give(gate, None)
            case 1:
                self.give(gate)
            case 2 if budget is not None:
                budget.set_rate(self.draw.choice((0.5, 2.0)), 60)
                self.gates.rations.look_again(gate)
            case 3 if budget is not None:
                budget.share = self.draw.choice((1.0, 0.1))
                self.gates.rations.look_again(gate)

    def clock(self) -> None:
        """It is set back by hours, and the engine notices; or by a little, and nobody does."""
        if self.draw.random() < 0.2:
            self.now -= 7_200.0
            self.lanes.set_back(7_200.0)

    def finish(self) -> None:
        """Everything comes to its end within minutes, and leaves nothing behind."""
        for _ in range(3_000):
            for calls in (*self.calls.values(), self.stray):
                while calls:
                    gate, ticket = calls.pop()
                    self.gates.rations.ended(gate, ticket, self.now, 20, None)
                    self.gates.worked(gate, self.now)
            for entry in list(self.calls):
                del self.calls[entry]
                self.lanes.settle(entry)
            self.take()
            if not self.calls:
                if not self.lanes.count:
                    break
                due = self.lanes.next_at(self.now)
                assert due is not None, "they wait for ever"
                self.now = due
        assert not self.lanes.count
        assert len(self.lanes) == 0
        assert not self.gates._running
        for budget in self.gates.rations.by_name().values():
            assert budget.is_idle
        assert math.isfinite(self.now)


STEPS = ("add", "add", "add", "wait", "wait", "call", "call", "answer", "answer", "end", "end", "evict", "configure",
         "clock")  # fmt: skip


@pytest.mark.parametrize("block", range(8))
def test_whatever_happens_behind_budgets_each_turn_comes_at_its_time_and_nothing_leaks(block: int) -> None:
    for seed in range(block * 15, block * 15 + 15):
        life = Life(seed)
        try:
            for _ in range(250):
                life.step()
            life.finish()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
