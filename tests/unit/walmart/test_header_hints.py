"""Waiting times in every spelling that was seen; nonsense is ignored and nothing waits for ever."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from worker.walmart.hints import MAX_WAIT_S, budget_left, replenish_at, retry_after_s

NOW = 1_800_000_000.0


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(NOW + seconds, UTC)


FORMS = {
    "plain seconds": "20",
    "fraction": "20.0",
    "epoch ms": str(int((NOW + 20) * 1_000)),
    "epoch s": str(int(NOW + 20)),
    "iso": moment(20).isoformat(),
    "iso z": moment(20).strftime("%Y-%m-%dT%H:%M:%SZ"),
    "iso naive": moment(20).strftime("%Y-%m-%dT%H:%M:%S"),
    "http date": format_datetime(moment(20), usegmt=True),
    "spaces": " 20 ",
}


@pytest.mark.parametrize("name", ["Retry-After", "X-Next-Replenishment-Time", "x-next-replenish-time", "RETRY-AFTER"])
@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_every_form_under_every_name(name: str, text: str) -> None:
    for headers in ({name: text}, CIMultiDictProxy(CIMultiDict({name: text}))):
        assert retry_after_s(headers, NOW) == pytest.approx(20)
        if "etry" not in name.lower():
            assert replenish_at(headers, NOW) == pytest.approx(NOW + 20)


@pytest.mark.parametrize(
    "text",
    ["", "0", "-5", "soon", "nan", "inf", "-inf", "1e308", "99999999999999999999", "1700000000000", "1700000000",
     "2020-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "Wed, 21 Oct 2015 07:28:00 GMT", "864000000", "x" * 1_000, "²"],
)  # fmt: skip
def test_nonsense_and_the_past_are_ignored(text: str) -> None:
    headers = {"Retry-After": text, "X-Next-Replenishment-Time": text}
    assert retry_after_s(headers, NOW) is None
    assert replenish_at(headers, NOW) is None


def test_capped_and_the_longest_counts() -> None:
    assert retry_after_s({"Retry-After": "3600"}, NOW) == MAX_WAIT_S
    assert retry_after_s({"Retry-After": "2", "X-Next-Replenishment-Time": str(int((NOW + 9) * 1_000))}, NOW) == 9
    assert retry_after_s({}, NOW) is None


def test_no_token_is_waited_for_longer_than_a_header_is_believed() -> None:
    """On a success, too: an account with nothing left would stand still until then."""
    for text in ("7200", str(int((NOW + 6 * 86_400) * 1_000))):
        assert replenish_at({"X-Next-Replenishment-Time": text}, NOW) == NOW + MAX_WAIT_S


@pytest.mark.parametrize("late", [-60.0, -5.0, 5.0, 60.0])
def test_a_clock_that_is_wrong_waits_no_longer(late: float) -> None:
    """Walmart's moments are on Walmart's clock, and its answer's date tells that one."""
    for text in ("20", FORMS["epoch ms"], FORMS["iso"], FORMS["http date"]):
        headers = {"Date": format_datetime(moment(0), usegmt=True), "X-Next-Replenishment-Time": text}
        ours = NOW - late
        wait = retry_after_s(headers, ours)
        at = replenish_at(headers, ours)
        assert wait == pytest.approx(20, abs=0.6)
        assert at is not None
        assert at - ours == wait


@pytest.mark.parametrize("date", [moment(0), moment(-1), moment(-86_400), moment(2 * 3_600)])
def test_a_date_that_says_nothing_changes_nothing(date: datetime) -> None:
    """It is true to a second, or it is nobody's clock."""
    headers = {"Date": format_datetime(date, usegmt=True), "X-Next-Replenishment-Time": FORMS["epoch ms"]}
    assert retry_after_s(headers, NOW + 0.4) == pytest.approx(19.6)
    assert replenish_at(headers, NOW + 0.4) == pytest.approx(NOW + 20)


@pytest.mark.parametrize(
    ("text", "left"), [("60", 60), ("0", 0), ("12.0", 12), ("-1", None), ("many", None), ("inf", None), ("", None)]
)
def test_budget_left(text: str, left: int | None) -> None:
    assert budget_left({"x-current-token-count": text}) == left


@given(st.text(max_size=120) | st.floats().map(str) | st.integers().map(str))
def test_any_text(text: str) -> None:
    headers = {"Retry-After": text, "x-next-replenish-time": text, "X-Current-Token-Count": text, "date": text}
    wait = retry_after_s(headers, NOW)
    assert wait is None or 0 < wait <= MAX_WAIT_S
    at = replenish_at(headers, NOW)
    assert at is None or NOW < at <= NOW + MAX_WAIT_S
    left = budget_left(headers)
    assert left is None or left >= 0
