"""On-call people: they replay and resolve dead letters with the product's own command code, at any moment."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any, Final

from schemas import deadletter
from schemas.deadletter import DeadLetterHeaders
from tests.sim.history import History
from tests.sim.mishaps import Happening
from tests.sim.virtual_loop import Process, VirtualLoop
from worker.kafka import NotPublishedError
from worker.oncall.kafka import KafkaUnreachableError
from worker.oncall.letters import Letter
from worker.oncall.replay import Item, Plan, plan
from worker.oncall.replaying import Asking, Replaying
from worker.oncall.snapshot import snapshot
from worker.report.publisher import Publisher
from worker.settings import Settings

NAME: Final = "person"
"""What the names of their processes begin with."""


class People:
    """Each deed is a process of its own, as the command is; several may be at it at once."""

    def __init__(
        self,
        loop: VirtualLoop,
        settings: Settings,
        chance: random.Random,
        history: History,
        broken: Callable[[str], None],
        *,
        may_resolve: Callable[[str], bool],
    ) -> None:
        """`may_resolve`: whether an order's dead letters can be taken out without anything following from it."""
        self._loop, self._settings, self._chance, self._history = loop, settings, chance, history
        self._broken, self._may_resolve = broken, may_resolve
        self._count = 0
        self._at_it: set[asyncio.Task[Any]] = set()
        self.processes: list[Process] = []

    @property
    def busy(self) -> bool:
        """Somebody is still at it."""
        return bool(self._at_it)

    def act(self, deed: Happening) -> None:
        """Begin."""
        self._count += 1
        process = Process(f"{NAME}{self._count}")
        self.processes.append(process)
        work = self._replay(deed) if deed.deed == "replay" else self._resolve()
        self._history.add(f"{deed.deed} {deed.how}", process)
        task = self._loop.begin(process, work, name=str(process))
        self._at_it.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._at_it.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, KafkaUnreachableError | NotPublishedError):
            self._history.count("people: Kafka did not answer")
        elif error is not None:
            self._broken(f"{task.get_name()}: {error!r}")

    async def _replay(self, deed: Happening) -> None:
        read = await snapshot(self._settings, keep=lambda _: True)
        made = self._planned(deed, read.letters)
        if not made.fresh and not made.earlier:
            return
        asking = Asking(by="on call", why="simulated", rate=self._chance.choice((1.0, 5.0, 100.0)), wait_s=deed.seconds)
        try:
            await Replaying(self._settings, made, read.marks, asking).run()
        finally:
            for item in made.items:
                self._history.count(f"replays: {item.became}")
                self._history.add(f"{item.key} (replay {item.number}): {item.became} {item.note or ''}")

    def _planned(self, deed: Happening, letters: list[Letter]) -> Plan:
        if deed.how == "waiting":
            # Nobody's command does so; but what was dead when somebody looked may be waiting when he writes.
            waiting = [letter for letter in letters if letter.state == "waiting" and letter.obstacle is None]
            self._history.count("replays asked for of waiting events", len(waiting))
            return Plan([Item(letter, letter.about.replay_number + 1) for letter in waiting])
        dead = [letter for letter in letters if letter.state == "dead"]
        if dead and deed.how != "all":
            one = dead[deed.which % len(dead)].about
            dead = [each for each in dead if deed.how not in ("code", "order") or _same(each.about, one, deed.how)]
        made = plan(dead)
        self._history.count("replays asked for of dead letters", len(made.fresh))
        return made

    async def _resolve(self) -> None:
        """Write the tombstones that say: settled by hand."""
        read = await snapshot(self._settings, keep=lambda _: False)
        publisher = Publisher(self._settings.kafka)
        try:
            for letter in read.letters:
                order = letter.about.order or ""
                if letter.state != "dead" or not self._may_resolve(order) or self._chance.random() < 0.5:
                    continue
                about = DeadLetterHeaders(state="settled", order=order or None, by="on call", why="simulated")
                self._history.count("dead letters resolved")
                await publisher.send(
                    self._settings.topics.dead_letter,
                    key=letter.raw_key,
                    value=None,
                    headers=deadletter.encode(about),
                    partition=letter.place.partition,
                )
        finally:
            await publisher.stop()


def _same(one: DeadLetterHeaders, other: DeadLetterHeaders, how: str) -> bool:
    return one.code == other.code if how == "code" else one.order == other.order
