"""The HTTP server: two ports (the API's, which an outage can close, and the control door's), faults, answers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote

from aiohttp import web

from worker.sandbox.walmart.answers import (
    JSON,
    Answer,
    error_of_status,
    in_envelope,
)
from worker.sandbox.walmart.bodies import BodyChecks
from worker.sandbox.walmart.calls import Call, route
from worker.sandbox.walmart.faults import Quirks
from worker.sandbox.walmart.gateway import admit, issue_token, seller_shown
from worker.sandbox.walmart.services import internal_error, serve
from worker.sandbox.walmart.sim import Sim
from worker.sandbox.walmart.specs import FaultSpec
from worker.sandbox.walmart.traffic import DROPPED, Request
from worker.sandbox.walmart.world import World

log: Final = logging.getLogger(__name__)

_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
_STOP_SECONDS: Final = 0.5


class WalmartServer:
    """Serves one world until it is stopped."""

    def __init__(self, world: World, checks: BodyChecks) -> None:
        self.world = world
        self.sim = Sim(world)
        self._checks = checks
        self._api = _runner(self._handle_api)
        self._control = _runner(self._handle_control)
        self._site: web.TCPSite | None = None
        self._host, self.port, self.control_port = "127.0.0.1", 0, 0
        self._listening = asyncio.Lock()

    async def start(self, host: str, port: int, control_port: int) -> None:
        """Listen. Raises OSError when a port is taken."""
        self._host = host
        await self._api.setup()
        await self._control.setup()
        site = web.TCPSite(self._control, host, control_port)
        await site.start()
        self.control_port = _port(self._control)
        self._site = web.TCPSite(self._api, host, port)
        await self._site.start()
        self.port = _port(self._api)

    async def stop(self) -> None:
        """Close both ports; calls that are still running are cut off after half a second."""
        await self._api.cleanup()
        await self._control.cleanup()

    async def _handle_control(self, request: web.BaseRequest) -> web.StreamResponse:
        steps = [unquote(step) for step in request.raw_path.partition("?")[0].split("/")[1:]]
        if steps[0] != "_sim":
            return web.Response(status=404, text="this is the control port: /_sim only")
        body = await request.read()
        answer = self.sim.answer(request.method, steps[1:], dict(request.query), body)
        async with self._listening:
            await self._listen_as_told()
        return _response(answer)

    async def _listen_as_told(self) -> None:
        refusing = self.world.faults.refusing_connections
        if refusing and self._site is not None:
            await self._site.stop()
            self._site = None
        elif not refusing and self._site is None:
            self._site = web.TCPSite(self._api, self._host, self.port, reuse_address=True)
            await self._site.start()

    async def _handle_api(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.raw_path.startswith("/_sim/"):
            return await self._handle_control(request)
        if self.world.faults.refusing_connections:
            return _dropped(request)
        routed = route(request.method, request.raw_path)
        if isinstance(routed, Answer):
            return _response(routed)
        body = await request.read()
        call = Call(
            operation=routed.operation,
            purchase_order_id=routed.purchase_order_id,
            sku=routed.sku,
            headers=request.headers,
            query=request.query,
            body=body,
            seller=seller_shown(self.world, routed.operation, request.headers),
        )
        traffic = self.sim.traffic

        def waited_for() -> bool:
            return request.transport is not None

        traffic.begin(call.operation, call.purchase_order_id, waited_for)
        status = DROPPED
        try:
            answer = await self._answer(call)
            status = answer.status if answer is not None else DROPPED
        finally:
            seller = call.seller.client_id if call.seller else None
            traffic.end(
                Request(time.time(), seller, call.operation, call.purchase_order_id, status, call.correlation_id),
                waited_for,
            )
        return _dropped(request) if answer is None else _response(answer)

    async def _answer(self, call: Call) -> Answer | None:
        """The answer with all faults in it; None: the connection is dropped."""
        quirks = call.quirks(self.world.faults)
        delay = quirks.take("delay", "before")
        if delay is not None:
            await asyncio.sleep(delay.seconds)
        if quirks.take("drop", "before"):
            return None
        told = quirks.take("outage") or quirks.take("status", "before")
        if told is not None:
            return _as_told(told, None)
        answer: Answer | None = self._real_answer(call)
        if answer is not None and answer.ok:
            answer = await _after(quirks, answer)
        if answer is not None and self.world.delay_seconds:
            await asyncio.sleep(self.world.delay_seconds)
        return answer

    def _real_answer(self, call: Call) -> Answer:
        try:
            if call.operation == "token":
                return issue_token(self.world, call)
            refusal, headers = admit(self.world, call)
            answer = refusal or serve(self.world, self._checks, call)
        except Exception:  # the simulation must not die of its own mistakes; tests look at `internal_errors`
            log.exception("internal error")
            self.sim.traffic.internal_errors += 1
            return internal_error()
        return Answer(answer.status, answer.body, answer.content_type, headers)


async def _after(quirks: Quirks, answer: Answer) -> Answer | None:
    """The effect has happened; what becomes of its answer."""
    delay = quirks.take("delay", "after")
    if delay is not None:
        await asyncio.sleep(delay.seconds)
    if quirks.take("drop", "after"):
        return None
    told = quirks.take("status", "after")
    return answer if told is None else _as_told(told, answer)


def _as_told(told: FaultSpec, real: Answer | None) -> Answer:
    error = error_of_status(told.status, told.code, told.description)
    answer = in_envelope(error, told.envelope, real.body if real is not None else None)
    return Answer(answer.status, answer.body, answer.content_type, told.headers)


def _response(answer: Answer) -> web.Response:
    # Plain headers: `content_type=` and `charset=` of aiohttp cost more than all the rules together.
    headers = dict(answer.headers or _NO_HEADERS)
    if answer.content_type is not None:
        headers["Content-Type"] = f"{JSON};charset=utf-8" if answer.content_type == JSON else answer.content_type
    return web.Response(status=answer.status, body=answer.body, headers=headers)


def _dropped(request: web.BaseRequest) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _runner(handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> web.ServerRunner:
    return web.ServerRunner(web.Server(handler, access_log=None), shutdown_timeout=_STOP_SECONDS)


def _port(runner: web.ServerRunner) -> int:
    port: int = runner.addresses[0][1]
    return port
