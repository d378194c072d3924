"""The clients of all Walmart accounts: each is made when its first event needs it, and forgotten when it is idle.

Thousands of accounts share one HTTP session, the slots for token requests and the headers they have in common; an
account costs memory only from its first event on, and until nobody has used it for a while.

    accounts = Accounts(settings, clock, observer=..., watch=..., random_source=...)
    accounts.connect(make_session(settings.timing))      # in the running loop
    api = accounts["main"]                                # a Mapping[str, OrdersApi] for `Sync`
    accounts.configure(settings, rotated={"main"})        # new, changed and removed accounts, and rotated secrets
    await accounts.close()
"""

from __future__ import annotations

import functools
import random
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping

import aiohttp

from worker.clock import Clock
from worker.settings import AccountSettings, Settings
from worker.settings_change import is_same_client, is_same_secret
from worker.walmart.call_report import CallReport, Operation
from worker.walmart.client import WalmartClient
from worker.walmart.token import TokenWatch
from worker.walmart.token_slots import TokenSlots


class Accounts(Mapping[str, WalmartClient]):
    """Every configured account by its name.

    `observer` and `begun` are told of every request, as each client tells them; `begun` gets the account's name, too.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        *,
        observer: Callable[[CallReport], None] | None = None,
        begun: Callable[[str, Operation, str], int] | None = None,
        watch: TokenWatch | None = None,
        random_source: random.Random | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._observer = observer
        self._begun = begun
        self._watch = watch
        self._random = random_source
        self._session: aiohttp.ClientSession | None = None
        self._slots = TokenSlots(settings.limits.max_token_requests)
        self._clients: dict[str, WalmartClient] = {}
        self._leaving: weakref.WeakSet[WalmartClient] = weakref.WeakSet()
        """Not given out any more; there while an attempt, or a token request, still goes on with them."""

    def connect(self, session: aiohttp.ClientSession) -> None:
        """Make calls through this session. It is closed by whoever made it."""
        self._session = session

    def configure(self, settings: Settings, *, rotated: Collection[str] = ()) -> frozenset[str]:
        """Take new settings; returns the accounts that have another key, secret or address now.

        One with another key or address gets a new client, and so a new token, with its next event; one with another
        secret asks with that for its next token; one that is gone has no client. Whoever works with the old one ends
        with it. `rotated`: accounts whose secret's file holds something else.
        """
        before, self._settings = self._settings, settings
        self._slots.configure(settings.limits.max_token_requests)
        renewed = frozenset(
            name
            for name, account in settings.accounts.items()
            if (old := before.accounts.get(name)) is not None
            and (name in rotated or not is_same_client(old, account) or not is_same_secret(old, account))
        )
        for name, client in list(self._clients.items()):
            account = settings.accounts.get(name)
            if account is None or not is_same_client(before.accounts[name], account):
                self._leaving.add(self._clients.pop(name))
            else:
                client.configure(account, settings.timing, renewed=name in renewed)
        return renewed

    # -- as a mapping

    def __getitem__(self, name: str) -> WalmartClient:
        """The client of a configured account. Raises KeyError for any other name."""
        client = self._clients.get(name)
        if client is None:
            client = self._clients[name] = self._made(name, self._settings.accounts[name])
        return client

    def __iter__(self) -> Iterator[str]:
        return iter(self._settings.accounts)

    def __len__(self) -> int:
        return len(self._settings.accounts)

    def __contains__(self, name: object) -> bool:
        return name in self._settings.accounts

    def _made(self, name: str, account: AccountSettings) -> WalmartClient:
        assert self._session is not None, "connect comes first"
        return WalmartClient(
            self._session,
            name,
            account,
            self._settings.timing,
            self._clock,
            observer=self._observer,
            begun=None if self._begun is None else functools.partial(self._begun, name),
            slots=self._slots,
            watch=self._watch,
            random_source=self._random,
        )

    # -- as time passes

    @property
    def in_memory(self) -> int:
        """Accounts that take memory here."""
        return len(self._clients)

    @property
    def token_requests(self) -> int:
        """Tokens being asked for, or waiting for their slot."""
        return self._slots.taken + self._slots.waiting

    def prepare(self, name: str) -> None:
        """An event of this account came: its token is asked for now, so that no turn waits for it."""
        if self._session is not None and name in self._settings.accounts:
            self[name].prepare()

    def forget_idle(self) -> list[str]:
        """Forget the accounts that nobody has used for long, their tokens having ended; returns their names."""
        now = self._clock.now()
        idle = [name for name, client in self._clients.items() if client.is_idle(now)]
        for name in idle:
            del self._clients[name]
        return idle

    async def close(self) -> None:
        """Stop token requests that are under way."""
        for client in (*self._clients.values(), *self._leaving):
            await client.close()
