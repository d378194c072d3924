"""A simulated Walmart in the test's own loop, and a bare client that sends exactly what it is told."""

from __future__ import annotations

import base64
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from worker.sandbox.walmart.bodies import BodyChecks
from worker.sandbox.walmart.control import WalmartControl
from worker.sandbox.walmart.journal import Journal
from worker.sandbox.walmart.server import WalmartServer
from worker.sandbox.walmart.specs import NewLine, SellerSpec
from worker.sandbox.walmart.world import World

CLIENT, SECRET = "client-a", "secret-a"
STANDARD = {
    "WM_QOS.CORRELATION_ID": "6a1c5e0e-0000-4000-8000-000000000001",
    "WM_SVC.NAME": "Walmart Marketplace",
    "Accept": "application/json",
}


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        return orjson.loads(self.raw)

    @property
    def order(self) -> dict[str, Any]:
        assert self.status == 200, self.raw
        order: dict[str, Any] = self.body["order"]
        return order

    @property
    def error(self) -> dict[str, Any]:
        """The first error of the orders or the gateway envelope."""
        body = self.body
        errors: list[dict[str, Any]] = body["errors"]["error"] if "errors" in body else body["error"]
        return errors[0]

    def statuses(self, line: int = 0) -> dict[str, int]:
        entries = self.order["orderLines"]["orderLine"][line]["orderLineStatuses"]["orderLineStatus"]
        units: dict[str, int] = {}
        for entry in entries:
            units[entry["status"]] = units.get(entry["status"], 0) + int(entry["statusQuantity"]["amount"])
        return units


class BareClient:
    """One seller's view of the API."""

    def __init__(self, url: str, session: aiohttp.ClientSession, client: str = CLIENT, secret: str = SECRET) -> None:
        self.url, self.session, self.client, self.secret = url, session, client, secret
        self.token: str | None = None

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        drop: tuple[str, ...] = (),
        headers: dict[str, str] | None = None,
    ) -> Reply:
        if self.token is None:
            self.token = (await self.fetch_token()).body["access_token"]
        sent = {**STANDARD, "WM_SEC.ACCESS_TOKEN": self.token, **(headers or {})}
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        raw = body if isinstance(body, bytes) else None if body is None else orjson.dumps(body)
        return await self._send(method, path, raw, {k: v for k, v in sent.items() if k not in drop})

    async def _send(self, method: str, path: str, raw: bytes | None, headers: dict[str, str]) -> Reply:
        async with self.session.request(method, self.url + path, data=raw, headers=headers) as response:
            return Reply(response.status, dict(response.headers), await response.read())

    async def fetch_token(self, secret: str | None = None, **headers: str) -> Reply:
        keys = base64.b64encode(f"{self.client}:{secret or self.secret}".encode()).decode()
        form = {"Authorization": f"Basic {keys}", "Content-Type": "application/x-www-form-urlencoded"}
        return await self._send("POST", "/v3/token", b"grant_type=client_credentials", {**STANDARD, **form, **headers})

    async def get(self, po: str) -> Reply:
        return await self.send("GET", f"/v3/orders/{po}")

    async def acknowledge(self, po: str) -> Reply:
        return await self.send("POST", f"/v3/orders/{po}/acknowledge")

    async def ship(self, po: str, *lines: dict[str, Any], mode: str | None = None) -> Reply:
        return await self.send("POST", f"/v3/orders/{po}/shipping", ship_body(*lines, mode=mode))

    async def cancel(self, po: str, *lines: dict[str, Any]) -> Reply:
        body = {"orderCancellation": {"orderLines": {"orderLine": list(lines)}}}
        return await self.send("POST", f"/v3/orders/{po}/cancel", body)


def ship_body(*lines: dict[str, Any], mode: str | None = None) -> dict[str, Any]:
    shipment: dict[str, Any] = {"orderLines": {"orderLine": list(lines)}}
    if mode is not None:
        shipment["processMode"] = mode
    return {"orderShipment": shipment}


def package(
    quantity: int | str = 1, tracking: str = "1Z999AA10123456784", replaces: str | None = None, **tracking_info: Any
) -> dict[str, Any]:
    info = {
        "shipDateTime": int(time.time() * 1000) - 60_000,
        "carrierName": {"carrier": "UPS"},
        "methodCode": "Value",
        "trackingNumber": tracking,
    }
    entry: dict[str, Any] = {
        "status": "Shipped",
        "statusQuantity": {"unitOfMeasurement": "EACH", "amount": str(quantity)},
        "trackingInfo": info | tracking_info,
    }
    if replaces is not None:
        entry["currentTrackingInfo"] = {"trackingNumber": replaces}
    return entry


def shipped(line: str = "1", *packages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    statuses = {"orderLineStatus": list(packages) or [package()]}
    return {"lineNumber": line, "sellerOrderId": "000001234", "orderLineStatuses": statuses} | fields


def cancelled(
    line: str = "1", quantity: int | str = 1, reason: str | None = "SELLER_CANCEL_PRICING_ERROR"
) -> dict[str, Any]:
    entry = {
        "status": "Cancelled",
        "cancellationReason": reason,
        "statusQuantity": {"unitOfMeasurement": "EACH", "amount": str(quantity)},
    }
    return {"lineNumber": line, "orderLineStatuses": {"orderLineStatus": [entry]}}


@dataclass
class Simulated:
    server: WalmartServer
    control: WalmartControl
    api: BareClient
    session: aiohttp.ClientSession

    package = staticmethod(package)
    shipped = staticmethod(shipped)
    cancelled = staticmethod(cancelled)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def client(self, client: str = CLIENT, secret: str = SECRET) -> BareClient:
        return BareClient(self.url, self.session, client, secret)

    async def order(self, quantity: int = 1, lines: int = 1, **details: Any) -> str:
        """An order with lines 1..n of the same quantity; `status` and `intent_to_cancel` go to the lines."""
        of_line = {name: details.pop(name) for name in ("status", "intent_to_cancel") if name in details}
        specs = [NewLine(sku=f"SKU-{n}", quantity=quantity, **of_line) for n in range(1, lines + 1)]
        return await self.control.add_order(specs, **details)


@pytest.fixture
async def walmart(tmp_path: Path) -> AsyncIterator[Simulated]:
    """One seller, no budgets, journal in a temporary file."""
    journal = Journal(tmp_path / "journal.jsonl")
    world = World(journal)
    world.rebuild()
    world.add_seller(SellerSpec(client_id=CLIENT, client_secret=SECRET, unlimited=True, expires_in="number"))
    server = WalmartServer(world, BodyChecks())
    await server.start("127.0.0.1", 0, 0)
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{server.port}"
        control = WalmartControl(f"http://127.0.0.1:{server.control_port}", session)
        yield Simulated(server, control, BareClient(url, session), session)
        assert server.sim.traffic.internal_errors == 0
    await server.stop()
    journal.close()


@pytest.fixture
def walmart_client() -> type[BareClient]:
    """For a server in another process: `walmart_client(url, session)`."""
    return BareClient


@pytest.fixture
def simulated() -> type[Simulated]:
    """The request builders `shipped`, `package`, `cancelled`."""
    return Simulated
