"""How a package travels, as Walmart wants it told: carrier, URL and ship time, or why that cannot be said."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple
from urllib.parse import quote

from schemas.walmart.carriers import METHOD_CODES
from schemas.walmart.order import Order
from worker.outcome import Warned
from worker.sync.carriers import walmart_carrier
from worker.sync.match import Box
from worker.sync.rules import Rules
from worker.sync.tracking import clear_owner

FUTURE_MS: Final = 10 * 60 * 1000
"""Clocks differ: a ship time up to this far in the future is sent as now."""
BEFORE_ORDER_MS: Final = 24 * 3600 * 1000
"""A ship time up to this long before the order's own time is sent as that time."""
DEFAULT_METHOD: Final = "Standard"

_METHODS: Final = {code.casefold(): code for code in METHOD_CODES}


class Blocked(NamedTuple):
    """Why something cannot be sent: an error code and its particulars."""

    code: str
    message: str


class Carriage(NamedTuple):
    """Who carries a package: exactly one of `carrier` and `other_carrier` is set."""

    carrier: str | None
    other_carrier: str | None
    tracking_url: str | None
    warning: Warned | None = None


class ShipTime(NamedTuple):
    """Epoch milliseconds, UTC."""

    ms: int
    warning: Warned | None = None


def carriage_of(box: Box, rules: Rules) -> Carriage | Blocked:
    """The carrier of one package by the store's map, the built-in one, and the store's policy."""
    told = box.package.carrier
    url = _url(box.package.tracking_url)
    carrier = walmart_carrier(rules.carriers, told.code, told.title)
    if carrier is not None:
        return Carriage(carrier, None, url)
    name = told.title or told.code or ""
    if rules.unmapped_carrier == "refuse":
        return Blocked("carrier_unmapped", f'carrier "{name}" has no Walmart name in store {rules.store}')
    owner = clear_owner(box.number.canonical, f"{told.code or ''} {told.title or ''}")
    if owner is not None:
        message = f'{box.number.told} is a {owner} number: sent under {owner} instead of "{name}"'
        return Carriage(owner, None, url, Warned("carrier_corrected", message))
    if url is None and rules.tracking_url_template is not None:
        url = rules.tracking_url_template.replace("{tracking_number}", quote(box.number.sent, safe=""))
    if url is None:
        return Blocked(
            "tracking_url_missing",
            f'carrier "{name}" is sent as other carrier, which needs a tracking URL: the event has none'
            f" and store {rules.store} has no template",
        )
    return Carriage(None, name, url)


def ship_time_of(shipped_at: datetime, order: Order, now: float) -> ShipTime | Blocked:
    """`shipDateTime`: not in the future and not before the order, small differences of clocks forgiven."""
    told = round(shipped_at.timestamp() * 1000)
    present = int(now * 1000)
    ordered = order.order_date_ms
    if told > present + FUTURE_MS:
        return Blocked("ship_date_invalid", f"shipped_at {shipped_at.isoformat()} is in the future")
    if ordered is not None and told < ordered - BEFORE_ORDER_MS:
        return Blocked("ship_date_invalid", f"shipped_at {shipped_at.isoformat()} is more than a day before the order")
    if ordered is not None and told < ordered:
        return ShipTime(
            ordered, Warned("ship_date_adjusted", "shipped_at is before the order: sent as the order's time")
        )
    if told > present:
        return ShipTime(present, Warned("ship_date_adjusted", "shipped_at is in the near future: sent as now"))
    return ShipTime(told)


def method_of(order: Order) -> str:
    """`methodCode`: the order's own, in Walmart's spelling."""
    told = order.method_code
    return DEFAULT_METHOD if not told else _METHODS.get(told.casefold(), told)


def _url(text: str | None) -> str | None:
    if not text:
        return None
    url = text.strip()
    return url if url.startswith(("https://", "http://")) else None
