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

OVERTAKEN_S: Final = 10.0
"""An event may be run from its input topic (it was repeated, or its offset is not committed) while somebody asks for
its replay: what comes of that run counts, though its result was written up to so long before."""
_CLOSES: Final = frozenset({"settled", "dead"})


@dataclass
class Asked:
    """One replay."""

    key: str
    number: int
    at: float
    """Loop time of the record that asks."""
    was: str | None
    """State of the event's record before."""
    answered: bool = False
    ended: str = ""
    """Who wrote the record that overruled this one for good, and its state; empty: nobody."""


@dataclass(frozen=True, slots=True)
class _Final:
    """One final result."""

    at: float
    """Loop time."""
    id: str
    status: str
    effect: str
    code: str | None

    def is_of(self, key: str, number: int) -> bool:
        """Whether it is the result of this event's replay of that number."""
        return self.id == result_id(key, number, self.status, self.effect, self.code)


class Replays:
    """All of a run."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._asked: dict[tuple[str, int], Asked] = {}
        self._of_key: dict[str, list[Asked]] = defaultdict(list)
        self._finals: dict[str, list[_Final]] = defaultdict(list)
        """By every key that the result's event may go by."""

    def letter(self, key: str, about: DeadLetterHeaders, was: str | None, by: Process | None, now: float) -> None:
        """A record of the dead-letter topic was written. `was`: the state of the record it overrules."""
        if about.state == "replay":
            asked = self._asked.get((key, about.replay_number))
            if asked is None:
                asked = self._asked[key, about.replay_number] = Asked(key, about.replay_number, now, was)
                self._of_key[key].append(asked)
            return
        if about.state not in _CLOSES:
            return
        for asked in self._asked.values():
            if asked.key == key and not asked.ended:
                asked.ended = f"{by}: {about.state}"

    def result(self, told: dict[str, Any], now: float) -> None:
        """A final result was written."""
        event, code = told["event"], told["error"]["code"] if told["error"] else None
        final = _Final(now, told["result_id"], told["status"], told["effect"], code)
        # Of its identity, not of the record: an event that is repeated lies at several offsets, and a dead letter
        # names the one that was run last.
        for key in (
            f"{event['topic']}|{event['source']}|{event['id']}",
            f"{event['topic']}/{event['partition']}/{event['offset']}",
        ):
            self._finals[key].append(final)
            for asked in self._of_key.get(key, ()):
                if not asked.answered and final.is_of(key, asked.number):
                    asked.answered = True
                    self._history.count(f"replays answered: {final.status}")

    def unanswered(self) -> list[str]:
        """What is wrong, at the end."""
        wrong = []
        for asked in self._asked.values():
            if asked.answered:
                continue
            # Any number: an event that is run from its topic meanwhile has none, and it may be asked for twice.
            numbers = {0, *(other.number for other in self._of_key[asked.key])}
            finals = [
                final.at
                for final in self._finals[asked.key]
                if any(final.is_of(asked.key, number) for number in numbers)
            ]
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
