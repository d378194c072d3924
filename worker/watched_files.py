"""What files hold, at a glance: a digest each, read again only where the file system says that something may differ.

Links are followed at each look: Kubernetes exchanges the content of a mounted ConfigMap or Secret by turning a link.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_MOST_BYTES: Final = 16 * 1_048_576
"""More than any settings file; of a larger one the size counts."""
_FRESH_NS: Final = 2_000_000_000
"""A file written so shortly before it was read may be written once more within one tick of its file system's clock."""

NOT_A_FILE: Final = "none: not a file"

Digests = Mapping[Path, str]


@dataclass(frozen=True, slots=True)
class _Known:
    signs: tuple[int, ...]
    """Of its `stat`: a change of any of them means that the content may differ."""
    is_fresh: bool
    digest: str


class WatchedFiles:
    """Looks at files; what it knows of them makes the next look cheap."""

    def __init__(self) -> None:
        self._known: dict[Path, _Known] = {}

    def look(self, paths: Collection[Path]) -> Digests:
        """A digest per file, or a word why there is none. Blocks for as long as the files take to be read."""
        self._known = {path: self._look(path) for path in paths}
        return {path: known.digest for path, known in self._known.items()}

    def _look(self, path: Path) -> _Known:
        try:
            seen = path.stat()
        except (OSError, ValueError) as error:
            return _Known((), is_fresh=True, digest=f"none: {type(error).__name__}")
        signs = (seen.st_dev, seen.st_ino, seen.st_mode, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)
        known = self._known.get(path)
        if known is not None and known.signs == signs and not known.is_fresh:
            return known
        is_fresh = time.time_ns() - max(seen.st_mtime_ns, seen.st_ctime_ns) < _FRESH_NS
        if not stat.S_ISREG(seen.st_mode):
            # A pipe would be waited for.
            return _Known(signs, is_fresh=False, digest=NOT_A_FILE)
        try:
            with path.open("rb") as file:
                content = file.read(_MOST_BYTES)
                size = os.fstat(file.fileno()).st_size
        except OSError as error:
            return _Known(signs, is_fresh=True, digest=f"none: {type(error).__name__}")
        return _Known(signs, is_fresh, f"{size} {hashlib.sha256(content).hexdigest()}")
