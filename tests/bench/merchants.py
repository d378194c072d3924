"""Many sellers at the sandbox's simulated Walmart, each with orders of its own, and a worker's settings for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp

from tests.bench.contract import CLIENT_SECRET
from tests.bench.orders import order_id
from tests.bench.process import cpu_seconds
from tests.bench.shares import Reading
from tests.bench.traffic import new_order
from worker.sandbox.walmart.control import WalmartControl, WalmartProcess, running_walmart
from worker.sandbox.walmart.specs import NewOrder, Operation, Rate, SellerSpec

_ORDERS_AT_ONCE: Final = 500


class Merchants:
    """A running simulated Walmart and its sellers; their client ids are the names of accounts and stores."""

    def __init__(self, process: WalmartProcess, control: WalmartControl, names: Sequence[str]) -> None:
        self.process, self.control, self.names = process, control, names

    def only(self, name: str) -> Merchants:
        """The same Walmart, and one of the sellers."""
        return Merchants(self.process, self.control, [name])

    @property
    def url(self) -> str:
        """Base URL of the API."""
        return self.process.url

    @property
    def cpu_s(self) -> float:
        """Processor seconds of the simulated Walmart so far."""
        return cpu_seconds(self.process.pid)

    async def add_orders(self, numbers: range, orders: Sequence[NewOrder] = ()) -> None:
        """Make the orders of these numbers; the sellers take turns. `orders`: their templates, taking turns too."""
        templates = orders or (new_order(),)
        for first in range(numbers.start, numbers.stop, _ORDERS_AT_ONCE):
            part = range(first, min(first + _ORDERS_AT_ONCE, numbers.stop))
            made = [
                templates[number % len(templates)].model_copy(
                    update={"seller": self.seller_of(number), "purchase_order_id": order_id(number)}
                )
                for number in part
            ]
            await self.control.add_orders(made)

    def seller_of(self, number: int) -> str:
        """Whose the n-th order is."""
        return self.names[number % len(self.names)]

    async def readings(self, operation: Operation) -> dict[str, Reading]:
        """Every seller's bucket, all at one moment. One that was not used yet is not there."""
        before = time.monotonic()
        sellers = await self.control.sellers()
        at = (before + time.monotonic()) / 2
        return {
            seller.client_id: Reading(at, budget.left, budget.taken)
            for seller in sellers
            if (budget := seller.budgets.get(operation)) is not None
        }

    def settings(self, **account: Any) -> dict[str, dict[str, Any]]:
        """Settings of a worker for all of them. `account`: what else is set for each."""
        return settings_for(self.names, lambda _: self.url, **account)


def settings_for(names: Sequence[str], url_of: Callable[[str], str], **account: Any) -> dict[str, dict[str, Any]]:
    """Accounts with a store each, of the same name."""
    return {
        "accounts": {
            name: {"client_id": name, "client_secret": CLIENT_SECRET, "base_url": url_of(name), **account}
            for name in names
        },
        "stores": {name: {"account": name} for name in names},
    }


@asynccontextmanager
async def merchants(
    names: Sequence[str],
    *,
    delay_s: float,
    rates: dict[Operation, Rate] | None = None,
    speed_up: float = 1.0,
    unlimited: bool = False,
) -> AsyncIterator[Merchants]:
    """Run a fresh simulated Walmart with these sellers for the length of a block."""
    arguments = ["--no-validate", "--delay-seconds", str(delay_s)]
    async with (
        running_walmart(None, sellers=[f"{names[0]}:{CLIENT_SECRET}"], arguments=arguments) as process,
        aiohttp.ClientSession() as session,
    ):
        control = WalmartControl(process.control_url, session)
        for name in names:
            await control.add_seller(
                SellerSpec(
                    client_id=name,
                    client_secret=CLIENT_SECRET,
                    rates=rates or {},
                    speed_up=speed_up,
                    unlimited=unlimited,
                )
            )
        yield Merchants(process, control, names)


async def paced(per_second: float) -> AsyncIterator[int]:
    """0, 1, 2 … at a steady pace; what came late is not made up for."""
    number, at = 0, time.monotonic()
    while True:
        yield number
        number += 1
        at = max(at + 1 / per_second, time.monotonic())
        await asyncio.sleep(at - time.monotonic())
