"""How the measurement of many accounts is told: settings that fit no argument, and what is busy."""

from __future__ import annotations

import pytest

from tests.bench.accounts import busiest
from tests.bench.accounts_runner import MANY, with_accounts
from tests.bench.contract import Task
from tests.bench.worker_runner import settings_of
from worker.settings import TopicSettings


def test_thousands_of_accounts_come_from_one_number() -> None:
    told = {MANY: {"count": 5_000}, "http": {"port": 1}}
    task = Task("calls", "", TopicSettings().model_dump(), "group", "http://127.0.0.1:9", settings=told)
    assert len(task.to_json()) < 1_000
    settings = settings_of(with_accounts(task))
    assert len(settings.accounts) == len(settings.stores) == 5_000
    assert len({account.client_id for account in settings.accounts.values()}) == 5_000
    assert settings.stores["merchant-0007"].account == "merchant-0007"
    assert settings.http.port == 1


def test_the_busiest_seconds_by_the_mean() -> None:
    assert busiest([1, 1, 1, 1], 1) == 1
    assert busiest([0, 2, 0, 2], 1) == 2
    assert busiest([0, 2, 0, 2], 2) == 1
    assert busiest([1, 1, 4, 4, 0, 2], 2) == pytest.approx(2)
