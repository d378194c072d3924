"""The calls one event makes about its order: counted, timed, and told in its story."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final, TypeVar

from schemas.walmart.order import Order
from worker.clock import Clock
from worker.outcome import Progress
from worker.sync.calls import PATHS, Cancel, Correct, Write
from worker.sync.doors import Budgets
from worker.sync.saved import Saved, SavedAnswers
from worker.walmart.answer import CallError, CallKind, Done, OrdersApi

_KEYS_TOLD: Final = 3
_LONGEST_MESSAGE: Final = 90

_WORDS: Final[dict[CallKind, str]] = {
    CallKind.NOT_SENT: "not sent",
    CallKind.UNAUTHORIZED: "turned away",
    CallKind.THROTTLED: "throttled",
    CallKind.REFUSED: "refused",
    CallKind.REFUSED_WITHOUT_CAUSE: "refused without a cause",
    CallKind.UNKNOWN: "outcome unknown",
}

_Answer = TypeVar("_Answer", Order | CallError, Done | CallError)


class Calling:
    """The API, as one attempt uses it."""

    __slots__ = ("_account", "_api", "_budgets", "_clock", "_order_id", "_progress", "_saved", "asked_at", "from_saved")

    def __init__(
        self,
        api: OrdersApi,
        order: tuple[str, str],
        progress: Progress,
        clock: Clock,
        budgets: Budgets,
        saved: SavedAnswers,
    ) -> None:
        """`order`: account and purchase order id."""
        self._account, self._order_id = order
        self._api, self._progress = api, progress
        self._clock, self._budgets, self._saved = clock, budgets, saved
        self.asked_at = float("-inf")
        """Epoch seconds when the newest call that answered with an order began: what happened later it may not show."""
        self.from_saved = False
        """That call was an earlier one's: its answer was saved, and this attempt has not heard of the order itself."""

    def saved(self) -> Saved | None:
        """The answer to the order's latest write, while it is fresh."""
        return self._saved.fresh(self._account, self._order_id, self._clock.now())

    def take(self, saved: Saved) -> Order:
        """Go by a saved answer instead of reading the order."""
        self.asked_at, self.from_saved = saved.asked_at, True
        return saved.order

    def save(self, order: Order, asked_at: float) -> None:
        """Keep the answer to a write for the order's next event. `asked_at`: epoch seconds when that write began."""
        self._saved.keep(self._account, order, asked_at)

    def may(self, call: str) -> bool:
        """True if the account's budget has this call left. `call`: its name at the API."""
        return self._budgets.may_call(self._account, call, self._order_id, self._clock.now())

    async def get_order(self) -> Order | CallError:
        """Read the order."""
        self._saved.drop(self._account, self._order_id)
        return self._seen(*await timed("GET order", self._api.get_order(self._order_id), self._progress, self._clock))

    async def acknowledge(self) -> Order | CallError:
        """Take it on."""
        return await self._posting("POST acknowledge", self._api.acknowledge(self._order_id))

    async def write(self, call: Write, deadline: float) -> Order | CallError:
        """Ship, correct or cancel. `deadline`: epoch seconds after which it is not written any more."""
        if isinstance(call, Cancel):
            sending = self._api.cancel(self._order_id, call.body(), deadline=deadline)
        else:
            sending = self._api.ship(self._order_id, call.body(), deadline=deadline)
        return await self._posting(_ask(call), sending)

    async def _posting(self, ask: str, sending: Awaitable[Order | CallError]) -> Order | CallError:
        # Before it goes out: whether it is refused, lost, or never heard of again, nothing is planned from what was.
        self._saved.drop(self._account, self._order_id)
        self._progress.posting = True
        try:
            return self._seen(*await timed(ask, sending, self._progress, self._clock))
        finally:
            self._progress.posting = False

    def _seen(self, answer: Order | CallError, asked_at: float) -> Order | CallError:
        if isinstance(answer, CallError):
            self._progress.correlation_id = answer.correlation_id
        else:
            self.asked_at, self.from_saved = asked_at, False
        return answer


async def timed(ask: str, call: Awaitable[_Answer], progress: Progress, clock: Clock) -> tuple[_Answer, float]:
    """Make a call; returns its answer and when (epoch seconds) it began. `ask`: how the story names it."""
    progress.calls += 1
    asked_at, loop = clock.now(), asyncio.get_running_loop()
    begun = loop.time()
    answer = await call
    progress.story.add(clock.now(), f"{ask} -> {_told(answer, loop.time() - begun, ask)}")
    return answer, asked_at


def _told(answer: Order | Done | CallError, seconds: float, ask: str) -> str:
    if isinstance(answer, Order):
        return f"ok in {seconds:.3f} s: {answer.status}"
    if not isinstance(answer, CallError):
        return f"ok in {seconds:.3f} s"
    word = _WORDS[answer.kind]
    if answer.kind is CallKind.UNKNOWN and ask.startswith("GET"):
        word = "no usable answer"
    status = "no answer" if answer.status is None else str(answer.status)
    after = "" if answer.retry_after_s is None else f" (Walmart says: again after {answer.retry_after_s:g} s)"
    return f"{status} in {seconds:.3f} s, {word}{after}: {answer.message[:_LONGEST_MESSAGE]}"


def _ask(call: Write) -> str:
    """Such as `POST shipping 2 of line 1 under 1Z999AA10123456784`."""
    parts = [
        f"{quantity} of line {line}" + (f" under {number}" if number else "")
        for (line, number), quantity in zip(call.keys[:_KEYS_TOLD], call.quantities, strict=False)
    ]
    more = len(call.keys) - len(parts)
    kind = " (correction)" if isinstance(call, Correct) else ""
    return f"POST {PATHS[type(call)]}{kind} {', '.join(parts)}" + (f" and {more} more" if more > 0 else "")
