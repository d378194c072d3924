"""The promises, held against what happened: at every write and call where that is possible, the rest at the end."""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from typing import Final

import orjson

from schemas import deadletter
from tests.sim.budgets import Waiting
from tests.sim.cluster import Cluster, Place, Stored
from tests.sim.history import History
from tests.sim.reconfiguring import Silence
from tests.sim.replays import Replays
from tests.sim.scenario import CANCELLED, DEAD_LETTERS, GROUP, RESULTS, SHIPPED, Message, OrderStory, Scenario
from tests.sim.virtual_loop import Process
from tests.sim.walmart import Effect, FakeWalmart
from worker.sandbox.walmart.orders import Line
from worker.sandbox.walmart.specs import Operation
from worker.sync.tracking import canonical

INPUTS: Final = (SHIPPED, CANCELLED)

ENOUGH_QUIET_S: Final = 60.0
"""So long after the last fault nothing may be given up any more: every wait is shorter here."""

CALLS_OF_A_TURN: Final = 8
"""The most that one attempt makes, each with a whole timeout."""
READ_S: Final = 1.0
"""By then a worker has read a record and Walmart's order."""

State = dict[str, tuple[int, int, dict[str, int]]]
"""Place of an order -> open units, cancelled units, units by canonical tracking number."""


class Published:
    """One input record and what became of it."""

    __slots__ = (
        "ended_at",
        "final",
        "last",
        "message",
        "observed_at",
        "offset",
        "partition",
        "published_at",
        "record",
        "room",
        "topic",
    )

    def __init__(self, message: Message, topic: str, partition: int, record: Stored, at: float) -> None:
        self.message, self.topic, self.partition, self.record = message, topic, partition, record
        self.offset = record.offset
        self.published_at = at
        self.final: tuple[float, str, str | None] | None = None
        """Loop time, status and error code of the first final result that names this record."""
        self.last = ""
        """Status of the latest final result that was not only observed."""
        self.ended_at = self.observed_at = -math.inf
        """Loop times of that one, and of the latest that was."""
        self.room = False
        """A dead letter or waiting record that names it was written."""

    @property
    def coordinates(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


class Judge:
    """Knows what was published and watches what comes of it."""

    def __init__(
        self, scenario: Scenario, cluster: Cluster, walmart: FakeWalmart, history: History, silence: Silence
    ) -> None:
        self.scenario, self.cluster, self.walmart, self.history = scenario, cluster, walmart, history
        self.silence = silence
        self.violations: list[str] = []
        self.failures: Counter[str] = Counter()
        self.records: dict[tuple[str, int, int], Published] = {}
        self.by_key: dict[str, list[Published]] = defaultdict(list)
        """Identity or coordinates -> the records it names."""
        self.of_order: dict[tuple[str, str], list[Published]] = defaultdict(list)
        """(Topic, order) -> its records, in Kafka's order."""
        self._checked: Counter[Place] = Counter()
        """Up to which offset commits have been judged."""
        self._running: dict[tuple[str, str], str] = {}
        """(Process, order) -> the event being attempted."""
        self._waiting: dict[str, deque[Published]] = defaultdict(deque)
        """Order -> its records that are not known to be settled, in the order of publishing."""
        self._judged_effects = 0
        self._told_retrying: Counter[str] = Counter()
        self.room: dict[bytes | None, deadletter.DeadLetter] = {}
        """The dead-letter topic as a reader of all of it sees it."""
        self._wrote: dict[bytes | None, Process | None] = {}
        """Who wrote those records."""
        self.replays = Replays(history)
        self._observed: set[str] = set()
        """Orders of which an event was only observed: to the worker it is concluded, and nothing was sent."""
        self._untold: set[str] = set()
        """Orders of which a correction was only observed, or called settled by a person: no marker tells of it."""
        self._disordered: set[str] = set()
        """Orders of which a waiting event was replayed, which the command never does: it has lost its place."""
        cluster.broken = self.violation
        cluster.written.append(self._written)
        cluster.committed.append(self._committed)

    def violation(self, text: str) -> None:
        """A promise is broken."""
        self.history.add(f"VIOLATION {text}", "judge")
        if len(self.violations) < 50:
            self.violations.append(f"{self.cluster.loop.time() - 1_000:.3f}: {text}")

    # -- while it runs

    def published(self, message: Message, partition: int, record: Stored) -> None:
        """Commerce has published a record."""
        at = self.cluster.loop.time()
        each = Published(message, message.topic, partition, record, at)
        self.records[message.topic, partition, record.offset] = each
        self.by_key[each.coordinates].append(each)
        if message.identity and not message.reused:
            self.by_key[message.identity].append(each)
            if message.order:
                self.of_order[message.topic, message.order].append(each)
                self._waiting[message.order].append(each)
        self.history.add(f"{message.topic.split('.')[1]}/{partition}/{record.offset}: {message.what}", "commerce")

    def _written(self, topic: str, partition: int, record: Stored) -> None:
        if topic == RESULTS:
            self._result(record)
        elif topic == DEAD_LETTERS:
            self._letter(partition, record)

    def _result(self, record: Stored) -> None:
        told = orjson.loads(record.value or b"null")
        event = told["event"]
        error = told["error"]["code"] if told["error"] else None
        each = self.records.get((event["topic"], event["partition"], event["offset"]))
        self.history.add(
            f"RESULT {event['id']} ({event['topic'].split('.')[1]}/{event['partition']}/{event['offset']}): "
            f"{told['status']} {told['effect']} {error or ''} {[warning['code'] for warning in told['warnings']]}",
            record.by,
        )
        if each is None:
            self.violation(f"a result for a record that does not exist: {event}")
            return
        if error == "internal":
            self.violation(f"internal error: {told['error']['message']}")
        key = f"{event['topic']}|{event['source']}|{event['id']}"
        if told["status"] == "retrying":
            self.history.count("retrying results")
            self._told_retrying[key] += 1
            return
        self.history.count("final results observed" if told["observed"] else "final results")
        if told["observed"]:
            self._observed.add(each.message.order)  # and a dead letter stays
            each.observed_at = self.cluster.loop.time()
            if b"replaces_tracking_number" in (each.record.value or b""):
                self._untold.add(each.message.order)
        elif told["status"] == "failed" or not self._is_beyond(each, key, record.by):
            each.last, each.ended_at = told["status"], self.cluster.loop.time()
        self.replays.result(told, self.cluster.loop.time())
        if each.final is None:
            each.final = (self.cluster.loop.time(), told["status"], error)
            if told["status"] == "failed":
                self._failed(each, error or "")
        else:
            self.history.count("results repeated")

    def _is_beyond(self, each: Published, key: str, process: Process | None) -> bool:
        """Whoever has lost the partition tells what he did; its next owner has ended the event otherwise meanwhile.

        Of the dead letter there he cannot know: it stays for a person, whose replay finds everything done.
        """
        names = (key.encode(), each.coordinates.encode())
        dead = any(
            name in self.room and self.room[name].about.state == "dead" and self._wrote[name] is not process
            for name in names
        )
        return dead and any(
            member.process is not process and (each.topic, each.partition) in member.assigned
            for member in self.cluster.group(GROUP).members.values()
        )

    def _failed(self, each: Published, code: str) -> None:
        """A well-formed event of an honest commerce may fail for few reasons."""
        self.failures[code] += 1
        message, scenario = each.message, self.scenario
        if not message.order or message.reused or code in scenario.expected_failures:
            return
        order = scenario.orders[message.order]
        give_up_s = scenario.settings.timing.give_up_after_hours * 3600
        first = min(other.published_at for other in self.by_key[message.identity])
        now = self.cluster.loop.time()
        if now - first >= give_up_s - scenario.clocks_apart_s:
            self.history.count("given up")
            if message.is_guarded and self._bad_shipment(order.id):
                return
            calm_s = now - 1_000 - scenario.quiet_at
            if scenario.budget.size == 1:
                return  # where several use it, whoever comes second is turned away, at any pace
            if calm_s < ENOUGH_QUIET_S + scenario.clocks_apart_s or (
                code == "waiting_for_shipments" and scenario.quirks
            ):
                return
            self.violation(f"{message.what}: given up with {code} although all has been well for {calm_s:.0f} s")
            return
        if "bare_400" in scenario.weather_kinds and code in ("walmart_refused", "walmart_refused_without_cause"):
            return
        if order.id in self._disordered or scenario.clock_lies or order.store in self.silence.loose:
            return
        if message.is_guarded and any(other.misplaced for other in scenario.orders.values()):
            return
        if order.guarded_cancel and order.misplaced:
            return  # the barrier looks in the wrong place, and need not know it
        if message.is_guarded and self._bad_shipment(order.id):
            return
        if any(
            other.final is not None and other.final[1] == "failed"
            for topic in INPUTS
            for other in self.of_order[topic, order.id]
            if other is not each
        ):
            return  # what follows a failed event of its order may fail with it
        self.violation(f"{message.what}: failed with {code}")

    def _bad_shipment(self, order: str) -> bool:
        """What lies dead under the order's key counts as a shipment that is not finished.

        So does one that had sent something before its store was only observed: that leaves it dead, and is no failure.
        """
        dead = {
            (letter.about.topic, letter.about.partition, letter.about.offset)
            for letter in (self.room.values() if order in self._observed else ())
            if letter.about.state == "dead"
        }
        return any(
            each.topic == SHIPPED and each.record.key == order.encode() and (each.last == "failed" or place in dead)
            for place, each in self.records.items()
        )

    def _letter(self, partition: int, record: Stored) -> None:
        letter = deadletter.read(record.value, record.headers)
        about = letter.about
        key = (record.key or b"").decode("utf-8", "replace")
        self.history.add(f"ROOM {about.state} {key} {about.code or ''} at {partition}/{record.offset}", record.by)
        if record.key is None:
            self.violation("a record without a key in the compacted topic")
        self.history.count(f"room: {about.state}")
        before = self.room.get(record.key)
        was = before.about.state if before is not None else None
        self.replays.letter(key, about, was, record.by, self.cluster.loop.time())
        if (about.state, was) == ("replay", "waiting") and about.order:
            self._disordered.add(about.order)
        if record.value is None or about.state == "settled":
            if about.by and before is not None and b"replaces_tracking_number" in (before.value or b""):
                self._untold.add(about.order or "")  # a person says that Walmart shows it, and did not look
            self.room.pop(record.key, None)
            self._wrote.pop(record.key, None)
            return
        self.room[record.key], self._wrote[record.key] = letter, record.by
        if about.state not in ("dead", "waiting", "replay"):
            return
        each = self.records.get((about.topic or "", about.partition or 0, about.offset or 0))
        if each is None:
            self.violation(f"a dead letter of a record that does not exist: {about}")
            return
        if partition != each.partition:
            self.violation(f"{key}: dead letter in partition {partition}, its event came from {each.partition}")
        original = each.record
        if (letter.key, letter.value, letter.headers) != (original.key, original.value, tuple(original.headers)):
            self.violation(f"{key}: the dead letter is not what came: {letter} {original}")
        if letter.problems:
            self.violation(f"{key}: headers of ours that cannot be read: {letter.problems}")
        each.room = True

    def _committed(self, place: Place, offset: int, metadata: str, process: Process) -> None:
        """Only what is settled or parked may be committed."""
        self.history.count("commits")
        if metadata:
            self.history.count("commits with metadata")
        if place[0] not in INPUTS:
            return
        log = self.cluster.logs[place]
        if offset > log.end:
            self.violation(f"{process} committed {place} {offset}, the end is {log.end}")
        for record in log.read(self._checked[place], min(offset, log.end), 1_000_000):
            each = self.records[place[0], place[1], record.offset]
            if not self._durable(each):
                self.violation(
                    f"{process} committed {place[0]}/{place[1]} up to {offset}, but there is neither result nor "
                    f"dead letter of {record.offset} ({each.message.what})"
                )
        self._checked[place] = max(self._checked[place], offset)

    def _durable(self, each: Published) -> bool:
        if each.final is not None or each.room:
            return True
        message = each.message
        return bool(message.identity) and any(
            (other.final is not None or other.room) and other.record.value == each.record.value
            for other in self.by_key[message.identity]
        )

    def began(self, process: Process | None, order: str, event: str) -> None:
        """An attempt at an event begins."""
        key = (str(process), order)
        if key in self._running:
            self.violation(f"{process}: {event} and {self._running[key]} of one order are attempted at once")
        self._running[key] = event

    def ended(self, process: Process | None, order: str) -> None:
        """It ended, however."""
        self._running.pop((str(process), order), None)

    def died(self, process: Process) -> None:
        """A process is gone, with what it was doing."""
        for key in [key for key in self._running if key[0] == str(process)]:
            del self._running[key]

    def waiting(self) -> Waiting:
        """How many orders wait for which kind of call: the first event of each that is not settled says which."""
        now, waiting = self.cluster.loop.time(), Counter[tuple[str, Operation]]()
        for order, line in self._waiting.items():
            while line and self._final(line[0]):
                line.popleft()
            if line and now - line[0].published_at >= READ_S:
                account = self.scenario.settings.stores[self.scenario.orders[order].store].account
                waiting[account, "ship" if line[0].topic == SHIPPED else "cancel"] += 1
        return waiting

    def look(self) -> None:
        """Judge the effects since the last look: only what is final may have been passed."""
        for effect in self.walmart.effects[self._judged_effects :]:
            self._judge_order(effect)
            self._judge_silence(effect)
        self._judged_effects = len(self.walmart.effects)

    def _judge_order(self, effect: Effect) -> None:
        own = self.by_key.get(effect.event)
        if not own:
            self.violation(f"an effect outside of any event: {effect}")
            return
        first = own[0]
        if self.scenario.orders[effect.order].misplaced or effect.order in self._disordered:
            return
        for earlier in self.of_order[first.topic, effect.order]:
            if earlier.offset >= first.offset:
                break
            finals = [other.final[0] for other in self.by_key[earlier.message.identity] if other.final is not None]
            if not finals or min(finals) > effect.called_at:
                self.violation(
                    f"{first.message.what} was called for at {effect.called_at - 1_000:.3f} by {effect.process}, "
                    f"before {earlier.message.what} was settled"
                )

    def _judge_silence(self, effect: Effect) -> None:
        """For what is paused, observes or is taken out nothing is sent, but by a turn that had begun."""
        since = self.silence.since(effect.process, self.scenario.orders[effect.order].store)
        turn_s = CALLS_OF_A_TURN * self.scenario.settings.timing.call_timeout_seconds
        if since is not None and effect.called_at > since + turn_s:
            self.violation(f"{effect.process} may not send that since {since - 1_000:.3f}: {effect}")

    # -- at the end

    def unsettled(self) -> list[str]:
        """What is still to be waited for."""
        missing = [
            f"no final result: {each.coordinates} {each.message.what}"
            for each in self.records.values()
            if not self._final(each)
        ]
        missing += [
            f"still {letter.about.state} in the room: {key!r}"
            for key, letter in self.room.items()
            if letter.about.state in ("waiting", "replay")
        ]
        for (topic, partition), log in self.cluster.logs.items():
            if topic in INPUTS and log.records and self._checked[topic, partition] <= log.records[-1].offset:
                missing.append(f"{topic}/{partition} is committed up to {self._checked[topic, partition]} of {log.end}")
        return missing

    def _final(self, each: Published) -> bool:
        if each.final is not None:
            return True
        message = each.message
        return (
            bool(message.identity)
            and not message.reused
            and any(
                other.final is not None and other.record.value == each.record.value
                for other in self.by_key[message.identity]
            )
        )

    def close(self) -> None:
        """Everything that can only be judged when all is over."""
        self.look()
        for missing in (*self.unsettled(), *self.replays.unanswered()):
            self.violation(missing)
        for key, letter in self.room.items():
            if letter.about.state == "dead":
                self._still_dead((key or b"").decode("utf-8", "replace"), letter.about)
        for order in self.scenario.orders.values() if not self.scenario.clock_lies else ():
            self._judge_charges(order)
            if (
                not self._any_failed(order)
                and order.store not in self.silence.loose
                and order.id not in self._disordered
            ):
                self.history.count("orders judged by their end")
                self._judge_end(order)

    def _still_dead(self, key: str, about: deadletter.DeadLetterHeaders) -> None:
        each = self.records.get((about.topic or "", about.partition or 0, about.offset or 0))
        if each is None:
            return
        same = [other for other in self.by_key[each.message.identity] if other.record.value == each.record.value]
        ended = [other for other in (each, *same) if other.last]
        if any(other.last != "succeeded" for other in ended):
            return
        # One that succeeded, came again, and was only observed then, stays until it is replayed in earnest.
        if any(other.ended_at > each.observed_at for other in ended):
            self.violation(f"{key}: a dead letter is left of an event that succeeded")

    def _any_failed(self, order: OrderStory) -> bool:
        return any(
            each.final is not None and each.final[1] == "failed"
            for topic in INPUTS
            for each in self.of_order[topic, order.id]
        )

    def _judge_charges(self, order: OrderStory) -> None:
        """Never more than commerce says has left, or is cancelled."""
        commerce = order.commerce
        shipped: Counter[str] = Counter()
        cancelled: Counter[str] = Counter()
        under: Counter[tuple[str, str]] = Counter()
        for effect in self.walmart.effects:
            if effect.order != order.id:
                continue
            for line in effect.lines:
                place = commerce.place[line["line_number"]]
                if effect.kind == "shipped":
                    shipped[place] += line["quantity"]
                    under[place, canonical(line["tracking_number"])] += line["quantity"]
                elif effect.kind == "cancelled":
                    cancelled[place] += line["quantity"]
        # The numbers that lead to a later one were somebody else's to show, whose tool ships what is observed.
        if not shipped <= commerce.shipped and order.id not in self._untold:
            self.violation(f"{order.id}: too much charged {dict(shipped)}, shipped were {dict(commerce.shipped)}")
        # In the observed shipments' place somebody else's tool would have shipped.
        blind = order.guarded_cancel and (order.misplaced or order.id in self._observed)
        if not cancelled <= commerce.cancelled and not blind:
            self.violation(f"{order.id}: too much cancelled {dict(cancelled)}, by commerce {dict(commerce.cancelled)}")
        if not under <= commerce.told:
            self.violation(f"{order.id}: too much charged {dict(under)}, told {dict(commerce.told)}")

    def _judge_end(self, order: OrderStory) -> None:
        commerce = order.commerce
        meant: State = {}
        for place, ordered in commerce.ordered.items():
            numbers: Counter[str] = Counter()
            for number, box in commerce.boxes.items():
                numbers[canonical(number)] += box[place]
            meant[place] = (commerce.left(place), commerce.cancelled[place], dict(+numbers))
            assert ordered >= 0
        found: State = {}
        for number, line in self.walmart.world.orders[order.id].lines.items():
            place = commerce.place[number]
            left, cancelled, shown = found.get(place, (0, 0, {}))
            for portion in line.portions:
                if portion.tracking is not None:
                    form = canonical(portion.tracking.number)
                    shown[form] = shown.get(form, 0) + portion.quantity
            found[place] = (left + line.open, cancelled + _cancelled(line), shown)
        if found != meant:
            totals = f"{order.totals} totals"
            self.violation(f"{order.id} ({totals}): Walmart shows {found}, commerce means {meant}")


def _cancelled(line: Line) -> int:
    return line.units("Cancelled")
