"""Somebody else's token bucket, clients that use it through budgets, and the time between them."""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from worker.lanes.budget import Budget


class Bucket:
    """The truth: gradual refill, told by every answer."""

    def __init__(self, size: float, rate: float) -> None:
        self.size, self.rate = float(size), rate
        self.level, self.at = float(size), 0.0
        self.spilt = 0.0
        """Tokens that found the bucket full."""
        self.spilt_in_demand = 0.0

    def flow(self, now: float, *, in_demand: bool = False) -> None:
        level = self.level + (now - self.at) * self.rate
        spilt = max(0.0, level - self.size)
        self.spilt += spilt
        self.spilt_in_demand += spilt if in_demand else 0.0
        self.level, self.at = min(self.size, level), now

    def take(self) -> bool:
        if self.level < 1:
            return False
        self.level -= 1
        return True

    def told(self) -> tuple[int, float]:
        """Tokens left, and epoch seconds of the next one, to the millisecond above."""
        missing = 0.0 if self.level >= self.size else 1 - self.level % 1
        return int(self.level), self.at + missing / self.rate + 0.001


@dataclass
class Client:
    """One worker's view: its budget, and events that wait."""

    budget: Budget
    waiting: float = math.inf
    sent: int = 0
    turned_away: int = 0
    slow_until: float = 0.0
    armed: float = -1.0


@dataclass
class World:
    """One bucket, some clients, foreigners at a steady pace."""

    bucket: Bucket
    clients: list[Client]
    draw: random.Random
    latency: tuple[float, float] = (0.05, 0.15)
    foreign_rate: float = 0.0
    tells: Callable[[int, float], tuple[int | None, float | None]] = lambda left, at: (left, at)
    """What becomes of the headers on their way."""
    foreign: int = 0
    now: float = 0.0
    _queue: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _turns: itertools.count[int] = field(default_factory=itertools.count)

    def at(self, when: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (when, next(self._turns), what))

    def run(self, until: float) -> None:
        for client in self.clients:
            self.at(self.draw.random() * 0.1, lambda client=client: self._try(client))
        if self.foreign_rate:
            self.at(self.draw.random(), self._foreign)
        while self._queue and self._queue[0][0] <= until:
            self.now, _, what = heapq.heappop(self._queue)
            self._flow()
            what()
        self.now = until
        self._flow()

    def arrive(self, when: float, client: Client, events: int) -> None:
        def add() -> None:
            client.waiting += events
            self._try(client)

        self.at(when, add)

    def _flow(self) -> None:
        self.bucket.flow(self.now, in_demand=any(client.waiting for client in self.clients))

    def _foreign(self) -> None:
        self.foreign += self.bucket.take()
        self.at(self.now + 1 / self.foreign_rate, self._foreign)

    def _try(self, client: Client) -> None:
        budget = client.budget
        while client.waiting and self.now >= client.slow_until and budget.admits(self.now):
            client.waiting -= 1
            client.sent += 1
            budget.reserve("order")
            ticket = budget.begun("order", self.now)
            back = self.now + self.draw.uniform(*self.latency)
            self.at(
                self.now + (back - self.now) * self.draw.random(),
                lambda ticket=ticket, back=back: self._serve(client, ticket, back),
            )
        if client.waiting:
            at = max(budget.next_at(self.now), client.slow_until)
            if at < math.inf and (client.armed <= self.now or at < client.armed):
                client.armed = max(at, self.now + 0.001)
                self.at(client.armed, lambda: self._try(client))

    def _serve(self, client: Client, ticket: int, back: float) -> None:
        served = self.bucket.take()
        told = self.bucket.told()
        self.at(back, lambda: self._answer(client, ticket, served, told))

    def _answer(self, client: Client, ticket: int, served: bool, told: tuple[int, float]) -> None:
        left, refill_at = self.tells(*told)
        client.budget.ended(ticket, self.now, left, refill_at if refill_at is None or refill_at > self.now else None)
        if not served:
            client.turned_away += 1
            client.waiting += 1
            client.slow_until = max(told[1], self.now) + 0.05
            client.budget.throttled(self.now, client.slow_until)
        self._try(client)

    @property
    def allowed(self) -> float:
        """Calls that the bucket had for these clients."""
        return self.bucket.size + self.bucket.rate * self.now - self.bucket.spilt - self.foreign

    @property
    def used(self) -> int:
        return sum(client.sent - client.turned_away for client in self.clients)

    @property
    def turned_away(self) -> int:
        return sum(client.turned_away for client in self.clients)
