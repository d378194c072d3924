"""What is counted is counted per event: nobody's success resets a poison event, nobody's headers describe another."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from schemas import deadletter
from schemas.deadletter import DeadLetterHeaders
from tests.mutations import example_events, record_of
from worker.clock import SystemClock
from worker.delivery import Delivery, Record
from worker.errors import Failure
from worker.gatekeeper import Gatekeeper
from worker.intake.decode import Decoder
from worker.lanes.gates import Gates
from worker.outcome import Again, Trouble
from worker.retries import Retries
from worker.settings import Settings
from worker.walmart.answer import CallKind
from worker.walmart.call_report import CallReport

NOW = 1_795_000_000.0
SETTINGS = Settings.model_validate(
    {
        "accounts": {"main": {"client_id": "c", "client_secret": "s"}},
        "stores": {"us_store_view": {"account": "main"}},
        "limits": {"min_tries": 5},
        "timing": {"give_up_after_hours": 1},
    }
)
TOPICS = {"commerce.order.shipped.v1": SETTINGS.topics.order_shipped}
EVENTS = example_events()


def record(number: int, *, binary: bool, offset: int) -> Record:
    event = EVENTS[number % len(EVENTS)]
    made = record_of(event, binary=binary)
    topic = TOPICS.get(event["type"], SETTINGS.topics.order_cancelled)
    return Record(topic, 0, offset, int(NOW * 1000), made.key, made.value, tuple(made.headers))


def called(kind: CallKind | None, subject: str) -> CallReport:
    fields: dict[str, Any] = {
        "account": "main",
        "operation": "ship",
        "kind": kind,
        "status": None,
        "seconds": 0.1,
        "budget_left": None,
        "correlation_id": subject,
        "subject": subject,
    }
    return CallReport(**{name: value for name, value in fields.items() if name in CallReport._fields})


def test_the_successes_of_others_do_not_keep_a_poison_event_alive() -> None:
    """On its own partition, account and endpoint everything else goes well, between each two of its tries."""
    retries = Retries(SETTINGS.timing, SETTINGS.limits, random.Random(1))
    gatekeeper = Gatekeeper(Gates(), SETTINGS, random.Random(1), SystemClock())
    poison: Delivery = Decoder(SETTINGS.topics).decode(record(0, binary=True, offset=1), now=NOW)
    poison.first_seen = NOW
    delays, now, tries = [], NOW, 0
    while not retries.given_up(poison, now, probes=0):
        tries += 1
        assert tries < 1_000, "it is never given up"
        poison.progress.attempts += 1
        poison.progress.failed_tries += 1
        gatekeeper.observe(called(CallKind.UNKNOWN, "poison"), now)
        failed = Again(Trouble.UNKNOWN, Failure("walmart_unavailable", "503"), None)
        next_try = retries.next_try(poison, failed, now)
        delays.append(max(next_try.parked_until, next_try.at) - now if next_try.park else next_try.delay_s)
        for number in range(3):
            gatekeeper.observe(called(None, f"other-{number}"), now)
        now += delays[-1]
    assert now - NOW >= 3_600
    assert poison.progress.attempts >= SETTINGS.limits.min_tries
    assert sum(delays[8:16]) > 4 * sum(delays[:8]), "its backoff grows although others succeed"


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), min_size=2, max_size=12), st.randoms())
def test_dead_letters_of_all_kinds_in_one_batch_are_read_each_under_its_own_headers(
    drawn: list[tuple[int, bool]], shuffle: random.Random
) -> None:
    """Both topics, both modes of CloudEvents, side by side in one partition of the dead-letter topic."""
    decoder = Decoder(SETTINGS.topics)
    kept = []
    for offset, (number, binary) in enumerate(drawn):
        before = record(number, binary=binary, offset=offset)
        about = DeadLetterHeaders(
            state="replay", key=before.key, topic=before.topic, partition=0, offset=offset, timestamp_ms=1
        )
        kept.append((before, deadletter.write(about, before.value, before.headers)))
    shuffle.shuffle(kept)
    for before, (value, headers) in kept:
        letter = deadletter.read(value, headers)
        assert letter.about.topic == before.topic
        again = Record(letter.about.topic, 0, letter.about.offset or 0, 1, letter.key, letter.value, letter.headers)
        one, first = decoder.decode(again, now=NOW), decoder.decode(before, now=NOW)
        assert first.event is not None
        assert one.event is not None
        assert (one.key, one.event.type, one.event.data) == (first.key, first.event.type, first.event.data)
