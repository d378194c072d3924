"""What the contenders do with an event, each kind of work: the same code for all who are not our worker.

events    nothing
handler   waits 0 to 5 ms, then has its effect
calls     reads the order and ships it
"""

from __future__ import annotations

import asyncio
import os
import struct
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import aiohttp
import orjson

from tests.bench.contract import Task
from tests.bench.orders import order_id, ship_body

KEYS: Final = 1_000
"""Orders of the work `handler`; the n-th event is about order n modulo KEYS."""
LONGEST_S: Final = 0.005
_GOLDEN: Final = 2_654_435_761
"""Knuth's multiplicative hash: neighbours wait for different times."""
_NUMBER: Final = struct.Struct("<I")
_HEADERS: Final = {
    "Accept": "application/json",
    "WM_SEC.ACCESS_TOKEN": "bench-token",
    "WM_SVC.NAME": "Walmart Marketplace",
}
_SENDS_JSON: Final = {**_HEADERS, "Content-Type": "application/json"}

Handle = Callable[[int], Awaitable[None]]
"""Handles the n-th event."""


async def nothing(_: int) -> None:
    """The work `events`."""


class Waiting:
    """The work `handler`. An effect is the event's number, appended to a file that all processes share."""

    def __init__(self, effects: str) -> None:
        self._file = os.open(effects, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def __call__(self, number: int) -> None:
        await asyncio.sleep(waits_s(number))
        os.write(self._file, _NUMBER.pack(number))


def waits_s(number: int) -> float:
    """How long the n-th event takes: evenly spread, the same for everybody."""
    return (number * _GOLDEN % 2**32) / 2**32 * LONGEST_S


class Calling:
    """The work `calls`."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self._session, self._base = session, base

    async def __call__(self, number: int) -> None:
        url = f"{self._base}/v3/orders/{order_id(number)}"
        async with self._session.get(url, headers=_HEADERS) as answer:
            order = orjson.loads(await answer.read())
        assert order["order"]["purchaseOrderId"] == order_id(number)
        body = orjson.dumps(ship_body(number, int(time.time() * 1000)))
        async with self._session.post(f"{url}/shipping", data=body, headers=_SENDS_JSON) as answer:
            order = orjson.loads(await answer.read())
        assert order["order"]["purchaseOrderId"] == order_id(number)


def handler_of(task: Task) -> Handle:
    """The handler of a task; called inside the event loop. What it opens stays open until the process ends."""
    match task.work:
        case "events":
            return nothing
        case "handler":
            return Waiting(task.effects)
        case "calls":
            connector = aiohttp.TCPConnector(limit=task.in_flight)
            return Calling(aiohttp.ClientSession(connector=connector), task.walmart)


def number_of(event_id: str) -> int:
    """Which event it is."""
    return int(event_id.split("-")[1])


def violations(effects: Path) -> tuple[int, int]:
    """(effects, those that came out of turn): each order's events have to have theirs in order, each once."""
    expected = list(range(KEYS))
    count = wrong = 0
    for (number,) in _NUMBER.iter_unpack(effects.read_bytes()):
        key = number % KEYS
        wrong += number != expected[key]
        expected[key] = number + KEYS
        count += 1
    return count, wrong


def effects_count(effects: Path) -> int:
    """How many there are."""
    return effects.stat().st_size // _NUMBER.size if effects.exists() else 0
