"""Whether a file holds something else, however it came to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from worker import watched_files
from worker.watched_files import NOT_A_FILE, WatchedFiles


def age(path: Path, seconds: float = 60) -> None:
    """Make a file look as if it had not been written lately."""
    seen = path.stat()
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns - int(seconds * 1e9)))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "settings"
    path.write_text("one")
    return path


def test_what_a_file_holds_counts_not_when_it_was_written(file: Path) -> None:
    watched = WatchedFiles()
    first = watched.look([file])
    age(file)
    assert watched.look([file]) == first
    file.write_text("two")
    assert watched.look([file]) != first
    file.write_text("one")
    assert watched.look([file]) == first


def test_a_write_within_one_tick_of_the_clock_is_seen(file: Path) -> None:
    """Same size, same times: only what was read long after it was written is taken for known."""
    watched = WatchedFiles()
    first = watched.look([file])
    before = file.stat()
    file.write_text("two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert watched.look([file]) != first


def test_an_old_file_is_not_read_again(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of secrets are looked at every few seconds."""
    monkeypatch.setattr(watched_files, "_FRESH_NS", -(10**18))
    watched = WatchedFiles()
    first = watched.look([file])

    def never(*_: object) -> object:
        raise AssertionError("read again")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", never)
        assert watched.look([file]) == first
    file.write_text("three")
    assert watched.look([file]) != first


def test_links_are_followed_as_kubernetes_turns_them(tmp_path: Path) -> None:
    """`secret -> ..data/secret`, `..data -> ..2026_1`: the middle one is exchanged."""
    for version, content in (("..2026_1", "old"), ("..2026_2", "new")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "secret").write_text(content)
        age(tmp_path / version / "secret")
    (tmp_path / "..data").symlink_to("..2026_1")
    (tmp_path / "secret").symlink_to("..data/secret")
    watched = WatchedFiles()
    first = watched.look([tmp_path / "secret"])
    (tmp_path / "..data_tmp").symlink_to("..2026_2")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    assert watched.look([tmp_path / "secret"]) != first


def test_what_is_gone_unreadable_or_no_file_has_a_word_instead(file: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    seen = WatchedFiles().look([file, tmp_path, pipe, tmp_path / "gone", Path("a\0b")])
    assert (seen[tmp_path], seen[pipe]) == (NOT_A_FILE, NOT_A_FILE)
    assert seen[tmp_path / "gone"] == "none: FileNotFoundError"
    assert seen[Path("a\0b")] == "none: ValueError"
    watched = WatchedFiles()
    first = watched.look([file])
    file.unlink()
    assert watched.look([file]) != first
    file.write_text("one")
    assert watched.look([file]) == first


def test_nothing_is_kept_of_files_that_are_not_asked_for_any_more(file: Path, tmp_path: Path) -> None:
    watched = WatchedFiles()
    watched.look([file, tmp_path / "other"])
    watched.look([file])
    assert list(watched._known) == [file]
