"""One access token per account: asked for once however many wait, renewed before it ends, and not in a storm.

Nothing is asked for before somebody needs it, nor renewed where nobody uses it. Renewals are spread over the second
half of a token's life, and all accounts together ask for a few at once (`TokenSlots`). The wait for a slot is no
failure of Walmart's: the request's own time begins with the request.

A failure to get one is a `CallError` (`UNAUTHORIZED` for 400, 401 and 403 alike, `THROTTLED`, else `NOT_SENT`: nothing
went to the Orders service), and is remembered for a moment so that dead credentials are not tried by everyone.
"""

from __future__ import annotations

import asyncio
import base64
import random
import time
from collections.abc import Callable
from typing import Final, Protocol

import aiohttp
import orjson
import structlog
from yarl import URL

from worker.clock import Clock
from worker.settings import AccountSettings
from worker.walmart.answer import CallError, CallKind
from worker.walmart.call_report import CallReport
from worker.walmart.error_reading import read_error
from worker.walmart.exchange import NoReply, exchange
from worker.walmart.guarded_body import GuardedBody
from worker.walmart.headers import AUTHORIZATION, CONTENT_TYPE, CORRELATION_ID, account_headers, new_correlation_id
from worker.walmart.hints import budget_left, replenish_at
from worker.walmart.scrub import Scrubber
from worker.walmart.token_slots import TokenSlots

log = structlog.get_logger()

_LIFETIME_S: Final = 900.0
"""Documented lifetime, where `expires_in` cannot be read."""
_PAUSE_S: Final = 1.0
"""A failure is repeated from memory for so long."""
_RENEW_FROM: Final = 0.5
_RENEW_TO: Final = 0.9
"""A token is renewed in the background somewhere between these parts of its life: accounts that got theirs in the same
minute (a start with a backlog) do not ask for the next one in the same minute, and nor do replicas."""
_RENEW_AGAIN_FROM: Final = 0.1
_RENEW_AGAIN_TO: Final = 0.3
"""A renewal that failed is tried again after such a part of what is left of the old token's life."""
IDLE_S: Final = _LIFETIME_S
"""What is known of an account that nobody has used for so long, and whose token has ended, may be forgotten."""
_MARGIN: Final = 0.02
"""The last part of its life is not used: the request has to get there."""
_BODY: Final = b"grant_type=client_credentials"
_FORM: Final = "application/x-www-form-urlencoded"
_RANDOM: Final = random.Random()  # noqa: S311  # jitter


class TokenWatch(Protocol):
    """Told while an account's calls have to wait for its token. Times are epoch seconds."""

    def token_awaited(self, account: str, now: float) -> None:
        """It has no token, and one is asked for."""
        ...

    def token_settled(self, account: str) -> None:
        """That request is over, whatever came of it; a failure is reported after this."""
        ...

    def token_put_off(self, account: str, now: float) -> None:
        """It failed before and was not tried this time: others in its state are being tried."""
        ...


class Unwatched:
    """Nobody is told."""

    def token_awaited(self, account: str, now: float) -> None:
        """Nothing."""

    def token_settled(self, account: str) -> None:
        """Nothing."""

    def token_put_off(self, account: str, now: float) -> None:
        """Nothing."""


_UNWATCHED: Final = Unwatched()


class AccountToken:
    """The token of one account. `report` is called once per request to the token endpoint."""

    __slots__ = (
        "_account",
        "_clock",
        "_ends_at",
        "_failed_at",
        "_failure",
        "_flight",
        "_name",
        "_pause_s",
        "_random",
        "_refused_in_a_row",
        "_renew_at",
        "_report",
        "_session",
        "_slots",
        "_timeout",
        "_token",
        "_used_at",
        "_watch",
    )

    def __init__(
        self,
        session: aiohttp.ClientSession,
        account_name: str,
        account: AccountSettings,
        timeout: aiohttp.ClientTimeout,
        clock: Clock,
        report: Callable[[CallReport], None],
        slots: TokenSlots,
        *,
        watch: TokenWatch | None = None,
        random_source: random.Random | None = None,
    ) -> None:
        self._session = session
        self._name = account_name
        self._account = account
        self._timeout = timeout
        self._clock = clock
        self._report = report
        self._slots = slots
        self._watch: TokenWatch = watch or _UNWATCHED
        self._random = random_source or _RANDOM
        self._token: str | None = None
        self._renew_at = 0.0
        self._ends_at = 0.0
        self._used_at = clock.now()
        self._flight: asyncio.Task[CallError | None] | None = None
        self._failure: CallError | None = None
        """Of the last request, until one works."""
        self._failed_at = 0.0
        self._pause_s = _PAUSE_S
        self._refused_in_a_row = 0

    def __repr__(self) -> str:
        return f"AccountToken({self._name!r})"

    def configure(self, account: AccountSettings, timeout: aiohttp.ClientTimeout, *, renewed: bool) -> None:
        """Take new settings of the same key. `renewed`: its secret is another one; earlier failures say nothing of it.

        The present token is used until it ends, or is refused.
        """
        self._account, self._timeout = account, timeout
        if renewed:
            self._failure = None
            self._refused_in_a_row = 0

    async def get(self) -> str | CallError:
        """A token that should work. Cancelling one waiter does not stop the request the others wait for."""
        self._used_at = now = self._clock.now()
        if self._token is not None and now < self._ends_at:
            if now >= self._renew_at and self._flight is None and self._remembered(now) is None:
                self._start(now)
            return self._token
        if self._flight is None:
            failure = self._remembered(now)
            if failure is not None:
                return failure
            if not self._start(now):
                self._watch.token_put_off(self._name, now)
                return CallError(CallKind.NOT_SENT, "no access token, too many accounts that failed are being tried")
        flight = self._flight
        assert flight is not None
        await asyncio.wait((flight,))
        if flight.cancelled():
            return CallError(CallKind.NOT_SENT, "no access token, the worker is stopping")
        failure = flight.result()
        if failure is not None:
            return failure
        return self._token or CallError(
            CallKind.UNAUTHORIZED, "no access token, Walmart refused the one it had just given"
        )

    def prepare(self) -> None:
        """A call will be made soon: ask for a token now if there is none. Not where the last request failed."""
        now = self._clock.now()
        if self._flight is None and self._failure is None and (self._token is None or now >= self._ends_at):
            self._used_at = now
            self._start(now)

    def is_idle(self, now: float) -> bool:
        """True when nobody has used it for long and its token, if any, has ended: forgetting it costs nothing."""
        # A clock set back must not keep it for ever.
        unused = now - self._used_at >= IDLE_S or now < self._used_at - IDLE_S
        return unused and self._flight is None and now >= self._ends_at and self._remembered(now) is None

    def invalidate(self, token: str) -> None:
        """Walmart refused this token. A newer one stays; two refused in a row make a pause before the next."""
        if token != self._token:
            return
        self._token = None
        self._refused_in_a_row += 1
        if self._refused_in_a_row >= 2:
            message = "Walmart gives tokens and refuses them: the keys are for another environment, or revoked"
            self._remember(CallError(CallKind.UNAUTHORIZED, message, status=401), _PAUSE_S)

    def accepted(self) -> None:
        """Walmart let a call with a token of ours pass."""
        self._refused_in_a_row = 0

    def secrets(self) -> tuple[str, ...]:
        """What must be hidden in texts, should Walmart repeat it."""
        secret = self._account.client_secret
        known = (self._token, secret.get_secret_value() if secret is not None else None, self._account.client_id)
        return tuple(text for text in known if text)

    async def close(self) -> None:
        """Stop a request that is under way."""
        flight = self._flight
        if flight is not None:
            # One that had not begun would never give its slot back.
            await asyncio.sleep(0)
            flight.cancel()
            await asyncio.wait((flight,))

    # -- the flight

    def _start(self, now: float) -> bool:
        """Ask for one. False: not now, it failed before and others that did are being tried."""
        doubtful = self._failure is not None
        if doubtful and not self._slots.take_doubtful():
            self._renew_later(now)
            return False
        awaited = self._token is None or now >= self._ends_at
        self._flight = asyncio.create_task(self._fly(doubtful, awaited), name=f"walmart-token-{self._name}")
        if awaited:
            self._watch.token_awaited(self._name, now)
        return True

    async def _fly(self, doubtful: bool, awaited: bool) -> CallError | None:
        report: CallReport | None = None
        taken = doubtful
        try:
            if not doubtful:
                await self._slots.take()
                taken = True
            failure, report = await self._fetch()
        except Exception:  # all waiters would get it
            log.exception("walmart_token_raised", account=self._name)
            failure = CallError(CallKind.NOT_SENT, "no access token, the request could not be made")
        finally:
            self._flight = None
            if taken:
                self._slots.give(doubtful=doubtful)
            if awaited:
                self._watch.token_settled(self._name)
        if failure is not None:
            self._remember(failure, max(_PAUSE_S, failure.retry_after_s or 0.0))
            self._renew_later(self._clock.now())
        if report is not None:
            self._report(report)
        return failure

    def _renew_later(self, now: float) -> None:
        part = self._random.uniform(_RENEW_AGAIN_FROM, _RENEW_AGAIN_TO)
        self._renew_at = now + max(_PAUSE_S, part * (self._ends_at - now))

    async def _fetch(self) -> tuple[CallError | None, CallReport | None]:
        """Why there is none, and what is told about the request that was made."""
        secret = self._secret()
        if secret is None:
            message = "no access token, the client secret's file cannot be read or is empty"
            return CallError(CallKind.UNAUTHORIZED, message), None
        correlation_id = new_correlation_id()
        headers = account_headers(self._account).copy()
        headers[CONTENT_TYPE] = _FORM
        headers[CORRELATION_ID] = correlation_id
        pair = f"{self._account.client_id}:{secret}".encode()
        headers[AUTHORIZATION] = "Basic " + base64.b64encode(pair).decode("ascii")
        asked_at, started = self._clock.now(), time.perf_counter()
        body = GuardedBody(_BODY, self._clock, None)
        url = URL(self._account.base_url.rstrip("/") + "/v3/token")
        reply = await exchange(self._session, "POST", url, headers=headers, body=body, timeout=self._timeout)
        seconds = time.perf_counter() - started
        if isinstance(reply, NoReply):
            failure = CallError(CallKind.NOT_SENT, f"no access token, {reply.message}", correlation_id=correlation_id)
            return failure, CallReport(self._name, "token", None, CallKind.NOT_SENT, seconds, correlation_id)
        failed: CallError | None = None
        answer = None if reply.cut_off or reply.status != 200 else _read_token(reply.body)
        if answer is None:
            told = read_error(
                reply.status,
                reply.headers,
                reply.body if reply.status != 200 else b"",
                "token",
                now=asked_at,
                scrubber=Scrubber(secrets=(secret, headers[AUTHORIZATION][6:], *self.secrets())),
                correlation_id=correlation_id,
            )
            failed = _at_token_endpoint(told)
        else:
            token, lifetime_s = answer
            self._token = token
            self._failure = None
            self._ends_at = asked_at + lifetime_s * (1 - _MARGIN)
            self._renew_at = asked_at + lifetime_s * self._random.uniform(_RENEW_FROM, _RENEW_TO)
        return failed, CallReport(
            self._name,
            "token",
            reply.status,
            failed.kind if failed is not None else None,
            seconds,
            correlation_id,
            budget_left(reply.headers),
            replenish_at(reply.headers, asked_at),
            retry_after_s=failed.retry_after_s if failed is not None else None,
        )

    def _secret(self) -> str | None:
        """Read anew each time: a rotated secret counts without a restart."""
        if self._account.client_secret is not None:
            return self._account.client_secret.get_secret_value() or None
        assert self._account.client_secret_file is not None
        try:
            return self._account.client_secret_file.read_text("utf-8").strip() or None
        except (OSError, ValueError):
            return None

    # -- the memory of a failure

    def _remember(self, failure: CallError, seconds: float) -> None:
        self._failure, self._failed_at, self._pause_s = failure, self._clock.now(), seconds

    def _remembered(self, now: float) -> CallError | None:
        # A clock set back must not make the pause longer.
        return self._failure if self._failure is not None and 0 <= now - self._failed_at < self._pause_s else None


def _at_token_endpoint(told: CallError) -> CallError:
    """400, 401 and 403 alike mean dead credentials (400 is what production answers); nothing went to Orders."""
    if told.status in (400, 401, 403):
        kind = CallKind.UNAUTHORIZED
    elif told.status == 429:
        kind = CallKind.THROTTLED
    else:
        kind = CallKind.NOT_SENT
    return CallError(
        kind,
        f"no access token, {told.message}",
        status=told.status,
        errors=told.errors,
        retry_after_s=told.retry_after_s,
        correlation_id=told.correlation_id,
    )


def _read_token(body: bytes) -> tuple[str, float] | None:
    """Token and lifetime in seconds; `expires_in` is a number or, in Walmart's own examples, a text."""
    try:
        answer = orjson.loads(body)
    except ValueError:
        return None
    token = answer.get("access_token") if isinstance(answer, dict) else None
    if not isinstance(token, str) or not 0 < len(token) <= 16_384:
        return None
    if not token.isascii() or not token.isprintable() or " " in token:
        return None  # it becomes a header
    try:
        lifetime_s = float(answer.get("expires_in"))
    except (TypeError, ValueError):
        lifetime_s = _LIFETIME_S
    return token, lifetime_s if 1 <= lifetime_s <= 86_400 else _LIFETIME_S
