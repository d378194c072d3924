"""Who catches a mutant: the unit tests of its room, then the simulation. Each in a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TESTS_TIMEOUT_S: Final = 300.0
TEST_TIMEOUT_S: Final = 60.0
SIM_TIMEOUT_S: Final = 300.0
_FAILED: Final = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", re.MULTILINE)
_TOLD: Final = 120
_RUNNING: Final[set[subprocess.Popen[str]]] = set()


class BrokenRunError(Exception):
    """A catcher did not run at all: that says nothing about the mutant."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one catcher said of one mutant."""

    caught_by: str | None
    """The test that failed, or the seed and the broken promise; None: nobody noticed."""
    seconds: float


@dataclass(frozen=True, slots=True)
class _Ended:
    code: int | None
    """None: it was ended after its time."""
    out: str
    errors: str
    seconds: float


def ask_tests(root: Path, paths: Sequence[str], *, without: Sequence[str] = ()) -> Answer:
    """Run unit tests in a copy until one fails. `without`: names of tests that are left out. Raises BrokenRunError."""
    ended = _pytest(root, paths, without, "-x")
    if ended.code is None:
        return Answer("the tests did not end", ended.seconds)
    if ended.code == 0:
        return Answer(None, ended.seconds)
    failed = _FAILED.findall(ended.out)
    if ended.code != 1 or not failed:
        raise BrokenRunError(f"pytest {' '.join(paths)} ended with {ended.code}: {_last_lines(ended)}")
    return Answer(failed[0], ended.seconds)


def failing_tests(root: Path, paths: Sequence[str]) -> list[str]:
    """Tests that fail as it is. Raises BrokenRunError."""
    ended = _pytest(root, paths, ())
    failed = _FAILED.findall(ended.out)
    if ended.code not in (0, 1) or (ended.code == 1 and not failed):
        raise BrokenRunError(f"pytest ended with {ended.code}: {_last_lines(ended)}")
    return failed


def ask_simulation(root: Path, runs: int, seed: int, *, without: Collection[int] = ()) -> Answer:
    """Run seeds in a copy until one breaks a promise that is kept without a mutant. Raises BrokenRunError."""
    spent = 0.0
    for first, count in _batches(seed, runs):
        ended = _simulate(root, first, count)
        spent += ended.seconds
        if ended.code is None:
            return Answer(f"the simulation did not end (seeds {first} to {first + count - 1})", spent)
        for number, promises in _failed_seeds(ended).items():
            if number not in without:
                return Answer(f"seed {number}: {promises[0][:_TOLD]}", spent)
    return Answer(None, spent)


def failing_seeds(root: Path, runs: int, seed: int) -> dict[int, str]:
    """Seeds that fail as it is, and the first promise that is broken. Raises BrokenRunError."""
    failing = {}
    for first, count in _batches(seed, runs):
        ended = _simulate(root, first, count)
        failing.update({number: promises[0] for number, promises in _failed_seeds(ended).items()})
    return failing


def _simulate(root: Path, first: int, count: int) -> _Ended:
    asked = ["-m", "tests.sim", "--seed", str(first), "--runs", str(count), "--jobs", "1", "--json"]
    return _run(root, asked, SIM_TIMEOUT_S)


def _failed_seeds(ended: _Ended) -> dict[int, list[str]]:
    try:
        failed = {int(seed): promises for seed, promises in json.loads(ended.out)["failed_seeds"].items()}
    except (ValueError, KeyError, AttributeError):
        failed = None
    if failed is None or ended.code not in (0, 1) or bool(failed) != (ended.code == 1):
        raise BrokenRunError(f"the simulation ended with {ended.code}: {_last_lines(ended)}")
    return failed


def _batches(seed: int, runs: int) -> Iterator[tuple[int, int]]:
    """Small ones first: most bugs are seen at once, and a batch ends only with its last seed."""
    count, done = 4, 0
    while done < runs:
        count = min(count, runs - done)
        yield seed + done, count
        done += count
        count = min(count * 2, 40)


def _pytest(root: Path, paths: Sequence[str], without: Sequence[str], *more: str) -> _Ended:
    options = [
        "-q",
        "-rfE",
        "--tb=no",
        "-p",
        "no:cacheprovider",
        f"--timeout={TEST_TIMEOUT_S:g}",
        "--hypothesis-seed=0",
    ]
    left_out = [f"--deselect={name}" for name in without]
    return _run(root, ["-m", "pytest", *options, *more, *left_out, *paths], TESTS_TIMEOUT_S)


def _run(root: Path, arguments: Sequence[str], timeout_s: float) -> _Ended:
    # The copy before the checkout, which the environment knows as the installed project.
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=root,
        env=environment,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    _RUNNING.add(process)
    try:
        out, errors = process.communicate(timeout=timeout_s)
        code: int | None = process.returncode
    except subprocess.TimeoutExpired:
        out, errors, code = "", "", None
    finally:
        _RUNNING.discard(process)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    return _Ended(code, out, errors, time.monotonic() - started)


def end_running() -> None:
    """End what runs: an interrupt at the terminal does not reach it."""
    for process in list(_RUNNING):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def _last_lines(ended: _Ended) -> str:
    return " / ".join((ended.out + ended.errors).strip().splitlines()[-4:])
