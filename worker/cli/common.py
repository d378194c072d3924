"""What most commands begin with: settings, quiet libraries, and a clear end where Kafka is not there."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from worker.cli.exit_codes import ExitCode
from worker.cli.output import end

if TYPE_CHECKING:
    from worker.settings import Settings

_Answer = TypeVar("_Answer")


def load_settings(config: Path | None, *, as_json: bool = False) -> Settings:
    """The settings; every mistake in them is told, and ends the command."""
    from worker import configuration
    from worker.settings import Settings

    loaded = configuration.load(config, os.environ)
    if not isinstance(loaded, Settings):
        end(
            ExitCode.MISTAKE,
            f"mistakes in the settings: {len(loaded)}",
            as_json=as_json,
            lines=[str(mistake) for mistake in loaded],
        )
    return loaded


def quiet() -> None:
    """No log lines between a command's own: what matters of them comes back as an error."""
    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


def run_bounded(work: Coroutine[Any, Any, _Answer], *, as_json: bool = False) -> _Answer:
    """Run it; where Kafka is not there, say so and end the command."""
    from worker.oncall.kafka import KafkaUnreachableError

    try:
        return asyncio.run(work)
    except KafkaUnreachableError as error:
        end(ExitCode.UNREACHABLE, str(error), as_json=as_json)
