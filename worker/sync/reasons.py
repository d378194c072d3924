"""Why an order is cancelled: commerce's words and Walmart's codes.

Sources: the reason list of Walmart's cancel call (five codes in the US; other markets have their own) and the labels
of Adobe Commerce Channel Manager, each in both spellings its material uses.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Final, get_args

from worker.settings import CancelReasonCode

CUSTOMER_REQUESTED: Final = "CUSTOMER_REQUESTED_SELLER_TO_CANCEL"
PRICING_ERROR: Final = "SELLER_CANCEL_PRICING_ERROR"
OUT_OF_STOCK: Final = "SELLER_CANCEL_OUT_OF_STOCK"
FRAUD: Final = "SELLER_CANCEL_FRAUD_STOP_SHIPMENT"
NOT_SERVICEABLE: Final = "SELLER_CANCEL_ADDRESS_NOT_SERVICEABLE"

_LABELS: Final[dict[str, str]] = {
    "Price or other listing errors": PRICING_ERROR,
    "The item is out of stock": OUT_OF_STOCK,
    **{
        f"Additional information is {verb} by our Credit {word} Fraud Avoidance department": FRAUD
        for verb in ("needed", "required")
        for word in ("and", "or", "&")
    },
    "Unavailable carrier or shipping method": NOT_SERVICEABLE,
    "Unavailable carrier or shipping information": NOT_SERVICEABLE,
}

_MARKETS: Final[dict[str, dict[str, str]]] = {
    "ca": {CUSTOMER_REQUESTED: CUSTOMER_REQUESTED, "": "CANCEL_BY_SELLER"},
    "cl": {PRICING_ERROR: "ERROR_DE_PRECIO", OUT_OF_STOCK: "AGOTADO", "": "RECHAZAR"},
    "mx": {PRICING_ERROR: "MIRAKL_REFUND_45", OUT_OF_STOCK: "MIRAKL_REFUND_15", "": "SELLER_REJECTION"},
}
"""Market -> our (US) code -> the code that market takes; the empty key is for all others."""


def normalised(text: str) -> str:
    """The form reasons are compared in: no case, no punctuation, one space between words."""
    plain = unicodedata.normalize("NFKC", text).casefold().replace("&", " & ")
    return " ".join("".join(c if c.isalnum() or c == "&" else " " for c in plain).split())


BUILT_IN: Final[Mapping[str, str]] = {
    **{normalised(label): code for label, code in _LABELS.items()},
    **{normalised(code): code for code in get_args(CancelReasonCode)},
}
"""Normalised label or code -> one of the five codes."""


def cancel_reason(store: Mapping[str, str], code: str | None, text: str | None) -> str | None:
    """One of the five codes, or None where the reason is absent or unknown. `store` has `normalised` keys."""
    told = [normalised(name) for name in (code, text) if name]
    for table in (store, BUILT_IN):
        for name in told:
            if name and (found := table.get(name)) is not None:
                return found
    return None


def for_market(code: str, market: str) -> str:
    """The code as this market spells it."""
    table = _MARKETS.get(market)
    return code if table is None else table.get(code, table[""])
