"""What lanes and gates must do, said the slow and plain way: every question is answered by looking at everything."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from worker.lanes.gates import Gates
from worker.lanes.lanes import Entry, Lanes

GATES = ("w", "a", "a/read", "a/ship", "a/cancel", "b", "b/read")
GROUPS = ("a", "b")


@dataclass
class PlainGate:
    state: str
    at: float


@dataclass
class PlainGates:
    """Open unless said otherwise; `running` counts turns from their begin to their attempt's end."""

    gates: dict[str, PlainGate] = field(default_factory=dict)
    running: Counter[str] = field(default_factory=Counter)

    def admits(self, names: tuple[str, ...], now: float) -> bool:
        for name in names:
            gate = self.gates.get(name)
            if gate and (now < gate.at or self.running[name]):
                return False
        return True

    def slow(self, name: str, until: float) -> None:
        gate = self.gates.setdefault(name, PlainGate("slow", until))
        gate.at = max(gate.at, until)

    def close(self, name: str, at: float) -> None:
        gate = self.gates.setdefault(name, PlainGate("closed", at))
        gate.at = max(gate.at, at)
        if gate.state == "slow":
            gate.state = "closed"

    def worked(self, name: str, now: float) -> None:
        gate = self.gates.get(name)
        if gate and (gate.state == "closed" or (gate.state == "slow" and now >= gate.at)):
            del self.gates[name]


class Schedule:
    """A made-up life of some lanes, checked at each step."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.now = 1_000.0
        self.gates = Gates()
        self.lanes: Lanes[int] = Lanes(self.gates)
        self.plain = PlainGates()
        self.queues: dict[str, list[Entry[int]]] = {}
        self.ready: dict[Entry[int], float] = {}
        self.running: dict[str, Entry[int]] = {}
        self.attempting: dict[Entry[int], tuple[str, ...]] = {}
        self.added = 0
        self.settled: list[int] = []
        self.left_early: set[int] = set()

    # -- what should be

    @staticmethod
    def candidates(queue: list[Entry[int]]) -> Iterator[Entry[int]]:
        yield queue[0]
        if queue[0].lets_pass:
            for entry in queue[1:]:
                if entry.passes:
                    yield entry
                    return

    def available(self, now: float) -> list[Entry[int]]:
        return [
            entry
            for name, queue in self.queues.items()
            if name not in self.running
            for entry in self.candidates(queue)
            if entry.evicted or (self.ready[entry] <= now and self.plain.admits(entry.gates, now))
        ]

    @staticmethod
    def leaves_with(queue: list[Entry[int]], gone: Entry[int]) -> set[int]:
        """Who leaves when `gone` is evicted: it, and each one behind that may not pass somebody who leaves."""
        leaving = {gone.item}
        for place, entry in enumerate(queue):
            if place > queue.index(gone):
                before = [one for one in queue[:place] if one.item in leaving]
                may_pass = entry.passes and queue[0].lets_pass
                if any(not may_pass or (one.passes and one is not queue[0]) for one in before):
                    leaving.add(entry.item)
        return leaving

    # -- what happens

    def step(self) -> None:
        actions = (
            (self.add, 6), (self.take_some, 6), (self.drain, 3), (self.end_attempt, 6), (self.end_turn, 8),
            (self.trouble, 2), (self.relief, 3), (self.evict, 1), (self.evict_stuck, 1), (self.evict_group, 1),
            (self.drop, 0.3), (self.reassign, 0.5), (self.hasten, 0.5), (self.pass_time, 4),
        )  # fmt: skip
        self.draw.choices([action for action, _ in actions], [weight for _, weight in actions])[0]()

    def add(self) -> None:
        ships = self.draw.random() < 0.6
        account = self.draw.choice(GROUPS)
        nested = ("w", account, f"{account}/read", f"{account}/{'ship' if ships else 'cancel'}")
        names = tuple(name for name in nested if self.draw.random() < 0.8)
        lane = str(self.draw.randrange(6))
        entry = Entry(
            self.added, lane, gates=names, group=account, size=self.draw.randrange(9), passes=ships, since=self.now
        )
        self.added += 1
        queue = self.queues.setdefault(lane, [])
        queue.append(entry)
        may_pass = ships and queue[0].lets_pass and queue[0] is not entry
        expected = any(
            one.evicted and (not may_pass or (one.passes and one is not queue[0])) for one in queue if one is not entry
        )
        self.ready[entry] = 0.0
        self.lanes.add(entry)
        assert entry.evicted == expected

    def take_some(self) -> None:
        for _ in range(self.draw.randint(1, 3)):
            self.take(self.lanes.take_evicted if self.draw.random() < 0.2 else lambda: self.lanes.take(self.now))

    def take(self, take: Callable[[], Entry[int] | None]) -> bool:
        possible = self.available(self.now)
        entry = take()
        if entry is not None:
            assert entry in possible, "a turn that should not be"
            self.running[entry.lane] = entry
            if entry.evicted_turn:
                assert entry.evicted
            else:
                assert not entry.evicted
                assert self.plain.admits(entry.gates, self.now)
                self.attempting[entry] = entry.gates
                self.plain.running.update(entry.gates)
        return entry is not None

    def drain(self) -> None:
        """Everybody who may have a turn gets it; and the next who will is known in time."""
        while self.take(lambda: self.lanes.take(self.now)):
            pass
        assert not self.available(self.now), "left behind"
        next_at = self.lanes.next_at(self.now)
        assert next_at is None or next_at > self.now, "the engine would spin"
        times = {at for at in self.ready.values() if at > self.now}
        times |= {gate.at for gate in self.plain.gates.values() if self.now < gate.at < math.inf}
        for at in sorted(times):
            if self.available(at):
                assert next_at is not None, "nobody wakes up for it"
                assert next_at <= at, "woken up too late"
                break
        self.check_counts()

    def end_attempt(self) -> None:
        if self.attempting:
            entry = self.draw.choice(list(self.attempting))
            self.lanes.attempted(entry)
            self.plain.running.subtract(self.attempting.pop(entry))

    def end_turn(self) -> None:
        if not self.running:
            return
        entry = self.running.pop(self.draw.choice(list(self.running)))
        if entry in self.attempting:
            self.plain.running.subtract(self.attempting.pop(entry))
        if self.draw.random() < 0.6:
            self.lanes.settle(entry)
            self.settled.append(entry.item)
            if entry.evicted:
                self.left_early.add(entry.item)
            self.forget(entry)
            return
        leaves = entry.evicted and not entry.evicted_turn
        at = self.now + self.draw.choice((0.0, 0.5, 5.0, 30.0))
        lets_pass = not entry.passes and self.draw.random() < 0.5
        behind = (self.draw.choice(GATES),) if self.draw.random() < 0.1 else ()
        self.lanes.retry(entry, at=at, lets_pass=lets_pass, behind=behind)
        self.ready[entry] = at
        assert entry.evicted == leaves
        assert set(behind) <= set(entry.gates)

    def forget(self, entry: Entry[int]) -> None:
        queue = self.queues[entry.lane]
        queue.remove(entry)
        del self.ready[entry]
        if not queue:
            del self.queues[entry.lane]
        elif queue[0].lets_pass:
            self.ready[queue[0]] = 0.0

    def trouble(self) -> None:
        name, at = self.draw.choice(GATES), self.now + self.draw.choice((-1.0, 0.5, 5.0, 60.0))
        kind = self.draw.choice(("slow", "slow", "close", "close", "shut"))
        shut = name in self.plain.gates and self.plain.gates[name].state == "shut"
        if kind == "slow":
            self.gates.slow(name, at, "throttled", self.now)
            self.plain.slow(name, at)
        elif kind == "close":
            self.gates.close(name, "down", at, self.now)
            self.plain.close(name, at)
        else:
            self.gates.shut(name, "paused")
            self.plain.gates[name] = PlainGate("shut", math.inf)
        assert not shut or self.gates.state(name).state == "shut"

    def relief(self) -> None:
        name = self.draw.choice(GATES)
        if self.draw.random() < 0.3:
            self.gates.open(name)
            self.plain.gates.pop(name, None)
        else:
            self.gates.worked(name, self.now)
            self.plain.worked(name, self.now)

    def evict(self) -> None:
        if self.queues:
            queue = self.draw.choice(list(self.queues.values()))
            entry = self.draw.choice(queue)
            before = {one.item for one in queue if one.evicted}
            marked = {one.item for one in self.lanes.evict(entry)}
            assert marked == self.leaves_with(queue, entry) - before

    def evict_stuck(self) -> None:
        long_ago = self.now - self.draw.choice((0.0, 10.0, 60.0))
        must, may = set(), set()
        for name, queue in self.queues.items():
            first = queue[0]
            if name not in self.running and first.since <= long_ago and not first.evicted:
                may.add(first)
                if self.ready[first] > self.now or not self.plain.admits(first.gates, self.now):
                    must.add(first)
        self.drain()
        must -= set(self.running.values())
        marked = set(self.lanes.evict_stuck(self.now, long_ago))
        fronts = {queue[0] for queue in self.queues.values()}
        assert marked & fronts <= may
        assert {one for one in must if one.lane not in self.running} <= marked

    def evict_group(self) -> None:
        group, keep = self.draw.choice(GROUPS), self.draw.randrange(12)
        self.lanes.evict_group(group, keep)
        staying = [one for queue in self.queues.values() for one in queue if one.group == group and not one.evicted]
        assert len(staying) <= keep or all(one.running for one in staying)

    def drop(self) -> None:
        lane = str(self.draw.randrange(6))
        for entry in self.lanes.drop(lambda entry: entry.lane == lane):
            assert not entry.running
            self.forget(entry)

    def reassign(self) -> None:
        """Settings changed: some lanes' entries belong to another account now, or to none."""
        moved = {str(lane): self.draw.choice((*GROUPS, "")) for lane in range(6) if self.draw.random() < 0.5}

        def place(entry: Entry[int]) -> tuple[tuple[str, ...], str]:
            group = moved.get(entry.lane)
            if group is None:
                return entry.gates, entry.group
            return (("w", group, f"{group}/ship") if group else ("w",)), group

        self.lanes.reassign(place)
        for queue in self.queues.values():
            assert all((entry.gates, entry.group) == place(entry) for entry in queue)

    def hasten(self) -> None:
        name = self.draw.choice(GATES)
        self.gates.hasten(name, self.now)
        gate = self.plain.gates.get(name)
        if gate is not None and gate.state == "closed":
            gate.at = min(gate.at, self.now)

    def pass_time(self) -> None:
        next_at = self.lanes.next_at(self.now) if self.draw.random() < 0.5 else None
        # Never back: whatever is due without a `take` since is not counted.
        self.now = max(self.now, next_at) if next_at is not None else self.now + self.draw.choice((0.1, 1.0, 20.0))

    # -- what must hold

    def check_counts(self) -> None:
        entries = [entry for queue in self.queues.values() for entry in queue]
        assert sorted(entry.item for entry in self.lanes) == sorted(entry.item for entry in entries)
        assert self.lanes.count == len(entries)
        assert self.lanes.size == sum(entry.size for entry in entries)
        assert dict(self.lanes.counts) == Counter(entry.group for entry in entries)
        assert dict(self.lanes.sizes) == {
            group: sum(entry.size for entry in entries if entry.group == group) for group in self.lanes.counts
        }
        for group in GROUPS:
            assert self.lanes.staying(group) == sum(one.group == group and not one.evicted for one in entries)

    def finish(self) -> None:
        """Faults stop: everything has its turn, and nothing of it is kept."""
        for name in GATES:
            self.gates.open(name)
            self.plain.gates.pop(name, None)
        for _ in range(20 * self.added + 100):
            if not self.queues:
                break
            self.take_some()
            while self.running:
                entry = self.running.popitem()[1]
                self.attempting.pop(entry, None)
                self.lanes.settle(entry)
                self.forget(entry)
            self.now = max(self.now, self.lanes.next_at(self.now) or 0.0)
        assert not self.queues, "a turn was lost"
        self.check_counts()
        assert (len(self.lanes), self.gates._running, len(self.lanes._ready._held)) == (0, {}, 0)
        assert self.lanes._groups._groups == {}
        assert len(self.lanes._retries) <= 64
        assert len(self.lanes._stuck) <= 64
