"""Whose turn it is: one queue per lane, retry times, gates. Pure: the time is passed in, nothing here waits.

A lane is a name (an order); its entries have their turns one after another. A turn is given when all gates of the
entry admit it; a lane that a gate holds waits in that gate's own queue, so that a gate which admits one turn at a time
costs one look per turn, however many wait. What lanes, gates and groups mean is not known here.

    add ──▶ queued ──take──▶ running ──settle──▶ gone
               ▲                │
               └──── retry ─────┘   (not before a time; may let some of those behind it pass)

`evict` makes an entry leave: its next turn comes regardless of gates and times, and so do those of all behind it in
its lane that may not pass it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, Generic, TypeVar

from worker.lanes.gates import Gates, Hold
from worker.lanes.groups import Groups
from worker.lanes.lane import Entry, Lane
from worker.lanes.ready import Ready
from worker.lanes.timers import Timers

__all__ = ["Entry", "Lanes"]

T = TypeVar("T")

_LOOK_AGAIN_S: Final = 5.0
"""Whether one that waits for a slot or a call is stuck after all is looked at so much later."""


class Lanes(Generic[T]):
    """All lanes of a worker. Every operation is O(1) or O(log n) in the number of entries, lanes and gates.

    Amortised, for gates that lie within each other (an account, its endpoints): a lane behind two gates moves from
    one's queue to the other's when the one admits it and the other does not.
    """

    def __init__(self, gates: Gates | None = None) -> None:
        self.gates = Gates() if gates is None else gates
        self._lanes: dict[str, Lane[T]] = {}
        self._ready: Ready[T] = Ready(self.gates)
        self._retries: Timers[T] = Timers(lambda at, entry: entry.gone or entry.running or entry.ready_at != at)
        self._stuck: Timers[T] = Timers(lambda _, entry: entry.gone)
        """First entries that could not have their turn when they were looked at, by when they began to wait."""
        self._groups = Groups()
        self.size = 0
        """Bytes of all entries."""
        self.count = 0
        """Entries in all lanes, the running ones included."""

    def __len__(self) -> int:
        return len(self._lanes)

    def __iter__(self) -> Iterator[Entry[T]]:
        for lane in self._lanes.values():
            yield from lane

    def entries_of(self, lane: str) -> Iterator[Entry[T]]:
        """Entries of one lane in their order; none where there is no such lane."""
        return iter(self._lanes.get(lane, ()))

    @property
    def counts(self) -> Mapping[str, int]:
        """Group -> its entries, evicted and running ones included; without entries it is absent."""
        return self._groups.counts

    @property
    def sizes(self) -> Mapping[str, int]:
        """Group -> bytes of its entries."""
        return self._groups.sizes

    def staying(self, group: str) -> int:
        """Entries of a group that are not evicted."""
        return self._groups.staying(group)

    def on_wake(self, wake: Callable[[], None]) -> None:
        """Call `wake` whenever there may be a turn to take that there was not before."""
        self._ready.wake = wake

    def held_at(self, gate: str) -> int:
        """Lanes that a gate holds."""
        return self._ready.held_at(gate)

    def waits(self, entry: Entry[T], now: float) -> dict[Hold, float]:
        """Seconds that gates have held an entry up to now, by why, since that was asked last."""
        self._note_wait(entry, entry.held_by, now)
        waited, entry.waited = entry.waited, {}
        return waited

    # -- turns

    def add(self, entry: Entry[T]) -> None:
        """Put an entry at the end of its lane. Behind an evicted one that it may not pass it is evicted, too.

        (Unless it `may_stay`.)
        """
        lane = self._lanes.get(entry.lane)
        if lane is None:
            lane = self._lanes[entry.lane] = Lane(entry.lane)
        leaves = not entry.may_stay and lane.stands_behind_evicted(entry)
        evicted, entry.evicted = entry.evicted or leaves, False
        lane.append(entry)
        if entry.group not in lane.groups:
            lane.groups += (entry.group,)
        self.count += 1
        self.size += entry.size
        self._groups.joined(entry.group, entry.lane, entry.size)
        if entry.ready_at > 0:
            self._retries.push(entry.ready_at, entry)
        if evicted:
            self._evict(lane, entry)
        elif entry is lane.first or entry.passes:
            self._ready.put(lane)

    def take(self, now: float) -> Entry[T] | None:
        """Give the next turn, or None when nobody may have one. The entry runs until `settle` or `retry`."""
        entry = self.take_evicted()
        if entry is not None:
            return entry
        self.gates.ring(now)
        while (due := self._retries.pop_until(now)) is not None:
            # Ready for good: a clock that is set back must not leave it waiting without a timer.
            due.ready_at = 0.0
            self._ready.put(self._lanes[due.lane])
        while (lane := self._ready.next(now)) is not None:
            entry = self._look(lane, now)
            if entry is not None:
                entry.took = entry.gates
                self.gates.took(entry.took, lane.name)
                self._note_wait(entry, None, now)
                return self._begin(lane, entry)
        return None

    def take_evicted(self) -> Entry[T] | None:
        """Give the next turn of an evicted entry, or None. Its `evicted_turn` is set; no gate counts it."""
        while (lane := self._ready.next_leaving()) is not None:
            entry = next((entry for entry in lane.candidates() if entry.evicted), None)
            if entry is not None:
                entry.evicted_turn = True
                return self._begin(lane, entry)
        return None

    def attempted(self, entry: Entry[T]) -> None:
        """What the gates are about is over; the next turn behind them may begin. The lane is held on."""
        took, entry.took = entry.took, ()
        self.gates.left(took, entry.lane)

    def settle(self, entry: Entry[T]) -> None:
        """The entry is done: it leaves its lane, and whoever waited for it is looked at again at once."""
        self.attempted(entry)
        lane = self._lanes.get(entry.lane)
        if lane is None or entry.gone:
            return
        self._remove(lane, entry)
        self._after(lane)
        self._sweep()

    def retry(self, entry: Entry[T], *, at: float, lets_pass: bool = False, behind: tuple[str, ...] = ()) -> None:
        """The entry keeps its place in the lane and gets its next turn not before `at`, behind these gates, too.

        One that was evicted before its turn stays (it could not leave) and waits anew; one that was evicted during
        its turn leaves with the next one, at once.
        """
        self.attempted(entry)
        lane = self._lanes.get(entry.lane)
        if lane is None or entry.gone:
            return
        if entry.evicted_turn:
            entry.evicted_turn = False
            entry.since = max(entry.since, at)
            lane.keep(entry)
            self._groups.kept(entry.group, entry.lane)
        entry.ready_at = at
        entry.lets_pass = lets_pass
        entry.gates += tuple(name for name in dict.fromkeys(behind) if name not in entry.gates)
        entry.running = False
        if lane.running is entry:
            lane.running = None
        self._retries.push(at, entry)
        if entry is lane.first:
            self._watch(entry)
        self._sweep()
        self._ready.put(lane)

    def drop(self, wanted: Callable[[Entry[T]], bool]) -> list[Entry[T]]:
        """Forget every entry that is not running and that is `wanted`; return them. O(n)."""
        dropped: list[Entry[T]] = []
        for lane in list(self._lanes.values()):
            found = [entry for entry in lane if not entry.running and wanted(entry)]
            for entry in found:
                self._remove(lane, entry)
            if found:
                self._after(lane)
            dropped += found
        self._retries.sweep(0)
        self._stuck.sweep(0)
        return dropped

    def reassign(self, place: Callable[[Entry[T]], tuple[tuple[str, ...], str]]) -> None:
        """Give every entry the gates and the group that `place` tells: what they stand for has changed. O(n).

        A running turn goes on to count at the gates that it took.
        """
        for lane in self._lanes.values():
            moved = False
            for entry in lane:
                gates, group = place(entry)
                if group != entry.group:
                    self._groups.went(entry.group, entry.size, evicted=entry.evicted)
                    self._groups.joined(group, lane.name, entry.size)
                    if entry.evicted:
                        self._groups.evicted(group)
                    if group not in lane.groups:
                        lane.groups += (group,)
                    entry.group = group
                moved = moved or gates != entry.gates
                entry.gates = gates
            if moved:
                self._ready.hold(lane)
                self._ready.put(lane)

    def next_at(self, now: float) -> float | None:
        """When the earliest retry is due or gate may admit again, always later than `now`; None when none is pending.

        To be asked after `take` gave None for the same `now`: what is ready at `now` is not counted.
        """
        retry_at = self._retries.next_at()
        gate_at = self.gates.next_at(now) if self._ready.anything_held else None
        if retry_at is None or gate_at is None:
            return gate_at if retry_at is None else retry_at
        return min(retry_at, gate_at)

    def set_back(self, seconds: float) -> None:
        """The clock was: what was to come in a moment must not come hours later. O(n)."""
        self.gates.set_back(seconds)
        self._retries.set_back(seconds)
        self._stuck.set_back(seconds)
        for entry in self:
            entry.ready_at -= seconds
            entry.since -= seconds
            entry.held_since -= seconds

    # -- leaving

    def evict(self, entry: Entry[T]) -> list[Entry[T]]:
        """Make an entry, and those behind it that may not pass it, leave; returns those who did not leave already.

        They have their turns in their order, after those before them. A running one leaves if its turn ends in a retry.
        """
        lane = self._lanes.get(entry.lane)
        return [] if lane is None or entry.gone else self._evict(lane, entry)

    def evict_stuck(self, now: float, waiting_since_before: float) -> list[Entry[T]]:
        """Evict the lanes whose first entry has waited since that time, or longer, and may not have its turn yet.

        A gate does not admit it (or one at a time), or its retry is not due. Not those that merely wait for a slot.
        """
        evicted: list[Entry[T]] = []
        again: list[Entry[T]] = []
        while (entry := self._stuck.pop_until(waiting_since_before)) is not None:
            entry.watched = False
            lane = self._lanes[entry.lane]
            if entry is not lane.first or lane.running is not None or entry.evicted:
                continue
            if entry.since > waiting_since_before:
                again.append(entry)
            elif entry.ready_at > now or self.gates.trickles(entry.gates):
                evicted += self._evict(lane, entry)
            elif self.gates.admits(entry.gates, now) is not None:
                # A slot or a call of its budget is what it waits for: its turn comes.
                entry.watched = True
                self._stuck.push(waiting_since_before + _LOOK_AGAIN_S, entry)
            else:
                # It has only not been looked at since its gate opened; should that close before, it is seen here again.
                self._ready.hold(lane)
                self._ready.put(lane)
        for entry in again:
            self._watch(entry)
        return evicted

    def evict_group(self, group: str, keep: int) -> list[Entry[T]]:
        """Evict the group's newest lanes until at most `keep` of its entries stay. Running ones stay anyway."""
        evicted: list[Entry[T]] = []
        emptied: list[str] = []
        for name in self._groups.newest(group):
            if self._groups.staying(group) <= keep:
                break
            lane = self._lanes[name]
            for entry in lane:
                if entry.group == group and not entry.evicted and not entry.running:
                    evicted += self._evict(lane, entry)
            if lane.running is None or lane.running.evicted:
                emptied.append(name)
        for name in emptied:
            self._groups.forget(group, name)
        return evicted

    # -- inside

    def _begin(self, lane: Lane[T], entry: Entry[T]) -> Entry[T]:
        self._ready.hold(lane)
        entry.running = True
        lane.running = entry
        return entry

    def _look(self, lane: Lane[T], now: float) -> Entry[T] | None:
        """Who of the lane may have a turn now. If nobody, the lane waits in the queues of the gates that hold it."""
        holding: dict[str, float] = {}
        for entry in lane.candidates():
            if entry.ready_at <= now:
                gate = self.gates.admits(entry.gates, now)
                if gate is None:
                    return entry
                holding.setdefault(gate, entry.age)
                self._note_wait(entry, self.gates.why(gate, now), now)
            if entry is lane.first:
                self._watch(entry)
        self._ready.hold(lane, holding)
        for gate in holding:
            self.gates.rations.await_turn(gate, now)
        return None

    def _note_wait(self, entry: Entry[T], why: Hold | None, now: float) -> None:
        """Time passes for the reason it was held for until now; from now on, for another."""
        if entry.held_by is not None:
            entry.waited[entry.held_by] = entry.waited.get(entry.held_by, 0.0) + max(0.0, now - entry.held_since)
        entry.held_by, entry.held_since = why, now

    def _watch(self, entry: Entry[T]) -> None:
        if not entry.watched and not entry.evicted:
            entry.watched = True
            self._stuck.push(entry.since, entry)

    def _evict(self, lane: Lane[T], entry: Entry[T]) -> list[Entry[T]]:
        evicted = lane.evict(entry)
        for one in evicted:
            self._groups.evicted(one.group)
        self._ready.put(lane)
        return evicted

    def _remove(self, lane: Lane[T], entry: Entry[T]) -> None:
        evicted = entry.evicted
        lane.remove(entry)
        self.count -= 1
        self.size -= entry.size
        self._groups.went(entry.group, entry.size, evicted=evicted)

    def _after(self, lane: Lane[T]) -> None:
        if lane.first is not None:
            self._ready.put(lane)
            return
        self._ready.hold(lane)
        for group in lane.groups:
            self._groups.forget(group, lane.name)
        del self._lanes[lane.name]

    def _sweep(self) -> None:
        above = 2 * self.count + 64
        self._retries.sweep(above)
        self._stuck.sweep(above)
