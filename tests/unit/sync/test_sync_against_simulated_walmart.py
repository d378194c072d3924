"""Made-up histories of one order against the simulated Walmart's real rules, with everything that can go wrong.

A failure names its kind of history and seed. More of them: `HISTORY_SEEDS=5000 pytest` and this file.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from dataclasses import dataclass

import pytest
from simulated_account import Account, HandTime, Weather, on_hand_time
from simulated_commerce import Commerce, Said, Totals
from simulated_worker import Settled, Worker

from schemas.events import OrderCancelled
from worker.sync.match import demands_of, read_boxes
from worker.sync.tracking import canonical

SEEDS = int(os.environ.get("HISTORY_SEEDS", "100"))
START = 1_795_000_000.0
MAPPED = {"carriers": {"Speedy Bikes": "FedEx"}}

State = dict[str, tuple[int, int, dict[str, int]]]
"""Place -> open, cancelled, units by canonical number."""


@dataclass(frozen=True)
class Kind:
    """What is made up and what goes wrong."""

    faults: bool = True
    lag: bool = False
    crashes: bool = False
    ignored: bool = False
    kafka: float = 0.0
    others: str = ""
    """`foreign`, `scans` or `intent`: what others do between the events."""
    bad_carriers: bool = False
    partial_corrections: bool = False
    same_box: bool = False
    """Several events put units into one box and do not tell the total."""
    partial_refused: bool = False

    @property
    def same_end(self) -> bool:
        """It ends as a calm day does, without a failure."""
        return not (self.others or self.bad_carriers or self.partial_corrections or self.same_box)


KINDS = {
    "calm": Kind(faults=False),
    "faults": Kind(),
    "lag": Kind(lag=True),
    "crashes": Kind(crashes=True),
    "lines ignored on 200": Kind(lag=True, ignored=True),
    "kafka": Kind(lag=True, kafka=0.2),
    "partial cancels refused": Kind(lag=True, partial_refused=True),
    "foreign changes": Kind(lag=True, others="foreign"),
    "carrier scans": Kind(others="scans"),
    "buyers ask to cancel": Kind(lag=True, others="intent"),
    "unmapped carriers, replays": Kind(lag=True, bad_carriers=True),
    "partial corrections": Kind(lag=True, partial_corrections=True),
    "same box without totals": Kind(lag=True, same_box=True),
}


@pytest.mark.parametrize("name", KINDS)
async def test_histories(name: str) -> None:
    for seed in range(SEEDS):
        try:
            await History(KINDS[name], random.Random(f"{name}{seed}")).run()
        except Exception as error:
            raise AssertionError(f"{name}, seed {seed}: {error}") from error


class History:
    """One order, its events, and what comes of them."""

    def __init__(self, kind: Kind, chance: random.Random) -> None:
        self.kind, self.chance = kind, chance
        totals: Totals = "never_same_box" if kind.same_box else chance.choice(("always", "never"))
        self.commerce = Commerce(
            chance,
            START,
            totals=totals,
            corrections=kind.partial_corrections or chance.random() < 0.6,
            partial_corrections=kind.partial_corrections,
            bad_carriers=kind.bad_carriers,
            override=kind.others == "intent" and chance.random() < 0.5,
            without_items=0.4 if kind.same_end and chance.random() < 0.5 else 0.0,
        )
        weather = Weather()
        if kind.crashes:
            # Reads that lag or effects that come late after a crash are the fence's business.
            weather = Weather(faults=0.25, crashes=True)
        elif kind.faults:
            weather = Weather(
                faults=chance.choice((0.1, 0.3, 0.5)),
                bare=chance.random() < 0.3,
                late=True,
                lag=chance.choice((0.0, 5.0, 29.5)) if kind.lag else 0.0,
                ignored=kind.ignored,
            )
        self.clock = HandTime(START)
        self.weather = weather

    async def run(self) -> None:
        with on_hand_time(self.clock):
            self.account = Account(self.clock, self.chance, self.commerce.spec, self.weather)
            if self.kind.partial_refused:
                self.account.quirk(kind="partial_cancel_refused")
            if self.chance.random() < 0.3:
                self.account.quirk(kind="two_packages_refused")
            self.worker = Worker(self.account, self.clock, self.chance, kafka=self.kind.kafka, said=self.commerce.said)
            if self.kind.others or self.kind.bad_carriers:
                await self._one_by_one()
            else:
                await self.worker.run(self._delivered())
                for settled in self.worker.settled:
                    self._check_effect(settled)
            self._check_charges()
        if self.kind.same_end:
            self._check_end()

    def _delivered(self) -> list[Said]:
        """Each topic in its order, the two mixed anyhow, and repeats."""
        chance = self.chance
        topics = [[said for said in self.commerce.said if said.is_cancel is is_cancel] for is_cancel in (False, True)]
        queue: list[Said] = []
        read: list[Said] = []
        while any(topics):
            topic = chance.choice([topic for topic in topics if topic])
            read.append(topic.pop(0))
            queue.append(read[-1])
            while chance.random() < 0.25:
                queue.append(chance.choice(read))
        return queue

    async def _one_by_one(self) -> None:
        chance, worker = self.chance, self.worker
        for said in self._delivered():
            self._others()
            await self._settle(worker.run([said]))
            if chance.random() < 0.5:
                if self.kind.bad_carriers and chance.random() < 0.3:
                    self._map_carriers()
                dead = [letter for letter in self._dead() if chance.random() < 0.5]
                for letter in dead:
                    await self._settle(worker.replay(letter))
        if self.kind.bad_carriers:
            self._map_carriers()
            for letter in self._dead():
                await self._settle(worker.replay(letter))

    async def _settle(self, running: object) -> None:
        before = len(self.worker.settled)
        await running  # type: ignore[misc]
        for settled in self.worker.settled[before:]:
            self._check_effect(settled)
            self._check_lines(settled)

    def _dead(self) -> list[Settled]:
        last = {settled.said.event.id: settled for settled in self.worker.settled}
        return [settled for settled in last.values() if settled.verdict.failure is not None]

    def _map_carriers(self) -> None:
        """A person mends the settings; the worker is started anew, past the lag."""
        self.worker.store = MAPPED
        self.worker.restart()
        self.clock.advance(31)

    def _others(self) -> None:
        chance, account = self.chance, self.account
        line = account.true.lines[chance.choice(sorted(account.true.lines))]
        if self.kind.others == "scans" and chance.random() < 0.5:
            account.changed(chance.choice(("deliver", "refund")))
        elif self.kind.others == "foreign" and line.open and chance.random() < 0.4:
            units = chance.randint(1, line.open)
            account.changed(chance.choice(("ship", "cancel")), line_number=line.line_number, quantity=units)
            self.clock.advance(chance.choice((0.1, 40)))
        elif self.kind.others == "intent" and line.open and chance.random() < 0.3:
            account.changed("intent_to_cancel", line_number=line.line_number)

    # -- what must hold

    def _check_effect(self, settled: Settled) -> None:
        verdict, moved = settled.verdict, settled.moved
        if verdict.failure is not None:
            assert verdict.effect in ("none", "partly_applied"), verdict
        else:
            assert verdict.effect != "partly_applied", verdict
        if moved and not self.kind.crashes:
            assert verdict.effect in ("applied", "partly_applied"), verdict
        if verdict.effect == "applied" and self.kind.others != "foreign":
            # A lost call and a foreign change that did the same cannot be told apart.
            assert moved or settled.restored, verdict

    def _check_lines(self, settled: Settled) -> None:
        verdict = settled.verdict
        # Told from a saved answer the status may be a moment old, as a read that lags.
        old = self.kind.others == "foreign" and (self.weather.lag > 0 or not settled.calls)
        if verdict.walmart_status is not None and not old:
            assert verdict.walmart_status == self.account.status, verdict
        shown: Counter[tuple[str, str | None]] = Counter()
        told: Counter[str] = Counter()
        for line in verdict.lines:
            form = canonical(line.tracking_number) if line.tracking_number else None
            told[form or ""] += line.quantity
            if line.state == "confirmed" and line.line_number is not None:
                shown[line.line_number, form] += line.quantity
        for (number, form), units in shown.items():
            assert self._shown(number, form) >= units, verdict
        data = settled.said.event.data
        if isinstance(data, OrderCancelled) or self.commerce.totals == "always" or not verdict.lines:
            return
        if all(warning.code != "tracking_superseded" for warning in verdict.warnings):
            asked: Counter[str] = Counter()
            for demand in demands_of(data, read_boxes(data)):
                asked[demand.box.number.canonical] += demand.quantity
            assert told == asked, verdict

    def _shown(self, line_number: str, form: str | None) -> int:
        line = self.account.true.lines[line_number]
        if form is None:
            return line.units("Cancelled")
        return sum(
            portion.quantity
            for portion in line.portions
            if portion.tracking is not None and canonical(portion.tracking.number) == form
        )

    def _check_charges(self) -> None:
        """Never more than commerce says has left or is cancelled."""
        commerce = self.commerce
        shipped: Counter[str] = Counter()
        cancelled: Counter[str] = Counter()
        under: Counter[tuple[str, str]] = Counter()
        for effect in self.account.own():
            for line in effect.lines:
                place = commerce.place[line["line_number"]]
                if effect.kind == "shipped":
                    shipped[place] += line["quantity"]
                    under[place, canonical(line["tracking_number"])] += line["quantity"]
                elif effect.kind == "cancelled":
                    cancelled[place] += line["quantity"]
        assert shipped <= commerce.shipped, f"charged {shipped}, shipped {commerce.shipped}"
        assert cancelled <= commerce.cancelled, f"cancelled {cancelled}, by commerce {commerce.cancelled}"
        assert under <= commerce.told, f"charged {under}, told {commerce.told}"

    def _check_end(self) -> None:
        """As commerce says, however it came about."""
        for settled in self.worker.settled:
            failure = settled.verdict.failure
            if failure is not None and self.kind.partial_refused and failure.code == "partial_cancel_refused":
                return
            assert failure is None, settled.verdict
        commerce = self.commerce
        meant: State = {}
        for place, ordered in commerce.ordered.items():
            numbers: Counter[str] = Counter()
            for number, box in commerce.boxes.items():
                numbers[canonical(number)] += box[place]
            left = ordered - commerce.shipped[place] - commerce.cancelled[place]
            meant[place] = (left, commerce.cancelled[place], dict(+numbers))
        assert self._state() == meant

    def _state(self) -> State:
        found: State = {}
        for number, line in self.account.true.lines.items():
            place = self.commerce.place[number]
            left, cancelled, numbers = found.get(place, (0, 0, {}))
            for portion in line.portions:
                if portion.tracking is not None:
                    form = canonical(portion.tracking.number)
                    numbers[form] = numbers.get(form, 0) + portion.quantity
            found[place] = (left + line.open, cancelled + line.units("Cancelled"), numbers)
        return found
