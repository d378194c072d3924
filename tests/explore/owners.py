"""Owning partitions: taking over, reading, committing, giving back; and a zombie, which has lost them unawares."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.explore.base import told
from tests.explore.memory import Held
from tests.explore.turns import TOO_LATE, Turns
from tests.explore.world import NOBODY, Move, Worker, World, freed, is_zombie, with_held, with_worker

READS: Final = "reads"
_UNSEEN: Final = frozenset({"get", "result", "end", "past"})


class Owners(Turns):
    """What workers do besides turns."""

    def _of_worker(self, world: World, who: int) -> Iterator[Move]:
        """What it does without delay."""
        worker = world.workers[who]
        if worker.role == "idle":
            if world.owner == NOBODY:
                yield Move(who, ("takes over",), self._take_over(world, who))
        elif not worker.stalled and (worker.role == "leaving" or world.owner == who):
            yield from self._turns(world, who)
            if worker.role == "own":
                yield from self._background(world, who)

    def _turns(self, world: World, who: int) -> Iterator[Move]:
        worker = world.workers[who]
        if worker.turn is not None:
            yield from self._goes_on(world, who, worker.turn)
        elif worker.role == "leaving":
            yield from self._revoked(world, who)
        else:
            lanes, turn = self.queues.take(worker.lanes, world.now)
            if turn is not None:
                yield from self._begins(world, who, lanes, *turn)

    def _of_zombie(self, world: World, who: int) -> Iterator[Move]:
        """It lost its partitions, goes on, and does not know yet: a heartbeat tells it before the tick is over.

        It reads nothing more: what it were to read now it may as well have read before. Its plain commits are refused.
        It may notice at any time; where it concludes an event it ends that first, as it would in any case.
        """
        worker = world.workers[who]
        if is_zombie(world, who) and not worker.stalled:
            yield from self._turns(world, who)
            if worker.turn is None or not worker.turn.is_concluding:
                yield Move(who, ("notices that it lost its partitions",), with_worker(world, who, self._gone(worker)))

    def _gone(self, worker: Worker) -> Worker:
        """Mirrors the end of `App._let_go`: what was answered is forgotten, what was seen stays so."""
        memory = worker.memory
        if memory is not None:
            memory = memory._replace(saved=None)
        return self._fresh()._replace(memory=memory)

    def _settled_down(self, world: World) -> World:
        """A zombie's steps that nobody else sees, and that see nobody else, are not told apart from those before them.

        It begins its next turn; it reads and tells a result, which nobody reads; its fence is refused; its call is too
        late; and with nothing to do any more it may as well have noticed: it will, before its next try is due. What is
        left is what it writes to the dead-letter topic, and a call that would still be in time.
        """
        for who in (0, 1):
            while is_zombie(world, who):
                worker = world.workers[who]
                turn = worker.turn
                if turn is None:
                    lanes, first = self.queues.take(worker.lanes, world.now)
                    if first is None:
                        world = with_worker(world, who, self._gone(worker))
                    else:
                        world = self._begun(world, who, lanes, *first)[0]
                elif turn.ask[0] == "fence" and not self._wrong:
                    world = next(self._fences(world, who, turn, turn.ask[1])).world
                elif turn.ask[0] == "post" and world.now > turn.ask[2]:
                    world = self._run(self._answered(world, who, TOO_LATE), who)[0]
                elif not worker.stalled and turn.ask[0] in _UNSEEN and (turn.ask[0] != "get" or len(world.views) == 1):
                    world = next(self._goes_on(world._replace(faults=0), who, turn)).world._replace(faults=world.faults)
                else:
                    break
        return world

    def _background(self, world: World, who: int) -> Iterator[Move]:
        worker = world.workers[who]
        if worker.blind:
            yield Move(who, ("reads offsets and intents back",), self._read_back(world, who))
        for topic in (0, 1) if not worker.blind else ():
            offset = worker.positions[topic]
            if offset < world.published[topic]:
                record = self._story.topic_records(topic)[offset]
                yield Move(who, (READS, self._name(record)), self._read(world, who, topic, record))
        if worker.news:
            # At once or not before the next occasion: whatever comes in between sees the one or the other.
            yield from self._commits(world, who)
        if worker.tail < len(world.letters):
            letter = world.letters[worker.tail]
            table = self.rooms.read(worker.table, letter, worker.tail, world.now)
            after = with_worker(world, who, worker._replace(table=table, tail=worker.tail + 1, news=False))
            yield Move(who, ("follows the dead letters to", worker.tail + 1), after)
        table, taken = self.rooms.take(worker.table, world.now)
        if taken is not None:
            place, why = taken
            assert why == "turn", why
            letter = world.letters[place]
            item, held = self.rooms.taken_up(letter, place, world.now, blind=worker.blind)
            lanes = self.queues.add(worker.lanes, item, world.now)
            takes = worker._replace(table=table, lanes=lanes, held=with_held(worker.held, item, held), news=False)
            yield Move(who, ("takes up", self._name(item[0]), "from place", place), with_worker(world, who, takes))

    def _take_over(self, world: World, who: int) -> World:
        """The table has caught up: parked events come up, but no record is handed out before `_read_back`."""
        after = world.workers[who]._replace(
            role="own",
            blind=True,
            taken_at=world.now,
            book=self.ledger.assigned(),
            lanes=self.queues.empty,
            table=self.rooms.caught_up(world.letters, world.now),
            tail=len(world.letters),
        )
        taken_over = with_worker(world, who, after, owner=who)
        if self.rooms.take(after.table, world.now)[1] is not None:
            return taken_over
        # Nothing comes up: nothing can be done before the intents are read.
        return self._read_back(taken_over, who)

    def _read_back(self, world: World, who: int) -> World:
        worker, committed = world.workers[who], world.committed
        if "blind-takeover" in self._wrong:
            committed = ((committed[0][0], ""), (committed[1][0], ""))
        after = worker._replace(
            blind=False,
            believe_from=self.ledger.believe_from(committed, world.now),
            positions=(max(0, committed[0][0]), max(0, committed[1][0])),
            book=self.ledger.read_back(worker.book, committed, world.now),
        )
        return with_worker(world, who, after)

    def _read(self, world: World, who: int, topic: int, record: int) -> World:
        """Mirrors `Reader._accept` and `Arrivals._enter`."""
        worker = world.workers[who]
        book, is_new = self.ledger.started(worker.book, record)
        assert is_new
        positions = list(worker.positions)
        positions[topic] += 1
        item = (record, -1)
        after = worker._replace(
            positions=(positions[0], positions[1]),
            book=book,
            lanes=self.queues.add(worker.lanes, item, world.now),
            held=with_held(worker.held, item, Held(since=world.now)),
            news=False,
        )
        return with_worker(world, who, after)

    def _commits(self, world: World, who: int) -> Iterator[Move]:
        worker = world.workers[who]
        for how, fault, words in self._hows(world, who):
            book, answered = self.ledger.commit(worker.book, how, worker.positions, world.now)
            after = with_worker(world, who, worker._replace(book=book, news=False))
            yield Move(who, ("commits", told(answered), words), self._applied(after, who, answered, how), fault)

    def _letting_go(self, worker: Worker) -> Worker:
        """Mirrors `App._let_go`: attempts end at once, a conclusion is waited for, what waits is forgotten."""
        turn = worker.turn
        if turn is None or not turn.is_concluding:
            return worker._replace(role="leaving", lanes=self.queues.empty, held=(), turn=None)
        kept = tuple((item, held) for item, held in worker.held if item == turn.item)
        return worker._replace(role="leaving", lanes=self.queues.drop(worker.lanes), held=kept)

    def _revoked(self, world: World, who: int) -> Iterator[Move]:
        """Mirrors `Intake._revoked` after `let_go`."""
        worker = world.workers[who]
        gone = self._gone(worker)
        if not self.ledger.has_due(worker.book, world.now):
            yield Move(who, ("gives its partitions back",), freed(with_worker(world, who, gone), who))
            return
        for how, fault, words in self._hows(world, who):
            _, answered = self.ledger.commit(worker.book, how, worker.positions, world.now)
            after = freed(self._applied(with_worker(world, who, gone), who, answered, how), who)
            yield Move(who, ("commits", told(answered), words, "and gives its partitions back"), after, fault)
