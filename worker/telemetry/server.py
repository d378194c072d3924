"""The HTTP endpoints: `/metrics`, `/livez`, `/readyz`, `/events`, and an index.

How the app uses it::

    server = TelemetryServer(settings.http, metrics, lambda: judge(vitals, clock.now()))
    port = await server.start()      # the actual one; OSError where it cannot be bound
    ...
    await server.stop()
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from aiohttp import web

from worker.settings import HttpSettings
from worker.telemetry.health import Health
from worker.telemetry.metrics import Metrics

_INDEX = """order-sync

/metrics  for Prometheus
/livez    200: the worker's loops turn; 503: restart it
/readyz   200: it takes part in the work; 503: not just now, and why
/events   ?match=TEXT: the stories of the events in memory whose id, order or place is TEXT
"""

_STOP_SECONDS = 2.0


class TelemetryServer:
    """Serves the endpoints on `host:port` of the settings."""

    def __init__(
        self,
        settings: HttpSettings,
        metrics: Metrics,
        health: Callable[[], Health],
        events: Callable[[str], list[dict[str, Any]]] = lambda _: [],
    ) -> None:
        """`events`: the events in memory that match a text, as JSON values."""
        self._settings = settings
        self._metrics = metrics
        self._health = health
        self._events = events
        self._runner: web.AppRunner | None = None

    async def start(self) -> int:
        """Listen; return the port (of interest where 0 was asked for). Raises OSError where it cannot be bound."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/", self._index),
                web.get("/metrics", self._scrape),
                web.get("/livez", self._livez),
                web.get("/readyz", self._readyz),
                web.get("/events", self._matching),
            ]
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_SECONDS, handle_signals=False)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._settings.host, self._settings.port).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner
        return int(runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening, within about two seconds."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _index(self, request: web.Request) -> web.Response:
        return web.Response(text=_INDEX)

    async def _scrape(self, request: web.Request) -> web.Response:
        body, content_type = self._metrics.render(request.headers.get("Accept"))
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _livez(self, request: web.Request) -> web.Response:
        return _answer("live", self._health().not_live)

    async def _readyz(self, request: web.Request) -> web.Response:
        return _answer("ready", self._health().not_ready)

    async def _matching(self, request: web.Request) -> web.Response:
        wanted = request.query.get("match", "")
        found = self._events(wanted) if wanted else []
        return web.Response(
            body=orjson.dumps(found), content_type="application/json", headers={"Cache-Control": "no-store"}
        )


def _answer(question: str, reasons: tuple[str, ...]) -> web.Response:
    return web.Response(
        body=orjson.dumps({question: not reasons, "reasons": reasons}),
        status=503 if reasons else 200,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
