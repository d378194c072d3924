"""What a contender of the benchmarks is: a command that is told its task and does it until SIGTERM."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

import orjson

from worker.settings import TopicSettings

Work = Literal["events", "handler", "calls"]
"""Each event of the topic is handled, those of one key in order; then a result record is written for it, and offsets
are committed contiguously. Handled means, `events`: nothing is done; `handler`: it takes 0 to 5 ms, and then has its
effect (`handlers.py`); `calls`: GET and POST to Walmart, for at most `in_flight` orders at one moment."""

CLIENT_ID: Final = "bench-client"
CLIENT_SECRET: Final = "bench-secret"
STORE: Final = "bench"
PLENTY_PER_MINUTE: Final = 1_000_000.0
"""Walmart's budget for each kind of call, where none is measured."""
PLENTY: Final = 999_999
"""Calls left of it, as every answer tells."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a contender is told: JSON, its last argument."""

    work: Work
    bootstrap: str
    """Kafka's bootstrap servers."""
    topics: dict[str, str]
    """Names of the four topics, by the names of `worker.settings.TopicSettings`."""
    group: str
    """Consumer group, fresh for every run: reading begins at the oldest record."""
    walmart: str
    """Base URL of Walmart's API."""
    in_flight: int = 256
    effects: str = ""
    """`handler`: the file that an event's effect is appended to."""
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What differs in the sections of `worker.settings.Settings` (`accounts` and `stores`: all of it); only our own
    worker is given any."""

    @property
    def names(self) -> TopicSettings:
        """The topics, typed."""
        return TopicSettings.model_validate(self.topics)

    def to_json(self) -> str:
        """As the argument of a command."""
        return orjson.dumps(asdict(self)).decode()


def task_of_arguments() -> Task:
    """The task of this process."""
    return Task(**orjson.loads(sys.argv[-1]))


@dataclass(frozen=True, slots=True)
class Contender:
    """Somebody who does some kinds of work."""

    name: str
    works: tuple[Work, ...]
    command: tuple[str, ...]
    """The task's JSON is appended."""

    def run(self, task: Task) -> tuple[str, ...]:
        """The whole command."""
        assert task.work in self.works
        return (*self.command, task.to_json())


def module(name: str, python: str = sys.executable) -> tuple[str, ...]:
    """The command that runs a module of this folder."""
    return (python, "-m", f"tests.bench.{name}")


ORDER_SYNC: Final = Contender("order-sync", ("events", "handler", "calls"), module("worker_runner"))
BARE_LOOP: Final = Contender("bare loop", ("events", "handler", "calls"), module("bare_events"))
BARE_CALLS: Final = Contender("bare aiohttp loop", ("calls",), module("bare_calls"))
CONTENDERS: Final = (ORDER_SYNC, BARE_LOOP, BARE_CALLS)
"""The first is ours. `peers.py` adds those that have to be installed."""

FLOORS: Final[dict[Work, Contender]] = {"events": BARE_LOOP, "handler": BARE_LOOP, "calls": BARE_CALLS}
"""What ours is compared with. For `calls` it has no Kafka and publishes nothing."""
