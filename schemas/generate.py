"""Write the generated files of the contract: `python -m schemas.generate [--check]`.

They are JSON Schema files (`json/`), the AsyncAPI document (`asyncapi.json`) and the tables in `README.md`.
With `--check` nothing is written; exit code 1 and the names of the files tell that they differ from the models.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

from schemas.generators import asyncapi, shapes, tables

HOME: Final = Path(__file__).parent


def files() -> dict[Path, str]:
    """Every generated file and what should be in it."""
    readme = HOME / "README.md"
    return {
        **{HOME / "json" / f"{name}.schema.json": _text(shapes.file_of(name)) for name in shapes.SHAPES},
        HOME / "asyncapi.json": _text(asyncapi.document()),
        readme: tables.fill(readme.read_text(encoding="utf-8")),
    }


def drifted() -> list[Path]:
    """Files that are missing or differ from the models, and schema files of models that are gone."""
    wanted = files()
    left = [path for path in (HOME / "json").glob("*") if path not in wanted]
    return left + [
        path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m schemas.generate", description="Generate the contract's files.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file differs")
    check = parser.parse_args(arguments).check
    changed = drifted()
    if not check:
        (HOME / "json").mkdir(exist_ok=True)
        wanted = files()
        for path in changed:
            if path in wanted:
                path.write_text(wanted[path], encoding="utf-8")
            else:
                path.unlink()
    for path in changed:
        sys.stdout.write(f"{'differs' if check else 'written'}: {path.relative_to(HOME.parent)}\n")
    return 1 if check and changed else 0


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.exit(main())
