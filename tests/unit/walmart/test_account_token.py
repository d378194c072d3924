"""One token per account: one flight for all who wait, renewed early, no storms, and no secret anywhere."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from scripted_server import ScriptedServer, Seen, Wire, answer, close, http, raw, silence
from walmart_bench import NOW, SECRET, HandClock

from worker.settings import AccountSettings
from worker.walmart.answer import CallError, CallKind
from worker.walmart.call_report import CallReport
from worker.walmart.token import IDLE_S, AccountToken
from worker.walmart.token_slots import TokenSlots


class Tokens:
    """An AccountToken, what it reported, and what it told its watcher (a report stands between, as `report`)."""

    def __init__(
        self,
        server: ScriptedServer,
        session: aiohttp.ClientSession,
        clock: HandClock,
        *,
        slots: TokenSlots | None = None,
        seed: int = 1,
        **account: Any,
    ) -> None:
        self.reports: list[CallReport] = []
        self.told: list[str] = []
        account.setdefault("client_secret", SECRET)
        settings = AccountSettings.model_validate({"client_id": "id-1", "base_url": server.url, **account})
        timeout = aiohttp.ClientTimeout(total=2, connect=1)
        self.slots = slots or TokenSlots(4)
        self.token = AccountToken(
            session, "main", settings, timeout, clock, self._report, self.slots, watch=self,
            random_source=random.Random(seed),
        )  # fmt: skip

    def _report(self, report: CallReport) -> None:
        self.reports.append(report)
        self.told.append("report")

    def token_awaited(self, account: str, now: float) -> None:
        self.told.append("awaited")

    def token_settled(self, account: str) -> None:
        self.told.append("settled")

    def token_put_off(self, account: str, now: float) -> None:
        self.told.append("put off")

    async def get(self) -> str | CallError:
        return await self.token.get()


@pytest.fixture
async def tokens(server: ScriptedServer, session: aiohttp.ClientSession, clock: HandClock) -> Tokens:
    return Tokens(server, session, clock)


def error_of(result: object) -> CallError:
    assert isinstance(result, CallError), result
    return result


async def settled(token: AccountToken) -> None:
    """Until the request under way, if any, has ended."""
    if token._flight is not None:
        await asyncio.wait((token._flight,))


async def test_request_as_documented(tokens: Tokens, server: ScriptedServer) -> None:
    assert await tokens.get() == "T1"
    (request,) = server.token_requests
    assert request.method == "POST"
    assert request.body == b"grant_type=client_credentials"
    assert request.headers["authorization"] == "Basic aWQtMTpzM2NyM3QtQ2xpZW50LVNlY3JldC05ODc2"
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert request.headers["accept"] == "application/json"
    assert request.headers["wm_svc.name"] == "Walmart Marketplace"
    assert len(request.headers["wm_qos.correlation_id"]) == 36
    assert "wm_sec.access_token" not in request.headers


async def test_a_thousand_waiters_one_request(tokens: Tokens, server: ScriptedServer) -> None:
    """Half of them give up while they wait; the others get the token all the same."""
    gate = asyncio.Event()

    async def slow(_: Seen, wire: Wire) -> None:
        await gate.wait()
        await wire.send(http(200, {"access_token": "T", "expires_in": 900}))

    server.token_steps = [slow]
    waiting = [asyncio.create_task(tokens.get()) for _ in range(1_000)]
    await asyncio.sleep(0.05)
    for task in waiting[::2]:
        task.cancel()
    await asyncio.sleep(0)
    gate.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(result == "T" for result in results[1::2])
    assert all(isinstance(result, asyncio.CancelledError) for result in results[::2])
    assert len(server.token_requests) == 1


async def test_a_thousand_waiters_share_a_failure(tokens: Tokens, server: ScriptedServer) -> None:
    server.token_steps = [answer(401)]
    results = await asyncio.gather(*(tokens.get() for _ in range(1_000)))
    assert {error_of(result).kind for result in results} == {CallKind.UNAUTHORIZED}
    assert len(server.token_requests) == 1


@pytest.mark.parametrize("expires_in", [900, "900", 900.0, "nonsense", None, -5, 10**9, {}, True])
async def test_lifetime_is_read_leniently(
    tokens: Tokens, server: ScriptedServer, clock: HandClock, expires_in: Any
) -> None:
    """A number, a text or nonsense: not renewed before half of 900 s where it says that or nothing, and good on."""
    server.token_steps = [answer(200, {"access_token": "first", "expires_in": expires_in})]
    assert await tokens.get() == "first"
    clock.time += 449 if expires_in is not True else 0.49
    assert await tokens.get() == "first"
    await settled(tokens.token)
    assert len(server.token_requests) == 1
    clock.time = NOW + 901
    assert await tokens.get() == "T2"


async def test_renewed_early_without_waiting(tokens: Tokens, server: ScriptedServer, clock: HandClock) -> None:
    """Near its end the old token is still given at once while the next one is fetched."""
    await tokens.get()
    gate = asyncio.Event()

    async def slow(_: Seen, wire: Wire) -> None:
        await gate.wait()
        await wire.send(http(200, {"access_token": "next", "expires_in": 900}))

    server.token_steps = [slow]
    clock.time += 900 * 0.9
    assert await tokens.get() == "T1"
    assert await tokens.get() == "T1"
    gate.set()
    await settled(tokens.token)
    assert await tokens.get() == "next"
    assert len(server.token_requests) == 2


async def test_not_renewed_too_early(tokens: Tokens, server: ScriptedServer, clock: HandClock) -> None:
    await tokens.get()
    clock.time += 900 * 0.49
    await tokens.get()
    await settled(tokens.token)
    assert len(server.token_requests) == 1


async def test_failed_renewal_keeps_the_old_one(tokens: Tokens, server: ScriptedServer, clock: HandClock) -> None:
    """Until it ends; and the endpoint is asked again a few times only, the last ones closer together."""
    await tokens.get()
    clock.time += 900 * 0.9
    server.token_steps = [answer(500)] * 50
    asked: list[float] = []
    while clock.time < NOW + 880:
        assert await tokens.get() == "T1"
        await settled(tokens.token)
        if len(server.token_requests) > 1 + len(asked):
            asked.append(clock.time)
        clock.time += 0.5
    assert asked[0] == NOW + 810
    assert 4 <= len(asked) <= 20
    assert asked[1] - asked[0] >= 0.1 * (882 - 810)
    server.token_steps = [answer(400)]
    clock.time = NOW + 899
    assert error_of(await tokens.get()).kind is CallKind.UNAUTHORIZED


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (answer(400, b"Bad Request"), CallKind.UNAUTHORIZED),
        (answer(400, {"error": "invalid_client", "error_description": "no"}), CallKind.UNAUTHORIZED),
        (answer(401, {"error": [{"code": "UNAUTHORIZED.GMP_GATEWAY_API"}]}), CallKind.UNAUTHORIZED),
        (answer(403), CallKind.UNAUTHORIZED),
        (answer(404), CallKind.NOT_SENT),
        (answer(429), CallKind.THROTTLED),
        (answer(500), CallKind.NOT_SENT),
        (answer(520, b"<html>"), CallKind.NOT_SENT),
        (answer(302, b"", {"Location": "/x"}), CallKind.NOT_SENT),
        (answer(200), CallKind.NOT_SENT),
        (answer(200, b"<accessToken>x</accessToken>"), CallKind.NOT_SENT),
        (answer(200, {"access_token": ""}), CallKind.NOT_SENT),
        (answer(200, {"access_token": None}), CallKind.NOT_SENT),
        (answer(200, {"access_token": "a\r\nX-Injected: 1"}), CallKind.NOT_SENT),
        (answer(200, {"access_token": "t" * 20_000}), CallKind.NOT_SENT),
        (answer(200, ["access_token"]), CallKind.NOT_SENT),
        (raw(http(200, {"access_token": "T", "expires_in": 900})[:-3]), CallKind.NOT_SENT),
        (close, CallKind.NOT_SENT),
    ],
)
async def test_failures(tokens: Tokens, server: ScriptedServer, step: Any, kind: CallKind) -> None:
    """Nothing went to the Orders service, whatever happened; the secret is in no text."""
    server.token_steps = [step]
    error = error_of(await tokens.get())
    assert error.kind is kind
    assert not error.scope_missing
    assert tokens.reports[0].kind is kind
    assert tokens.reports[0].operation == "token"
    assert SECRET not in repr(error)


async def test_timeout(tokens: Tokens, server: ScriptedServer) -> None:
    tokens.token._timeout = aiohttp.ClientTimeout(total=0.1)
    server.token_steps = [silence]
    assert error_of(await tokens.get()).kind is CallKind.NOT_SENT


async def test_dead_credentials_are_not_hammered(tokens: Tokens, server: ScriptedServer, clock: HandClock) -> None:
    server.token_steps = [answer(400)] * 3
    for _ in range(50):
        assert error_of(await tokens.get()).kind is CallKind.UNAUTHORIZED
    assert len(server.token_requests) == 1
    clock.time += 1.1
    await tokens.get()
    assert len(server.token_requests) == 2


async def test_throttled_endpoint_is_left_alone_as_long_as_it_says(
    tokens: Tokens, server: ScriptedServer, clock: HandClock
) -> None:
    server.token_steps = [answer(429, b"", {"Retry-After": "30"})]
    assert error_of(await tokens.get()).retry_after_s == 30
    clock.time += 29
    assert error_of(await tokens.get()).kind is CallKind.THROTTLED
    clock.time += 2
    assert await tokens.get() == "T2"


async def test_a_clock_set_back_does_not_lengthen_the_pause(
    tokens: Tokens, server: ScriptedServer, clock: HandClock
) -> None:
    server.token_steps = [answer(400)]
    await tokens.get()
    clock.time -= 3_600
    assert await tokens.get() == "T2"


async def test_invalidate_only_the_current_one(tokens: Tokens, server: ScriptedServer) -> None:
    """A late 401 for an old token does not throw the new one away."""
    first = await tokens.get()
    assert isinstance(first, str)
    tokens.token.invalidate(first)
    assert await tokens.get() == "T2"
    tokens.token.invalidate(first)
    tokens.token.invalidate(first)
    assert await tokens.get() == "T2"
    assert len(server.token_requests) == 2


async def test_secret_file_is_read_at_each_request(
    tmp_path: Path, server: ScriptedServer, session: aiohttp.ClientSession, clock: HandClock
) -> None:
    """Missing and empty files are failures; a rotated secret counts at once."""
    path = tmp_path / "secret"
    tokens = Tokens(server, session, clock, client_secret=None, client_secret_file=path)
    assert error_of(await tokens.get()).kind is CallKind.UNAUTHORIZED
    path.write_text("\n")
    clock.time += 2
    assert error_of(await tokens.get()).kind is CallKind.UNAUTHORIZED
    assert server.token_requests == []
    path.write_bytes(b"\xff\xfe")
    clock.time += 2
    assert error_of(await tokens.get()).kind is CallKind.UNAUTHORIZED
    path.write_text("one\n")
    clock.time += 2
    assert await tokens.get() == "T1"
    path.write_text("two\n")
    tokens.token.invalidate("T1")
    assert await tokens.get() == "T2"
    sent = [request.headers["authorization"] for request in server.token_requests]
    assert sent == ["Basic aWQtMTpvbmU=", "Basic aWQtMTp0d28="]


async def test_an_echoed_secret_is_hidden(
    tmp_path: Path, server: ScriptedServer, session: aiohttp.ClientSession, clock: HandClock
) -> None:
    """Also one from a file, and in the form it was sent in."""
    path = tmp_path / "secret"
    path.write_text("plain words only\n")
    tokens = Tokens(server, session, clock, client_secret=None, client_secret_file=path)
    server.token_steps = [answer(400, b"got 'plain words only' aWQtMTpwbGFpbiB3b3JkcyBvbmx5 from id-1")]
    text = repr(error_of(await tokens.get()))
    assert "words" not in text
    assert "aWQt" not in text


async def test_closing_stops_the_request(tokens: Tokens, server: ScriptedServer) -> None:
    server.token_steps = [silence]
    waiting = asyncio.create_task(tokens.get())
    await asyncio.sleep(0.05)
    await tokens.token.close()
    assert error_of(await waiting).kind is CallKind.NOT_SENT
    await tokens.token.close()


async def test_an_unexpected_exception_is_a_failure_for_all(
    tokens: Tokens, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def boom(_: AccountToken) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(AccountToken, "_secret", boom)
    results = await asyncio.gather(tokens.get(), tokens.get())
    assert {error_of(result).kind for result in results} == {CallKind.NOT_SENT}
    assert (tokens.told, tokens.slots.taken) == (["awaited", "settled"], 0)


async def test_renewals_are_spread_over_the_second_half_of_a_tokens_life(
    server: ScriptedServer, session: aiohttp.ClientSession, clock: HandClock
) -> None:
    """Each at another moment, no tenth of that time with more than its share and half of it again."""
    many = [Tokens(server, session, clock, seed=seed) for seed in range(400)]
    await asyncio.gather(*(one.get() for one in many))
    renewed = []
    for one in many:
        clock.time = one.token._renew_at - 0.01
        await one.get()
        assert one.token._flight is None
        clock.time += 0.02
        await one.get()
        assert one.token._flight is not None
        renewed.append((clock.time - NOW) / 900)
        await settled(one.token)
    assert all(0.5 <= part <= 0.901 for part in renewed)
    tenths = [sum(int((part - 0.5) / 0.0401) == tenth for part in renewed) for tenth in range(10)]
    assert max(tenths) <= 60


async def test_what_nobody_uses_is_not_renewed(tokens: Tokens, server: ScriptedServer, clock: HandClock) -> None:
    await tokens.get()
    clock.time += 5_000
    await asyncio.sleep(0.01)
    assert len(server.token_requests) == 1
    assert tokens.token.is_idle(clock.time)
    await tokens.get()
    assert len(server.token_requests) == 2
    assert not tokens.token.is_idle(clock.time)


async def test_idle_only_when_unused_for_long_and_nothing_is_lost(tokens: Tokens, clock: HandClock) -> None:
    await tokens.get()
    clock.time = NOW + 500
    await tokens.get()
    await settled(tokens.token)
    assert not tokens.token.is_idle(NOW + 500 + IDLE_S - 1)
    assert not tokens.token.is_idle(tokens.token._ends_at - 1)
    assert tokens.token.is_idle(max(tokens.token._ends_at, NOW + 500 + IDLE_S))
    assert not tokens.token.is_idle(NOW), "a clock set back"


async def test_a_token_that_lives_for_long_is_kept_while_it_does(tokens: Tokens, server: ScriptedServer) -> None:
    server.token_steps = [answer(200, {"access_token": "T", "expires_in": 7_200})]
    await tokens.get()
    assert not tokens.token.is_idle(NOW + 2 * IDLE_S)
    assert tokens.token.is_idle(NOW + 7_200)


async def test_prepared_before_anyone_asks(tokens: Tokens, server: ScriptedServer, clock: HandClock) -> None:
    """Once; not while one is there, and not where the last request failed: that is a probe's business."""
    tokens.token.prepare()
    tokens.token.prepare()
    await settled(tokens.token)
    tokens.token.prepare()
    assert tokens.token._flight is None
    assert await tokens.get() == "T1"
    assert len(server.token_requests) == 1
    clock.time += 1_000
    server.token_steps = [answer(400)]
    tokens.token.prepare()
    await settled(tokens.token)
    clock.time += 100
    tokens.token.prepare()
    assert tokens.token._flight is None


async def test_who_watches_hears_of_the_wait_and_of_its_end_before_the_report(
    tokens: Tokens, server: ScriptedServer, clock: HandClock
) -> None:
    """The gate that waits opens first; what the report closes stays closed."""
    server.token_steps = [answer(400)]
    await tokens.get()
    assert tokens.told == ["awaited", "settled", "report"]
    clock.time += 2
    await tokens.get()
    assert tokens.told[3:] == ["awaited", "settled", "report"]
    clock.time += 900 * 0.9
    await tokens.get()
    await settled(tokens.token)
    assert tokens.told[6:] == ["report"], "a renewal keeps nobody waiting"


async def test_closing_ends_the_wait_and_gives_the_slot_back(tokens: Tokens, server: ScriptedServer) -> None:
    server.token_steps = [silence]
    tokens.token.prepare()
    await tokens.token.close()
    assert tokens.told == ["awaited", "settled"]
    assert tokens.slots.taken == 0


async def test_the_wait_for_a_slot_is_no_failure(
    server: ScriptedServer, session: aiohttp.ClientSession, clock: HandClock
) -> None:
    """It may take longer than a call may: the request's own time begins with the request."""
    slots = TokenSlots(1)
    await slots.take()
    tokens = Tokens(server, session, clock, slots=slots)
    tokens.token._timeout = aiohttp.ClientTimeout(total=0.1)
    waiting = asyncio.create_task(tokens.get())
    await asyncio.sleep(0.25)
    assert not waiting.done()
    assert tokens.told == ["awaited"]
    slots.give()
    assert await waiting == "T1"
    assert [one.kind for one in tokens.reports] == [None]


async def test_accounts_that_failed_leave_slots_to_the_others(
    server: ScriptedServer, session: aiohttp.ClientSession, clock: HandClock
) -> None:
    """Ten endpoints hang: two slots of four are theirs, whoever gets none is told at once, and others get tokens."""
    slots = TokenSlots(4)
    dead = [Tokens(server, session, clock, slots=slots, client_id=f"dead-{number}") for number in range(10)]
    server.token_steps = [answer(500)] * 10
    await asyncio.gather(*(one.get() for one in dead))
    clock.time += 2
    server.token_steps = [silence, silence]
    probing = [asyncio.create_task(one.get()) for one in dead]
    await asyncio.sleep(0.05)
    assert slots.taken == 2
    put_off = [task for task in probing if task.done()]
    assert len(put_off) == 8
    assert {error_of(task.result()).kind for task in put_off} == {CallKind.NOT_SENT}
    assert sum(one.told.count("put off") for one in dead) == 8
    well = [Tokens(server, session, clock, slots=slots) for _ in range(20)]
    assert all(isinstance(token, str) for token in await asyncio.gather(*(one.get() for one in well)))
    for one in dead:
        await one.token.close()
    assert slots.taken == 0


async def test_other_settings_count_from_the_next_request_on(
    tokens: Tokens, server: ScriptedServer, clock: HandClock
) -> None:
    """A rotated secret: what the old one's failures said is forgotten, the present token is kept."""
    server.token_steps = [answer(400)]
    await tokens.get()
    account = AccountSettings.model_validate({"client_id": "id-1", "client_secret": "another", "base_url": server.url})
    tokens.token.configure(account, aiohttp.ClientTimeout(total=1), renewed=True)
    token = await tokens.get()
    assert token == "T2"
    assert server.token_requests[1].headers["authorization"] == "Basic aWQtMTphbm90aGVy"
    tokens.token.configure(account, aiohttp.ClientTimeout(total=1), renewed=True)
    assert await tokens.get() == token
