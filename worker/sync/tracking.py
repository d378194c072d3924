"""Tracking numbers: cleaned for Walmart, compared in one canonical form, and recognised where there is no doubt.

Rules: Walmart's valid-tracking policy (no special characters, not the purchase order's or customer order's number);
UPS 1Z, USPS IMpb (USPS publication 199), UPU S10 and FedEx check digits.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final, NamedTuple

LONGEST: Final = 60
"""Characters of a canonical number. No carrier has numbers half as long, and what is confirmed under a number is kept
in a header of the dead letter."""

_FORBIDDEN: Final = re.compile(r"[^0-9A-Za-z]+")
_UPS: Final = re.compile(r"1Z[0-9A-Z]{15}[0-9]")
_IMPB: Final = re.compile(r"9[2-5](?:[0-9]{18}|[0-9]{20}|[0-9]{24})")
_ROUTED: Final = re.compile(r"420(?:[0-9]{9}|[0-9]{5})(9[2-5][0-9]{18,24})")
_S10_US: Final = re.compile(r"[A-Z]{2}([0-9]{8})([0-9])US")
_FEDEX_NAMED: Final = re.compile(r"fed\s*-?ex|federal\s*express", re.IGNORECASE)


class TrackingNumber(NamedTuple):
    """A package's number. With a `problem` (an error code) it cannot be sent."""

    told: str
    """As the event spells it."""
    sent: str
    """Without the characters Walmart forbids."""
    canonical: str
    """The form numbers are compared in."""
    problem: str | None = None
    why: str = ""


def clean(text: str) -> str:
    """Without spaces, hyphens and other characters Walmart forbids (full-width forms become plain ones)."""
    if text.isascii() and text.isalnum():
        return text
    return _FORBIDDEN.sub("", unicodedata.normalize("NFKC", text))


@lru_cache(maxsize=4_096)  # a plan asks ten times for the same few
def canonical(text: str) -> str:
    """The form numbers are compared in: cleaned, upper case, without a USPS routing prefix (420 + ZIP code)."""
    number = clean(text).upper()
    if number.startswith("420") and (routed := _routed(number)) is not None:
        return routed
    return number


def read_number(told: str | None, purchase_order_id: str, commerce_order_id: str) -> TrackingNumber:
    """Clean and check one number."""
    text = (told or "").strip()
    if not text:
        return TrackingNumber("", "", "", "tracking_number_missing", "the package has no tracking number")
    number = clean(text)
    form = canonical(number)
    if not number or (number is not text and _loses_letters(text)):
        return TrackingNumber(
            text, number, form, "tracking_number_invalid", f'tracking number "{text}" has no usable characters'
        )
    if len(form) > LONGEST:
        return TrackingNumber(
            text,
            number,
            form,
            "tracking_number_invalid",
            f'tracking number "{text[:20]}…" has more than {LONGEST} characters',
        )
    if form in (canonical(purchase_order_id), canonical(commerce_order_id)):
        return TrackingNumber(
            text, number, form, "tracking_number_invalid", f'tracking number "{text}" is the number of the order'
        )
    return TrackingNumber(text, number, form)


def clear_owner(number: str, named: str = "") -> str | None:
    """The supported carrier a canonical number clearly belongs to, or None where there is any doubt.

    `named`: the carrier's name in the event. A FedEx number has no mark of its own (one random number in ten passes
    the check digit), so it counts only where the name says FedEx too.
    """
    if _UPS.fullmatch(number):
        return "UPS" if _ups_digit(number[2:17]) == int(number[17]) else None
    if _IMPB.fullmatch(number):
        return "USPS" if _impb_digit(number[:-1]) == int(number[-1]) else None
    if match := _S10_US.fullmatch(number):
        return "USPS" if _s10_digit(match[1]) == int(match[2]) else None
    if _FEDEX_NAMED.search(named) and number.isdecimal():
        if len(number) == 12 and _fedex_express_digit(number[:11]) == int(number[11]):
            return "FedEx"
        if len(number) == 15 and _impb_digit(number[:14]) == int(number[14]):
            return "FedEx"
    return None


def _routed(number: str) -> str | None:
    match = _ROUTED.fullmatch(number)
    if match is None:
        return None
    for digits in (5, 9):
        rest = number[3 + digits :]
        if _IMPB.fullmatch(rest) and _impb_digit(rest[:-1]) == int(rest[-1]):
            return rest
    return None


def _loses_letters(text: str) -> bool:
    """A letter or digit outside ASCII cannot be taken out without making it another number."""
    if text.isascii():
        return False
    return any(character.isalnum() and not character.isascii() for character in unicodedata.normalize("NFKC", text))


def _ups_digit(body: str) -> int:
    total = 0
    for index, character in enumerate(body):
        value = int(character) if character.isdecimal() else (ord(character) - 63) % 10
        total += value * 2 if index % 2 else value
    return -total % 10


def _impb_digit(body: str) -> int:
    """Modulus 10, weight 3 on every second digit counted from the right, starting with the last."""
    return -sum(int(digit) * (1 if index % 2 else 3) for index, digit in enumerate(reversed(body))) % 10


def _s10_digit(body: str) -> int:
    rest = 11 - sum(int(digit) * weight for digit, weight in zip(body, (8, 6, 4, 2, 3, 5, 9, 7), strict=True)) % 11
    return {10: 0, 11: 5}.get(rest, rest)


def _fedex_express_digit(body: str) -> int:
    return sum(int(digit) * (3, 1, 7)[index % 3] for index, digit in enumerate(body)) % 11 % 10
