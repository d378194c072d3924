"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def _config(context: typer.Context, value: Path | None) -> Path | None:
    if value is not None:
        return value
    above = context.find_root().params.get("config")
    return above if isinstance(above, Path) else None


_CONFIG_HELP = "Settings file (TOML). Without it: the file named by ORDER_SYNC_CONFIG, else the environment alone."

GlobalConfig = Annotated[Path | None, typer.Option("--config", metavar="FILE", help=_CONFIG_HELP)]
Config = Annotated[Path | None, typer.Option("--config", metavar="FILE", help=_CONFIG_HELP, callback=_config)]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output, for machines.")]
