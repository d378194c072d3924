"""One state: Kafka, Walmart, the time, and two workers. Nothing in it is ever changed."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from schemas.walmart.order import Order
from tests.explore.ledger import Batch
from tests.explore.memory import Ask, Held, History, Item, Remembered
from tests.explore.shop import Call
from tests.explore.waiting_room import Letters
from worker.handling import Result as Outcome

NOBODY = -1
Role = Literal["idle", "own", "leaving"]
"""`idle`: has no partition; `own`: thinks it has them; `leaving`: gives them back, ends what it is writing."""
Result = tuple[str, str, str]
"""Identity, status, error code."""


class Turn(NamedTuple):
    """The turn that a worker gives (one order: one at a time)."""

    item: Item
    is_concluding: bool
    begun: int
    """Tick at which this part of the turn began."""
    held: Held
    """As it was then."""
    memory: Remembered | None = None
    evicted: bool = False
    result: Outcome | None = None
    """Of the attempt, once it is being concluded."""
    history: History = ()
    """Answers so far."""
    ask: Ask = ()
    """What it waits for."""


class Worker(NamedTuple):
    """One process. Books, lanes and tables are cells."""

    role: Role
    blind: bool
    """What earlier owners were about to send is not read back yet."""
    stalled: bool
    taken_at: int
    """Tick at which its assignment began."""
    positions: tuple[int, int]
    """Next offset to be read of the shipped and the cancelled topic."""
    book: int
    lanes: int
    table: int
    tail: int
    """Next offset of the dead-letter topic to be read."""
    held: tuple[tuple[Item, Held], ...] = ()
    """What is in the lanes."""
    turn: Turn | None = None
    memory: Remembered | None = None
    believe_from: float = 0.0
    """Epoch seconds: as the product's fence tells it."""
    news: bool = False
    """Its own latest step made something committable."""


class Late(NamedTuple):
    """A call whose answer was lost: it may take effect up to a tick, or never."""

    item: Item
    call: Call
    limit: int


class World(NamedTuple):
    """Everything."""

    now: int
    owner: int
    """Whose the group says the partitions are."""
    committed: tuple[tuple[int, str], tuple[int, str]]
    letters: Letters
    results: frozenset[Result]
    order: Order
    views: tuple[Order, ...]
    """What a read may show, the truth last."""
    late: tuple[Late, ...]
    commits: tuple[tuple[int, Batch], ...]
    """Commits whose answer was lost, by worker: the broker may take them up to the next tick, if that is the owner."""
    published: tuple[int, int]
    """Ends of the shipped and the cancelled topic."""
    faults: int
    parks: int
    workers: tuple[Worker, Worker]


class Move(NamedTuple):
    """One step."""

    who: int
    """The worker; NOBODY: the world."""
    what: tuple[Any, ...]
    """For people: words and things."""
    world: World
    fault: bool = False
    broken: str = ""
    """The promise that this very step breaks."""

    def __str__(self) -> str:
        name = "     " if self.who == NOBODY else f"W{self.who + 1}   "
        return f"{'! ' if self.fault else '  '}{name}{' '.join(str(word) for word in self.what)}"


def with_worker(world: World, who: int, worker: Worker, **more: Any) -> World:
    """The world with one worker exchanged."""
    first, second = world.workers
    return world._replace(workers=(worker, second) if who == 0 else (first, worker), **more)


def freed(world: World, who: int) -> World:
    """The group gives the partitions of this worker to somebody else: what it still commits is refused."""
    if world.owner != who:
        return world
    return world._replace(owner=NOBODY, commits=tuple(one for one in world.commits if one[0] != who))


def with_commit(world: World, batch: Batch) -> World:
    committed = list(world.committed)
    for topic, offset, text in batch:
        committed[topic] = (offset, text)
    return world._replace(committed=(committed[0], committed[1]))


def with_held(held: tuple[tuple[Item, Held], ...], item: Item, one: Held) -> tuple[tuple[Item, Held], ...]:
    return tuple(sorted((*without(held, item), (item, one)), key=lambda each: each[0]))


def without(held: tuple[tuple[Item, Held], ...], item: Item) -> tuple[tuple[Item, Held], ...]:
    return tuple(each for each in held if each[0] != item)


def held_in(held: tuple[tuple[Item, Held], ...], item: Item) -> Held:
    return next(one for name, one in held if name == item)


def is_zombie(world: World, who: int) -> bool:
    """It has lost its partitions and does not know."""
    return world.workers[who].role == "own" and world.owner != who
