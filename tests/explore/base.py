"""What all steps need: the product's parts, the first state, commits, and what is told of a step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from tests.explore.ledger import Answered, How, Ledger
from tests.explore.memory import Item
from tests.explore.queues import Queues
from tests.explore.shop import Call, done
from tests.explore.stories import Story
from tests.explore.tries import Tries
from tests.explore.waiting_room import Rooms
from tests.explore.world import NOBODY, Worker, World, with_commit
from worker.handling import Elsewhere, Park
from worker.outcome import Again
from worker.walmart.answer import CallError

WRONG: Final = {
    "commit-early": "an offset is finished when its turn begins",
    "no-fence": "calls that leave units open are sent without a fence",
    "blind-takeover": "what an earlier owner was about to send is not looked for",
    "first-read": "the first read after an unknown outcome is believed",
    "early-tombstone": "a parked event's tombstone is written before its result",
    "no-barrier": "a guarded cancel does not wait until shipments are read",
    "stale-commits": "commits of a worker that lost its partitions are taken",
}
"""Rules that can be broken on purpose, to see that it is noticed."""


class Base:
    """The parts of one story's model."""

    def __init__(self, story: Story, wrong: frozenset[str] = frozenset()) -> None:
        assert wrong <= set(WRONG), wrong - set(WRONG)
        self._story, self._wrong = story, wrong
        self.tries = Tries(story)
        self.ledger = Ledger(story)
        self.queues = Queues(story)
        self.rooms = Rooms(story, self.tries)
        self._keys = tuple(story.decoded(record).key for record in range(len(story.records)))
        self._ends = tuple(len(story.topic_records(topic)) for topic in (0, 1))

    def first(self, faults: int) -> World:
        """Nothing has happened yet."""
        order = self._story.order()
        late = [sum(self._story.where(record)[0] == topic for record in self._story.late) for topic in (0, 1)]
        return World(
            now=0,
            owner=NOBODY,
            committed=((-1, ""), (-1, "")),
            letters=(),
            results=frozenset(),
            order=order,
            views=(order,),
            late=(),
            commits=(),
            published=(self._ends[0] - late[0], self._ends[1] - late[1]),
            faults=faults,
            parks=self._story.parks,
            workers=(self._fresh(), self._fresh()),
        )

    def _fresh(self) -> Worker:
        return Worker("idle", False, False, 0, (0, 0), self.ledger.empty, self.queues.empty, self.rooms.empty, 0)

    def _name(self, record: int) -> str:
        topic, offset = self._story.where(record)
        return f"{'sc'[topic]}{offset}"

    def _taken(self, world: World, who: int) -> How:
        return "taken" if world.owner == who or "stale-commits" in self._wrong else "refused"

    def _hows(self, world: World, who: int) -> Iterator[tuple[How, bool, str]]:
        """What the client hears, and whether that is a fault. Without an answer it may be taken later, or never."""
        how = self._taken(world, who)
        yield how, False, "" if how == "taken" else "(refused)"
        if world.faults and how == "taken":
            yield "failed", True, "(no answer)"

    @staticmethod
    def _applied(world: World, who: int, answered: Answered, how: How) -> World:
        batch = answered.batch
        if how == "failed":
            commits = world.commits if batch is None else (*world.commits, (who, batch))
            return world._replace(commits=commits, faults=world.faults - 1)
        return with_commit(world, batch) if how == "taken" and batch is not None else world

    def effect(self, world: World, item: Item, call: Call) -> tuple[World, str]:
        """Walmart's order changes; and the promise that this breaks."""
        order = done(world.order, call)
        assert not isinstance(order, CallError)
        broken = ""
        topic, offset = self._story.where(item[0])
        settled = {key for key, _, _ in world.results}
        for record in self._story.topic_records(topic)[:offset]:
            if self._keys[record] != self._keys[item[0]] and self._keys[record] not in settled:
                broken = f"{self._name(item[0])} takes effect before {self._name(record)} is settled"
        views = world.views if self._story.lags else ()
        return world._replace(order=order, views=tuple(dict.fromkeys((*views, order)))), broken


def told(answered: Answered) -> str:
    if answered.batch is None:
        return "nothing"
    return ", ".join(f"{'sc'[topic]} to {offset}{' +intent' if text else ''}" for topic, offset, text in answered.batch)


def outlook(world: World, who: int) -> tuple[Any, ...]:
    """What became of a turn, or what it waits for next."""
    turn = world.workers[who].turn
    if turn is None:
        return ("· over",)
    result = turn.result
    if isinstance(result, Park):
        return ("· parks:", result.why.code)
    if isinstance(result, Again):
        return ("· again:", result.trouble.value, result.failure.code)
    if isinstance(result, Elsewhere):
        return ("· elsewhere",)
    return ()
