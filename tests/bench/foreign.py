"""Another tool of a merchant, which ships orders of its own on the same account at a steady pace."""

from __future__ import annotations

import asyncio
import base64
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import aiohttp

from tests.bench.contract import CLIENT_SECRET
from tests.bench.merchants import paced
from tests.bench.orders import order_id, ship_body

_HEADERS: Final = {"Accept": "application/json", "WM_SVC.NAME": "Somebody else's tool"}


class ForeignClient:
    """Ships the orders from `first` on, `per_second` of them a second. A refused call is not repeated."""

    def __init__(self, url: str, seller: str, per_second: float, first: int) -> None:
        self._url, self._seller, self._per_second, self._first = url, seller, per_second, first
        self.served = 0
        self.refused = 0
        """429s."""
        self._token = ""

    async def run(self) -> None:
        """Until cancelled. Raises RuntimeError when an answer is neither 200 nor 429."""
        async with aiohttp.ClientSession() as session:
            basic = base64.b64encode(f"{self._seller}:{CLIENT_SECRET}".encode()).decode()
            form = {"grant_type": "client_credentials"}
            told = await self._ask(session, "/v3/token", {"Authorization": f"Basic {basic}"}, data=form)
            self._token = told["access_token"]
            async with asyncio.TaskGroup() as calls:
                async for number in paced(self._per_second):
                    calls.create_task(self._ship(session, self._first + number))

    async def _ship(self, session: aiohttp.ClientSession, number: int) -> None:
        body = ship_body(number, int(time.time() * 1000))
        headers = {"WM_SEC.ACCESS_TOKEN": self._token}
        await self._ask(session, f"/v3/orders/{order_id(number)}/shipping", headers, json=body)

    async def _ask(self, session: aiohttp.ClientSession, path: str, headers: dict[str, str], **content: Any) -> Any:
        sent = {**_HEADERS, "WM_QOS.CORRELATION_ID": str(uuid.uuid4()), **headers}
        async with session.post(self._url + path, headers=sent, **content) as answer:
            if answer.status == 429:
                self.refused += 1
                return None
            if answer.status != 200:
                raise RuntimeError(f"the foreign client got {answer.status}: {(await answer.text())[:300]}")
            if path != "/v3/token":
                self.served += 1
            return await answer.json(content_type=None)


@asynccontextmanager
async def foreign_client(url: str, seller: str, per_second: float, first: int) -> AsyncIterator[ForeignClient]:
    """Run one for the length of a block, which ends with it if it fails."""
    client = ForeignClient(url, seller, per_second, first)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(client.run())
        yield client
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
