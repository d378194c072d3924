"""What the runbooks tell people to look for exists: metrics, log lines, settings, commands, error codes, links."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from worker.errors import ERRORS
from worker.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "deploy/README.md", *sorted((ROOT / "deploy/runbooks").glob("*.md"))]
SOURCE = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "worker").rglob("*.py"))
METRICS = (ROOT / "worker/telemetry/METRICS.md").read_text(encoding="utf-8")


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_metrics_and_their_label_values_exist(page: Path) -> None:
    for name, labels in re.findall(r"(order_sync_[a-z_]+)(?:\{([^}]*)\})?", text_of(page)):
        assert f"| `{name}` |" in METRICS, name
        for label, value in re.findall(r'(\w+)!?="(\w+)"', labels):
            rows = [row for row in METRICS.splitlines() if row.startswith(f"| `{label}` |") and f"`{name}`" in row]
            assert any(f"`{value}`" in row or "code of worker/ERRORS.md" in row for row in rows), (name, label, value)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_log_lines_are_written_somewhere(page: Path) -> None:
    for told in re.findall(r"[Ll]og ((?:`[a-z_]+`(?:, | or |,\s)?)+)", text_of(page)):
        for event in re.findall(r"`(?!order_sync_)([a-z_]+)`", told):
            assert re.search(rf'log\.\w+\(\s*"{event}"', SOURCE) or f'"{event}"' in SOURCE, event


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_exist(page: Path) -> None:
    sections = {name: field.annotation for name, field in Settings.model_fields.items()}
    found = re.findall(r"`(kafka|timing|limits|topics|http|log)\.([a-z_]+)", text_of(page))
    for section, name in found:
        assert name in sections[section].model_fields, f"{section}.{name}"  # type: ignore[union-attr]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_error_codes_exist(page: Path) -> None:
    for code in re.findall(r"(?:--code |code `)([a-z_]+)", text_of(page)):
        assert code in ERRORS, code


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#:]*)(?:#[^)]*)?\)", text_of(page)):
        assert not link or (page.parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_anchors_are_headings(page: Path) -> None:
    for link, anchor in re.findall(r"\]\(([^)#:]*)#([^)]*)\)", text_of(page)):
        target = page if not link else page.parent / link
        headings = re.findall(r"^#+ (.*)$", text_of(target), flags=re.MULTILINE)
        anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert anchor in anchors, f"{link}#{anchor}"


def test_every_runbook_is_found_from_the_overview() -> None:
    overview = text_of(ROOT / "deploy/README.md")
    assert [page.name for page in PAGES[1:] if f"runbooks/{page.name}" not in overview] == []


def test_what_check_and_log_lines_are_quoted_to_say_is_what_they_say() -> None:
    pages = " ".join(" ".join(text_of(page).split()) for page in PAGES)
    for words in ("nothing more is parked", "unfinished events, read to the end:", "CRC32"):
        assert words in pages
        assert words in SOURCE
    for words in (
        "another process has taken over this kafka.group_instance_id",
        "the latest write to Kafka was not acknowledged",
    ):
        assert words in pages
        assert words in SOURCE
