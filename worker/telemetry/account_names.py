"""Which accounts metrics show by name. With thousands of accounts, one series each would cost more than it tells.

An `AccountLabel` comes only from `AccountNames.of`, so mypy refuses a metric that would show an account of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, NewType

AccountLabel = NewType("AccountLabel", str)

OTHER: Final = AccountLabel("other")
"""All accounts that are not shown by name, together. (So is an account that is called that.)"""
MOST_IN_AUTO: Final = 50
"""Without names given, all are shown while there are no more than these."""


class AccountNames:
    """From an account's name to its label."""

    def __init__(self, accounts: Collection[str], by_name: Collection[str] | None) -> None:
        self.configure(accounts, by_name)

    def configure(self, accounts: Collection[str], by_name: Collection[str] | None) -> None:
        """Take new settings. `by_name`: those to show; None: all while they are few, else none."""
        if by_name is None:
            shown = sorted(accounts) if len(accounts) <= MOST_IN_AUTO else []
        else:
            shown = [name for name in by_name if name in accounts]
        self._labels: Mapping[str, AccountLabel] = {name: AccountLabel(name) for name in shown}
        self._all_shown = len(self._labels) == len(accounts)

    @property
    def labels(self) -> tuple[AccountLabel, ...]:
        """All there may be for accounts of the settings."""
        shown = tuple(self._labels.values())
        return shown if self._all_shown or OTHER in shown else (*shown, OTHER)

    def of(self, account: str) -> AccountLabel:
        """The label of an account, also of one that is not in the settings (any more)."""
        return self._labels.get(account, OTHER)
