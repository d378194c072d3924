"""Invented buyers: plausible personal data, the same for one order id every time, so that tests can look for leaks."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

_FIRST: Final = ("Kathryn", "Donald", "Steffi", "Dorothea", "Marcus", "Yolanda", "Percival", "Imogen")
_LAST: Final = ("Coleridge", "Ashworth", "Mattheson", "Kellerman", "Beckwith", "Okonkwo", "Vandermeer", "Quillfeather")
_STREET: Final = (
    "Gazebo Drive",
    "Warners Road",
    "Mason Street",
    "Kilpatrick Avenue",
    "Larkspur Lane",
    "Pepperidge Way",
)
_CITY: Final = (
    ("Cedar Hill", "MO", "63016"),
    ("Warners", "NY", "13164"),
    ("San Francisco", "CA", "94133"),
    ("Chicago", "IL", "60646"),
    ("Lakewood Ranch", "FL", "34202"),
)


@dataclass(frozen=True, slots=True)
class Buyer:
    """Nobody."""

    name: str
    phone: str
    email: str
    address1: str
    address2: str | None
    city: str
    state: str
    postal_code: str
    customer_order_id: str

    @property
    def personal_data(self) -> tuple[str, ...]:
        """Texts that must never show up in a log, a result or a metric."""
        texts = (self.name, self.phone, self.email, self.address1, self.address2)
        return tuple(text for text in texts if text)


def buyer_of(purchase_order_id: str) -> Buyer:
    """The buyer of one order."""
    digest = hashlib.sha256(purchase_order_id.encode()).digest()
    city, state, postal_code = _CITY[digest[3] % len(_CITY)]
    return Buyer(
        name=f"{_FIRST[digest[0] % len(_FIRST)]} {_LAST[digest[1] % len(_LAST)]}",
        phone=f"{200 + digest[4]}555{int.from_bytes(digest[5:7]) % 10_000:04d}",
        email=f"{digest[:16].hex().upper()}@relay.walmart.com",
        address1=f"{1000 + int.from_bytes(digest[7:9]) % 9000} {_STREET[digest[2] % len(_STREET)]}",
        address2=f"Apartment {digest[9]}-{digest[10]}" if digest[9] % 2 else None,
        city=city,
        state=state,
        postal_code=postal_code,
        customer_order_id=f"2{int.from_bytes(digest[11:17]) % 10**14:014d}",
    )
