"""What the budget measurement holds against each other: the bucket, us, and the foreign client."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.bench import budget
from tests.bench.contract import Task
from tests.bench.effort import FULL
from tests.bench.foreign import foreign_client
from tests.bench.merchants import merchants, settings_for
from tests.bench.orders import order_id
from tests.bench.shares import Reading, together, usage
from tests.bench.worker_runner import settings_of
from worker.sandbox.walmart.specs import Rate
from worker.settings import TopicSettings


def test_allowed_is_what_was_left_and_what_flowed_in_less_what_somebody_else_took() -> None:
    first, last = Reading(100.0, 4.0, 60), Reading(110.0, 1.0, 73)
    alone = usage("a", first, last, per_second=1.0)
    assert (alone.allowed, alone.flowed_in, alone.used) == (14.0, 10.0, 13)
    shared = usage("b", first, last, per_second=1.0, foreign=3)
    assert (shared.allowed, shared.used) == (11.0, 10)
    assert shared.share == pytest.approx(10 / 11)
    assert together([alone, shared]) == pytest.approx(23 / 25)


def test_a_bucket_that_ran_over_is_a_loss() -> None:
    # 60 calls a minute into a full bucket of 60: none of them could be taken up.
    assert usage("a", Reading(0.0, 60.0, 0), Reading(60.0, 60.0, 0), per_second=1.0).share == 0


def test_the_budgets_are_walmarts_and_sped_up_ten_times_at_most() -> None:
    assert budget.SHIP.per_minute == 60
    assert FULL.budget_accounts == 50
    assert FULL.budget_speed_up <= 10


def test_every_account_has_a_store_of_its_own() -> None:
    made = settings_for(("a", "b"), lambda name: f"http://127.0.0.1:9/{name}")
    settings = settings_of(Task("calls", "", TopicSettings().model_dump(), "group", "", settings=made))
    assert {name: store.account for name, store in settings.stores.items()} == {"a": "a", "b": "b"}
    assert settings.accounts["b"].base_url.endswith("/b")


async def test_the_simulated_walmart_counts_what_the_foreign_client_takes() -> None:
    async with merchants(["a", "b"], delay_s=0, rates={"ship": Rate(per_minute=60, burst=5)}) as walmart:
        assert walmart.settings()["accounts"]["b"]["base_url"] == walmart.url
        await walmart.add_orders(range(100))
        state = await walmart.control.order(order_id(7))
        assert (state.seller, walmart.seller_of(7)) == ("b", "b")
        assert await walmart.readings("ship") == {}
        await walmart.only("a").add_orders(range(1_000, 1_100))
        begun = time.monotonic()
        async with foreign_client(walmart.url, "a", per_second=50, first=1_000) as foreign:
            async with asyncio.timeout(20):
                while not foreign.refused:
                    await asyncio.sleep(0.01)
        readings = await walmart.readings("ship")
        assert set(readings) == {"a"}
        assert readings["a"].taken == foreign.served >= 5
        assert begun < readings["a"].at < time.monotonic()
        assert (await walmart.control.requests()).total("ship", 429, "a") >= foreign.refused
