"""`tests/TRAPS.md`: no trap is missing, and every test it names exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| (\d+) \| (.+?) \| (.+) \|$", re.MULTILINE)
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
ROWS = [(int(number), trap, kept) for number, trap, kept in ROW.findall((ROOT / "tests/TRAPS.md").read_text())]
COUNT = 65


@cache
def names_in(path: str) -> frozenset[str]:
    """Names of the test functions of a file, methods of its classes included."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return frozenset(one.name for one in functions if one.name.startswith("test_") and not is_skipped(one))


def is_skipped(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(re.search(r"\b(skip|skipif|xfail)\b", ast.unparse(mark)) for mark in function.decorator_list)


def test_every_trap_has_its_row() -> None:
    assert [number for number, _, _ in ROWS] == list(range(1, COUNT + 1))


@pytest.mark.parametrize(("number", "trap", "kept"), ROWS, ids=[str(number) for number, _, _ in ROWS])
def test_a_row_names_tests_that_exist_or_a_reason(number: int, trap: str, kept: str) -> None:
    named = NAMED.findall(kept)
    assert kept.count("::") == len(named), "a reference that cannot be read"
    reason = NAMED.sub("", kept).strip(" ,")
    assert named or len(reason) > 20
    assert len(trap) > 10
    for path, name in named:
        assert (ROOT / path).exists(), path
        assert name in names_in(path), f"{path}::{name}"


def test_a_name_that_does_not_exist_would_be_found() -> None:
    assert "test_every_trap_has_its_row" in names_in("tests/unit/test_traps.py")
    assert "test_nothing_of_the_kind" not in names_in("tests/unit/test_traps.py")
