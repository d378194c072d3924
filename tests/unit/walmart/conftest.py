"""Fixtures of this room: a scripted server, one session, a clock turned by hand, clients made for a test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
from scripted_server import ScriptedServer, running
from walmart_bench import Bench, HandClock

from worker.settings import TimingSettings
from worker.walmart.session import make_session


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with running(ScriptedServer()) as server:
        yield server


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with make_session(TimingSettings()) as session:
        yield session


@pytest.fixture
def bench(server: ScriptedServer, session: aiohttp.ClientSession, clock: HandClock) -> Bench:
    return Bench(server, session, clock)
