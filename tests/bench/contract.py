"""What a contender of the benchmarks is: a command that is told its task and does it until SIGTERM."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

import orjson

from worker.settings import TopicSettings

Work = Literal["events", "calls"]
"""`events`: one result record per event of the topic, in the order of each key, offsets committed contiguously;
nothing is asked of Walmart. `calls`: GET and POST per order, at most `in_flight` orders at one moment."""

CLIENT_ID: Final = "bench-client"
CLIENT_SECRET: Final = "bench-secret"
STORE: Final = "bench"


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
    """Somebody who does a kind of work. Peers join by being one more of these in `CONTENDERS`."""

    name: str
    work: Work
    command: tuple[str, ...]
    """The task's JSON is appended."""

    def run(self, task: Task) -> tuple[str, ...]:
        """The whole command."""
        return (*self.command, task.to_json())


def _module(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", f"tests.bench.{name}")


WORKER_EVENTS: Final = Contender("order-sync", "events", _module("worker_runner"))
BARE_EVENTS: Final = Contender("bare loop", "events", _module("bare_events"))
WORKER_CALLS: Final = Contender("order-sync", "calls", _module("worker_runner"))
BARE_CALLS: Final = Contender("bare loop", "calls", _module("bare_calls"))

CONTENDERS: Final = (WORKER_EVENTS, BARE_EVENTS, WORKER_CALLS, BARE_CALLS)
"""The first of each kind of work is ours; the last is what the others are compared with."""


def contenders(work: Work) -> list[Contender]:
    """Everybody who does this kind of work."""
    return [one for one in CONTENDERS if one.work == work]
