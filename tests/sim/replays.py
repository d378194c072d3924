"""Replays that people asked for, as the judge sees them: each ends with a final result of its own."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Final

from schemas.deadletter import DeadLetterHeaders
from tests.sim.history import History
from tests.sim.people import NAME
from tests.sim.virtual_loop import Process
from worker.report.result import result_id

Source = tuple[str | None, int | None, int | None]
OVERTAKEN_S: Final = 10.0
"""An event may be run from its input topic (it was repeated, or its offset is not committed) while somebody asks for
its replay: what comes of that run counts, though its result was written up to so long before."""
_CLOSES: Final = frozenset({"settled", "dead"})


@dataclass
class Asked:
    """One replay."""

    key: str
    number: int
    source: Source
    at: float
    """Loop time of the record that asks."""
    was: str | None
    """State of the event's record before."""
    answered: bool = False
    ended: str = ""
    """Who wrote the record that overruled this one for good, and its state; empty: nobody."""


class Replays:
    """All of a run."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._asked: dict[tuple[str, int], Asked] = {}
        self._of_source: dict[Source, list[Asked]] = defaultdict(list)
        self._finals: dict[Source, list[float]] = defaultdict(list)

    def letter(self, key: str, about: DeadLetterHeaders, was: str | None, by: Process | None, now: float) -> None:
        """A record of the dead-letter topic was written. `was`: the state of the record it overrules."""
        if about.state == "replay":
            asked = self._asked.get((key, about.replay_number))
            if asked is None:
                source = (about.topic, about.partition, about.offset)
                asked = self._asked[key, about.replay_number] = Asked(key, about.replay_number, source, now, was)
                self._of_source[source].append(asked)
            return
        if about.state not in _CLOSES:
            return
        for asked in self._asked.values():
            if asked.key == key and not asked.ended:
                asked.ended = f"{by}: {about.state}"

    def result(self, told: dict[str, Any], now: float) -> None:
        """A final result was written."""
        event, code = told["event"], told["error"]["code"] if told["error"] else None
        source = (event["topic"], event["partition"], event["offset"])
        self._finals[source].append(now)
        for asked in self._of_source.get(source, ()):
            answer = result_id(asked.key, asked.number, told["status"], told["effect"], code)
            if not asked.answered and told["result_id"] == answer:
                asked.answered = True
                self._history.count(f"replays answered: {told['status']}")

    def unanswered(self) -> list[str]:
        """What is wrong, at the end."""
        wrong = []
        for asked in self._asked.values():
            finals = self._finals[asked.source]
            if asked.answered:
                continue
            if asked.ended.startswith(NAME):
                self._history.count("replays resolved before they ended")
            elif asked.ended and any(at >= asked.at - OVERTAKEN_S for at in finals):
                self._history.count("replays overtaken by another run of the event")
            elif asked.was == "dead":
                wrong.append(
                    f"{asked.key}: no final result of replay {asked.number}, asked for at {asked.at - 1_000:.3f} "
                    f"({asked.ended or 'open'}; finals {[at - 1_000 for at in finals]})"
                )
        return wrong
