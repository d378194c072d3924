"""The parts of chaos that can be wrong without anybody noticing: histories, stalls, the journal's reading."""

from __future__ import annotations

from collections import Counter
from math import inf
from pathlib import Path
from random import Random

import orjson
import pytest

from schemas.events import OrderCancelled, OrderShipped
from tests.chaos.evidence import Effect, Moved
from tests.chaos.field import read_journal
from tests.chaos.history import Mix, history, sketch
from tests.chaos.stalls import Span, Stall, longest_stall
from worker.sandbox.walmart.journal import Journal
from worker.sandbox.walmart.orders import LineEffect
from worker.sandbox.walmart.specs import NewLine, NewOrder, SellerSpec
from worker.sandbox.walmart.world import World


def test_histories_are_those_of_an_honest_commerce_system() -> None:
    """Valid events, never more units than ordered, totals that agree, everything in use."""
    kinds: Counter[str] = Counter()
    for seed in range(400):
        chance = Random(seed)
        drawn = sketch(chance, Mix())
        ordered = {str(place): line.quantity for place, line in enumerate(drawn.spec.lines, start=1)}
        moved: Counter[tuple[str, str | None]] = Counter()
        for step in history(chance, "1815367000001", drawn, Mix()):
            kinds[step.kind] += 1
            assert step.must_fail is (not step.units)
            for units in step.units:
                assert units.before == moved[units.line, units.number]
                moved[units.line, units.number] += units.quantity
            data = step.event()["data"]
            if step.is_cancel:
                cancel = OrderCancelled.model_validate(data)
                for item in cancel.items or ():
                    assert item.cancelled_total == moved[str(item.line_number), None]
                assert (cancel.items is None) is (step.kind == "cancel rest")
            else:
                OrderShipped.model_validate(data)
        for line, quantity in ordered.items():
            assert sum(units for (of, _), units in moved.items() if of == line) <= quantity
    assert set(kinds) == {
        "partial with total", "partial", "full", "number missing", "number added", "cancel", "cancel ahead",
        "cancel rest",
    }  # fmt: skip


def test_a_history_is_drawn_by_its_seed() -> None:
    def drawn() -> list[object]:
        chance = Random(7)
        return [history(chance, "1815367000001", sketch(chance, Mix()), Mix()) for _ in range(20)]

    assert drawn() == drawn()


FOREVER = [Span(0, inf)]


@pytest.mark.parametrize(
    ("finals", "owed", "unwell", "longest"),
    [
        ([1, 2, 9, 10, 15], FOREVER, [], Stall(7, 2)),
        ([1, 2], FOREVER, [], Stall(18, 2)),
        ([1, 2, 9, 20], [Span(0, 1.5), Span(7, 9), Span(19.5, 20)], [], Stall(2, 7)),
        ([1, 2, 9, 20], FOREVER, [Span(4, 8), Span(9, 18.5)], Stall(2, 2)),
        ([1, 20], FOREVER, [Span(2, 10), Span(5, 16)], Stall(4, 16)),
        ([], [Span(3, inf), Span(5, inf)], [], Stall(17, 3)),
    ],
)
def test_the_longest_stall(finals: list[float], owed: list[Span], unwell: list[Span], longest: Stall) -> None:
    """Of twenty seconds: only while something is owed, and while the world is well."""
    assert longest_stall(finals, owed, unwell, 20) == longest


def test_the_journal_of_the_simulated_walmart_is_read(tmp_path: Path) -> None:
    """Only what calls of the workers moved."""
    path = tmp_path / "journal"
    journal = Journal(path)
    world = World(journal)
    world.rebuild()
    world.add_seller(SellerSpec(client_id="seller", client_secret="secret"))
    (order,) = world.add_orders([NewOrder(lines=(NewLine(sku="MUG", quantity=5),))])
    one = LineEffect(line_number="1", sku="MUG", quantity=2, tracking_number="A")
    world.change(world.orders[order], "shipped", [one], by="api")
    world.change(world.orders[order], "shipped", [one], by="seller_center")
    cancelled = LineEffect(line_number="1", sku="MUG", quantity=1, reason="SELLER_CANCEL_PRICING_ERROR")
    world.change(world.orders[order], "cancelled", [cancelled], by="api")
    journal.close()
    entries = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    assert read_journal(path) == [
        Effect(3, entries[2]["time"], order, (Moved("1", "A", 2),)),
        Effect(5, entries[4]["time"], order, (Moved("1", None, 1),)),
    ]
