"""The stage fixture of the system tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.system.stage import Stage, staged
from worker.settings import TopicSettings


@pytest.fixture
async def stage(kafka: str, topics: TopicSettings, tmp_path: Path) -> AsyncIterator[Stage]:
    """A simulated Walmart without budgets, topics of its own, and no worker yet."""
    async with staged(kafka, topics, tmp_path, unlimited=True) as made:
        yield made
