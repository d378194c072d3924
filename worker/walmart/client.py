"""The Orders API of one Walmart account: sends, reads the answer, tells what it knows. It decides no waiting.

Every call is one request on the wire, but for two visible exceptions: after a 401 (made by the gateway, before the
service) it is sent once more with a new token, and a read whose connection broke is sent once more.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import orjson
import structlog
from yarl import URL

from schemas.walmart.inventory import inventory_body
from schemas.walmart.order import Order, OrderUnreadableError, read_order
from worker.clock import Clock
from worker.settings import AccountSettings, TimingSettings
from worker.walmart.answer import CallError, CallKind, Done
from worker.walmart.call_report import Begun, CallReport, Operation
from worker.walmart.error_reading import read_error
from worker.walmart.exchange import TOO_LATE, NoReply, Reply, exchange
from worker.walmart.guarded_body import GuardedBody
from worker.walmart.headers import ACCESS_TOKEN, CORRELATION_ID, account_headers, new_correlation_id
from worker.walmart.hints import budget_left, replenish_at
from worker.walmart.scrub import Scrubber
from worker.walmart.session import call_timeout
from worker.walmart.token import AccountToken, TokenWatch
from worker.walmart.token_slots import TokenSlots

log = structlog.get_logger()

_SUCCESS: Final = frozenset({200, 201, 202})
"""206 would be an order of which something is missing."""

_OWN_NUMBERS: Final = frozenset({"lineNumber", "trackingNumber", "sellerOrderId", "sku"})


class WalmartClient:
    """Implements `OrdersApi` and the check of the token. `observer` is told of every request tried, the token's too.

    `begun` is told of each request but the token's right before it goes out; every request that was begun is reported
    to `observer` exactly once, also one that was cancelled.

    Nothing is raised for what Walmart or the network does; CancelledError passes through. `slots`: shared by all
    accounts that ask for their tokens side by side.
    """

    __slots__ = (
        "__weakref__",
        "_base",
        "_begun",
        "_clock",
        "_headers",
        "_name",
        "_observer",
        "_session",
        "_timeout",
        "_token",
    )

    def __init__(
        self,
        session: aiohttp.ClientSession,
        account_name: str,
        account: AccountSettings,
        timing: TimingSettings,
        clock: Clock,
        *,
        observer: Callable[[CallReport], None] | None = None,
        begun: Begun | None = None,
        slots: TokenSlots | None = None,
        watch: TokenWatch | None = None,
        random_source: random.Random | None = None,
    ) -> None:
        self._session = session
        self._name = account_name
        self._clock = clock
        self._observer = observer
        self._begun = begun
        self._timeout = call_timeout(timing)
        self._base = account.base_url.rstrip("/")
        self._headers = account_headers(account)
        self._token = AccountToken(
            session,
            account_name,
            account,
            self._timeout,
            clock,
            self._report,
            slots or TokenSlots(1),
            watch=watch,
            random_source=random_source,
        )

    def __repr__(self) -> str:
        return f"WalmartClient({self._name!r})"

    def configure(self, account: AccountSettings, timing: TimingSettings, *, renewed: bool) -> None:
        """Take new settings of the same key at the same address. `renewed`: its secret is another one."""
        self._timeout = call_timeout(timing)
        self._token.configure(account, self._timeout, renewed=renewed)

    def prepare(self) -> None:
        """A call will be made soon: have a token ready."""
        self._token.prepare()

    def is_idle(self, now: float) -> bool:
        """True when it was not used for long and nothing is lost with it."""
        return self._token.is_idle(now)

    async def close(self) -> None:
        """Stop a token request that is under way. The session is closed by whoever made it."""
        await self._token.close()

    # -- the calls

    async def get_order(self, purchase_order_id: str) -> Order | CallError:
        """`GET /v3/orders/{id}`."""
        return await self._order("get_order", "GET", purchase_order_id, "", None, None)

    async def acknowledge(self, purchase_order_id: str) -> Order | CallError:
        """`POST /v3/orders/{id}/acknowledge`."""
        return await self._order("acknowledge", "POST", purchase_order_id, "/acknowledge", None, None)

    async def ship(self, purchase_order_id: str, body: dict[str, object], *, deadline: float) -> Order | CallError:
        """`POST /v3/orders/{id}/shipping`. `deadline`: epoch seconds after which it is not written any more."""
        return await self._order("ship", "POST", purchase_order_id, "/shipping", body, deadline)

    async def cancel(self, purchase_order_id: str, body: dict[str, object], *, deadline: float) -> Order | CallError:
        """`POST /v3/orders/{id}/cancel`. `deadline` as for `ship`."""
        return await self._order("cancel", "POST", purchase_order_id, "/cancel", body, deadline)

    async def put_inventory(self, sku: str, quantity: int, ship_node: str | None) -> Done | CallError:
        """`PUT /v3/inventory?sku=…[&shipNode=…]`: an absolute number."""
        query = f"?sku={quote(sku, safe='')}"
        if ship_node is not None:
            query += f"&shipNode={quote(ship_node, safe='')}"
        body = inventory_body(sku, quantity)
        reply, correlation_id = await self._call("put_inventory", "PUT", f"/v3/inventory{query}", body, None, (sku,))
        if isinstance(reply, CallError):
            return reply
        if _echoes(reply.body, quantity):
            return Done(correlation_id)
        return self._unreadable("put_inventory", reply, correlation_id, "the answer does not show the quantity sent")

    async def token_detail(self) -> dict[str, str] | CallError:
        """`GET /v3/token/detail`: scope -> `full_access`, `view_only` or `no_access`."""
        reply, correlation_id = await self._call("token_detail", "GET", "/v3/token/detail", None, None, ())
        if isinstance(reply, CallError):
            return reply
        detail = _json(reply.body)
        scopes = detail.get("scopes") if isinstance(detail, dict) else None
        if not isinstance(scopes, dict):
            return self._unreadable("token_detail", reply, correlation_id, "the answer has no scopes")
        return {str(name): str(level) for name, level in scopes.items()}

    async def _order(
        self,
        operation: Operation,
        method: str,
        purchase_order_id: str,
        action: str,
        body: dict[str, object] | None,
        deadline: float | None,
    ) -> Order | CallError:
        if not purchase_order_id.strip("./ "):
            # "/v3/orders/" would be another call.
            return CallError(CallKind.REFUSED, f"{operation}: not a purchase order id", not_found=True)
        path = f"/v3/orders/{quote(purchase_order_id, safe='')}{action}"
        reply, correlation_id = await self._call(operation, method, path, body, deadline, (purchase_order_id,))
        if isinstance(reply, CallError):
            return reply
        try:
            order = read_order(_json(reply.body))
        except OrderUnreadableError as error:
            return self._unreadable(operation, reply, correlation_id, str(error))
        if order.purchase_order_id != purchase_order_id:
            return self._unreadable(operation, reply, correlation_id, "the answer shows another order")
        return order

    # -- how a call is made

    async def _call(
        self,
        operation: Operation,
        method: str,
        path: str,
        body: dict[str, object] | None,
        deadline: float | None,
        numbers: tuple[str, ...],
    ) -> tuple[Reply, str] | tuple[CallError, str]:
        """A success that still has to be read, or what went wrong; and the correlation id of the last attempt."""
        url = _url(self._base, path)
        content = None if method == "GET" else (b"" if body is None else orjson.dumps(body))
        may_renew = may_reconnect = True
        while True:
            token = await self._token.get()
            if isinstance(token, CallError):
                return token, ""
            if deadline is not None and self._clock.now() > deadline:
                return CallError(CallKind.NOT_SENT, f"{operation}: {TOO_LATE}", too_late=True), ""
            correlation_id = new_correlation_id()
            reply, broken = await self._attempt(
                operation, method, url, content, deadline, token, correlation_id, (body, numbers)
            )
            if not isinstance(reply, CallError):
                self._token.accepted()
                return reply, correlation_id
            if reply.kind is CallKind.UNAUTHORIZED and reply.status != 403:
                self._token.invalidate(token)
                if may_renew:
                    may_renew = False
                    continue
            elif reply.status is not None:
                self._token.accepted()
            elif broken and method == "GET" and may_reconnect:
                may_reconnect = False
                continue
            return reply, correlation_id

    async def _attempt(
        self,
        operation: Operation,
        method: str,
        url: URL,
        content: bytes | None,
        deadline: float | None,
        token: str,
        correlation_id: str,
        sent: tuple[dict[str, object] | None, tuple[str, ...]],
    ) -> tuple[Reply | CallError, bool]:
        """One request. The flag: its connection broke."""
        headers = self._headers.copy()
        headers[ACCESS_TOKEN] = token
        headers[CORRELATION_ID] = correlation_id
        body = None if content is None else GuardedBody(content, self._clock, deadline)
        subject = sent[1][0] if sent[1] else ""
        report: CallReport | None = None
        ticket = self._begin(operation, subject)
        started = time.perf_counter()
        try:
            reply = await exchange(self._session, method, url, headers=headers, body=body, timeout=self._timeout)
            seconds = time.perf_counter() - started
            if isinstance(reply, NoReply):
                kind = CallKind.UNKNOWN if reply.sent else CallKind.NOT_SENT
                report = CallReport(
                    self._name,
                    operation,
                    None,
                    kind,
                    seconds,
                    correlation_id,
                    subject=subject,
                    too_late=reply.too_late,
                    ticket=ticket,
                )
                said = f"{operation}: {reply.message}"
                return CallError(kind, said, correlation_id=correlation_id, too_late=reply.too_late), reply.broken
            now = self._clock.now()
            answer: Reply | CallError = reply
            if reply.status not in _SUCCESS or reply.cut_off:
                answer = read_error(
                    reply.status,
                    reply.headers,
                    b"" if reply.cut_off and reply.status < 300 else reply.body,
                    operation,
                    now=now,
                    scrubber=Scrubber(_own_numbers(*sent), (*self._token.secrets(), *_addresses(sent[0]))),
                    correlation_id=correlation_id,
                )
            report = CallReport(
                self._name,
                operation,
                reply.status,
                answer.kind if isinstance(answer, CallError) else None,
                seconds,
                correlation_id,
                budget_left(reply.headers),
                replenish_at(reply.headers, now),
                subject,
                answer.retry_after_s if isinstance(answer, CallError) else None,
                ticket=ticket,
            )
            return answer, False
        finally:
            if report is None:
                # Cancelled (or a mistake of ours): whoever counts what was begun must hear of its end. A body knows
                # whether it left; a read may have.
                report = CallReport(
                    self._name,
                    operation,
                    None,
                    CallKind.UNKNOWN if body is None or body.written else CallKind.NOT_SENT,
                    time.perf_counter() - started,
                    correlation_id,
                    subject=subject,
                    ticket=ticket,
                    cancelled=True,
                )
            self._report(report)

    def _unreadable(self, operation: Operation, reply: Reply, correlation_id: str, why: str) -> CallError:
        """A success that says nothing usable: the effect may be there."""
        scrubber = Scrubber(secrets=self._token.secrets())
        told = read_error(
            reply.status,
            reply.headers,
            reply.body,
            operation,
            now=self._clock.now(),
            scrubber=scrubber,
            correlation_id=correlation_id,
        )
        said = f": {told.message.rpartition(': ')[2]}" if told.errors else ""
        return CallError(
            CallKind.UNKNOWN,
            f"{operation}: HTTP {reply.status}, but {scrubber.text(why, length=120)}{said}",
            status=reply.status,
            errors=told.errors,
            correlation_id=correlation_id,
        )

    def _begin(self, operation: Operation, subject: str) -> int:
        if self._begun is None:
            return -1
        try:
            return self._begun(operation, subject)
        except Exception:  # as for the observer
            log.exception("walmart_begun_failed", account=self._name)
            return -1

    def _report(self, report: CallReport) -> None:
        if self._observer is None:
            return
        try:
            self._observer(report)
        except Exception:  # whoever watches must not decide a call's outcome
            log.exception("walmart_observer_failed", account=self._name)


def _url(base: str, path: str) -> URL:
    """Encoded by us: a space is %20 and a plus %2B in Walmart's query."""
    if "?" in path:
        return URL(base + path, encoded=True)
    origin, before = _parts(base)
    return origin.with_path(before + path, encoded=True)  # a third of the time that reading it all again takes


@lru_cache(maxsize=64)
def _parts(base: str) -> tuple[URL, str]:
    """Origin and path of a base address: many accounts share one."""
    url = URL(base, encoded=True)
    return url.origin(), url.raw_path.rstrip("/")


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except ValueError:
        return None


def _echoes(body: bytes, quantity: int) -> bool:
    """`{"sku": …, "quantity": {"unit": "EACH", "amount": 10}}` with the amount that was sent."""
    answer = _json(body)
    shown = answer.get("quantity") if isinstance(answer, dict) else None
    amount = shown.get("amount") if isinstance(shown, dict) else None
    try:
        return amount is not None and float(amount) == quantity
    except (TypeError, ValueError):
        return False


def _own_numbers(body: dict[str, object] | None, numbers: tuple[str, ...]) -> Iterable[str]:
    """The numbers that belong to this call and may stand in a text about it. Only computed for an error."""
    yield from numbers
    for name, value in _fields(body):
        if name in _OWN_NUMBERS and isinstance(value, str):
            yield value


def _addresses(body: dict[str, object] | None) -> Iterable[str]:
    """Texts of the return addresses sent: Walmart may repeat them in a refusal. Only computed for an error."""
    for name, value in _fields(body):
        if name == "returnCenterAddress" and isinstance(value, dict):
            yield from sorted({text for text in value.values() if isinstance(text, str)}, key=len, reverse=True)


def _fields(body: object) -> Iterable[tuple[str, object]]:
    waiting: list[object] = [body]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield from value.items()
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
