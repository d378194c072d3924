"""The clients of all accounts: made for the first event, exchanged when settings say so, forgotten when idle."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from typing import Any

import aiohttp
import pytest
from scripted_server import ORDER_ID, ScriptedServer, answer, order_json, silence
from walmart_bench import SECRET, HandClock

from schemas.walmart.order import Order
from worker.settings import Settings
from worker.walmart.accounts import Accounts
from worker.walmart.call_report import CallReport, Operation
from worker.walmart.token import IDLE_S

MOST_BYTES = 1_200
"""What an account that is in use may cost here, its token of about 100 characters included."""


def settings(server: ScriptedServer, *names: str, limits: dict[str, int] | None = None, **one: Any) -> Settings:
    """`one`: what is different for the account `a`."""
    account = {"client_id": "id-1234", "client_secret": SECRET, "base_url": server.url}
    return Settings.model_validate(
        {
            "accounts": {name: account | (one if name == "a" else {}) for name in names},
            "stores": {"us": {"account": names[-1]}},
            "limits": limits or {},
        }
    )


@pytest.fixture
def accounts(server: ScriptedServer, session: aiohttp.ClientSession, clock: HandClock) -> Accounts:
    made = Accounts(settings(server, "a", "b"), clock)
    made.connect(session)
    return made


async def token_of(accounts: Accounts, name: str) -> str:
    token = await accounts[name]._token.get()
    assert isinstance(token, str), token
    return token


def test_nothing_is_made_before_somebody_asks(accounts: Accounts) -> None:
    assert (list(accounts), len(accounts), "a" in accounts, "c" in accounts) == (["a", "b"], 2, True, False)
    assert accounts.in_memory == 0
    assert accounts["a"] is accounts.get("a")
    assert accounts.in_memory == 1
    assert accounts.get("c") is None
    with pytest.raises(KeyError):
        accounts["c"]


async def test_prepared_accounts_have_their_token_when_the_first_call_is_made(
    accounts: Accounts, server: ScriptedServer
) -> None:
    accounts.prepare("a")
    accounts.prepare("not there")
    await asyncio.sleep(0.05)
    assert len(server.token_requests) == 1
    server.steps = [answer(200, order_json())]
    assert isinstance(await accounts["a"].get_order(ORDER_ID), Order)
    assert len(server.token_requests) == 1


def test_nothing_is_prepared_before_the_session_is_there(server: ScriptedServer, clock: HandClock) -> None:
    accounts = Accounts(settings(server, "a"), clock)
    accounts.prepare("a")
    assert accounts.in_memory == 0


async def test_each_account_is_named_to_who_counts_its_requests(
    server: ScriptedServer, session: aiohttp.ClientSession, clock: HandClock
) -> None:
    begun: list[tuple[str, Operation, str]] = []
    reports: list[CallReport] = []

    def count(account: str, operation: Operation, subject: str) -> int:
        begun.append((account, operation, subject))
        return len(begun)

    accounts = Accounts(settings(server, "a", "b"), clock, begun=count, observer=reports.append)
    accounts.connect(session)
    server.steps = [answer(200, order_json())] * 2
    await accounts["a"].get_order(ORDER_ID)
    await accounts["b"].get_order(ORDER_ID)
    assert begun == [("a", "get_order", ORDER_ID), ("b", "get_order", ORDER_ID)]
    assert [(one.account, one.operation, one.ticket) for one in reports] == [
        ("a", "token", -1), ("a", "get_order", 1), ("b", "token", -1), ("b", "get_order", 2),
    ]  # fmt: skip


async def test_all_accounts_share_the_slots_for_tokens(
    server: ScriptedServer, session: aiohttp.ClientSession, clock: HandClock
) -> None:
    names = [f"m{number}" for number in range(20)]
    accounts = Accounts(settings(server, *names, limits={"max_token_requests": 3}), clock)
    accounts.connect(session)
    server.token_steps = [silence] * 20
    for name in names:
        accounts.prepare(name)
    await asyncio.sleep(0.05)
    assert len(server.token_requests) == 3
    accounts.configure(settings(server, *names, limits={"max_token_requests": 5}))
    await asyncio.sleep(0.05)
    assert len(server.token_requests) == 5
    await accounts.close()


@pytest.mark.parametrize(
    ("change", "renewed", "same_client"),
    [
        ({"paused": True}, False, True),
        ({"observe": True}, False, True),
        ({"client_secret": "another"}, True, True),
        ({"client_id": "another"}, True, False),
        ({"channel_type": "another"}, True, False),
        ({"market": "ca"}, True, False),
        ({"base_url": "http://127.0.0.1:9"}, True, False),
    ],
)
async def test_a_changed_account_has_a_client_as_new_as_need_be(
    accounts: Accounts, server: ScriptedServer, change: dict[str, Any], renewed: bool, same_client: bool
) -> None:
    before, token, other = accounts["a"], await token_of(accounts, "a"), accounts["b"]
    assert accounts.configure(settings(server, "a", "b", **change)) == (frozenset({"a"}) if renewed else frozenset())
    assert (accounts["a"] is before) is same_client
    assert accounts["b"] is other
    if same_client:
        assert await token_of(accounts, "a") == token, "the token is good until it ends"
        assert len(server.token_requests) == 1


async def test_a_rotated_secret_is_told_by_whoever_watches_its_file(accounts: Accounts, server: ScriptedServer) -> None:
    same = settings(server, "a", "b")
    assert accounts.configure(same) == frozenset()
    assert accounts.configure(same, rotated={"a", "gone"}) == {"a"}


async def test_a_removed_account_has_no_client_and_a_new_one_has(accounts: Accounts, server: ScriptedServer) -> None:
    """What is under way goes on with the old client."""
    old = accounts["a"]
    server.token_steps = [silence]
    accounts.prepare("a")
    await asyncio.sleep(0.02)
    accounts.configure(settings(server, "b", "c"))
    assert accounts.get("a") is None
    assert accounts.get("c") is not None
    server.steps = [answer(200, order_json())]
    going_on = asyncio.create_task(old.get_order(ORDER_ID))
    del old
    gc.collect()
    await asyncio.sleep(0.02)
    assert not going_on.done()
    await accounts.close()
    assert "stopping" in repr(await asyncio.wait_for(going_on, 1)), "its token request was stopped, too"


async def test_times_are_those_of_the_newest_settings(accounts: Accounts, server: ScriptedServer) -> None:
    client = accounts["a"]
    tree = settings(server, "a", "b").model_dump()
    tree["timing"]["call_timeout_seconds"] = 0.1
    accounts.configure(Settings.model_validate(tree))
    server.token_steps = [silence]
    answered = await asyncio.wait_for(client.get_order(ORDER_ID), 1)
    assert "no answer within 0.1 s" in repr(answered)


async def test_idle_accounts_are_forgotten_once_their_token_has_ended(
    accounts: Accounts, server: ScriptedServer, clock: HandClock
) -> None:
    await token_of(accounts, "a")
    clock.time += 300
    await token_of(accounts, "b")
    clock.time += IDLE_S - 300
    assert accounts.forget_idle() == ["a"]
    assert accounts.in_memory == 1
    clock.time += 300
    await token_of(accounts, "a")
    assert accounts.forget_idle() == ["b"]
    assert len(server.token_requests) == 3


async def test_what_an_account_costs_is_bounded_and_given_back(
    server: ScriptedServer, session: aiohttp.ClientSession, clock: HandClock
) -> None:
    names = [f"merchant-{number}" for number in range(1_000)]
    given = settings(server, *names)
    accounts = Accounts(given, clock)
    accounts.connect(session)
    await token_of(accounts, names[0])
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for name in names:
            # As a token request leaves it; the requests themselves are tested elsewhere.
            token = accounts[name]._token
            token._token, token._ends_at = f"{name}{'x' * 90}", clock.time + 900
        each = (tracemalloc.get_traced_memory()[0] - before) / len(names)
        assert each < MOST_BYTES
        clock.time += 2 * IDLE_S
        assert len(accounts.forget_idle()) == len(names)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 0.05 * each * len(names)
    finally:
        tracemalloc.stop()
