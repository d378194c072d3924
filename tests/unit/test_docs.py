"""The reference pages say what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker import docs
from worker.errors import ERRORS
from worker.outcome import WARNINGS
from worker.settings_schema import env_name, every_field
from worker.telemetry.metrics import Metrics


@pytest.mark.parametrize("page", docs.PAGES, ids=lambda page: page.name)
def test_no_page_has_drifted(page: Path) -> None:
    """Regenerate with `python -m worker.docs`."""
    assert page.read_text("utf-8") == docs.PAGES[page]()


def test_the_pages_are_complete() -> None:
    settings, errors = docs.settings_page(), docs.errors_page()
    for key, _ in every_field():
        assert f"| `{env_name(key)}` |" in settings, key
    for code in (*ERRORS, *WARNINGS):
        assert errors.count(f"| `{code}` |") == 1, code
    metrics = docs.PAGES[docs.HERE / "telemetry" / "METRICS.md"]()
    for metric in Metrics().definitions:
        assert f"| `{metric.name}` | {metric.kind} |" in metrics


def test_every_table_row_has_the_cells_of_its_header() -> None:
    """A `|` in a help text would break the table."""
    for make in docs.PAGES.values():
        cells = 0
        for line in make().splitlines():
            if not line.startswith("|"):
                cells = 0
                continue
            found = line.replace("\\|", "").count("|")
            cells = cells or found
            assert found == cells, line


def test_check_finds_a_drifted_page_and_writing_mends_it(capsys: pytest.CaptureFixture[str]) -> None:
    page = docs.HERE / "drift-test.md"
    pages = {page: lambda: "as the code says\n"}
    try:
        assert docs.run(pages, ["--check"], "docs") == 1
        assert "drift-test.md has drifted" in capsys.readouterr().err
        assert not page.exists()
        assert docs.run(pages, [], "docs") == 0
        assert docs.run(pages, ["--check"], "docs") == 0
        page.write_text("as someone typed\n")
        assert docs.run(pages, ["--check"], "docs") == 1
    finally:
        page.unlink(missing_ok=True)
