"""Settings files for commands, and no traces left in the process."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

SETTINGS = """
[kafka]
bootstrap_servers = "127.0.0.1:1"
request_timeout_seconds = 1
[accounts.main]
client_id = "id"
client_secret_file = "{secret}"
base_url = "http://127.0.0.1:1"
[stores.us]
account = "main"
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    """Valid settings; nothing answers at their addresses."""
    secret = tmp_path / "secret"
    secret.write_text("s3cret-of-this-test")
    file = tmp_path / "order-sync.toml"
    file.write_text(SETTINGS.format(secret=secret))
    return str(file)


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("ORDER_SYNC_CONFIG", "COLUMNS", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    level = logging.getLogger("aiokafka").level
    yield
    structlog.reset_defaults()
    logging.getLogger("aiokafka").setLevel(level)
