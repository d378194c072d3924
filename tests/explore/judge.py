"""The promises, looked at in every state and at every end."""

from __future__ import annotations

from tests.explore.shop import cancelled, charged
from tests.explore.stories import Story
from tests.explore.timing import TOPICS
from tests.explore.waiting_room import newest
from tests.explore.world import World


class Judge:
    """Of one story."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._keys = tuple(story.decoded(record).key for record in range(len(story.records)))
        self._boxed = sum(story.charged.values())

    def broken(self, world: World) -> str:
        """The promise that a state breaks; empty: none."""
        units, gone = charged(world.order), cancelled(world.order)
        for number, count in units.items():
            if count > self._story.charged.get(number, 0):
                return f"{count} unit(s) charged under {number}, {self._story.charged.get(number, 0)} shipped"
        if gone > self._story.cancelled:
            why = "in a box" if gone > self._story.ordered - self._boxed else "not to be cancelled"
            return f"{gone} unit(s) cancelled, some of them {why}"
        return self._lost(world)

    def _lost(self, world: World) -> str:
        told = {key for key, _, _ in world.results}
        kept = newest(world.letters)
        for topic, (offset, _) in enumerate(world.committed):
            for record in self._story.topic_records(topic)[: max(0, offset)]:
                if self._keys[record] not in told and self._keys[record] not in kept:
                    return f"{TOPICS[topic]} is committed to {offset}, and record {record} is neither settled nor kept"
        return ""

    def unfinished(self, world: World) -> str:
        """What is not done, where nothing happens any more; empty: everything is."""
        told = {key for key, _, _ in world.results}
        missing = [key for key in self._keys if key not in told]
        if missing:
            return f"no result for {', '.join(missing)}"
        waiting = [key for key, (_, letter) in newest(world.letters).items() if letter.about().state != "dead"]
        if waiting:
            return f"still waiting: {', '.join(waiting)}"
        if any(worker.held for worker in world.workers if worker.role == "own"):
            return "events are left in memory"
        return self._disagreement(world)

    def _disagreement(self, world: World) -> str:
        failed = [f"{key} ({code})" for key, status, code in sorted(world.results) if status != "succeeded"]
        if failed:
            return f"failed: {', '.join(failed)}"
        units, gone = charged(world.order), cancelled(world.order)
        if units != self._story.charged or gone != self._story.cancelled:
            return f"Walmart shows {units} shipped and {gone} cancelled"
        return ""
