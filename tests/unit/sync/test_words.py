"""Carrier names, tracking numbers and reasons: the words commerce and Walmart use."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.walmart.carriers import CARRIERS
from worker.sync.carriers import BUILT_IN, folded, walmart_carrier
from worker.sync.reasons import normalised
from worker.sync.tracking import canonical, clean, clear_owner, read_number


@pytest.mark.parametrize("name", sorted(CARRIERS))
def test_every_walmart_name_is_its_own_alias(name: str) -> None:
    assert walmart_carrier({}, None, name) == name
    assert walmart_carrier({}, name.upper(), None) == name


@pytest.mark.parametrize(
    ("code", "title", "carrier"),
    [
        ("ups", "United Parcel Service", "UPS"),
        ("usps", None, "USPS"),
        ("fedex", None, "FedEx"),
        ("dhl", None, "DHL"),
        ("custom", "U.P.S.", "UPS"),
        ("custom", "UPS Ground", "UPS"),
        (None, "United States Postal Service", "USPS"),
        (None, "USPS Priority Mail", "USPS"),
        (None, "Federal Express", "FedEx"),
        (None, "FedEx Home Delivery", "FedEx"),
        (None, "FedEx SmartPost", "FEDEXSP"),
        (None, "UPS Mail Innovations", "UPSMI"),
        (None, "DHL eCommerce", "DHL Ecommerce - US"),
        ("lasership", None, "LS"),
        ("ontrac", None, "OnTrac"),
        ("stamps_com", None, "USPS"),
        (None, "R+L Carriers", "RL Carriers"),
    ],
)
def test_what_magento_and_shippers_call_them(code: str | None, title: str | None, carrier: str) -> None:
    assert walmart_carrier({}, code, title) == carrier


@pytest.mark.parametrize("title", ["Speedy Freight", "SF", "JD", "Post", "UPSI", "Ground", "custom", "-", ""])
def test_nothing_is_guessed(title: str) -> None:
    assert walmart_carrier({}, None, title) is None


def test_the_stores_map_comes_first_by_code_then_by_title_then_the_built_in_one() -> None:
    store = {folded("UPS"): "OnTrac", folded("United  parcel Service"): "LSO"}
    assert walmart_carrier(store, "ups", "United Parcel Service") == "OnTrac"
    assert walmart_carrier(store, "fedex", "united parcel SERVICE") == "LSO"
    assert walmart_carrier(store, "fedex", "x") == "FedEx"


def test_the_built_in_map_holds_only_walmarts_names() -> None:
    assert set(BUILT_IN.values()) == CARRIERS


@pytest.mark.parametrize(
    ("number", "named", "carrier"),
    [
        ("1Z999AA10123456784", "", "UPS"),
        ("1Z5R89390357567127", "", "UPS"),
        ("1Z999AA10123456785", "", None),
        ("9405511899223197428490", "", "USPS"),
        ("92055901755477000271990251", "", "USPS"),
        ("9405511899223197428491", "", None),
        ("420221539405511899223197428490", "", "USPS"),
        ("RB123456785US", "", "USPS"),
        ("RB123456784US", "", None),
        ("RB123456785CN", "", None),
        ("986578788855", "", None),
        ("986578788855", "FedEx Intl", "FedEx"),
        ("986578788856", "FedEx Intl", None),
        ("019343586678996", "federal express", "FedEx"),
        ("019343586678996", "Speedy", None),
        ("123456789012", "", None),
        ("", "", None),
    ],
)
def test_a_number_is_recognised_only_without_doubt(number: str, named: str, carrier: str | None) -> None:
    assert clear_owner(canonical(number), named) == carrier


@given(st.from_regex(r"1Z[0-9A-Z]{15}", fullmatch=True))
def test_exactly_one_check_digit_makes_a_ups_number(body: str) -> None:
    assert sum(clear_owner(f"{body}{digit}") == "UPS" for digit in range(10)) == 1


@given(st.text(max_size=40))
def test_cleaning_leaves_only_what_walmart_allows_and_is_final(text: str) -> None:
    once = clean(text)
    assert once == "" or (once.isascii() and once.isalnum())
    assert clean(once) == once
    assert canonical(canonical(text)) == canonical(text)


def test_a_letter_of_another_script_is_not_taken_out_silently() -> None:
    assert read_number("1Z999\u0410A10123456784", "1", "2").problem == "tracking_number_invalid"


def test_full_width_forms_become_plain_ones() -> None:
    assert read_number("\uff11\uff12\uff13", "1", "2").sent == "123"


def test_reasons_are_compared_without_case_punctuation_and_extra_spaces() -> None:
    assert normalised("  The item\tis OUT-of-stock!! ") == "the item is out of stock"
