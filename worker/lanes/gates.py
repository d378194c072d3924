"""Gates: when turns may be given behind them. Pure: the time is passed in; what a gate means is not known here.

    open ──slow──▶ slow until t ──t──▶ one turn at a time ──worked──▶ open
    open ──close─▶ closed, probe at t ──t──▶ one turn at a time ──worked──▶ open
                       ▲                          │
                       └─ close, a later probe ───┘
    any  ──shut──▶ shut ──open──▶ open                (by hand: no probes)

Besides, a gate may be bound (so many turns at once) and rationed (a call budget: so many turns in a time).
Only gates that are not open, those with running turns and those with a budget take memory.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from worker.lanes.rations import Rations

GateState = Literal["open", "slow", "closed", "shut"]
Hold = Literal["slow", "starting", "closed", "shut", "slots", "budget"]
"""Why a gate does not admit a turn. `starting`: slow, and nothing is wrong; `slots`: as many run as may."""


class GateView(NamedTuple):
    """A gate as it is. An open one has no reason and no times."""

    name: str
    state: GateState
    reason: str = ""
    next_at: float = 0.0
    """Epoch seconds of the next turn or probe; in the past: one turn at a time. Infinite while shut."""
    probes: int = 0
    """Probes that failed since it closed."""
    since: float = 0.0
    """Epoch seconds when it stopped being open; 0 where nobody said."""


@dataclass(slots=True)
class _Gate:
    state: GateState
    reason: str
    at: float
    since: float
    probes: int = 0
    probing: bool = False
    """A turn was given while it was closed, and nothing was heard of it yet."""
    starting: bool = False
    """Slow, and nothing is wrong."""
    due: bool = False
    """`at` has come. Kept, so that a clock that is set back does not close it again without a timer."""


class Gates:
    """All gates by name; absent means open. Every operation is O(1) or O(log n) in the number of gates not open."""

    def __init__(self) -> None:
        self._gates: dict[str, _Gate] = {}
        self._running: dict[str, int] = {}
        self._timers: list[tuple[float, str]] = []
        self._listeners: list[Callable[[str], None]] = []
        self._turn_listeners: list[Callable[[str], None]] = []
        self._most: dict[str, int] = {}
        self.sooner: Callable[[], None] = lambda: None
        """Called when there is a time to wait for that is earlier than all before."""
        self.rations = Rations(self._turn, self._push)
        """Their budgets."""

    def listen(self, listener: Callable[[str], None], *, every_turn: bool = False) -> None:
        """Call `listener` with a gate's name whenever it may admit a turn that it did not admit before.

        `every_turn`: also where it is only the next turn of an open gate that was bound or rationed.
        """
        (self._turn_listeners if every_turn else self._listeners).append(listener)

    def bound(self, most: Mapping[str, int]) -> None:
        """Let no more than so many turns run at once behind these gates, however open. Replaces earlier bounds."""
        before, self._most = self._most, dict(most)
        for name, bound in before.items():
            if self._most.get(name, math.inf) > bound:
                self._turn(name)

    def bind(self, name: str, most: int) -> None:
        """Let no more than so many turns run at once behind this gate."""
        self._most[name] = most

    def is_bound(self, name: str) -> bool:
        """True if only so many turns at once may run behind it."""
        return name in self._most

    def is_one_by_one(self, name: str) -> bool:
        """True if it may admit one waiting turn, and then not the next: it is bound, rationed, or not open."""
        return name in self._most or name in self.rations or name in self._gates

    # -- turns

    def admits(self, names: Iterable[str], now: float) -> str | None:
        """Name of the first of these gates that does not admit a turn now; None when all do."""
        for name in names:
            if self._holds(name, now) is not None:
                return name
        return None

    def why(self, name: str, now: float) -> Hold | None:
        """Why the gate does not admit a turn now; None where it does."""
        return self._holds(name, now)

    def is_passable(self, names: Iterable[str], now: float) -> bool:
        """True if it takes no more than slots and budget to get through these gates, or a turn one at a time."""
        return all(self._holds(name, now) in (None, "slots", "budget") for name in names)

    def trickles(self, names: Iterable[str]) -> bool:
        """True if one of these gates is not open: at best it admits one turn at a time."""
        return any(name in self._gates for name in names)

    def took(self, names: Iterable[str], subject: str = "") -> None:
        """A turn behind these gates began. Call `left` with the same names and subject when it ends."""
        for name in names:
            self._running[name] = self._running.get(name, 0) + 1
            self.rations.took(name, subject)
            gate = self._gates.get(name)
            if gate is not None and gate.state == "closed":
                gate.probing = True

    def left(self, names: Iterable[str], subject: str = "") -> None:
        """A turn behind these gates ended. Whatever came of it was told before, by `worked`, `slow` or `close`."""
        for name in names:
            self.rations.left(name, subject)
            running = self._running.get(name, 0) - 1
            if running > 0:
                self._running[name] = running
                if running + 1 == self._most.get(name):
                    self._turn(name)
                continue
            self._running.pop(name, None)
            gate = self._gates.get(name)
            if gate is not None:
                gate.probing = False
                self._tell(name)
            elif self._most.get(name) == 1:
                self._turn(name)

    # -- what is heard of them

    def slow(self, name: str, until: float, reason: str, now: float, *, starting: bool = False) -> None:
        """No turn before `until`, then one at a time until `worked`. `starting`: nothing is wrong.

        A closed gate stays closed, for as long at least; a shut one stays shut.
        """
        gate = self._gates.get(name)
        if gate is None:
            gate = self._gates[name] = _Gate("slow", reason, until, now, starting=starting)
        elif gate.state == "shut":
            return
        elif gate.state == "slow":
            gate.reason, gate.starting = reason, starting
        self._wait(name, gate, until, now)

    def close(self, name: str, reason: str, probe_at: float, now: float) -> None:
        """No turn before `probe_at`, then one at a time until `worked`.

        Closing it again counts the probe that was under way as failed. A shut gate stays shut.
        """
        gate = self._gates.get(name)
        if gate is None:
            gate = self._gates[name] = _Gate("closed", reason, probe_at, now)
        elif gate.state == "shut":
            return
        elif gate.state == "slow":
            gate.state, gate.since = "closed", now
        gate.reason = reason
        gate.probes += gate.probing
        gate.probing = False
        self._wait(name, gate, probe_at, now)

    def worked(self, name: str, now: float) -> None:
        """A call behind it worked: it opens, unless it is shut, or slow until a later time.

        (That call was older than the 429.)
        """
        gate = self._gates.get(name)
        if gate is not None and gate.state != "shut" and (gate.state != "slow" or self._due(gate, now)):
            self.open(name)

    # -- by hand

    def shut(self, name: str, reason: str, now: float = 0.0) -> None:
        """No turn at all until `open`, whatever is heard of it. `now` is for telling since when."""
        gate = self._gates.get(name)
        if gate is not None and gate.state == "shut":
            gate.reason = reason
        else:
            self._gates[name] = _Gate("shut", reason, math.inf, now)

    def open(self, name: str) -> None:
        """Open it, whatever it was."""
        if self._gates.pop(name, None) is not None:
            self._tell(name)

    def hasten(self, name: str, now: float) -> None:
        """A closed gate's next probe comes now: whatever closed it may be over. Others stay as they are."""
        gate = self._gates.get(name)
        if gate is not None and gate.state == "closed":
            gate.at, gate.due = min(gate.at, now), True
            self._tell(name)

    # -- looking

    def next_at(self, now: float) -> float | None:
        """When the next gate's time comes, always later than `now`; None when no gate waits for a time."""
        self.ring(now)
        while self._timers and not self._stands(*self._timers[0]):
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def ring(self, now: float) -> None:
        """Tell the listeners of the gates whose time has come."""
        while self._timers and self._timers[0][0] <= now:
            at, name = heapq.heappop(self._timers)
            self.rations.ring(name, at)
            if self._is_at(name, at):
                self._gates[name].due = True
                self._tell(name)

    def set_back(self, seconds: float) -> None:
        """The clock was: what was to come in a moment must not come hours later. O(n)."""
        for gate in self._gates.values():
            gate.at -= seconds
            gate.since -= seconds
        self._timers = [(at - seconds, name) for at, name in self._timers]
        self.rations.set_back(seconds)

    def probes(self, name: str) -> int:
        """Probes that failed since it closed; 0 for a gate that is not closed."""
        return self.state(name).probes

    def state(self, name: str) -> GateView:
        """How a gate is."""
        gate = self._gates.get(name)
        if gate is None:
            return GateView(name, "open")
        return GateView(name, gate.state, gate.reason, gate.at, gate.probes, gate.since)

    def views(self) -> list[GateView]:
        """All gates that are not open."""
        return [self.state(name) for name in self._gates]

    # -- inside

    @staticmethod
    def _due(gate: _Gate, now: float) -> bool:
        if not gate.due and now >= gate.at:
            gate.due = True
        return gate.due

    def _wait(self, name: str, gate: _Gate, at: float, now: float) -> None:
        gate.at = max(gate.at, at)
        gate.due = now >= gate.at
        if gate.due:
            self._tell(name)
            return
        self._push(gate.at, name)

    def _push(self, at: float, name: str) -> None:
        heapq.heappush(self._timers, (at, name))
        if self._timers[0] == (at, name):
            self.sooner()
        if len(self._timers) > 2 * (len(self._gates) + self.rations.awaited) + 64:
            # Times that were moved on again and again must not pile up until they come.
            self._timers = list({timer for timer in self._timers if self._stands(*timer)})
            heapq.heapify(self._timers)

    def _stands(self, at: float, name: str) -> bool:
        return self.rations.is_awaited_at(name, at) or self._is_at(name, at)

    def _is_at(self, name: str, at: float) -> bool:
        gate = self._gates.get(name)
        return gate is not None and gate.at == at

    def _holds(self, name: str, now: float) -> Hold | None:
        gate = self._gates.get(name)
        if gate is not None and (not self._due(gate, now) or name in self._running):
            if gate.state in ("closed", "shut"):
                return gate.state
            return "starting" if gate.starting else "slow"
        if name in self._most and self._running.get(name, 0) >= self._most[name]:
            return "slots"
        return None if self.rations.admits(name, now) else "budget"

    def _turn(self, name: str) -> None:
        for listener in self._turn_listeners:
            listener(name)

    def _tell(self, name: str) -> None:
        for listener in self._listeners:
            listener(name)
        self._turn(name)
