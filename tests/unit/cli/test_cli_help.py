"""Every page of help teaches: a text, examples, and a word on every option."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from worker.cli import exit_codes
from worker.cli.main import app

README = Path(exit_codes.__file__).with_name("README.md")


def commands() -> Iterator[tuple[str, Any]]:
    def walk(path: tuple[str, ...], command: Any) -> Iterator[tuple[str, Any]]:
        yield " ".join(path), command
        for name, below in getattr(command, "commands", {}).items():
            yield from walk((*path, name), below)

    yield from walk(("order-sync",), typer.main.get_command(app))


ALL = dict(commands())


def test_the_commands_there_are() -> None:
    assert {name.removeprefix("order-sync").strip() for name in ALL} == {
        "", "run", "check", "explain", "sandbox", "send", "send file", "send shipped", "send cancelled",
        "schemas", "schemas ls", "schemas show", "schemas validate", "dlq", "dlq ls", "dlq show", "dlq replay",
    }  # fmt: skip


@pytest.mark.parametrize("name", ALL)
def test_every_page_has_a_text_and_examples(name: str) -> None:
    text = ALL[name].help or ""
    assert "Examples:" in text
    assert len(text.partition("Examples:")[0].strip()) > 20
    for line in text.partition("Examples:")[2].split("\n\n")[0].splitlines():
        assert len(line) <= 78, f"breaks on 80 columns: {line}"


@pytest.mark.parametrize("name", ALL)
def test_every_option_is_explained(name: str) -> None:
    for parameter in ALL[name].params:
        assert len(getattr(parameter, "help", None) or "") > 5, f"{name}: {parameter.name}"


@pytest.mark.parametrize("name", ALL)
def test_every_page_opens(name: str) -> None:
    result = CliRunner().invoke(app, [*name.split()[1:], "--help"])
    assert result.exit_code == 0
    assert "Examples:" in result.stdout


@pytest.mark.parametrize("name", [name for name, command in ALL.items() if not getattr(command, "commands", None)])
def test_commands_with_an_answer_speak_json(name: str) -> None:
    options = {option for parameter in ALL[name].params for option in parameter.opts}
    # run logs JSON lines; schemas show writes JSON anyway.
    assert ("--json" in options) == (name not in ("order-sync run", "order-sync schemas show"))


def test_exit_codes_stand_in_help_and_readme() -> None:
    shown = " ".join(CliRunner().invoke(app, ["--help"]).stdout.split())
    for code, meaning in exit_codes.MEANINGS.items():
        assert f"{code.value} {meaning}" in shown
    assert exit_codes.markdown() in README.read_text()
    assert set(exit_codes.MEANINGS) == set(exit_codes.ExitCode)


def test_help_loads_nothing_heavy() -> None:
    """--help must be quick: Kafka, HTTP and models are loaded by the commands that need them."""
    code = (
        "import sys, worker.cli.main; "
        "print([name for name in ('aiokafka', 'aiohttp', 'pydantic', 'structlog', 'stamina') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
