"""Alerts and dashboard ask for metrics that exist, are valid, fire when they should, and lead to a runbook."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import orjson
import pytest

from tests.unit.test_runbooks import METRICS, text_of

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/monitoring"
ALERTS = text_of(FOLDER / "alerts.yaml")
DASHBOARD = orjson.loads(text_of(FOLDER / "dashboard.json"))
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
NAMES = re.findall(r"- alert: (\w+)", ALERTS)

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="there is no promtool here")


def promtool(*arguments: str) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_alerts_fire_when_they_should() -> None:
    promtool("check", "rules", str(FOLDER / "alerts.yaml"))
    promtool("test", "rules", str(FOLDER / "alerts.test.yaml"))


@needs_promtool
def test_the_dashboards_queries_are_valid(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, query in enumerate(QUERIES)
    ]
    file = tmp_path / "rules.yaml"  # JSON is YAML
    file.write_bytes(orjson.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", str(file))


def test_every_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    tests = text_of(FOLDER / "alerts.test.yaml")
    assert len(NAMES) == 2
    for name in NAMES:
        cases = re.findall(rf"alertname: {name}\n +exp_alerts:(.*)", tests)
        assert "" in cases, name
        assert " []" in cases, name


def test_every_alert_leads_to_a_runbook_that_names_it() -> None:
    links = re.findall(r"runbook: (\S+)#(\S+)", ALERTS)
    assert len(links) == len(NAMES)
    for (page, anchor), name in zip(links, NAMES, strict=True):
        parts = re.split(r"^## (.*)$", text_of(ROOT / page), flags=re.MULTILINE)
        chapters = {title.lower().replace(" ", "-"): text for title, text in zip(parts[1::2], parts[2::2], strict=True)}
        assert f"`{name}`" in chapters[anchor]
        assert name in text_of(ROOT / "deploy/README.md")


@pytest.mark.parametrize("query", [*QUERIES, re.sub(r"annotations:.*", "", ALERTS)])
def test_metrics_labels_and_label_values_exist(query: str) -> None:
    asked = re.findall(r"(order_sync_[a-z_]+)(?:\{([^}]*)\})?", query)
    assert asked
    for name, labels in asked:
        metric = re.sub(r"_(sum|count|bucket)$", "", name)
        row, *_ = [row for row in METRICS.splitlines() if row.startswith(f"| `{metric}` |")]
        for label, value in re.findall(r'(\w+)(?:=~|!=|!~|=)"([^"]*)"', labels):
            assert label == "job" or f"`{label}`" in row, (metric, label)
            known = [
                text for text in METRICS.splitlines() if text.startswith(f"| `{label}` |") and f"`{metric}`" in text
            ]
            for one in value.split("|") if "$" not in value else ():
                assert f"`{one}`" in known[0], (metric, label, one)


def test_labels_that_results_are_summed_by_exist() -> None:
    labels = {
        label.strip() for query in QUERIES for each in re.findall(r"by \(([^)]*)\)", query) for label in each.split(",")
    }
    assert labels == {"account", "group", "operation", "reason", "cause", "state"}
    for label in labels:
        assert f"| `{label}` |" in METRICS


def test_each_panel_says_what_it_shows() -> None:
    assert DASHBOARD["panels"]
    assert all(panel["title"] and panel["description"] for panel in DASHBOARD["panels"])
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
