"""Addresses of hosts: looked up once however many wait, and believed for a while."""

from __future__ import annotations

import asyncio
import socket
from typing import Final, NamedTuple

from aiohappyeyeballs import AddrInfoType

BELIEVED_S: Final = 30.0
"""Walmart's edge moves between addresses within minutes."""


class _Known(NamedTuple):
    infos: list[AddrInfoType]
    until: float


class Addresses:
    """Lookups run in the loop's few threads, which Kafka's client needs too: one per host at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._known: dict[tuple[str, int], _Known] = {}
        self._flights: dict[tuple[str, int], asyncio.Task[list[AddrInfoType]]] = {}

    async def of(self, host: str, port: int) -> list[AddrInfoType]:
        """All addresses, each time another one first. Raises OSError (socket.gaierror)."""
        key = (host, port)
        known = self._known.get(key)
        if known is None or self._loop.time() >= known.until:
            flight = self._flights.get(key)
            if flight is None:
                flight = self._flights[key] = self._loop.create_task(self._look_up(key), name=f"addresses-{host}")
                flight.add_done_callback(_heard)  # all who wait may have gone
            await asyncio.wait((flight,))
            if flight.cancelled():
                raise OSError("the worker is stopping")
            infos = flight.result()
        else:
            infos = known.infos
        infos.append(infos.pop(0))
        return list(infos)

    def forget(self, host: str, port: int) -> None:
        """They did not work: look them up again."""
        self._known.pop((host, port), None)

    async def _look_up(self, key: tuple[str, int]) -> list[AddrInfoType]:
        host, port = key
        try:
            infos = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
            if not infos:
                raise socket.gaierror(socket.EAI_NONAME, "no address")
            addresses: list[AddrInfoType] = list(infos)
            self._known[key] = _Known(addresses, self._loop.time() + BELIEVED_S)
            return addresses
        finally:
            del self._flights[key]


def _heard(flight: asyncio.Task[list[AddrInfoType]]) -> None:
    if not flight.cancelled():
        flight.exception()
