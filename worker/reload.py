"""Settings that are taken while the worker runs: when a file has changed, and at once when asked (SIGHUP).

    look at the files ──(one differs, and no longer changes)──▶ load all of it ──▶ mistakes: told, the old stay in force
            ▲                                                        │
            └────────────────────────────────────────────────────────┴──▶ what can count now: in force, in one step

Looked at are the settings file and every file that it names; loading is what it is at the start
(`worker.configuration`). What becomes of each change stands in `worker.settings_change`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import structlog

from worker.clock import Clock
from worker.configuration import Mistake, known_secrets, load_with_files
from worker.settings import Settings
from worker.settings_change import Change, compare, needs_restart
from worker.settings_schema import ENV_CONFIG, Key, dotted, files_named
from worker.telemetry.logs import set_level
from worker.telemetry.metrics import Metrics
from worker.telemetry.scrub import scrubber
from worker.watched_files import NOT_A_FILE, Digests, WatchedFiles

log = structlog.get_logger()

SETTLE_S: Final = 0.5
"""A file that has changed is read when it has stayed the same for so long: it may still be written."""
_MOST_SETTLING: Final = 20
"""Looks at a file that keeps changing; then it is read as it is."""
_MOST_TOLD: Final = 50
"""Keys, or mistakes, in one log line."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was read: settings, or mistakes."""

    settings: Settings | None
    mistakes: tuple[Mistake, ...]
    files: Mapping[Key, Path]
    """By the key that names them; the settings file under `()`."""
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SettingsSource:
    """Where a process has its settings from. `path` absent: as `ORDER_SYNC_CONFIG` says, or the environment alone."""

    path: Path | None
    env: Mapping[str, str]

    @property
    def file(self) -> Path | None:
        """The TOML file."""
        named = self.env.get(ENV_CONFIG)
        return self.path if self.path is not None or not named else Path(named)

    def load(self) -> Loaded:
        """Read everything anew. Blocks."""
        settings, files = load_with_files(self.path, self.env)
        if not isinstance(settings, Settings):
            return Loaded(None, tuple(settings), files)
        return Loaded(settings, (), files, tuple(known_secrets(settings)))


class Configure(Protocol):
    """Puts settings in force. `rotated`: accounts whose secret's file holds something else."""

    def __call__(self, settings: Settings, *, rotated: Collection[str]) -> None: ...


class Reloader:
    """Keeps the settings in force what their files say."""

    def __init__(
        self, source: SettingsSource, settings: Settings, configure: Configure, metrics: Metrics, clock: Clock
    ) -> None:
        """`settings`: those in force, as the process was started with."""
        self._source = source
        self._settings = settings
        self._configure = configure
        self._metrics = metrics
        self._clock = clock
        self._watched = WatchedFiles()
        self._files: Mapping[Key, Path] = files_named(settings)
        if source.file is not None:
            self._files = {(): source.file, **self._files}
        self._seen: Digests = {}
        """As of the latest load."""
        self._in_force: Digests = {}
        """As of the latest load that was put in force."""
        self._at_start: dict[Path, str] = {}
        """Of what waits for a restart."""
        self._asked = asyncio.Event()
        metrics.settings_loaded.set(clock.now())

    def ask(self) -> None:
        """Read the settings anew at once, whether or not a file has changed."""
        self._asked.set()

    async def run(self) -> None:
        """Look from time to time, until cancelled."""
        await self._safely(self.begin())
        while True:
            asked = await self._rest(self._settings.timing.reload_check_seconds or None)
            await self._safely(self.once(asked=asked))

    async def begin(self) -> None:
        """The first look: what has changed since the process read its settings is taken, what has not is not told."""
        await self._reload(quietly=True)

    async def once(self, *, asked: bool = False) -> None:
        """One look; `asked`: load whatever it shows."""
        if not asked:
            seen = await self._look()
            if seen == self._seen:
                return
            await self._settled(seen)
        await self._reload()

    async def _safely(self, step: Coroutine[Any, Any, None]) -> None:
        try:
            await step
        except Exception:  # the worker goes on with the settings it has
            self._metrics.internal_errors.inc("settings")
            log.exception("settings_not_looked_at")

    async def _rest(self, seconds: float | None) -> bool:
        """True: it is asked for."""
        try:
            async with asyncio.timeout(seconds):
                await self._asked.wait()
        except TimeoutError:
            return False
        self._asked.clear()
        return True

    # -- looking

    async def _look(self) -> Digests:
        return await asyncio.to_thread(self._watched.look, set(self._files.values()))

    async def _settled(self, seen: Digests) -> None:
        for _ in range(_MOST_SETTLING):
            if await self._rest(SETTLE_S):
                return
            before, seen = seen, await self._look()
            if seen == before:
                return

    async def _reload(self, *, quietly: bool = False) -> None:
        # What is looked at is looked at before it is read: what changes in between is seen at the next look.
        for _ in range(_MOST_SETTLING):
            seen = await self._look()
            if self._source.file is not None and seen.get(self._source.file) == NOT_A_FILE:
                # A pipe held the settings once, at the start; who asks for more is told, who starts is not.
                self._seen = seen
                if not quietly:
                    message = "is not a file: it could be read only once"
                    self._refuse([Mistake(str(self._source.file), "", None, message)])
                return
            loaded = await asyncio.to_thread(self._source.load)
            all_seen = set(loaded.files.values()) <= seen.keys()
            if all_seen and await self._look() == seen:
                break
            if all_seen:  # what was written while it was read may be half of it
                await asyncio.sleep(SETTLE_S)
            self._files = {**self._files, **loaded.files}
        self._seen = seen
        if loaded.settings is None:
            # What the old ones name is watched on, too: a file that is no TOML just now names nothing.
            self._refuse(loaded.mistakes)
            return
        self._files = loaded.files
        self._seen = {path: seen[path] for path in loaded.files.values()}
        self._take(loaded.settings, loaded.secrets, quietly=quietly)

    # -- what was loaded

    def _refuse(self, mistakes: Collection[Mistake]) -> None:
        self._metrics.settings_reloads.inc("refused")
        self._metrics.settings_refused.set(1)
        told = [str(mistake) for mistake in mistakes]
        log.error("settings_not_reloaded", mistakes=told[:_MOST_TOLD], count=len(told))

    def _take(self, settings: Settings, secrets: Iterable[str], *, quietly: bool) -> None:
        self._metrics.settings_refused.set(0)
        change = compare(self._settings, settings)
        rotated = self._rotated()
        waiting = [*change.restart, *self._waiting()]
        if quietly and change.is_nothing and not waiting:
            self._in_force = self._seen
            return
        for secret in secrets:
            scrubber.register(secret)
        if not self._put_in_force(change, [key[1] for key in rotated]):
            return
        self._metrics.settings_restart_needed.set(len(waiting))
        if waiting:
            log.warning("restart_needed", keys=_told(waiting), count=len(waiting))
        log.info(
            "settings_reloaded",
            changed=_told(change.changed),
            added=_told(change.added),
            removed=_told(change.removed),
            rotated=_told(rotated),
        )

    def _rotated(self) -> list[Key]:
        """Keys that name a file which holds something else than when it was put in force."""
        return [
            key
            for key, path in self._files.items()
            if key and not needs_restart(key) and self._in_force.get(path, self._seen[path]) != self._seen[path]
        ]

    def _waiting(self) -> list[Key]:
        """Keys that name a file which holds something else than at the start, where that takes a restart."""
        return [
            key
            for key, path in self._files.items()
            if key and needs_restart(key) and self._at_start.setdefault(path, self._seen[path]) != self._seen[path]
        ]

    def _put_in_force(self, change: Change, rotated: Collection[str]) -> bool:
        try:
            self._configure(change.in_force, rotated=rotated)
        except Exception:
            self._metrics.settings_reloads.inc("failed")
            self._metrics.internal_errors.inc("settings")
            log.exception("settings_not_applied")
            # Rooms that had taken the new ones must not differ from those that had not.
            self._configure(self._settings, rotated=())
            return False
        self._settings, self._in_force = change.in_force, self._seen
        set_level(self._settings.log.level)
        self._metrics.settings_reloads.inc("applied")
        self._metrics.settings_loaded.set(self._clock.now())
        return True


def _told(keys: Iterable[Key]) -> list[str]:
    """Names only: a value may be a secret."""
    return [dotted(key) for key in list(keys)[:_MOST_TOLD]]
