"""Five thousand accounts, their tokens asked for over HTTP at the simulated Walmart: one each, few at once, spread."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
import pytest

from worker.gatekeeper import Gatekeeper
from worker.lanes.gates import Gates
from worker.sandbox.walmart.control import WalmartControl, running_walmart
from worker.settings import Settings
from worker.walmart.accounts import Accounts
from worker.walmart.call_report import CallReport
from worker.walmart.session import make_session
from worker.walmart.token import IDLE_S

COUNT = 5_000
IN_USE = 4_000
"""Of these, so many are used on after they got their first token."""
AT_ONCE = 32
LIFE_S = 900.0
STEP_S = 10.0
CALL_TIMEOUT_S = 1.0
"""Far less than the last account waits for its slot."""
NAMES = [f"m{number}" for number in range(COUNT)]


@dataclass
class TurnedClock:
    """A life of 15 minutes passes in a few seconds."""

    time: float = 1_800_000_000.0

    def now(self) -> float:
        return self.time


@dataclass
class Field:
    """Accounts, their gates, and what was reported of their requests."""

    accounts: Accounts
    gates: Gates
    gatekeeper: Gatekeeper
    control: WalmartControl
    clock: TurnedClock
    reports: list[CallReport] = field(default_factory=list)

    async def quiet(self) -> None:
        """Until no token is being asked for."""
        await asyncio.sleep(0)  # what was asked for begins
        while self.accounts.token_requests:
            await asyncio.sleep(0.005)

    async def issued(self) -> Counter[int]:
        """How many accounts got how many tokens."""
        return Counter(seller.tokens_issued for seller in await self.control.sellers())

    async def most_at_once(self) -> int:
        return (await self.control.requests()).most_at_once["token"]


@pytest.fixture
async def many() -> AsyncIterator[Field]:
    """Each account is a seller of its own; the endpoint takes 10 ms to answer, so that requests really meet."""
    sellers = [f"{name}:secret" for name in NAMES]
    async with (
        running_walmart(None, sellers=sellers, unlimited=True, arguments=["--delay-seconds", "0.01"]) as walmart,
        aiohttp.ClientSession() as control,
    ):
        settings = Settings.model_validate(
            {
                "accounts": {
                    name: {"client_id": name, "client_secret": "secret", "base_url": walmart.url} for name in NAMES
                },
                "stores": {name: {"account": name} for name in NAMES},
                "timing": {"call_timeout_seconds": CALL_TIMEOUT_S},
                "limits": {"max_token_requests": AT_ONCE},
            }
        )
        clock, gates, chance = TurnedClock(), Gates(), random.Random(1)
        gatekeeper = Gatekeeper(gates, settings, chance, clock)
        reports: list[CallReport] = []

        def observe(report: CallReport) -> None:
            reports.append(report)
            gatekeeper.observe(report, clock.now())

        accounts = Accounts(settings, clock, observer=observe, watch=gatekeeper, random_source=chance)
        session = make_session(settings.timing)
        accounts.connect(session)
        try:
            yield Field(accounts, gates, gatekeeper, WalmartControl(walmart.control_url, control), clock, reports)
        finally:
            await accounts.close()
            await session.close()


async def test_five_thousand_accounts_get_and_renew_their_tokens_without_a_storm(many: Field) -> None:
    accounts, clock = many.accounts, many.clock
    assert (accounts.in_memory, len(many.gates.views())) == (0, 0)

    # All have their first event in the same moment, and most several.
    for name in (*NAMES, *NAMES[::2]):
        accounts.prepare(name)
    assert len(many.gates.views()) == COUNT, "their events wait at their gates, not in slots of the worker"
    waiting = [asyncio.create_task(accounts[name]._token.get()) for name in NAMES]
    tokens = await asyncio.gather(*waiting)
    assert all(isinstance(token, str) for token in tokens), "nobody's call timed out while it waited for a slot"
    assert len(set(tokens)) == COUNT
    assert await many.issued() == {1: COUNT}
    assert AT_ONCE // 2 <= await many.most_at_once() <= AT_ONCE
    place = {name: number for number, name in enumerate(NAMES)}
    late = max(abs(place[report.account] - at) for at, report in enumerate(many.reports))
    assert late < 10 * AT_ONCE, "first come, first served: nobody is starved"
    assert many.gates.views() == [], "all gates are open"

    # Their lives pass; each in use makes a call every ten seconds.
    first, renewals, begun = len(many.reports), [], clock.time
    clock.time += 0.45 * LIFE_S
    while clock.time < begun + 0.92 * LIFE_S:
        clock.time += STEP_S
        before = len(many.reports)
        for name in NAMES[:IN_USE]:
            assert isinstance(await accounts[name]._token.get(), str), "a renewal keeps nobody waiting"
        await many.quiet()
        renewals.append(len(many.reports) - before)
    assert sum(renewals) == IN_USE == len(many.reports) - first
    assert await many.issued() == {2: IN_USE, 1: COUNT - IN_USE}, "who is not used is not renewed"
    spread = [count for count in renewals if count]
    fair = IN_USE / (0.4 * LIFE_S / STEP_S)
    assert len(spread) >= 0.9 * 0.4 * LIFE_S / STEP_S
    assert max(spread) < 1.5 * fair
    assert await many.most_at_once() <= AT_ONCE
    assert all(report.kind is None for report in many.reports)

    # What nobody uses any more is forgotten, what is in use is not.
    clock.time += 0.7 * IDLE_S
    await asyncio.gather(*(accounts[name]._token.get() for name in NAMES[:10]))
    clock.time += 0.3 * IDLE_S
    accounts.forget_idle()
    assert accounts.in_memory == 10
