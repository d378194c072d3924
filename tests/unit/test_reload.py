"""Settings read anew while the worker runs: from files that change, on asking; mistakes leave the old ones in force."""

from __future__ import annotations

import asyncio
import io
import logging
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from worker import reload as room
from worker.reload import Reloader, SettingsSource
from worker.settings import Settings
from worker.settings_schema import files_named
from worker.telemetry import logs
from worker.telemetry.metrics import Metrics
from worker.telemetry.scrub import scrubber

SECRET = "planted-secret-one"


class Clock:
    def __init__(self) -> None:
        self.time = 1_000.0

    def now(self) -> float:
        return self.time


class World:
    """A settings file, a secret's file, and a worker that only notes what it is told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file, self.secret = folder / "order-sync.toml", folder / "secret"
        self.secret.write_text(SECRET)
        self.write()
        self.env: dict[str, str] = {}
        self.metrics, self.clock = Metrics(), Clock()
        self.taken: list[tuple[Settings, tuple[str, ...]]] = []
        self.broken = 0
        source = SettingsSource(self.file, self.env)
        started = source.load().settings
        assert started is not None
        self.reloader = Reloader(source, started, self.configure, self.metrics, self.clock)

    def configure(self, settings: Settings, *, rotated: Collection[str]) -> None:
        self.taken.append((settings, tuple(rotated)))
        if self.broken:
            self.broken -= 1
            raise RuntimeError("a room fell over")

    def write(self, more: str = "", *, carrier: str = "UPS", account: str = "main") -> None:
        self.file.write_text(
            f'[accounts.main]\nclient_id = "c"\nclient_secret_file = "{self.secret}"\n'
            f'[stores.us]\naccount = "{account}"\n[stores.us.carriers]\nx = "{carrier}"\n{more}'
        )

    async def look(self, **asked: bool) -> list[Any]:
        """One look; what was logged."""
        with capture_logs() as told:
            await self.reloader.once(**asked)
        return told

    async def began(self) -> World:
        with capture_logs() as told:
            await self.reloader.begin()
        assert told == []
        assert self.taken == []
        return self

    def value(self, name: str, **labels: str) -> float:
        return self.metrics.value(name, **labels)


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(room, "SETTLE_S", 0.001)
    return await World(tmp_path).began()


async def test_nothing_is_done_while_nothing_changes(world: World) -> None:
    assert await world.look() == []
    assert world.taken == []
    assert world.value("settings_loaded_timestamp_seconds") == 1_000.0


async def test_the_files_looked_at_first_are_those_that_loading_finds(world: World) -> None:
    authority = world.folder / "ca.pem"
    authority.write_text("x")
    world.write(f"[kafka]\nssl_cafile = '{authority}'")
    loaded = SettingsSource(world.file, world.env).load()
    assert loaded.settings is not None
    assert {(): world.file, **files_named(loaded.settings)} == loaded.files
    assert set(loaded.files.values()) == {world.file, world.secret, authority}


async def test_a_changed_file_is_taken_and_told_by_the_names_of_its_keys(world: World) -> None:
    world.clock.time += 60
    world.write("[timing]\nslo_seconds = 60\n[stores.eu]\naccount = 'main'", carrier="FedEx")
    (line,) = await world.look()
    assert line == {
        "event": "settings_reloaded",
        "log_level": "info",
        "changed": ["stores.us.carriers.x", "timing.slo_seconds"],
        "added": ["stores.eu"],
        "removed": [],
        "rotated": [],
    }
    ((taken, rotated),) = world.taken
    assert (taken.timing.slo_seconds, taken.stores["us"].carriers, rotated) == (60, {"x": "FedEx"}, ())
    assert world.value("settings_reloads_total", outcome="applied") == 1
    assert world.value("settings_loaded_timestamp_seconds") == 1_060.0
    assert await world.look() == []


async def test_every_mistake_is_named_and_the_old_settings_stay(world: World) -> None:
    world.write("[timing]\nslo_seconds = 0\n[limits]\nmin_trys = 3\n", carrier="Brown", account="mian")
    (line,) = await world.look()
    assert (line["event"], line["log_level"], line["count"]) == ("settings_not_reloaded", "error", 4)
    told = "\n".join(line["mistakes"])
    for text in (
        f'{world.file}: stores.us.account = "mian": there is no account of this name (known: main)',
        'stores.us.carriers.x = "Brown": is none of',
        "timing.slo_seconds = 0: must be at least 1",
        'limits.min_trys: there is no such key; did you mean "min_tries"?',
    ):
        assert text in told
    assert world.taken == []
    assert world.value("settings_reloads_total", outcome="refused") == 1
    assert world.value("settings_refused") == 1
    assert await world.look() == [], "told once"
    world.write("[timing]\nslo_seconds = 60")
    assert [line["event"] for line in await world.look()] == ["settings_reloaded"]
    assert world.value("settings_refused") == 0


async def test_a_file_that_is_gone_or_no_toml_changes_nothing(world: World) -> None:
    world.file.write_text("[stores.us\n")
    (line,) = await world.look()
    assert "is no TOML" in line["mistakes"][0]
    world.file.unlink()
    (line,) = await world.look()
    assert line["mistakes"] == [f"{world.file}: cannot be read: No such file or directory"]
    assert world.taken == []


async def test_a_secret_never_stands_in_what_is_told(world: World) -> None:
    world.write("[kafka]\nsasl_password = 'planted-in-the-file'\n")
    told = repr(await world.look())
    assert "kafka.sasl_password" in told
    assert "planted" not in told


async def test_a_rotated_secret_is_told_by_its_account_and_masked_from_then_on(world: World) -> None:
    world.secret.write_text("planted-secret-two")
    (line,) = await world.look()
    assert (line["event"], line["changed"], line["rotated"]) == (
        "settings_reloaded", [], ["accounts.main.client_secret_file"],
    )  # fmt: skip
    assert [rotated for _, rotated in world.taken] == [("main",)]
    assert scrubber.text("x planted-secret-two y") == "x *** y"
    assert await world.look() == []


async def test_a_secret_rotated_while_the_settings_were_mistaken_is_not_forgotten(world: World) -> None:
    world.file.write_text("[")
    world.secret.write_text("planted-secret-three")
    assert [line["event"] for line in await world.look()] == ["settings_not_reloaded"]
    world.write()
    (line,) = await world.look()
    assert line["rotated"] == ["accounts.main.client_secret_file"]


async def test_a_file_that_only_mistaken_settings_name_is_waited_for(world: World) -> None:
    """In Kubernetes the ConfigMap may come before the Secret."""
    late = world.folder / "late"
    world.write(f"[accounts.two]\nclient_id = 'd'\nclient_secret_file = '{late}'")
    (line,) = await world.look()
    assert line["mistakes"] == [f'{world.file}: accounts.two.client_secret_file = "{late}": there is no such file']
    late.write_text("planted-secret-four")
    (line,) = await world.look()
    assert (line["event"], line["added"]) == ("settings_reloaded", ["accounts.two"])


async def test_what_needs_a_restart_is_named_and_not_taken_while_the_rest_is(world: World) -> None:
    world.write("[kafka]\ngroup_id = 'other'\n[http]\nport = 1\n[timing]\nslo_seconds = 60")
    warning, line = await world.look()
    assert (warning["event"], warning["log_level"]) == ("restart_needed", "warning")
    assert warning["keys"] == ["kafka.group_id", "http.port"]
    assert line["changed"] == ["timing.slo_seconds"]
    ((taken, _),) = world.taken
    assert (taken.kafka.group_id, taken.http.port, taken.timing.slo_seconds) == ("order-sync", 9464, 60)
    assert world.value("settings_restart_needed") == 2
    world.write("[timing]\nslo_seconds = 60")
    assert [line["event"] for line in await world.look()] == ["settings_reloaded"]
    assert world.value("settings_restart_needed") == 0


async def test_a_certificate_made_anew_needs_a_restart_until_it_had_one(tmp_path: Path) -> None:
    world = World(tmp_path)
    authority = tmp_path / "ca.pem"
    authority.write_text("one")
    world.write(f"[kafka]\nssl_cafile = '{authority}'")
    started = world.reloader._source.load().settings
    assert started is not None
    world.reloader._settings = started
    await world.began()
    authority.write_text("two")
    warning, _ = await world.look()
    assert warning["keys"] == ["kafka.ssl_cafile"]
    assert world.taken[-1][1] == (), "it is no account's secret"
    warning, _ = await world.look(asked=True)
    assert warning["keys"] == ["kafka.ssl_cafile"], "still"
    authority.write_text("one")
    assert [line["event"] for line in await world.look()] == ["settings_reloaded"]


async def test_asked_for_it_is_read_though_nothing_changed_and_says_so(world: World) -> None:
    (line,) = await world.look(asked=True)
    assert (line["event"], line["changed"]) == ("settings_reloaded", [])
    assert world.value("settings_reloads_total", outcome="applied") == 1


async def test_what_changed_while_the_process_was_starting_is_taken(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.write("[timing]\nslo_seconds = 60")
    await world.reloader.begin()
    ((taken, _),) = world.taken
    assert taken.timing.slo_seconds == 60


async def test_a_file_that_is_being_written_is_not_read_half(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    look = Reloader._look

    async def looked(reloader: Reloader) -> Any:
        nonlocal looks
        looks += 1
        if looks < 3:
            world.file.write_text("[accounts.main"[: 5 + looks])
        elif looks == 3:
            world.write("[timing]\nslo_seconds = 60")
        return await look(reloader)

    monkeypatch.setattr(Reloader, "_look", looked)
    world.file.write_text("[accounts.ma")
    assert [line["event"] for line in await world.look()] == ["settings_reloaded"]


async def test_a_file_whose_writer_pauses_is_not_taken_half(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause is longer than reading takes: before and after it is the same half."""
    world.write("[stores.eu]\naccount = 'main'")
    await world.look()
    rest, load = Reloader._rest, SettingsSource.load
    secrets: list[str] = []

    async def rested(reloader: Reloader, seconds: float | None) -> bool:
        world.write("[stores.eu]\naccount = 'main'\n[timing]\nslo_seconds = 60")
        world.secret.write_text("planted-secret-six")
        return await rest(reloader, seconds)

    def loaded(source: SettingsSource) -> Any:
        secrets.append(world.secret.read_text())
        return load(source)

    monkeypatch.setattr(Reloader, "_rest", rested)
    monkeypatch.setattr(SettingsSource, "load", loaded)
    world.write()  # not yet at the second store
    world.secret.write_text("planted-")
    await world.look()
    ((_, _), (taken, rotated)) = world.taken
    assert (set(taken.stores), taken.timing.slo_seconds) == ({"us", "eu"}, 60)
    assert (secrets, rotated) == (["planted-secret-six"], ("main",))


async def test_what_is_written_while_it_is_read_is_not_taken_half(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The half of a file may be good settings: without a store, its events would be refused."""
    world.write("[stores.eu]\naccount = 'main'")
    await world.look()
    whole = world.file.read_text() + "\n[timing]\nslo_seconds = 60\n"
    load, loads = SettingsSource.load, 0

    def loaded(source: SettingsSource) -> Any:
        nonlocal loads
        loads += 1
        if loads > 1:
            return load(source)
        world.write()  # begun anew, and not yet at the second store
        half = load(source)
        world.file.write_text(whole)
        return half

    monkeypatch.setattr(SettingsSource, "load", loaded)
    world.file.write_text(whole + "\n")
    await world.look()
    assert [set(taken.stores) for taken, _ in world.taken] == [{"us", "eu"}, {"us", "eu"}]
    assert world.taken[-1][0].timing.slo_seconds == 60


async def test_settings_from_a_pipe_are_never_read_again(tmp_path: Path) -> None:
    """`--config <(…)`: it would be waited for, or read as empty."""
    world = World(tmp_path)
    world.file.unlink()
    os.mkfifo(world.file)
    await world.began()
    assert await world.look() == []
    (line,) = await world.look(asked=True)
    assert line["mistakes"] == [f"{world.file}: is not a file: it could be read only once"]
    assert world.taken == []


async def test_variables_stay_over_the_file(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.env["ORDER_SYNC_TIMING__SLO_SECONDS"] = "30"
    await world.reloader.begin()
    world.write("[timing]\nslo_seconds = 60")
    await world.look()
    assert world.taken[-1][0].timing.slo_seconds == 30


async def test_the_settings_file_may_be_named_by_a_variable_or_not_be_there(tmp_path: Path) -> None:
    world = World(tmp_path)
    env = {"ORDER_SYNC_CONFIG": str(world.file)}
    source = SettingsSource(None, env)
    assert source.file == world.file
    assert world.file in source.load().files.values()
    env = {
        "ORDER_SYNC_ACCOUNTS__MAIN__CLIENT_ID": "c",
        "ORDER_SYNC_ACCOUNTS__MAIN__CLIENT_SECRET_FILE": str(world.secret),
        "ORDER_SYNC_STORES__US__ACCOUNT": "main",
    }
    source = SettingsSource(None, env)
    assert source.file is None
    loaded = source.load()
    assert loaded.settings is not None
    world.reloader = Reloader(source, loaded.settings, world.configure, world.metrics, world.clock)
    await world.began()
    world.secret.write_text("planted-secret-five")
    await world.look()
    assert [rotated for _, rotated in world.taken] == [("main",)]


async def test_a_room_that_falls_over_leaves_all_of_them_with_the_old_settings(world: World) -> None:
    world.broken = 1
    world.write("[timing]\nslo_seconds = 60")
    (line,) = await world.look()
    assert line["event"] == "settings_not_applied"
    assert [taken.timing.slo_seconds for taken, _ in world.taken] == [60, 300]
    assert world.value("settings_reloads_total", outcome="failed") == 1
    assert world.value("internal_errors_total", part="settings") == 1
    await world.look(asked=True)
    assert world.taken[-1][0].timing.slo_seconds == 60


@pytest.fixture
def lines() -> Iterator[io.BytesIO]:
    """Where the process's log lines go."""
    root = logging.getLogger()
    before = list(root.handlers), root.level
    stream = io.BytesIO()
    logs.configure("info", stream=stream)
    yield stream
    logs.set_level("info")
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    root.handlers[:] = before[0]
    root.setLevel(before[1])


async def test_the_log_level_counts_at_once(world: World, lines: io.BytesIO) -> None:
    """Also for loggers that have written before."""
    cached = structlog.get_logger()
    cached.info("heard")
    cached.debug("lost")
    world.write("[log]\nlevel = 'error'")
    await world.reloader.once()
    cached.warning("lost")
    cached.error("heard")
    world.write("[log]\nlevel = 'debug'")
    await world.reloader.once()
    cached.debug("heard")
    assert (lines.getvalue().count(b'"heard"'), lines.getvalue().count(b'"lost"')) == (3, 0)


# -- the loop


async def until(world: World, count: int) -> None:
    async with asyncio.timeout(10):
        while len(world.taken) < count:
            await asyncio.sleep(0.005)


async def test_it_looks_every_few_seconds_as_the_settings_say(world: World) -> None:
    world.write("[timing]\nreload_check_seconds = 0.01")
    await world.look()
    running = asyncio.create_task(world.reloader.run())
    world.write("[timing]\nreload_check_seconds = 0.01\nslo_seconds = 60")
    await until(world, 2)
    world.write("[timing]\nreload_check_seconds = 0.01\nslo_seconds = 61")
    await until(world, 3)
    running.cancel()


async def test_without_looks_it_waits_until_it_is_asked(world: World) -> None:
    world.write("[timing]\nreload_check_seconds = 0")
    await world.look()
    running = asyncio.create_task(world.reloader.run())
    world.write("[timing]\nreload_check_seconds = 0\nslo_seconds = 60")
    world.reloader.ask()
    await until(world, 2)
    assert world.taken[-1][0].timing.slo_seconds == 60
    running.cancel()


async def test_whatever_goes_wrong_in_a_look_the_next_one_comes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    async def broken(_: Reloader) -> Any:
        nonlocal looks
        looks += 1
        raise OSError("no more files")

    monkeypatch.setattr(Reloader, "_look", broken)
    running = asyncio.create_task(world.reloader.run())
    for _ in range(3):
        world.reloader.ask()
        seen = looks
        async with asyncio.timeout(10):
            while looks == seen:
                await asyncio.sleep(0.005)
    assert not running.done()
    assert world.value("internal_errors_total", part="settings") >= 3
    running.cancel()
