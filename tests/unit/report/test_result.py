"""Results: ids are a pure function of identity, replay number and answer; every result fits the contract."""

from __future__ import annotations

import uuid
from typing import Any, get_args

import orjson
from hypothesis import given
from hypothesis import strategies as st

from schemas.results import Effect, InventoryState, LineState, Operation, SyncResult, WalmartStatus
from worker.delivery import Delivery, Envelope, Place, Record
from worker.errors import ERRORS, Failure, WalmartError
from worker.outcome import (
    Again,
    ConfirmedUnits,
    InventoryOutcome,
    LineOutcome,
    PlannedRequest,
    Trouble,
    Verdict,
    Warned,
)
from worker.report.result import MAX_BYTES, MAX_LINES, Message, encode, headers, of_retrying, of_verdict, result_id

NOW = 1_795_000_000.0


def told(message: Message) -> SyncResult:
    """As whoever reads it sees it."""
    return SyncResult.model_validate_json(encode(message))


def delivery(**more: object) -> Delivery:
    record = Record("commerce.order-shipped.v1", 3, 1187, int(NOW * 1000) - 2_000, b"PO1", b"{}", ())
    envelope = Envelope("/commerce", "e1", "commerce.order.shipped.v1", NOW - 2, "us", "PO1", "100", "s1")
    return Delivery(record, None, envelope, None, "t|/commerce|e1", "PO1", NOW - 1, first_seen=NOW - 1, **more)  # type: ignore[arg-type]


def test_result_id_depends_on_identity_replay_number_and_answer_only() -> None:
    known = result_id("k", 0, "failed", "none", "carrier_unmapped")
    assert known == result_id("k", 0, "failed", "none", "carrier_unmapped")
    others = {
        result_id("k2", 0, "failed", "none", "carrier_unmapped"),
        result_id("k", 1, "failed", "none", "carrier_unmapped"),
        result_id("k", 0, "succeeded", "none", "carrier_unmapped"),
        result_id("k", 0, "failed", "partly_applied", "carrier_unmapped"),
        result_id("k", 0, "failed", "none", None),
    }
    assert len({known, *others}) == 6


def test_result_id_is_the_same_in_every_process() -> None:
    """Consumers deduplicate by it, over restarts and versions."""
    assert result_id("t|/s|1", 0, "succeeded", "applied", None) == "8c4b8e25-ab6b-56df-99a2-e565b9108864"


def test_every_result_fits_the_contract() -> None:
    """The hot path builds without validation, so here every shape is validated."""
    verdict = Verdict(
        operation="ship",
        effect="partly_applied",
        failure=Failure("carrier_unmapped", "no name", 400, (WalmartError("C", "f", "d"),), "cid"),
        walmart_status="partially_shipped",
        lines=(LineOutcome("1", "SKU", 2, "1Z", "rejected", "carrier_unmapped"),),
        inventory=(InventoryOutcome("SKU", None, 3, "skipped", "stale"),),
        warnings=(Warned("tracking_cleaned", "x"),),
        planned=(PlannedRequest("POST", "/v3/orders/1/shipping", {"a": 1}),),
    )
    made = of_verdict(delivery(), verdict, account="main", now=NOW, dead_letter=Place(3, 9), topic="dl")
    again = told(made)
    assert again.error is not None
    assert again.error.action.startswith("Map the carrier in the store's settings (stores.us.carriers)")
    assert (again.order_status, again.latency_seconds) == ("error", 2.0)
    assert ("ce_id", again.result_id.encode()) in headers(made)


def some(kind: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(get_args(kind))


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
MAYBE = st.none() | TEXT
UNITS = st.integers(0, 1_000_000)
VERDICTS = st.builds(
    Verdict,
    operation=st.none() | some(Operation),
    effect=some(Effect),
    failure=st.none()
    | st.builds(
        Failure,
        code=st.sampled_from(sorted(ERRORS)),
        message=TEXT,
        http_status=st.none() | st.integers(100, 599),
        walmart_errors=st.lists(st.builds(WalmartError, MAYBE, MAYBE, MAYBE), max_size=2).map(tuple),
        correlation_id=MAYBE,
    ),
    walmart_status=st.none() | some(WalmartStatus),
    lines=st.lists(st.builds(LineOutcome, MAYBE, MAYBE, UNITS, MAYBE, some(LineState), MAYBE), max_size=3).map(tuple),
    inventory=st.lists(st.builds(InventoryOutcome, TEXT, MAYBE, UNITS, some(InventoryState), MAYBE), max_size=2).map(
        tuple
    ),
    warnings=st.lists(st.builds(Warned, TEXT, TEXT), max_size=3).map(tuple),
    planned=st.lists(
        st.builds(PlannedRequest, TEXT, TEXT, st.none() | st.dictionaries(TEXT, UNITS | TEXT, max_size=3)), max_size=2
    ).map(tuple),
    observed=st.booleans(),
)
TIMES = st.floats(946_684_800, 4_102_444_799)
ENVELOPES = st.builds(Envelope, MAYBE, MAYBE, MAYBE, st.none() | TIMES, MAYBE, MAYBE, MAYBE, MAYBE)


@given(
    verdict=VERDICTS, envelope=ENVELOPES, account=MAYBE, now=TIMES, received=TIMES, attempts=UNITS,
    waited=st.floats(0, 100_000), place=st.none() | st.builds(Place, UNITS, UNITS),
)  # fmt: skip
def test_what_is_made_without_the_model_is_what_the_model_would_write(
    verdict: Verdict, envelope: Envelope, account: str | None, now: float, received: float, attempts: int,
    waited: float, place: Place | None,
) -> None:  # fmt: skip
    """Every field, in the model's order and the model's own spelling of times and numbers."""
    one = delivery()
    one.envelope, one.received_at = envelope, received
    one.progress.attempts, one.progress.waited_budget_s, one.progress.waited_retry_s = attempts, waited, waited / 3
    made = of_verdict(one, verdict, account=account, now=now, dead_letter=place, topic="dl")
    assert orjson.loads(told(made).model_dump_json()) == orjson.loads(encode(made))
    assert list(made) == list(SyncResult.model_fields)
    assert abs(told(made).completed_at.timestamp() - now) <= 0.00051


@given(key=TEXT, number=UNITS, code=MAYBE)
def test_a_result_id_is_a_version_5_uuid(key: str, number: int, code: str | None) -> None:
    name = "\n".join((key, str(number), "failed", "none", code or ""))
    expected = uuid.uuid5(uuid.UUID("7d0f3b52-9f0c-5b0e-8a52-3d0f6f1b6a01"), name)
    assert result_id(key, number, "failed", "none", code) == str(expected)


def test_a_retrying_result_is_not_final_and_tells_what_is_confirmed() -> None:
    late = delivery()
    late.progress.confirmed = (ConfirmedUnits("1", 2, "1Z"),)
    late.progress.applied = True
    again = Again(Trouble.NOT_SENT, Failure("walmart_unavailable", "503"), operation="ship")
    made = told(of_retrying(late, again, account="main", now=NOW))
    assert (made.status, made.final, made.effect) == ("retrying", False, "partly_applied")
    assert [line.state for line in made.lines] == ["confirmed"]


def test_repeated_warnings_are_told_once() -> None:
    twice = delivery()
    twice.progress.warned = (Warned("tracking_cleaned", "x"),)
    verdict = Verdict("ship", "applied", warnings=(Warned("tracking_cleaned", "x"), Warned("tracking_cleaned", "y")))
    made = told(of_verdict(twice, verdict, account=None, now=NOW, dead_letter=None, topic="dl"))
    assert [warning.message for warning in made.warnings] == ["x", "y"]


def test_a_result_is_bounded_whatever_the_event_asked() -> None:
    lines = tuple(LineOutcome(str(number), "SKU", 1, "1Z", "confirmed") for number in range(MAX_LINES + 5))
    made = of_verdict(
        delivery(), Verdict("ship", "applied", lines=lines), account=None, now=NOW, dead_letter=None, topic="dl"
    )
    assert len(made["lines"]) == MAX_LINES


def test_planned_bodies_carry_no_return_address() -> None:
    body = {"orderShipment": {"orderLines": {"orderLine": [{"x": {"returnCenterAddress": {"name": "Jane"}}}]}}}
    verdict = Verdict("ship", "applied", planned=(PlannedRequest("POST", "/p", body),), observed=True)
    made = of_verdict(delivery(), verdict, account=None, now=NOW, dead_letter=None, topic="dl")
    assert b"Jane" not in encode(made)
    assert told(made).observed


def test_every_action_names_no_unfilled_placeholder() -> None:
    for code in ERRORS:
        made = of_verdict(
            delivery(), Verdict("ship", "none", Failure(code, "m")), account=None, now=NOW, dead_letter=None, topic="d"
        )
        assert "{" not in made["error"]["action"]


def test_a_result_fits_its_topic_whatever_the_event_asked() -> None:
    """One that is refused for its size would be written again and again, and hold its partition for ever."""
    lines = tuple(
        LineOutcome(str(n), "\U0001f69a" * 200, 1, "1Z" * 100, "rejected", "line_not_found") for n in range(2_000)
    )
    calls = (PlannedRequest("POST", "/v3", {"skus": ["x" * 200] * 10_000}),)
    made = of_verdict(
        delivery(),
        Verdict("ship", "none", Failure("line_not_found", "no"), lines=lines, planned=calls),
        account="main", now=NOW, dead_letter=Place(3, 9), topic="dl",
    )  # fmt: skip
    assert len(orjson.dumps(made)) > 2 * MAX_BYTES
    value = encode(made)
    assert len(value) <= MAX_BYTES
    cut = SyncResult.model_validate_json(value)
    assert cut.result_id == made["result_id"]
    assert 100 < len(cut.lines) < 2_000
    small = of_verdict(delivery(), Verdict("ship", "applied"), account="main", now=NOW, dead_letter=None, topic="dl")
    assert encode(small) == orjson.dumps(small)
