"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from worker.sandbox.kafka_jars import KAFKA_VERSION

_LIBRARIES: Final = ("order-sync", "aiohttp", "aiokafka", "orjson", "pydantic", "structlog", "prometheus_client")


def about_machine() -> dict[str, Any]:
    """Processors, memory, versions, and how busy it was just now (Linux)."""
    return {
        "processors": len(os.sched_getaffinity(0)),
        "processor": _line("/proc/cpuinfo", "model name") or platform.machine(),
        "memory GB": round(int(_line("/proc/meminfo", "MemTotal").split()[0]) * 1024 / 1e9, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load before": "{:.1f} {:.1f} {:.1f}".format(*os.getloadavg()),
        "python": platform.python_version(),
        "kafka": KAFKA_VERSION,
        **{name: version(name) for name in _LIBRARIES},
    }


def _line(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""
