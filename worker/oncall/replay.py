"""Replaying dead letters, decided without I/O: what is asked for, the record that asks, what became of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from schemas import deadletter
from schemas.results import SyncResult
from worker.oncall.answers import answers_replay
from worker.oncall.letters import Letter, RawRecord, read_letter
from worker.oncall.selection import in_order

Became = Literal["succeeded", "failed", "observed", "asked", "no_answer", "changed", "not_replayable", "not_written"]
"""
`succeeded`, `failed`: the final result, or what the waiting room shows.
`observed`: planned only, its store or account is in observe mode.
`asked`: written, not awaited. `no_answer`: written, no final result in time; the worker still has it.
`changed`: not written, somebody settled or replayed it meanwhile. `not_replayable`: broken, see the note.
`not_written`: not reached, or Kafka did not take it.
"""

SETTLED_GRACE_S = 5.0
"""How long a result is still expected once the waiting room shows the end (the result is written first)."""


@dataclass(slots=True)
class Item:
    """One letter of a replay."""

    letter: Letter
    number: int
    """The replay number that is asked for (or was, where it was asked for earlier)."""
    earlier: bool = False
    """It was asked for by an earlier command: awaited, not written again."""
    written: bool = False
    became: Became | None = None
    """None: not known yet."""
    result: SyncResult | None = None
    """The newest result, possibly `retrying`."""
    code: str | None = None
    """The error code it ended with."""
    note: str | None = None
    closed_at: float | None = None
    """Loop time when the waiting room showed the end."""
    closed_as: Became | None = None

    @property
    def key(self) -> str:
        """Of the dead letter."""
        return self.letter.key


@dataclass(slots=True)
class Plan:
    """What a replay command is about to do."""

    items: list[Item] = field(default_factory=list)
    """In the order of writing."""
    unknown_keys: list[str] = field(default_factory=list)
    """Keys asked for by name that are not there: settled meanwhile, or misspelt."""
    waiting: int = 0
    """Letters that fit but belong to the worker: it takes them up by itself."""

    @property
    def fresh(self) -> list[Item]:
        """To be written."""
        return [item for item in self.items if item.became is None and not item.earlier]

    @property
    def earlier(self) -> list[Item]:
        """Asked for already, still running."""
        return [item for item in self.items if item.became is None and item.earlier]

    @property
    def impossible(self) -> list[Item]:
        """Broken or foreign."""
        return [item for item in self.items if item.became == "not_replayable"]


def plan(letters: Iterable[Letter], keys: frozenset[str] = frozenset()) -> Plan:
    """Sort what was selected. `keys` are those asked for by name."""
    made = Plan()
    found: set[str] = set()
    for letter in in_order(letters):
        if letter.state == "corrected":
            continue
        found.add(letter.key)
        number = letter.about.replay_number
        if letter.state == "waiting":
            made.waiting += 1
        elif letter.state == "broken" or letter.obstacle is not None:
            note = letter.obstacle or "its state is not known"
            made.items.append(Item(letter, number, became="not_replayable", note=note))
        elif letter.state == "replay":
            made.items.append(Item(letter, number, earlier=True))
        else:
            made.items.append(Item(letter, number + 1))
    made.unknown_keys = sorted(keys - found)
    return made


def asking_record(item: Item, *, by: str, why: str) -> tuple[bytes, list[tuple[str, bytes | None]]]:
    """Value and headers of the record that asks for this replay: the event untouched, everything known kept."""
    assert item.letter.has_bytes
    content = item.letter.content
    about = replace(content.about, state="replay", replay_number=item.number, by=by, why=why)
    return deadletter.write(about, content.value, content.headers)


class Watch:
    """Follows both topics and knows of each item what became of it."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = {(item.letter.place.partition, item.letter.raw_key): item for item in items}
        # One event may have two letters (its identity, and its coordinates where the identity was reused).
        self._by_source: dict[tuple[str | None, int | None, int | None], list[Item]] = {}
        for item in self._items.values():
            about = item.letter.about
            self._by_source.setdefault((about.topic, about.partition, about.offset), []).append(item)

    def see_result(self, result: SyncResult) -> None:
        """A sync result appeared."""
        event = result.event
        for item in self._by_source.get((event.topic, event.partition, event.offset), ()):
            if item.became is not None or not answers_replay(result, item.key, item.number):
                continue
            item.result = result
            item.code = None if result.error is None else result.error.code
            if result.final:
                item.became = _became(result)
                item.note = None if result.error is None else result.error.message

    def see_letter(self, record: RawRecord, now: float) -> None:
        """A record of the dead-letter topic appeared. `now` is loop time."""
        item = self._items.get((record.partition, record.key or b""))
        if item is None or record.offset <= item.letter.place.offset or item.became is not None:
            return
        letter = read_letter(record)
        if letter is not None and letter.state == "replay" and letter.about.replay_number == item.number:
            # Ours, or a second person's: before we have written, it is somebody else's.
            if not item.written and not item.earlier:
                item.became, item.note = "changed", "somebody else asked for its replay"
        elif not item.written and not item.earlier:
            item.became = "changed"
            item.note = "settled meanwhile" if letter is None else f"written anew meanwhile ({letter.state})"
        elif letter is None:
            item.closed_at, item.closed_as = now, "succeeded"
        elif letter.state == "dead" and letter.about.replay_number >= item.number:
            item.closed_at, item.closed_as, item.code = now, "failed", letter.about.code
            item.note = letter.about.reason

    def close(self, now: float) -> None:
        """Take the waiting room's word where it has shown the end for a while and no result was seen."""
        for item in self._items.values():
            if item.became is None and item.closed_at is not None and now - item.closed_at >= SETTLED_GRACE_S:
                item.became = item.closed_as

    @property
    def open(self) -> list[Item]:
        """Asked for, not known yet."""
        return [item for item in self._items.values() if item.became is None and (item.written or item.earlier)]


def _became(result: SyncResult) -> Became:
    if result.status != "succeeded":
        return "failed"
    return "observed" if result.observed else "succeeded"
