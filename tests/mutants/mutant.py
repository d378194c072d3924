"""One deliberate bug: a text of the source and what stands there instead."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class StaleError(Exception):
    """The source is not as the mutant says: it has to be looked at again."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A bug and who should catch it."""

    name: str
    path: str
    """File of the source, from the root of the checkout."""
    old: str
    """Stands in the file exactly once."""
    new: str
    tests: tuple[str, ...]
    """Files or folders of the unit tests that are asked, those of its room."""

    def apply(self, text: str) -> str:
        """The file with the bug in it. Raises StaleError."""
        found = text.count(self.old)
        if found != 1:
            raise StaleError(f"{self.name}: stands {found} times in {self.path}, not once: {self.old!r}")
        if self.old == self.new:
            raise StaleError(f"{self.name} changes nothing")
        return text.replace(self.old, self.new)

    def apply_to(self, root: Path) -> None:
        """Put it into a copy whose files may be hard links to others'. Raises StaleError."""
        file = root / self.path
        text = self.apply(file.read_text())
        file.unlink()
        file.write_text(text)
        # Compiled files are told apart by whole seconds and sizes.
        for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*.pyc"):
            compiled.unlink()
