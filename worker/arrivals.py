"""What comes in: from a record, or an event taken out of the waiting room, to an entry in its order's lane."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from worker.clock import Clock
from worker.delivery import Delivery, Record
from worker.gatekeeper import WORKER, Gatekeeper
from worker.intake.consumer import Intake
from worker.intake.decode import Decoder, misplaced, reused_identity
from worker.lanes.lanes import Entry, Lanes
from worker.parked.carried import restore
from worker.parked.pump import TakenUp
from worker.parked.space import Space
from worker.retries import Retries
from worker.settings import Settings
from worker.telemetry.metrics import Metrics
from worker.waits import OF_CODE, WaitReason
from worker.window import Window

_LANE_OVERHEAD_BYTES: Final = 1_500
"""What an event costs in memory beyond its bytes, roughly."""


class Arrivals:
    """Gives events their lane, and keeps account of those in memory.

    `add`: the engine's. `prepare` is told of each account whose event has come and may have a turn.
    """

    def __init__(
        self,
        settings: Settings,
        lanes: Lanes[Delivery],
        gatekeeper: Gatekeeper,
        window: Window,
        metrics: Metrics,
        retries: Retries,
        clock: Clock,
        add: Callable[[Entry[Delivery]], None],
        *,
        prepare: Callable[[str], None] = lambda account: None,
    ) -> None:
        self._settings = settings
        self._lanes = lanes
        self._gatekeeper = gatekeeper
        self._window = window
        self._metrics = metrics
        self._retries = retries
        self._clock = clock
        self._add = add
        self._prepare = prepare
        self._decoder = Decoder(settings.topics)
        self._known: dict[str, tuple[int, int]] = {}
        """Identity -> (digest, count) of the events in memory."""
        self._taken_up: Counter[str] = Counter()
        """Events in memory that came out of the waiting room, by group."""
        self._unreadable: Counter[bytes] = Counter()
        """Record keys of what could not be read and is not told yet."""
        self.cancellations = 0
        """Events in memory that came, at first, from the topic of cancellations."""

    def configure(self, settings: Settings) -> None:
        """Take new settings; the gatekeeper has taken them. What is in memory moves to the gates and share it has now.

        What is paused now leaves.
        """
        self._settings = settings
        self._lanes.reassign(self._placed)
        # Accounts that come and go leave nothing behind.
        self._taken_up = +self._taken_up
        for entry in [entry for entry in self._lanes if self._paused(entry.gates)]:
            self._lanes.evict(entry)

    def _placed(self, entry: Entry[Delivery]) -> tuple[tuple[str, ...], str]:
        delivery, group = entry.item, self.group(entry.item)
        if delivery.room_place is not None:
            self._taken_up[delivery.group] -= 1
            self._taken_up[group] += 1
        delivery.group = group
        return self._gatekeeper.names_again(delivery, entry.gates), group

    # -- from the input topics

    def accept(self, intake: Intake, record: Record, epoch: int) -> None:
        """A record as it was read."""
        if misplaced(record, intake.partition_count(record.topic)):
            self._metrics.misplaced_keys.inc(record.topic)
            intake.note_misplaced(record)
        now = self._clock.now()
        self._enter(self._decoder.decode(record, now=now, epoch=epoch), "received", now)

    def too_large(self, record: Record, epoch: int) -> None:
        """A record that could not be fetched."""
        now = self._clock.now()
        self._enter(self._decoder.too_large(record, now=now, epoch=epoch), "received", now)

    def unreadable(self, record: Record, epoch: int) -> None:
        """A record that the client cannot take apart."""
        now = self._clock.now()
        self._enter(self._decoder.unreadable(record, now=now, epoch=epoch), "received", now)

    # -- from the waiting room

    def take_up(self, taken: TakenUp, epoch: int) -> None:
        """The original event, as it came, with all that was noted of it."""
        now, about = self._clock.now(), taken.about
        delivery = self._decoder.decode(taken.original, now=now, epoch=epoch)
        delivery.key = taken.key
        delivery.room_place = taken.place
        restore(delivery, about, now, self._settings.timing.read_lag_seconds)
        delivery.only_tell = taken.why == "late"
        if about.state == "waiting" and about.progress is not None and about.progress.parked_at:
            self._note_wait(delivery, OF_CODE.get(about.code or "", "retry"), now - about.progress.parked_at)
        entry = self._enter(delivery, f"taken out of the waiting room ({taken.why})", now)
        if delivery.only_tell or (taken.why == "expired" and self._is_over(delivery, now)):
            self._lanes.evict(entry)

    def _is_over(self, delivery: Delivery, now: float) -> bool:
        """Its gate is closed and it had its tries: it ends without one more."""
        held = self._gatekeeper.held_at(delivery, now)
        return held is not None and self._retries.given_up(delivery, now, probes=held[1])

    # -- either

    def _enter(self, delivery: Delivery, how: str, now: float) -> Entry[Delivery]:
        record, happened_at = delivery.record, delivery.happened_at
        digest = hash(record.value)
        known, count = self._known.get(delivery.key, (digest, 0))
        if known != digest and delivery.room_place is None:
            reused_identity(delivery)
            known, count = digest, 0
        self._known[delivery.key] = (known, count + 1)
        delivery.known_as = delivery.key
        self.cancellations += record.topic == self._settings.topics.order_cancelled
        delivery.waiting_since = now
        delivery.group = self.group(delivery)
        if delivery.room_place is None:
            self._note_wait(delivery, "unread", now - happened_at)
        # Of its order nobody passes it by, so whoever is here already has his turn first.
        behind = next(self._lanes.entries_of(delivery.lane), None) is not None
        delivery.progress.waited.begin("order" if behind else "slots", now)
        delivery.progress.story.add(now, how)
        if delivery.room_place is not None:
            self._taken_up[delivery.group] += 1
        if delivery.event is None and record.key is not None:
            self._unreadable[record.key] += 1
        gates = self._gatekeeper.names(delivery)
        entry = Entry(
            delivery,
            delivery.lane,
            gates=gates,
            group=delivery.group,
            size=record.size + _LANE_OVERHEAD_BYTES,
            passes=delivery.envelope.shipment is not None,
            # The room says at its turn whether it is one; it would be parked and taken up for ever.
            may_stay=delivery.room_place is not None,
            since=now,
            # A time in the future would put it behind all others.
            age=min(now, happened_at),
        )
        self._add(entry)
        if self._paused(gates):
            self._lanes.evict(entry)
        elif entry.group:
            self._prepare(entry.group)
        return entry

    def _note_wait(self, delivery: Delivery, reason: WaitReason, seconds: float) -> None:
        # Clocks differ: what came before it happened has not waited.
        delivery.progress.waited.add(reason, max(0.0, seconds))
        self._metrics.waited.add(max(0.0, seconds), reason)

    def group(self, delivery: Delivery) -> str:
        """Whose share of the window it takes: its account's."""
        store = self._settings.stores.get(delivery.envelope.store or "") if delivery.event is not None else None
        return "" if store is None else store.account

    def _paused(self, gates: tuple[str, ...]) -> bool:
        states = self._gatekeeper.gates
        # Nearly always all are open.
        return states.trickles(gates) and any(name != WORKER and states.state(name).state == "shut" for name in gates)

    def in_memory(self, record: Record, order: str) -> bool:
        """True while a shipment of this order is here, unfinished, or an unreadable record whose key is the order's."""
        keys = self._unreadable
        if keys and (keys[order.encode()] or (record.key is not None and keys[record.key])):
            return True
        return any(
            entry.item.envelope.shipment is not None and not entry.gone for entry in self._lanes.entries_of(order)
        )

    def forget(self, delivery: Delivery) -> None:
        """It left memory."""
        digest, count = self._known.get(delivery.known_as, (0, 0))
        if count > 1:
            self._known[delivery.known_as] = (digest, count - 1)
        else:
            self._known.pop(delivery.known_as, None)
        self.cancellations -= delivery.record.topic == self._settings.topics.order_cancelled
        if delivery.room_place is not None:
            self._taken_up[delivery.group] -= 1
        key = delivery.record.key
        if delivery.event is None and key is not None:
            self._unreadable[key] -= 1
            if self._unreadable[key] <= 0:
                del self._unreadable[key]

    def settled(self, delivery: Delivery) -> None:
        """It has its final result (not parked): its account flows."""
        self._window.concluded(delivery.group, self._clock.now())

    def forget_all(self) -> None:
        """Everything was let go of."""
        self._known.clear()
        self.cancellations = 0
        self._taken_up.clear()
        self._unreadable.clear()

    # -- doors of the waiting room

    def room_group(self, store: str, ships: bool) -> str:
        """Events of the waiting room that stand behind the same gates; empty: behind none."""
        return f"{'ship' if ships else 'cancel'}|{store}" if store in self._settings.stores else ""

    def space(self) -> Space:
        """How many events may come out of the waiting room now, of all accounts together."""
        most, here = self._settings.limits.max_queued_events, self._taken_up.total()
        if not self._window.has_room(0, self._lanes.size):
            # Full by bytes: it is not known how large those are that come.
            return Space(turns=max(0, _TRICKLE - here), overdue=_TRICKLE)
        # What fills the window may stand behind parked events: these come up all the same, a few at a time.
        turns = max(most - self._lanes.count, most // _RESERVED - here)
        return Space(turns=max(0, turns), overdue=max(1, most // _RESERVED_OVERDUE))

    def allowance(self, group: str, now: float) -> int:
        """How many of a `room_group` may be taken up now."""
        free, (kind, _, store) = self.space().turns, group.partition("|")
        settings = self._settings.stores.get(store)
        if settings is None:
            return free
        gates = self._gatekeeper.gates
        names = self._gatekeeper.names_of(store, ships=kind == "ship")
        if not gates.is_passable(names, now):
            return 0
        taken_up, share = self._taken_up[settings.account], self._window.share(1)
        if gates.trickles(names):
            # One at a time goes through; a few are enough to have the next one ready.
            return 1 if free > 0 and taken_up < _TRICKLE else 0
        here = self._lanes.counts.get(settings.account, 0)
        # More than its budget lets through soon would only wait here, and be parked again.
        most = int(min(share, max(1.0, self._gatekeeper.flow(names, now))))
        return max(0, min(free, max(most - here, max(1, most // _RESERVED) - taken_up)))


_RESERVED: Final = 4
"""A quarter of the window, and of an account's share, is for what comes out of the waiting room."""
_RESERVED_OVERDUE: Final = 8
"""An eighth of the window comes up whatever fills it only to be told late, and another because its time is over."""
_TRICKLE: Final = 4
