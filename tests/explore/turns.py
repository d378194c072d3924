"""A worker's turn: the product's own code, one await after the other, and what each answer may be."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from tests.explore.base import Base, outlook, told
from tests.explore.doors import AT_ONCE
from tests.explore.memory import Held, Item
from tests.explore.shop import Call, done
from tests.explore.waiting_room import Letter
from tests.explore.world import Late, Move, Turn, World, freed, held_in, is_zombie, with_held, with_worker, without
from worker.lanes.engine import Retry
from worker.outcome import Again, Verdict
from worker.walmart.answer import CallError, CallKind

TOO_LATE: Final = CallError(CallKind.NOT_SENT, "too late", too_late=True)
LOST: Final = CallError(CallKind.UNKNOWN, "no answer")


class Turns(Base):
    """Turns of either worker."""

    def _begins(self, world: World, who: int, lanes: int, item: Item, leaves: bool) -> Iterator[Move]:
        worker = world.workers[who]
        for one in self._begun(world, who, lanes, item, leaves):
            yield Move(who, ("begins", self._name(item[0]), "(evicted)" if leaves else "", *outlook(one, who)), one)
        if world.parks and not leaves and not is_zombie(world, who):
            parked = worker._replace(lanes=self.queues.evict(worker.lanes))
            yield Move(who, ("evicts", self._name(item[0])), with_worker(world, who, parked, parks=world.parks - 1))

    def _begun(self, world: World, who: int, lanes: int, item: Item, leaves: bool) -> list[World]:
        """Mirrors `Engine._begin`."""
        worker = world.workers[who]._replace(news=False)
        held = held_in(worker.held, item)
        book = self.ledger.finished(worker.book, item, world.now) if "commit-early" in self._wrong else worker.book
        turn = Turn(item, False, world.now, held, worker.memory, leaves)
        return self._run(with_worker(world, who, worker._replace(lanes=lanes, book=book, turn=turn)), who)

    def _run(self, world: World, who: int) -> list[World]:
        """Run the turn until it waits for something, or is over: mirrors `Engine._turn`."""
        while True:
            worker = world.workers[who]
            turn = worker.turn
            assert turn is not None
            if turn.is_concluding:
                assert turn.result is not None
                tried = self.tries.conclude(turn.item, turn.held, turn.result, turn.begun, turn.history)
            else:
                tried = self.tries.attempt(
                    turn.item, turn.held, turn.memory, turn.begun, turn.history, evicted=turn.evicted
                )
            ask = tried.ask
            if ask is not None and ask[0] in AT_ONCE:
                world, answer = self._at_once(world, who, turn, ask)
                world = self._answered(world, who, answer)
            elif ask is not None and ask[0] == "shall_park":
                # How long it has waited, and for how long it would, is not modelled: either may be.
                stays = self._run(self._answered(world, who, False), who)
                if not world.parks or is_zombie(world, who):
                    # A zombie that parks may as well have decided to before it was one.
                    return stays
                return stays + self._run(self._answered(world._replace(parks=world.parks - 1), who, True), who)
            elif ask is not None and ask[0] == "settle" and self._closes(world, who, turn, own_only=ask[1])[1] is None:
                world = self._answered(world, who, None)
            elif ask is not None:
                return [with_worker(world, who, worker._replace(turn=turn._replace(ask=ask)))]
            elif turn.is_concluding:
                assert tried.result is None or isinstance(tried.result, Retry)
                return [self._over(world, who, turn, tried.result, tried.held)]
            else:
                assert tried.result is not None
                assert not isinstance(tried.result, Retry)
                held = tried.held
                if "first-read" in self._wrong:
                    held = _credulous(held)
                memory = worker.memory if turn.evicted else tried.memory
                turn = Turn(turn.item, True, world.now, held, None, turn.evicted, tried.result)
                world = with_worker(world, who, worker._replace(turn=turn, memory=memory))

    def _answered(self, world: World, who: int, answer: Any) -> World:
        worker = world.workers[who]
        assert worker.turn is not None
        turn = worker.turn._replace(history=(*worker.turn.history, (answer, world.now)), ask=())
        return with_worker(world, who, worker._replace(turn=turn))

    def _over(self, world: World, who: int, turn: Turn, retry: Retry | None, held: Held) -> World:
        worker = world.workers[who]
        if retry is None:
            lanes = self.queues.settle(worker.lanes, turn.item)
            kept = without(worker.held, turn.item)
        else:
            lanes = self.queues.retry(worker.lanes, turn.item, world.now + 1, lets_pass=retry.lets_pass)
            kept = with_held(worker.held, turn.item, held)
        if worker.role == "leaving":
            # `Engine.release` drops what was put back meanwhile.
            lanes, kept = self.queues.empty, ()
        return with_worker(world, who, worker._replace(lanes=lanes, held=kept, turn=None))

    def _at_once(self, world: World, who: int, turn: Turn, ask: tuple[Any, ...]) -> tuple[World, Any]:
        """What the product asks of its own memory."""
        worker, rooms, now = world.workers[who], self.rooms, world.now
        match ask[0]:
            case "unfinished":
                return world, rooms.unfinished_shipment(worker.table, now)
            case "in_memory":
                return world, self.queues.has_shipment(worker.lanes)
            case "settled_elsewhere":
                return world, rooms.settled_elsewhere(worker.table, turn.item, turn.held, now)
            case "may_run":
                return world, rooms.may_run(worker.table, turn.item, turn.held, now)
            case "blocked_by":
                return world, rooms.blocked_by(worker.table, turn.item, turn.held, now)
            case "found_intent":
                return world, self.ledger.found(worker.book, ask[1], now)
            case "believe_from":
                return world, 0.0 if "first-read" in self._wrong else worker.believe_from
            case "owned_until":
                may_send = worker.role == "own" and not worker.blind
                if "no-fence" in self._wrong:
                    return world, math.inf
                return world, self.ledger.owned_until(worker.book, worker.taken_at, now, may_send=may_send)
            case "untake":
                worker = worker._replace(table=rooms.untake(worker.table, turn.item, turn.held, now))
            case "wake_order":
                worker = worker._replace(table=rooms.wake_order(worker.table, now))
            case "finished":
                book = self.ledger.finished(worker.book, turn.item, now, in_doubt=ask[1])
                has_due = worker.role == "own" and self.ledger.has_due(book, now)
                worker = worker._replace(book=book, news=has_due)
        return with_worker(world, who, worker), None

    def _goes_on(self, world: World, who: int, turn: Turn) -> Iterator[Move]:
        """The turn gets its answer."""
        name, ask = self._name(turn.item[0]), turn.ask
        match ask[0]:
            case "get":
                for view in world.views:
                    old = "" if view is world.views[-1] else "(an older view)"
                    yield from self._answers(world, who, view, (name, "reads Walmart's order", old))
            case "post":
                yield from self._posts(world, who, turn, ask[1], ask[2])
            case "fence":
                yield from self._fences(world, who, turn, ask[1])
            case "end":
                end = 0 if "no-barrier" in self._wrong else world.published[0]
                yield from self._answers(world, who, end, (name, "asks how far shipments go:", end))
            case "past":
                is_past = world.workers[who].positions[0] >= ask[1]
                yield from self._answers(world, who, is_past, (name, "has read so far:", is_past))
            case "result":
                yield from self._publishes(world, who, turn)
            case _:
                yield from self._writes(world, who, turn)

    def _answers(
        self, world: World, who: int, answer: Any, words: tuple[Any, ...], fault: bool = False, broken: str = ""
    ) -> Iterator[Move]:
        for after in self._run(self._answered(world, who, answer), who):
            yield Move(who, (*words, *outlook(after, who)), after, fault, broken)

    def _fences(self, world: World, who: int, turn: Turn, deadline: int) -> Iterator[Move]:
        words = (self._name(turn.item[0]), "sets its fence")
        if "no-fence" in self._wrong:
            yield from self._answers(world, who, True, (*words, "(not at all)"))
            return
        worker = world.workers[who]
        for how, fault, remark in self._hows(world, who):
            book, answered = self.ledger.intend(
                worker.book, turn.item, deadline, how, worker.positions, world.now,
                may_send=worker.role == "own" and not worker.blind, blind=turn.held.blind,
            )  # fmt: skip
            after = self._applied(with_worker(world, who, worker._replace(book=book)), who, answered, how)
            yield from self._answers(after, who, answered.ok, (*words, told(answered), remark), fault)

    def _posts(self, world: World, who: int, turn: Turn, call: Call, deadline: int) -> Iterator[Move]:
        """Effect and answer are one step: what sees them apart (a crash, a lost answer) are faults of their own."""
        name = self._name(turn.item[0])
        if world.now > deadline:
            yield from self._answers(world, who, TOO_LATE, (name, "is too late to send", call))
            return
        answer = done(world.order, call)
        if isinstance(answer, CallError):
            yield from self._answers(world, who, answer, (name, "POST", call, "-> refused"))
        else:
            after, broken = self.effect(world, turn.item, call)
            yield from self._answers(after, who, answer, (name, "POST", call), broken=broken)
        if world.faults:
            late = Late(turn.item, call, world.now + 1)
            lost = world._replace(faults=world.faults - 1, late=tuple(sorted((*world.late, late), key=str)))
            yield from self._answers(lost, who, LOST, (name, "POST", call, "-> no answer"), fault=True)
            yield Move(who, ("crashes while", name, "is sending", call), self._crashed(lost, who), fault=True)

    def _publishes(self, world: World, who: int, turn: Turn) -> Iterator[Move]:
        verdict = turn.result
        assert isinstance(verdict, Verdict)
        name, key = self._name(turn.item[0]), self._keys[turn.item[0]]
        code = "" if verdict.failure is None else verdict.failure.code
        is_early = "early-tombstone" in self._wrong and turn.item[1] >= 0
        if is_early and self._closes(world, who, turn, own_only=True)[1] is not None:
            yield from self._writes(world, who, turn._replace(ask=("settle", True)))
            return
        after = world._replace(results=world.results | {(key, verdict.status, code)})
        words = (name, "result:", verdict.status, verdict.effect, code)
        yield from self._answers(after, who, None, words)
        yield from self._unacknowledged(after, who, words)

    def _unacknowledged(self, world: World, who: int, words: tuple[Any, ...]) -> Iterator[Move]:
        """Written, and told as failed: `Handling._durably` writes everything of this conclusion once more."""
        if not world.faults:
            return
        worker = world.workers[who]
        assert worker.turn is not None
        turn = worker.turn._replace(history=_before_writes(worker.turn), ask=())
        anew = with_worker(world._replace(faults=world.faults - 1), who, worker._replace(turn=turn))
        for after in self._run(anew, who):
            yield Move(who, (*words, "(written, not acknowledged)"), after, fault=True)

    def _writes(self, world: World, who: int, turn: Turn) -> Iterator[Move]:
        name, end = self._name(turn.item[0]), len(world.letters)
        table, letter = self._letter(world, who, turn)
        if letter is None:
            yield from self._answers(world, who, None, (name, "has nothing to close any more"))
            return
        worker = world.workers[who]
        written = world._replace(letters=(*world.letters, letter))
        state = "tombstone" if letter.value is None else f"{letter.about().state} ({letter.about().code})"
        words = (name, "writes", state, "at", end)
        knows = worker._replace(table=table)
        if worker.tail == end:
            # The tail reads it at once: nothing of a write of our own is news.
            knows = knows._replace(table=self.rooms.read(table, letter, end, world.now), tail=end + 1)
        after = with_worker(written, who, knows)
        if turn.ask[0] == "settle":
            # One tombstone at a time: who closes several asks again.
            for one in self._run(after, who):
                yield Move(who, (*words, *outlook(one, who)), one)
        else:
            yield from self._answers(after, who, end, words)
        yield from self._unacknowledged(written, who, words)

    def _letter(self, world: World, who: int, turn: Turn) -> tuple[int, Letter | None]:
        table, end, now = world.workers[who].table, len(world.letters), world.now
        match turn.ask:
            case ("put_waiting", failure, next_at, held):
                return self.rooms.put_waiting(table, turn.item, held, failure, next_at, end, now)
            case ("put_dead", verdict, held):
                return self.rooms.put_dead(table, turn.item, held, verdict, end, now)
        assert turn.ask[0] == "settle", turn.ask
        return self._closes(world, who, turn, own_only=turn.ask[1])

    def _closes(self, world: World, who: int, turn: Turn, *, own_only: bool) -> tuple[int, Letter | None]:
        table = world.workers[who].table
        return self.rooms.settle(table, turn.item, turn.held, len(world.letters), world.now, own_only=own_only)

    def _crashed(self, world: World, who: int) -> World:
        return freed(with_worker(world, who, self._fresh()), who)


def _before_writes(turn: Turn) -> tuple[tuple[Any, int], ...]:
    """The answers of a conclusion before it wrote anything."""
    return turn.history[:1] if isinstance(turn.result, Again) else ()


def _credulous(held: Held) -> Held:
    progress = held.progress
    unsettled = progress.unsettled
    if unsettled is not None:
        progress = progress._replace(unsettled=replace(unsettled, believe_at=0.0))
    return held._replace(progress=progress._replace(hold_until=0.0, read_twice=False))
