"""No log lines: a search tries the same turn many times, and none of them happens."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import structlog

from worker.telemetry import logs


@contextmanager
def quiet() -> Iterator[None]:
    """Neither structlog's lines nor the canonical ones, which go past it."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        with patch.object(logs._Canonical, "write", lambda *_: None):
            yield
    finally:
        structlog.configure(**before)
