"""What the mission needs of other rooms: a fence before risky calls, a guard, markers, and the call budget."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from worker.delivery import Delivery, Event
from worker.sync.calls import Call, Key


class Fence(Protocol):
    """Makes sure this worker still owns the event, and leaves word of what it is about to do."""

    async def intend(self, event: Event, call: Call, deadline: float, delivery: Delivery | None) -> bool:
        """Asked before each write that leaves units open. False: do not send.

        `deadline`: epoch seconds after which the call is not written any more.
        """
        ...

    @property
    def believe_from(self) -> float:
        """Epoch seconds from when on a read shows all that earlier owners of our partitions have sent."""
        ...

    @property
    def owned_until(self) -> float:
        """Epoch seconds until which nobody else can own our partitions; renewed by `intend`."""
        ...


class NoFence:
    """Always lets pass."""

    believe_from = 0.0
    owned_until = math.inf

    async def intend(self, event: Event, call: Call, deadline: float, delivery: Delivery | None) -> bool:
        """True."""
        del event, call, deadline, delivery
        return True


@dataclass(frozen=True, slots=True)
class Clear:
    """Every shipment that was on its way is settled: what is open may be cancelled."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Not yet; look again after so many seconds."""

    after_s: float
    why: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """It cannot be known (misplaced keys)."""

    why: str


GuardAnswer = Clear | Wait | Refuse


class Guard(Protocol):
    """Cancels without items: may what is still open be in a box? (product contract: never cancel what may be)."""

    async def look(self, event: Event, delivery: Delivery | None) -> GuardAnswer:
        """Asked at each attempt of such a cancellation, before Walmart's order is read. In observe mode, too."""
        ...


class RefusingGuard:
    """Where nobody can look: refuses."""

    async def look(self, event: Event, delivery: Delivery | None) -> GuardAnswer:
        """Refuse."""
        del event, delivery
        return Refuse("nobody watches over shipments here")


class Budgets(Protocol):
    """How many calls an account may make: per account and endpoint group, shared by all its events."""

    def may_call(self, account: str, call: str, order: str, now: float) -> bool:
        """True if a call (an operation of the client) may be made now: reserved by this order's turn, or still left.

        `now`: epoch seconds.
        """
        ...


class NoBudgets:
    """Nobody counts."""

    def may_call(self, account: str, call: str, order: str, now: float) -> bool:
        """True."""
        del account, call, order, now
        return True


def number_on_line(key: Key) -> str:
    """A canonical number and its line, in one text.

    A number may be corrected away on one line and rightly be used on another (two packages' numbers were swapped, or
    one package was given another's number): a correction back on that line must not free it here, where a repeated
    first shipment would charge an open unit.
    """
    line_number, number = key
    return f"{number}|{line_number}"


class Corrections(Protocol):
    """Tracking numbers corrected away, kept in the waiting room. A number is told as by `number_on_line`."""

    def superseded_at(self, order: str, number: str) -> float | None:
        """Time (epoch seconds) of the event that corrected the number away, or None."""
        ...

    def unsettled(self, order: str, delivery: Delivery | None) -> Iterable[str]:
        """The numbers, as told, that the order's corrections from before this event lead to and are not settled.

        No marker tells of them yet.
        """
        ...

    async def mark(self, order: str, number: str, event_time: float, delivery: Delivery | None) -> bool:
        """Remember that the number was corrected away; True once that is safely written."""
        ...

    async def free(self, order: str, number: str, delivery: Delivery | None) -> bool:
        """Forget it: the number was corrected back to; True once that is safely written."""
        ...


class MemoryCorrections:
    """Markers in this process only: for tests, and for dry runs that write nothing."""

    def __init__(self) -> None:
        self.times: dict[tuple[str, str], float] = {}

    def superseded_at(self, order: str, number: str) -> float | None:
        return self.times.get((order, number))

    def unsettled(self, order: str, delivery: Delivery | None) -> Iterable[str]:
        del order, delivery
        return ()

    async def mark(self, order: str, number: str, event_time: float, delivery: Delivery | None) -> bool:
        del delivery
        self.times[order, number] = max(event_time, self.times.get((order, number), event_time))
        return True

    async def free(self, order: str, number: str, delivery: Delivery | None) -> bool:
        del delivery
        self.times.pop((order, number), None)
        return True
