"""What may come next: the workers' own steps, the world's, and faults.

Everything that decides is the product's own code (`tries`, `ledger`, `queues`, `waiting_room`). What is mirrored here
is only how its loops follow one another, and each place says what it mirrors.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.explore.base import told
from tests.explore.ledger import Answered
from tests.explore.owners import READS, Owners
from tests.explore.shop import done
from tests.explore.timing import SESSION, at, tick_of
from tests.explore.world import NOBODY, Move, Worker, World, freed, is_zombie, with_commit, with_worker
from worker.walmart.answer import CallError

SLOW_UNTIL: Final = 2
"""Tick up to which, where shipments may be late, records may also lie in Kafka without being read."""


class Moves(Owners):
    """The steps of one story."""

    settles = True
    """A zombie's steps that nobody sees are taken at once (`_settled_down`)."""

    def of(self, world: World) -> list[Move]:
        """Every step from here. Time passes only where no owner has anything to do at once."""
        moves: list[Move] = []
        for who in (0, 1):
            moves += self._of_worker(world, who)
        is_slow = bool(self._story.late) and world.now < SLOW_UNTIL
        is_busy = any(not move.fault and not (is_slow and move.what[0] == READS) for move in moves)
        for who in (0, 1):
            moves += self._of_zombie(world, who)
        moves += self._of_world(world)
        if not is_busy:
            moves += self._lazy(world)
            moves += self._ticks(world)
        if world.faults:
            for who in (0, 1):
                moves += self._faults(world, who)
        if not self.settles:
            return moves
        return [move._replace(world=self._settled_down(move.world)) for move in moves]

    def _lazy(self, world: World) -> Iterator[Move]:
        """What an owner does when it has nothing else to do: late commits, and evictions of what waits."""
        for who, worker in enumerate(world.workers):
            if worker.role != "own" or world.owner != who or worker.stalled:
                continue
            if self.ledger.has_due(worker.book, world.now):
                yield from self._commits(world, who)
            if world.parks and worker.turn is None and worker.held:
                lanes, turn = self.queues.take(worker.lanes, world.now)
                assert turn is None
                parked = worker._replace(lanes=self.queues.evict(lanes))
                words = ("evicts", self._name(self.queues.items(lanes)[0][0]), "which waits")
                yield Move(who, words, with_worker(world, who, parked, parks=world.parks - 1))

    def _of_world(self, world: World) -> Iterator[Move]:
        for late in dict.fromkeys(world.late):
            rest = list(world.late)
            rest.remove(late)
            if not isinstance(done(world.order, late.call), CallError):
                after, broken = self.effect(world._replace(late=tuple(rest)), late.item, late.call)
                name = self._name(late.item[0])
                yield Move(NOBODY, ("the lost call of", name, "takes effect:", late.call), after, broken=broken)
        for commit in dict.fromkeys(world.commits):
            after = with_commit(world, commit[1])._replace(commits=tuple(one for one in world.commits if one != commit))
            yield Move(NOBODY, ("the lost commit is taken:", told(Answered(True, commit[1]))), after)
        for who, worker in enumerate(world.workers):
            if worker.stalled and world.owner != who:
                yield Move(who, ("goes on",), with_worker(world, who, worker._replace(stalled=False)))
            elif worker.stalled and world.now >= self._lost_at(worker):
                # Going on before that it would only have been slow.
                yield Move(who, ("has lost its partitions",), freed(world, who))
        for topic in (0, 1):
            end = world.published[topic]
            if end < self._ends[topic]:
                published = list(world.published)
                published[topic] += 1
                record = self._story.topic_records(topic)[end]
                after = world._replace(published=(published[0], published[1]))
                yield Move(NOBODY, ("commerce publishes", self._name(record)), after)

    def _lost_at(self, worker: Worker) -> int:
        """Tick at which the group has heard nothing of this worker for a whole session."""
        return tick_of(self.ledger.silent_since(worker.book, worker.taken_at)) + SESSION

    def _ticks(self, world: World) -> Iterator[Move]:
        """Time passes where somebody waits for it."""
        if world.published != self._ends:
            # Shipments that were sent off before the cancel reach Kafka within its settle time, which is one tick.
            return
        now = world.now
        waits = bool(world.late or world.commits)
        for who, worker in enumerate(world.workers):
            if is_zombie(world, who) and not worker.stalled:
                return
            if worker.stalled and world.owner == who:
                waits = waits or now < self._lost_at(worker)
            elif worker.role == "own" and world.owner == who:
                # The pump has looked, and rests until the next row's time.
                table, _ = self.rooms.take(worker.table, now)
                times = (self.queues.next_at(worker.lanes, now), self.rooms.next_at(table))
                waits = waits or any(time is not None and time > at(now) for time in times)
        if waits:
            late = tuple(one for one in world.late if one.limit > now)
            first, second = (one._replace(book=self.ledger.calmed(one.book, now + 1)) for one in world.workers)
            later = world._replace(now=now + 1, views=(world.order,), late=late, commits=(), workers=(first, second))
            yield Move(NOBODY, ("time passes:", now + 1), later)

    def _faults(self, world: World, who: int) -> Iterator[Move]:
        worker = world.workers[who]
        if worker.role == "idle" or world.owner != who or worker.stalled:
            return
        less = world._replace(faults=world.faults - 1)
        yield Move(who, ("crashes",), self._crashed(less, who), fault=True)
        if worker.role == "own":
            yield Move(
                who, ("is asked for its partitions",), with_worker(less, who, self._letting_go(worker)), fault=True
            )
            stalled = with_worker(less, who, worker._replace(stalled=True, news=False))
            yield Move(who, ("stalls",), stalled, fault=True)
