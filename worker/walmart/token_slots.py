"""How many access tokens are asked for at one moment, over all accounts of this process. Pure but for its futures."""

from __future__ import annotations

import asyncio
from collections import deque


class TokenSlots:
    """At most `most` token requests at once; who comes first goes first.

    Accounts whose last request failed (`doubtful` ones: dead credentials, an endpoint that hangs) get half of the
    slots at most, and never queue: however many there are, those that work find a slot.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0
        self._doubtful = 0
        self._queue: deque[asyncio.Future[None]] = deque()

    def configure(self, most: int) -> None:
        """Another bound; what is under way goes on."""
        self._most = most
        self._hand_on()

    @property
    def taken(self) -> int:
        """Requests under way."""
        return self._taken

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return sum(not place.done() for place in self._queue)

    def take_doubtful(self) -> bool:
        """Take a slot for an account whose last request failed; False: not now. Give it back with `give`."""
        if self._taken >= self._most or self._doubtful >= max(1, self._most // 2):
            return False
        self._taken += 1
        self._doubtful += 1
        return True

    async def take(self) -> None:
        """Wait for a slot. Give it back with `give`."""
        if self._taken < self._most:
            self._taken += 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                # It had been handed a slot in the same moment.
                self.give()
            raise

    def give(self, *, doubtful: bool = False) -> None:
        """A request is over."""
        self._taken -= 1
        self._doubtful -= doubtful
        self._hand_on()

    def _hand_on(self) -> None:
        while self._queue and self._taken < self._most:
            place = self._queue.popleft()
            if not place.done():
                self._taken += 1
                place.set_result(None)
