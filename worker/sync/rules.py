"""A store's own maps and policies, prepared once so that a plan only looks them up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from worker.settings import AccountSettings, StoreSettings
from worker.sync.carriers import folded
from worker.sync.reasons import normalised


@dataclass(frozen=True, slots=True)
class Rules:
    """What a plan needs to know of a store."""

    store: str
    account: str
    market: str
    carriers: Mapping[str, str]
    """Folded code or title -> Walmart's exact carrier name."""
    reasons: Mapping[str, str]
    """Normalised code or text -> one of the five cancel codes."""
    unmapped_carrier: Literal["refuse", "other"]
    unknown_reason: str
    """`refuse`, or the code to send."""
    cancel_without_items: Literal["guard", "refuse"]
    tracking_url_template: str | None
    inventory_after_out_of_stock: bool
    observe: bool

    @classmethod
    def of(cls, name: str, store: StoreSettings, account: AccountSettings) -> Rules:
        """From the settings of one store and its account."""
        return cls(
            store=name,
            account=store.account,
            market=account.market,
            carriers={folded(key): carrier for key, carrier in store.carriers.items()},
            reasons={normalised(key): code for key, code in store.reasons.items()},
            unmapped_carrier=store.unmapped_carrier,
            unknown_reason=store.unknown_reason,
            cancel_without_items=store.cancel_without_items,
            tracking_url_template=store.tracking_url_template,
            inventory_after_out_of_stock=store.inventory_after_out_of_stock,
            observe=store.observe or account.observe,
        )
