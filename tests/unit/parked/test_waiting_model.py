"""What comes up next, compared with a model that looks through everything each time."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parked_world import CANCELLED, NOW, SHIPPED, row

from worker.parked.space import Space
from worker.parked.unfinished import NEVER, PAUSED, Stage, Unfinished
from worker.parked.waiting import MOST_EXPIRED, Waiting

CODES = ("walmart_unavailable", "waiting_for_shipments", PAUSED)


def merged(rows: list[Unfinished]) -> list[Unfinished]:
    """The order among waiting events of one order: two queues by source offset, merged by the age of their fronts."""
    ships = sorted((one for one in rows if one.ships), key=lambda one: (one.source_offset, one.offset))
    cancels = sorted((one for one in rows if not one.ships), key=lambda one: (one.source_offset, one.offset))
    found = []
    while ships or cancels:
        older_cancel = not ships or (cancels and cancels[0].first_parked < ships[0].first_parked)
        found.append(cancels.pop(0) if older_cancel else ships.pop(0))
    return found


def stands_free(one: Unfinished, rows: list[Unfinished]) -> bool:
    """The rule as it is told.

    Walk those before it; a cancel that waits for shipments lets shipments pass, and with it every cancel behind it.
    """
    lets_pass = False
    for other in merged(rows):
        if other is one:
            return True
        if not one.ships or other.ships:
            return False
        lets_pass = lets_pass or other.lets_pass
        if not lets_pass:
            return False
    raise AssertionError("not among them")


def made(draw: random.Random, offset: int, now: float) -> Unfinished:
    ships = draw.random() < 0.5
    return row(
        f"k{draw.randrange(6)}",
        offset,
        "waiting" if draw.random() < 0.9 else "replay",
        topic=SHIPPED if ships else CANCELLED,
        shipment="S" if ships else None,
        offset=draw.randrange(8),
        order=draw.choice(("PO1", "PO1", "PO2", None)),
        store=draw.choice(("us", "eu", "unknown")),
        code=draw.choice(CODES[:1] if ships else CODES),
        first_parked=draw.choice((None, draw.randrange(offset + 1))),
        next_try=draw.choice((None, now + draw.randrange(-50, 200))),
        first_seen=now - draw.choice((0, 3_600, 86_300, 90_000)),
        timestamp_ms=round(1000 * (now - draw.choice((0, 299, 400)))),
    )


@given(st.randoms(use_true_random=False), st.integers(1, 60))
def test_what_comes_up_is_what_the_rules_say(draw: random.Random, steps: int) -> None:
    waiting, now = Waiting(), NOW
    rows: dict[str, Unfinished] = {}
    taken: dict[int, str] = {}
    allowed = {"account-of-us": 5, "account-of-eu": 5}
    earliest: dict[int, float] = {}
    active = draw.random() < 0.7
    if active:
        waiting.activate(0, [], now)

    def may_come_up(one: Unfinished) -> set[str]:
        if one.offset in taken or now < earliest.get(one.offset, 0.0):
            return set()
        mates = [other for other in rows.values() if other.order == one.order and other.state == "waiting"]
        free = one.state == "replay" or not one.order or stands_free(one, mates)
        found = {"late"} if now >= one.late_at else set()
        if free and one.is_expired(now):
            found.add("expired")
        group = {"us": "account-of-us", "eu": "account-of-eu"}.get(one.store, "")
        if free and now >= one.next_try and allowed.get(group, 1):
            found.add("replay" if one.state == "replay" else "turn")
        return found

    for offset in range(steps):
        match draw.randrange(9):
            case 0 | 1 | 2:
                one = made(draw, offset, now)
                old = rows.get(one.key)
                rows[one.key] = one
                waiting.add(one, now)
                if old is not None:
                    waiting.remove(old, now)
            case 3 if rows:
                waiting.remove(rows.pop(draw.choice(list(rows))), now)
            case 4 if taken:
                for one in [one for one in rows.values() if one.offset in taken][:1]:
                    waiting.untake(one, now)
                    del taken[one.offset]
                    earliest[one.offset] = now + 1.0
            case 5:
                allowed[draw.choice(list(allowed))] = draw.choice((0, 1, 5))
            case 7:
                late_s, give_up_s = draw.choice((0.0, 50.0, -50.0)), draw.choice((0.0, 3_600.0, -3_600.0))
                for one in rows.values():
                    one.late_at += late_s
                    one.expires_at += give_up_s
                    earliest.pop(one.offset, None)
                waiting.look_again(rows.values(), now)
            case 6 if rows:
                order = draw.choice(("PO1", "PO2"))
                waiting.wake(order, now)
                for one in rows.values():
                    if one.order == order and one.lets_pass and one.state == "waiting":
                        earliest.pop(one.offset, None)
            case _:
                now += draw.choice((0.5, 10.0, 100.0))
        if not active and draw.random() < 0.2:
            active = True
            waiting.activate(0, list(rows.values()), now)
        while True:
            expected = {one.offset: may_come_up(one) for one in rows.values()} if active else {}
            most = draw.randrange(1, 6)
            came = waiting.take(
                now,
                most,
                group_of=lambda store, _: {"us": "account-of-us", "eu": "account-of-eu"}.get(store, ""),
                allowance=lambda group, _: allowed.get(group, 1_000),
                space=Space(turns=(turns := draw.randrange(1, 6)), overdue=1_000),
            )
            assert len(came) <= most
            assert sum(why in ("turn", "replay") for _, why in came) <= turns
            if not came:
                assert not any(expected.values()), "somebody is forgotten"
                break
            for one, why in came:
                assert rows[one.key] is one, "overruled meanwhile"
                assert why in expected[one.offset]
                assert one.stage is Stage.TAKEN
                taken[one.offset] = why
        due = waiting.next_at()
        assert due is None or due > now or any(one.offset in taken for one in rows.values())
    assert len(waiting) == len(rows)
    assert waiting.parked == sum(one.state == "waiting" for one in rows.values())


@given(st.randoms(use_true_random=False), st.integers(1, 30))
def test_a_newcomer_is_blocked_by_whom_it_may_not_pass(draw: random.Random, count: int) -> None:
    waiting = Waiting()
    rows = []
    for offset in range(count):
        one = made(draw, offset, NOW)
        if one.order == "PO1" and one.state == "waiting":
            rows.append(one)
            waiting.add(one, NOW)
        for gone in [one for one in rows if draw.random() < 0.2]:
            rows.remove(gone)
            waiting.remove(gone, NOW)
        for ships in (True, False):
            newcomer = row("new", 10_000, "waiting", topic=SHIPPED if ships else CANCELLED, order="PO1", offset=10_000)
            newcomer.source_offset = 10_000
            blocker = waiting.queues.before("PO1", ships=ships, own=frozenset())
            assert (blocker is None) == stands_free(newcomer, [*rows, newcomer])
            assert blocker is None or any(blocker is one for one in rows)
        for one in rows:
            assert waiting.is_front(one) == stands_free(one, rows)


def test_a_hundred_thousand_overruled_rows_are_not_kept() -> None:
    """Parked again and again behind a closed gate, an event costs one row."""
    waiting = Waiting()
    waiting.activate(0, [], NOW)
    old = row("k", 0, "waiting", next_try=NOW + 900)
    waiting.add(old, NOW)
    for offset in range(1, 20_000):
        new = row("k", offset, "waiting", next_try=NOW + 900)
        waiting.add(new, NOW)
        waiting.remove(old, NOW)
        old = new
    kept: Any = waiting
    assert len(kept._tries) + len(kept._lates) < 5_000


def test_one_whose_time_is_up_is_not_forgotten_when_another_comes_to_stand_before_it() -> None:
    waiting = Waiting()
    waiting.activate(0, [], NOW)
    late, early = row("late", 1, "waiting", offset=8), row("early", 2, "waiting", offset=7)
    late.late_at = early.late_at = NOW + 10**9

    def take(now: float, most: int) -> list[str]:
        came = waiting.take(now, most, group_of=lambda *_: "a", allowance=lambda *_: 0)
        return [f"{one.key} {why}" for one, why in came]

    waiting.add(late, NOW)
    assert take(late.expires_at, 0) == []
    waiting.add(early, NOW)
    assert take(late.expires_at - 1, 5) == [], "now it stands behind another"
    waiting.remove(early, NOW)
    assert take(late.expires_at, 5) == ["late expired"]


def test_expired_rows_come_up_a_few_hundred_at_a_time() -> None:
    """A worker that was away for a day finds everything expired: it must not take it all into memory at once."""
    draw = random.Random(1)
    waiting = Waiting()
    rows = []
    for offset in range(3 * MOST_EXPIRED):
        one = made(draw, offset, NOW)
        one.state, one.order, one.code, one.next_try = "waiting", f"PO{offset}", "throttled", 0.0
        one.late_at, one.expires_at = NEVER, NOW - 1
        rows.append(one)
        waiting.add(one, NOW)
    waiting.activate(0, rows, NOW)

    def come() -> int:
        return len(waiting.take(NOW, 10_000, group_of=lambda *_: "a", allowance=lambda *_: 0))

    assert come() == MOST_EXPIRED
    assert come() == 0
    for one in rows[:MOST_EXPIRED]:
        waiting.remove(one, NOW)
    assert come() > 0


def test_groups_share_what_there_is_room_for() -> None:
    """Each group's allowance knows nothing of the others': together they would be taken up many times over."""
    waiting = Waiting()
    waiting.activate(0, [], NOW)
    for offset in range(9):
        one = row(f"k{offset}", offset, "waiting", offset=offset, order=f"PO{offset}")
        one.store, one.late_at, one.expires_at = f"store-{offset % 3}", NEVER, NEVER
        waiting.add(one, NOW)

    def come(turns: int) -> int:
        space = Space(turns, overdue=0)
        return len(waiting.take(NOW, 100, group_of=lambda store, _: store, allowance=lambda *_: 3, space=space))

    assert come(4) == 4
    assert come(0) == 0
    assert come(100) == 5


@pytest.mark.parametrize("why", ["late", "expired"])
def test_what_is_overdue_comes_up_as_there_is_space(why: str) -> None:
    """Only to be told late (or given up) it comes whatever fills the window: in a small one, only a few at a time."""
    waiting = Waiting()
    waiting.activate(0, [], NOW)
    rows = []
    for offset in range(9):
        one = row(f"k{offset}", offset, "waiting", offset=offset, order=f"PO{offset}", next_try=NOW + 900)
        one.late_at, one.expires_at = (NOW, NEVER) if why == "late" else (NEVER, NOW)
        rows.append(one)
        waiting.add(one, NOW)

    def come() -> list[str]:
        space = Space(turns=0, overdue=2)
        came = waiting.take(NOW, 100, group_of=lambda *_: "a", allowance=lambda *_: 3, space=space)
        return [why for _, why in came]

    assert come() == [why, why]
    assert come() == []
    for one in [one for one in rows if one.stage is Stage.TAKEN]:
        waiting.remove(one, NOW)
    assert come() == [why, why]
