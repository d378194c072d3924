"""Walmart's texts are passed on without what is private, and stay readable."""

from __future__ import annotations

import base64
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.walmart.scrub import TEXT_LENGTH, Scrubber

PO = "4576930294354"
SCRUBBER = Scrubber([PO, "1", "1Z999AA10123456784", "000000123"])


@pytest.mark.parametrize(
    "text",
    [
        f"Unable to process this request. The Line: 4 of PO: {PO} is in SHIPPED status",
        "INVALID_REQUEST_CONTENT :: Failed when called shipConfirm API. Qty OverShipped : Some or All Line(s)/Qty",
        "doesn't have enough quantity to ship requested quantity … qtyAvailableToShip :: 0",
        "Method code is not supported in line number 1",
        "INVALID_REQUEST_CONTENT.GMP_ORDER_API",
        "SELLER_CANCEL_CUSTOMER_INCORRECT_ADDRESS is not one of 5 values",
        "LS-3101: the label could not be made within 4 hours",
        'unexpected element (uri:"", local:"orderShipment")',
        "orderLines.orderLine[0].orderLineStatuses.orderLineStatus[0].trackingInfo.carrierName.carrier",
        "tracking 1Z999AA10123456784 of order 000000123 is known",
        "",
    ],
)
def test_useful_texts_stay_whole(text: str) -> None:
    assert SCRUBBER.text(text) == text


@pytest.mark.parametrize(
    "secret",
    [
        "jane.doe+walmart@example.com",
        "jane%40example.com",
        "3A31739D8B0A45A1B23F7F8C81C8747F@relay.walmart.com",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NSJ9.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1g",
        "eyJraWQiOiI",
        base64.b64encode(b"client-id:client-secret").decode(),
        "d41d8cd98f00b204e9800998ecf8427e",
        "AbCdEfGhIjKlMnOpQrStUvWxYzAbCd",
        "550e8400-e29b-41d4-a716-446655440000",
        "+1 (555) 123-4567",
        "555-123-4567",
        "5551234567",
        "(031) 555 44 33",
        "4372135469400",
        "Y12613640",
        "35805",
        "4,372,135,469,400",
        "1Z999AA10123456799",
    ],
)
@pytest.mark.parametrize("frame", ["{}", "PO {} failed", "buyer:{}", "x=({}), y", '"{}"', "{}\n{}", "a,{};b"])
def test_private_things_go(secret: str, frame: str) -> None:
    scrubbed = SCRUBBER.text(frame.replace("{}", secret))
    assert secret not in scrubbed
    assert "[hidden]" in scrubbed
    for part in secret.replace("@", " ").split():
        assert len(part) < 5 or part not in scrubbed


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Authorization: Basic abc", "abc"),
        ("Bearer xyz", "xyz"),
        ("client_secret=hunter", "hunter"),
        ('"password": "hunter"', "hunter"),
        ("WM_SEC.ACCESS_TOKEN: hunter", "hunter"),
    ],
)
def test_named_credentials_go(text: str, secret: str) -> None:
    assert secret not in SCRUBBER.text(text)


def test_own_numbers_stay_and_foreign_ones_go() -> None:
    """Also where a foreign number contains one of ours."""
    text = SCRUBBER.text(f"{PO} is not {PO}7, line 1, not 9{PO}")
    assert text == f"{PO} is not [hidden], line 1, not [hidden]"


def test_an_address_with_our_number_in_it_still_goes() -> None:
    assert PO not in SCRUBBER.text(f"{PO}@relay.walmart.com")


def test_known_secrets_go_wherever_they_stand() -> None:
    scrubber = Scrubber(secrets=["open sesame"])
    assert "sesame" not in scrubber.text("you said (open sesame)!")
    assert "sesame" not in repr(scrubber)


def test_one_line_and_short() -> None:
    text = SCRUBBER.text("word \r\n\t\x00 \ue000\u2028 next " + "more " * 1_000)
    assert text.startswith("word next more")
    assert len(text) <= TEXT_LENGTH
    assert text.endswith("…")


WORDS = st.lists(st.sampled_from(["line", "1", "is", "shipped", "::", "(Qty)", PO, "0", "?", "PO:"]), max_size=8)
SECRETS = st.one_of(
    st.from_regex(r"[a-z]{2,8}[.+_]?[a-z]{1,8}@[a-z]{2,8}\.(com|example)", fullmatch=True),
    st.from_regex(r"eyJ[A-Za-z0-9_-]{10,40}\.[A-Za-z0-9_-]{10,40}\.[A-Za-z0-9_-]{10,40}", fullmatch=True),
    st.binary(min_size=20, max_size=60).map(lambda data: data.hex()),
    st.binary(min_size=24, max_size=60)
    .filter(lambda data: len(set(data)) >= 12)
    .map(lambda data: base64.b64encode(data).decode()),
    st.from_regex(r"[2-9][0-9]{2}[-. ][2-9][0-9]{2}[-. ][0-9]{4}", fullmatch=True),
    st.integers(10**4, 10**17).map(str).filter(lambda number: number != PO),
    st.uuids().map(str),
)


@given(WORDS, SECRETS, WORDS)
def test_a_planted_secret_is_found_in_any_company(before: list[str], secret: str, after: list[str]) -> None:
    scrubbed = SCRUBBER.text(" ".join([*before, secret, *after]))
    assert secret not in scrubbed
    if "@" in secret:
        assert secret.partition("@")[2] not in scrubbed


@given(WORDS)
def test_harmless_words_are_kept_with_our_number(words: list[str]) -> None:
    text = " ".join(words)
    assert (PO in SCRUBBER.text(text)) == (PO in text)


@given(
    st.text(max_size=400)
    | st.text(alphabet=string.ascii_letters + string.digits + "@.-_+/= \ue000\ue001", max_size=400)
)
def test_any_text(text: str) -> None:
    """Never raises, one line, bounded, no e-mail and no long number left."""
    scrubbed = SCRUBBER.text(text)
    assert len(scrubbed) <= TEXT_LENGTH
    assert "\n" not in scrubbed
    assert "@" not in scrubbed
    for word in "".join(c if c.isalnum() else " " for c in scrubbed.replace(PO, "")).split():
        assert sum(c.isdigit() for c in word) < 7 or word in ("1Z999AA10123456784", "000000123")
