"""Progress into headers and back: nothing that is in doubt gets lost, and what cannot be read is never run."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parked_world import DOWN, NOW, PAUSED, delivery

from schemas import deadletter
from schemas.carried import MAX_PROGRESS_BYTES, write_carried
from schemas.deadletter import DeadLetterHeaders
from worker.delivery import Delivery, Event
from worker.errors import Failure
from worker.outcome import Again, ConfirmedUnits, Progress, Refusal, Trouble, Unsettled, Verdict, Warned
from worker.parked import letters
from worker.parked.carried import carry, restore

LAG_S = 30.0

units = st.builds(
    ConfirmedUnits, st.text("0123456789", min_size=1, max_size=4), st.integers(1, 999), st.none() | st.text(max_size=20)
)
several = st.lists(units, max_size=4).map(tuple)
seconds = st.floats(0, 4e9, allow_nan=False)
refusals = st.dictionaries(
    st.tuples(st.text("0123456789", min_size=1, max_size=4), st.none() | st.text("ABC123", max_size=8)),
    st.builds(
        Refusal,
        st.builds(
            Failure,
            st.sampled_from(["walmart_refused", "partial_cancel_refused"]),
            st.text("abc:", max_size=20),
            st.none() | st.integers(400, 499),
        ),
        seconds,
        st.booleans(),
        st.booleans(),
        st.integers(0, 99),
    ),
    max_size=3,
)
progresses = st.builds(
    Progress,
    attempts=st.integers(0, 99),
    failed_tries=st.integers(0, 99),
    waits=st.integers(0, 99),
    calls=st.integers(0, 99),
    confirmed=several,
    unsettled=st.none() | st.builds(Unsettled, several, seconds, st.booleans(), st.booleans()),
    doubted=several,
    applied=st.booleans(),
    one_by_one=st.integers(0, 2),
    refused=refusals,
    hold_until=seconds,
    read_twice=st.booleans(),
    waited_budget_s=st.floats(0, 1e6).map(lambda number: round(number, 3)),
    waited_retry_s=st.floats(0, 1e6).map(lambda number: round(number, 3)),
    paused_s=st.floats(0, 1e6).map(lambda number: round(number, 3)),
)


def through_kafka(about: DeadLetterHeaders) -> DeadLetterHeaders:
    read, problems = deadletter.decode(deadletter.encode(about))
    assert problems == ()
    return read


def parked(event: Delivery, failure: Failure = DOWN, now: float = NOW, next_try: float = 0) -> DeadLetterHeaders:
    return through_kafka(letters.waiting(event, failure, next_try=next_try, first_parked=None, now=now))


def taken_up(about: DeadLetterHeaders, now: float = NOW) -> Delivery:
    again = delivery(at=NOW)
    again.event = Event("/s", "e1", "ty", NOW, None)  # type: ignore[arg-type]
    restore(again, about, now, LAG_S)
    return again


@given(progresses)
def test_everything_an_event_needs_to_go_on_comes_back(progress: Progress) -> None:
    event = delivery(
        progress=progress,
        told_retrying=True,
        first_seen=NOW - 5_000,
        last_again=Again(Trouble.THROTTLED, DOWN, None, "ship", "open"),
    )
    again = taken_up(parked(event), now=0.0)
    came = again.progress
    assert (again.told_retrying, again.first_seen, again.refusal) == (True, NOW - 5_000, None)
    assert again.last_again == event.last_again
    for name in ("attempts", "failed_tries", "waits", "calls", "confirmed", "doubted", "one_by_one", "read_twice",
                 "refused", "waited_budget_s", "waited_retry_s", "paused_s"):  # fmt: skip
        assert getattr(came, name) == getattr(progress, name), name
    assert came.applied == (progress.applied or bool(progress.confirmed))
    assert came.hold_until == (max(progress.hold_until, LAG_S) if progress.read_twice else progress.hold_until)
    if progress.unsettled is None:
        assert came.unsettled is None
    else:
        assert came.unsettled == replace(progress.unsettled, believe_at=max(progress.unsettled.believe_at, LAG_S))


def test_an_unknown_outcome_is_believed_only_after_the_lag_counted_from_the_taking_up() -> None:
    event = delivery()
    event.progress.unsettled = Unsettled((ConfirmedUnits("1", 2, "1Z"),), NOW - 100, leaves_open=True)
    again = taken_up(parked(event), now=NOW + 500)
    assert again.progress.unsettled is not None
    assert again.progress.unsettled.believe_at == NOW + 500 + LAG_S
    assert again.progress.unsettled.leaves_open


def test_an_unknown_outcome_is_not_believed_earlier_than_it_says() -> None:
    event = delivery()
    event.progress.unsettled = Unsettled((ConfirmedUnits("1", 2, "1Z"),), NOW + 5_000, leaves_open=True)
    again = taken_up(parked(event), now=NOW)
    assert again.progress.unsettled is not None
    assert again.progress.unsettled.believe_at == NOW + 5_000


def test_an_unknown_outcome_survives_becoming_dead_and_being_replayed_at_once() -> None:
    event = delivery()
    event.progress.unsettled = Unsettled((ConfirmedUnits("1", 2, "1Z"),), NOW + 20, leaves_open=True)
    event.progress.failed_tries = 7
    dead = letters.dead(event, Verdict("ship", "none", Failure("outcome_unknown", "x")))
    again = taken_up(through_kafka(replace(dead, state="replay", replay_number=1)), now=NOW + 1)
    assert again.progress.unsettled is not None
    assert again.progress.unsettled.believe_at == NOW + 1 + LAG_S
    assert again.progress.failed_tries == 0, "a replay has its own tries"
    assert not again.told_retrying


def test_too_many_refusals_are_left_out_before_anything_that_is_in_doubt() -> None:
    event = delivery()
    event.progress.unsettled = Unsettled((ConfirmedUnits("1", 2, "1Z"),), NOW + 40, leaves_open=True)
    event.progress.refused = {
        (str(n), None): Refusal(Failure("walmart_refused", "no " * 60), NOW, quantity=1) for n in range(500)
    }
    assert len(write_carried(carry(event, NOW))) <= MAX_PROGRESS_BYTES
    again = taken_up(parked(event), now=NOW)
    assert again.progress.refused == {}
    assert again.progress.unsettled is not None


def test_a_replay_tries_again_what_was_refused() -> None:
    event = delivery()
    event.progress.refused = {("1", None): Refusal(Failure("walmart_refused", "no"), NOW, quantity=1)}
    dead = letters.dead(event, Verdict("cancel", "none", Failure("walmart_refused", "no")))
    assert taken_up(through_kafka(replace(dead, state="replay", replay_number=1))).progress.refused == {}
    waiting = replace(parked(event), state="replay", replay_number=1)
    assert taken_up(through_kafka(waiting)).progress.refused == {}


def test_too_many_units_in_doubt_become_a_time_before_which_nothing_is_risked() -> None:
    event = delivery()
    many = tuple(ConfirmedUnits(str(n), 1, "N" * 60) for n in range(2_000))
    event.progress.unsettled = Unsettled(many, NOW + 40, leaves_open=True)
    event.progress.doubted = many
    carried = carry(event, NOW)
    assert len(write_carried(carried)) <= MAX_PROGRESS_BYTES
    again = taken_up(parked(event), now=NOW)
    assert (again.progress.unsettled, again.progress.read_twice) == (None, True)
    assert again.progress.hold_until == NOW + 40


@pytest.mark.parametrize("name", ["confirmed", "progress"])
@pytest.mark.parametrize("state", [b"waiting", b"replay"])
def test_what_cannot_be_read_is_not_run_without_a_person(name: str, state: bytes) -> None:
    headers = [("order-sync-state", state), (f"order-sync-{name}", b"[{"), ("order-sync-attempts", b"3")]
    about, _ = deadletter.decode(headers)
    again = taken_up(about)
    assert again.event is None
    assert again.refusal is not None
    assert again.refusal.code == "dead_letter_unreadable"
    assert f"order-sync-{name}" in again.refusal.message
    assert again.progress.attempts == 3
    dead = through_kafka_broken(letters.dead(again, Verdict(None, "none", again.refusal)))
    later = taken_up(replace(dead, state="replay", replay_number=2))
    assert later.refusal is not None, "and it stays so: a later replay must not take it for nothing"


def test_what_was_confirmed_is_kept_where_only_the_progress_cannot_be_read() -> None:
    confirmed = (deadletter.Confirmed("1", 2, "1Z"),)
    again = taken_up(DeadLetterHeaders(state="waiting", confirmed=confirmed, progress=None))
    dead = through_kafka_broken(letters.dead(again, Verdict(None, "none", again.refusal)))
    assert (dead.confirmed, dead.progress) == (confirmed, None)


def through_kafka_broken(about: DeadLetterHeaders) -> DeadLetterHeaders:
    return deadletter.decode(deadletter.encode(about))[0]


def test_the_time_an_event_was_paused_is_added_when_it_comes_up() -> None:
    event = delivery()
    event.progress.paused_s = 5.0
    assert taken_up(parked(event, PAUSED), now=NOW + 100).progress.paused_s == 105.0
    assert taken_up(parked(event, DOWN), now=NOW + 100).progress.paused_s == 5.0


def test_a_clock_that_goes_back_takes_no_paused_time_away() -> None:
    event = delivery()
    event.progress.paused_s = 5.0
    assert taken_up(parked(event, PAUSED), now=NOW - 100).progress.paused_s == 5.0


def test_a_code_of_another_version_counts_as_internal() -> None:
    assert taken_up(DeadLetterHeaders(state="waiting", code="from_the_future")).room_code == "internal"


def test_the_story_goes_on_where_it_stopped() -> None:
    event = delivery()
    event.progress.story.add(NOW, "received")
    event.progress.story.add(NOW + 1, "parked: 503")
    again = taken_up(parked(event))
    assert again.progress.story.steps() == [(NOW, "received"), (NOW + 1, "parked: 503")]


def test_warnings_are_kept_and_told_once() -> None:
    event = delivery()
    event.progress.warned = (Warned("identity_reused", "known with other content"),)
    about = parked(event)
    assert taken_up(about).progress.warned == event.progress.warned
    twice = delivery()
    twice.progress.warned = event.progress.warned
    restore(twice, about, NOW, LAG_S)
    assert twice.progress.warned == event.progress.warned


def test_no_address_leaves_with_a_warning() -> None:
    event = delivery()
    event.progress.warned = (Warned("tracking_cleaned", "of jo@mail.example " + "x" * 999),)
    about = parked(event)
    assert about.progress is not None
    ((_, message),) = about.progress.warned
    assert "jo@mail" not in message
    assert len(message) <= 300
