"""The jars of Apache Kafka: pinned by hash in `kafka.lock`, fetched once into a per-user cache.

`python -m worker.sandbox.kafka_jars` resolves `COORDINATES` anew and rewrites the lock.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

KAFKA_VERSION: Final = "4.4.0"
COORDINATES: Final = (
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}",
    # Kafka logs through slf4j 1.7 and ships no binding in its own dependencies.
    "org.apache.logging.log4j:log4j-slf4j-impl:2.25.5",
)
LOCK: Final = Path(__file__).with_name("kafka.lock")

Progress = Callable[[str], None]


class KafkaUnavailableError(RuntimeError):
    """Kafka cannot be started here; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of the lock."""

    sha256: str
    size: int
    coordinate: str
    """`group:artifact:version`"""

    @property
    def path(self) -> Path:
        """Where a Maven repository keeps it."""
        group, artifact, version = self.coordinate.split(":")
        return Path(*group.split("."), artifact, version, f"{artifact}-{version}.jar")


def cache_folder() -> Path:
    """Per-user cache of everything fetched or made once; `XDG_CACHE_HOME` is honoured."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "order-sync"


def locked_jars() -> list[Jar]:
    """The jars of the lock, in classpath order."""
    rows = (line.split() for line in LOCK.read_text().splitlines() if line and not line.startswith("#"))
    return [Jar(sha256, int(size), coordinate) for sha256, size, coordinate in rows]


def classpath(progress: Progress = lambda _: None) -> list[Path]:
    """Paths of all jars, fetched and checked against the lock the first time; instant and offline afterwards.

    Raises:
        KafkaUnavailableError: a jar cannot be fetched, or is not the one in the lock.
    """
    jars = locked_jars()
    repository = cache_folder() / "maven"
    paths = [repository / jar.path for jar in jars]
    # The stamp says "fetched and verified"; its content ties it to this lock.
    stamp = cache_folder() / f"kafka-{KAFKA_VERSION}.verified"
    if _verified(stamp, jars, paths):
        return paths
    with _only_one_fetches(cache_folder()):
        if not _verified(stamp, jars, paths):
            missing = sum(jar.size for jar, path in zip(jars, paths, strict=True) if not path.exists())
            if missing:
                progress(f"fetching Kafka {KAFKA_VERSION} ({missing / 1_048_576:.0f} MB, once)")
            _fetch(jars, repository)
            stamp.write_text(_lock_hash())
    return paths


def _lock_hash() -> str:
    return hashlib.sha256(LOCK.read_bytes()).hexdigest()


def _verified(stamp: Path, jars: list[Jar], paths: list[Path]) -> bool:
    if not stamp.exists() or stamp.read_text() != _lock_hash():
        return False
    return all(path.exists() and path.stat().st_size == jar.size for jar, path in zip(jars, paths, strict=True))


@contextmanager
def _only_one_fetches(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "fetch.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _fetch(jars: list[Jar], repository: Path) -> None:
    context = _maven(repository)
    with ThreadPoolExecutor(8) as pool:
        for result in [pool.submit(_fetch_one, context, jar, repository) for jar in jars]:
            result.result()


def _fetch_one(context: Any, jar: Jar, repository: Path) -> None:
    path = repository / jar.path
    # A fetch that was interrupted leaves half a file behind.
    if path.exists() and _sha256(path) != jar.sha256:
        path.unlink()
    if not path.exists():
        try:
            context.create_dependency(jar.coordinate).artifact.resolve()
        except (OSError, RuntimeError) as error:
            raise KafkaUnavailableError(
                f"cannot fetch {jar.coordinate}: {error}. The first start needs the network; later ones do not."
            ) from error
        if _sha256(path) != jar.sha256:
            path.unlink()
            raise KafkaUnavailableError(f"{jar.coordinate} is not the file pinned in {LOCK.name}; it was removed again")


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _maven(repository: Path) -> Any:
    try:
        from jgo.maven import MavenContext
    except ImportError as error:
        raise KafkaUnavailableError("jgo is not installed: pip install 'order-sync[sandbox]'") from error
    return MavenContext(repo_cache=repository, timeout=60)


def _resolve() -> list[Jar]:
    repository = cache_folder() / "maven"
    context = _maven(repository)
    found: dict[str, Any] = {}
    for coordinate in COORDINATES:
        # One at a time: together, the logging library's own bill of materials would replace Kafka's versions.
        direct, transitive = context.resolver.resolve([context.create_dependency(coordinate)])
        for dependency in [*direct, *(one for one in transitive if one.scope in ("compile", "runtime"))]:
            artifact = dependency.artifact
            found.setdefault(f"{artifact.groupId}:{artifact.artifactId}", artifact)
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda artifact: Path(artifact.resolve()), found.values()))
    return [
        Jar(_sha256(path), path.stat().st_size, f"{name}:{artifact.version}")
        for (name, artifact), path in zip(found.items(), paths, strict=True)
    ]


def main() -> None:
    """Rewrite the lock."""
    rows = sorted(f"{jar.sha256} {jar.size} {jar.coordinate}" for jar in _resolve())
    rows.sort(key=lambda row: row.split()[2])
    LOCK.write_text(
        "# sha256, bytes, coordinate; made by `python -m worker.sandbox.kafka_jars`\n" + "\n".join(rows) + "\n"
    )


if __name__ == "__main__":
    main()
