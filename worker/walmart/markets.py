"""What differs from market to market, as data.

The US API knows no market headers. Canada, Mexico and Chile are reached through the Global API, which tells markets
apart by headers (https://developer.walmart.com/global-marketplace/docs/ship-an-order-mp).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

MarketCode = Literal["us", "ca", "mx", "cl"]

SERVICE_NAME: Final = "Walmart Marketplace"
"""`WM_SVC.NAME` of every market."""


@dataclass(frozen=True, slots=True)
class Market:
    """One marketplace: its name for people, and the headers that every request to it carries."""

    name: str
    headers: Mapping[str, str]


def _global(name: str, code: MarketCode) -> Market:
    return Market(name, MappingProxyType({"WM_MARKET": code, "WM_GLOBAL_VERSION": "3.1"}))


MARKETS: Final[Mapping[MarketCode, Market]] = MappingProxyType(
    {
        "us": Market("United States", MappingProxyType({})),
        "ca": _global("Canada", "ca"),
        "mx": _global("Mexico", "mx"),
        "cl": _global("Chile", "cl"),
    }
)
