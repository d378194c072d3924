"""Copies of the checkout: one that is made for all, and one of hard links for each mutant."""

from __future__ import annotations

import compileall
import os
import shutil
from pathlib import Path
from typing import Final

from tests.mutants.mutant import Mutant

ROOT: Final = Path(__file__).parents[2]
_COPIED: Final = ("worker", "schemas", "tests", "deploy", "pyproject.toml", "README.md", "CONTRIBUTING.md", "Makefile")
_NOT_COPIED: Final = shutil.ignore_patterns("__pycache__", ".*", "*-out")


def copy_checkout(to: Path) -> None:
    """A plain copy, compiled."""
    to.mkdir(parents=True)
    for name in _COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, to / name, ignore=_NOT_COPIED)
        else:
            shutil.copy2(source, to / name)
    for name in ("worker", "schemas", "tests"):
        compileall.compile_dir(to / name, quiet=2)


def copy_for(mutant: Mutant, base: Path, to: Path) -> None:
    """Hard links to the base copy, but for the file with the bug. Raises StaleError."""
    shutil.copytree(base, to, copy_function=os.link)
    mutant.apply_to(to)
